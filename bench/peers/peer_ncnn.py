"""ncnn in float, converted by pnnx; both come from PyPI. ncnn's int8 needs the programs ncnn2table and ncnn2int8, which
neither package ships, so there is no int8 row.

ncnn has no batch axis: it is dropped on the way in and put back on the way out.
"""

import subprocess
from pathlib import Path

import numpy as np

from peer import Peer, Unavailable
from tasks import Task


class NcnnFloat(Peer):
    name, engine = "ncnn float", "ncnn"

    def build(self, task: Task, folder: Path) -> str:
        import importlib.util

        import prepare

        spec = importlib.util.find_spec("pnnx")
        if spec is None:
            raise Unavailable("pnnx, which converts ONNX for ncnn, is not installed")
        (folder / "net.onnx").write_bytes(prepare.static_path(task).read_bytes())
        shapes = ",".join(str(shape).replace(" ", "") for shape in task.fixed.values())
        program = Path(spec.submodule_search_locations[0]) / "pnnx"
        program.chmod(0o755)
        command = [program, "net.onnx", f"inputshape={shapes}", "fp16=0"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        (folder / "pnnx.log").write_text(done.stdout + done.stderr)
        if done.returncode or not (folder / "net.ncnn.param").exists():
            raise Unavailable(f"pnnx failed with status {done.returncode}")
        complaint = [line for line in (done.stdout + done.stderr).splitlines() if "not supported" in line]
        if complaint:
            raise Unavailable(f"pnnx: {complaint[0].strip()}")
        return "fp32 weights"

    def files(self, folder: Path):
        return [folder / "net.ncnn.param", folder / "net.ncnn.bin"]

    def load(self, task: Task, folder: Path, threads: int):
        import ncnn

        net = ncnn.Net()
        net.opt.num_threads = threads
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
        if net.load_param(str(folder / "net.ncnn.param")) or net.load_model(str(folder / "net.ncnn.bin")):
            raise Unavailable("ncnn cannot load what pnnx wrote")

        def run(feed):
            extractor = net.create_extractor()
            for number, array in enumerate(task.static(feed).values()):
                sample = array[0] if array.shape[0] == 1 else array
                extractor.input(f"in{number}", ncnn.Mat(np.ascontiguousarray(sample)))
            answers = []
            for number, shape in enumerate(task.outputs.values()):
                status, found = extractor.extract(f"out{number}")
                if status:
                    raise Unavailable(f"ncnn: extracting output {number} failed with status {status}")
                answers.append(np.array(found).reshape(shape))
            return answers

        return run
