"""OpenVINO on the CPU: converted in float (weights stored as fp16, its default), and quantised by NNCF after training.

Float rows ask for float32 arithmetic, since on processors with AMX OpenVINO would silently compute in bfloat16; int8 rows
choose for themselves. NNCF leaves the same nodes float as ONNX Runtime's quantiser does here, takes ranges by min/max too
(its default, the mean of each sample's extremes, clips the anomaly net's silence: 70 % agreement against 97), and leaves
LSTMs alone (quantised, silero's agreement falls from 97 to 28 %).
"""

from pathlib import Path

from peer import Peer, calibration_feeds
from tasks import Task


class OpenVinoFloat(Peer):
    name, engine = "openvino float", "openvino"
    precision = {"INFERENCE_PRECISION_HINT": "f32"}

    def build(self, task: Task, folder: Path) -> str:
        import openvino
        import prepare

        openvino.save_model(openvino.convert_model(prepare.static_path(task)), folder / "net.xml")
        return "fp16 in the file, float32 in use"

    def files(self, folder: Path):
        return [folder / "net.xml", folder / "net.bin"]

    def load(self, task: Task, folder: Path, threads: int):
        import openvino

        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1} | self.precision
        compiled = openvino.Core().compile_model(folder / "net.xml", "CPU", settings)
        request = compiled.create_infer_request()

        def run(feed):
            answer = request.infer(task.static(feed))
            return [answer[name] for name in task.outputs]

        return run


class OpenVinoInt8(OpenVinoFloat):
    name, kind = "openvino int8", "int8"
    precision: dict[str, str] = {}

    def build(self, task: Task, folder: Path) -> str:
        import nncf
        import onnx
        import openvino
        import prepare
        from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        feeds = calibration_feeds(task)
        source = prepare.static_path(task)
        kept = prepare.kept_float(task, onnx.load(source))
        names = {name for node in kept for name in (node.name, *node.output)}
        ranges = AdvancedQuantizationParameters(activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX)
        small = nncf.quantize(
            openvino.convert_model(source),
            nncf.Dataset(feeds),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(feeds),
            ignored_scope=nncf.IgnoredScope(names=sorted(names), types=["LSTMSequence"], validate=False),
            advanced_parameters=ranges,
        )
        openvino.save_model(small, folder / "net.xml")
        return "NNCF post-training, preset MIXED, min/max ranges"
