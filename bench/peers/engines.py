"""The float original in ONNX Runtime: what every figure is compared with."""

from pathlib import Path

import onnxruntime


def ort_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def ort_runner(path: Path, threads: int):
    session = ort_session(path, threads)
    return lambda feed: session.run(None, feed)
