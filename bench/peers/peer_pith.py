"""pith itself: the file comes from the command line (`pith compress`), quality and speed from its C API in this process,
so that it is measured exactly as the others are. Two rows: weights decoded at load, and weights that stay coded.

Calibration samples are handed over as one npz with an array for each input, first axis the samples; one of them is held
back, since the command insists. Where an input is a constant (silero's rate) pith too gets the prepared net.
"""

import ctypes
import os
import pickle
import subprocess
from pathlib import Path

import numpy as np

import datasets
from peer import Peer, Unavailable, calibration_feeds
from tasks import Task

BUILD = Path(os.environ.get("PITH_BUILD", datasets.ROOT / "build" / "default"))
PROGRAM = BUILD / "cli" / "pith"
LIBRARY = BUILD / "bench" / "peers" / "libpith_peers.so"
FLOATS = ctypes.POINTER(ctypes.c_float)


def library() -> ctypes.CDLL:
    if not LIBRARY.exists():
        raise Unavailable(f"not built: {LIBRARY.name} is missing in {BUILD.name}")
    shim = ctypes.CDLL(str(LIBRARY))
    shim.shim_open.restype = ctypes.c_void_p
    shim.shim_open.argtypes = [ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32]
    shim.shim_find.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int64)]
    shim.shim_set.argtypes = shim.shim_get.argtypes = [ctypes.c_void_p, ctypes.c_int32, FLOATS, ctypes.c_int64]
    shim.shim_run.argtypes = [ctypes.c_void_p]
    return shim


class Pith(Peer):
    name, kind, smallest = "pith", "int8", False

    def start_engine(self) -> None:
        library()

    def build(self, task: Task, folder: Path) -> str:
        if not PROGRAM.exists():
            raise Unavailable(f"not built: {PROGRAM.name} is missing in {BUILD.name}")
        import prepare

        feeds = calibration_feeds(task)
        samples = folder / "samples.npz"
        names = [name for name in task.fixed if name not in task.state]
        np.savez(samples, **{name: np.stack([self.sample(feed[name]) for feed in feeds]) for name in names})
        flags = [f"--input-shape={name}:{'x'.join(map(str, shape))}" for name, shape in task.fixed.items()]
        flags += [f"--state={before}={after}" for before, after in task.state.items()]
        flags += [f"--data-count={len(feeds)}", "--held-back=1"]
        source = prepare.static_path(task) if task.constants else datasets.net_path(task.net)
        command = [PROGRAM, "compress", source, "--samples", samples, "-o", folder / "net.pith", *flags]
        done = subprocess.run(command, capture_output=True, text=True)
        samples.unlink()
        (folder / "compress.log").write_text(done.stdout + done.stderr)
        if done.returncode:
            raise Unavailable("pith compress: " + (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
        return "weights decoded at load"

    def makers(self) -> list[Path]:
        return [path for path in (PROGRAM, LIBRARY) if path.exists()]

    @staticmethod
    def sample(array: np.ndarray) -> np.ndarray:
        """Without the batch axis, which the samples' own takes the place of."""
        return array[0] if array.shape[0] == 1 else array

    def files(self, folder: Path) -> list[Path]:
        return [folder / "net.pith"]

    def load(self, task: Task, folder: Path, threads: int):
        shim = library()
        session = shim.shim_open(str(folder / "net.pith").encode(), self.smallest, threads)
        if not session:
            raise Unavailable("pith does not load its file: see the log under build/peers/log")
        count = ctypes.c_int64()
        inputs = {name: shim.shim_find(session, 0, name.encode(), ctypes.byref(count)) for name in task.fixed}
        outputs = {}
        for name, shape in task.outputs.items():
            place = shim.shim_find(session, 1, name.encode(), ctypes.byref(count))
            if place >= 0 and count.value != int(np.prod(shape)):
                raise Unavailable(f"pith's output {name} has {count.value} elements, expected {shape}")
            outputs[name] = place, np.zeros(shape, np.float32)

        def run(feed):
            for name, place in inputs.items():
                if place >= 0:  # state that pith carries itself is no input
                    values = np.ascontiguousarray(feed[name], np.float32)
                    self.check(shim.shim_set(session, place, values.ctypes.data_as(FLOATS), values.size))
            self.check(shim.shim_run(session))
            answers = []
            for place, shaped in outputs.values():
                answer = np.empty_like(shaped) if place >= 0 else shaped
                if place >= 0:
                    self.check(shim.shim_get(session, place, answer.ctypes.data_as(FLOATS), answer.size))
                answers.append(answer)
            return answers

        return run

    @staticmethod
    def check(status: int) -> None:
        if status:
            raise Unavailable(f"pith fails with status {status}")


class PithSmallest(Pith):
    name, smallest = "pith coded", True

    def folder(self, task: Task) -> Path:
        return datasets.WORK / "files" / task.net / "pith-coded"

    def build(self, task: Task, folder: Path) -> str:
        ready = Pith().folder(task) / "net.pith"
        if not ready.exists():
            raise Unavailable("the file of the row above is missing")
        (folder / "net.pith").write_bytes(ready.read_bytes())
        return "the same file, weights decoded tile by tile as it runs"

    def evaluate(self, task: Task, keys: list) -> list:
        """Decoding as it goes is slow and gives the same bits: seen on the first samples, then taken as given."""
        stored = pickle.loads((Pith().folder(task) / "kept.pickle").read_bytes())["kept"]
        first = super().evaluate(task, keys[:20])
        if not all(np.array_equal(a, b) for a, b in zip(first, stored)):
            raise Unavailable("results differ from those of the row above")
        return stored
