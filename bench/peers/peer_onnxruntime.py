"""ONNX Runtime: the original in float32, and its own static quantisation (QDQ, per-channel, u8 activations, s8 weights).

What follows the last convolution or matrix product (decoding of boxes, softmax) stays float, as ONNX Runtime's guide
advises: in YOLO's last Concat pixels and probabilities share one scale. So does the front end that a task names. Ranges: min/max, ONNX Runtime's default.
"""

from pathlib import Path

import datasets
from peer import Peer, calibration_feeds
from tasks import Task


class OnnxRuntimeFloat(Peer):
    name, engine = "onnxruntime float", "onnxruntime"

    def build(self, task: Task, folder: Path) -> str:
        (folder / "net.onnx").write_bytes(datasets.net_path(task.net).read_bytes())
        return ""

    def files(self, folder: Path):
        return [folder / "net.onnx"]

    def load(self, task: Task, folder: Path, threads: int):
        from engines import ort_session

        session = ort_session(folder / "net.onnx", threads)
        known = [value.name for value in session.get_inputs()]
        return lambda feed: session.run(None, {name: feed[name] for name in known})


class OnnxRuntimeInt8(OnnxRuntimeFloat):
    name, kind = "onnxruntime int8", "int8"
    method = "MinMax"

    def build(self, task: Task, folder: Path) -> str:
        import onnx
        import prepare
        from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

        class Reader(CalibrationDataReader):
            def __init__(self, feeds):
                self.feeds = iter(feeds)

            def get_next(self):
                return next(self.feeds, None)

        source = prepare.static_path(task)
        quantize_static(
            source,
            folder / "net.onnx",
            Reader(calibration_feeds(task)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[self.method],
            nodes_to_exclude=[node.name for node in prepare.kept_float(task, onnx.load(source))],
        )
        return f"static QDQ, {self.method}, per channel, u8 x s8"
