"""What plain tools make of the same weights: the sizes that a compressed file has to beat.

Each control rounds the weights of the prepared net (batch norms folded, constants folded), writes everything a decoder
would need, and is judged by running the net with the rounded weights in float:

    fp16          every float tensor as fp16
    int8 + xz     weights symmetric 8-bit per output channel with a float32 scale each, the rest as it is, one xz -9e stream
    ternary + xz  weights -1, 0, 1 times a float32 per output channel, threshold 0.7 mean |w| (Li and Liu, arXiv 1605.04711);
                  stored as bytes or five to a byte, whichever xz makes smaller; not retrained, so its quality is lost
    nncodec       Fraunhofer's coder of the NNC standard (ISO/IEC 15938-17) with its default quantisation

"Weights" are float tensors of two or more axes. The graph itself is the ONNX file without tensor data, and counts.
"""

import json
import lzma
import subprocess
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import datasets
import prepare
from engines import ort_runner
from peer import Unavailable
from tasks import Task

NNCODEC_PYTHON = datasets.WORK / "nncodec-venv" / "bin" / "python"


def xz(data: bytes) -> int:
    return len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))


def tensors_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def is_weight(array: np.ndarray) -> bool:
    return array.dtype == np.float32 and array.ndim >= 2 and array.size >= 32


def output_axes(model: onnx.ModelProto) -> dict[str, int]:
    """Initialiser -> the axis of its output channels, where it is not the first."""
    axes = {}
    for node in model.graph.node:
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        if node.op_type in ("Gemm", "MatMul") and not transposed:
            axes[node.input[1]] = 1
        if node.op_type in ("LSTM", "GRU"):
            axes[node.input[1]] = axes[node.input[2]] = 1
    return axes


def as_rows(array: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)


def from_rows(rows: np.ndarray, like: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(like, axis, 0).shape
    return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, axis), np.float32)


def skeleton(model: onnx.ModelProto) -> bytes:
    """The graph with every tensor emptied: nodes, names, shapes."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    for tensor in bare.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.ClearField("int64_data")
    return bare.SerializeToString()


def int8_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = np.maximum(np.abs(rows).max(1, keepdims=True), 1e-30).astype(np.float32) / np.float32(127)
    return np.rint(rows / scale).astype(np.int8), scale


def ternary_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sure = np.abs(rows) > 0.7 * np.abs(rows).mean(1, keepdims=True)
    scale = (np.abs(rows) * sure).sum(1, keepdims=True) / np.maximum(sure.sum(1, keepdims=True), 1)
    return (np.sign(rows) * sure).astype(np.int8), scale.astype(np.float32)


def five_to_a_byte(values: np.ndarray) -> bytes:
    digits = np.pad(values.reshape(-1) + 1, (0, -values.size % 5)).reshape(-1, 5)
    return (digits @ np.array([1, 3, 9, 27, 81])).astype(np.uint8).tobytes()


def integer_control(model: onnx.ModelProto, to_rows, pack: bool) -> tuple[int, dict[str, np.ndarray]]:
    """Bytes after xz, and the tensors as the decoder would see them."""
    axes, whole, scales, rest, packed, seen = output_axes(model), b"", b"", b"", b"", {}
    for name, array in tensors_of(model).items():
        if not is_weight(array):
            rest += array.tobytes()
            continue
        axis = axes.get(name, 0)
        rows, scale = to_rows(as_rows(array, axis))
        whole += rows.tobytes()
        packed += five_to_a_byte(rows) if pack else b""
        scales += scale.tobytes()
        seen[name] = from_rows(rows * scale, array, axis)
    others = scales + rest + skeleton(model)
    sizes = [xz(whole + others)] + ([xz(packed + others)] if pack else [])
    return min(sizes), seen


def half_control(model: onnx.ModelProto) -> tuple[int, dict[str, np.ndarray]]:
    size, seen = len(skeleton(model)), {}
    for name, array in tensors_of(model).items():
        floating = array.dtype == np.float32
        size += array.size * 2 if floating else array.nbytes
        if floating:
            seen[name] = array.astype(np.float16).astype(np.float32)
    return size, seen


def nncodec_control(model: onnx.ModelProto, qp: int) -> tuple[int, dict[str, np.ndarray]]:
    """NNC's own bit stream of all float tensors (weights as output channels x rest), plus the xz-ed skeleton and integers."""
    if not NNCODEC_PYTHON.exists():
        raise Unavailable("nncodec is not installed: see run.sh")
    folder = datasets.WORK / "nncodec"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = tensors_of(model)
    floats = {name: array for name, array in arrays.items() if array.dtype == np.float32 and array.size > 1}
    axes = output_axes(model)
    sent = [as_rows(array, axes.get(name, 0)) if is_weight(array) else array.reshape(-1) for name, array in floats.items()]
    np.savez(folder / "in.npz", **{str(i): array for i, array in enumerate(sent)})
    command = [NNCODEC_PYTHON, Path(__file__).with_name("nncodec_child.py"), folder / "in.npz", folder / "out.npz", str(qp)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable("nncodec failed: " + (done.stderr.strip().splitlines() or ["no message"])[-1])
    decoded = np.load(folder / "out.npz")
    seen = {
        name: from_rows(decoded[str(i)], array, axes.get(name, 0)) if is_weight(array) else decoded[str(i)].reshape(array.shape)
        for i, (name, array) in enumerate(floats.items())
    }
    others = b"".join(array.tobytes() for name, array in arrays.items() if name not in floats)
    return json.loads(done.stdout.splitlines()[-1])["bytes"] + xz(others + skeleton(model)), seen


CONTROLS = {
    "control: fp16": half_control,
    "control: int8 + xz": lambda model: integer_control(model, int8_rows, pack=False),
    "control: ternary + xz": lambda model: integer_control(model, ternary_rows, pack=True),
    "control: nncodec qp -38": lambda model: nncodec_control(model, -38),
    "control: nncodec qp -26": lambda model: nncodec_control(model, -26),
}


def measure(task: Task, name: str, reference: list) -> dict:
    """Bytes and quality of one control on one net."""
    model = onnx.load(prepare.static_path(task))
    size, seen = CONTROLS[name](model)
    for tensor in model.graph.initializer:
        if tensor.name in seen:
            tensor.CopyFrom(numpy_helper.from_array(seen[tensor.name], tensor.name))
    path = datasets.WORK / "files" / task.net / "control.onnx"
    onnx.save(model, path)
    engine = ort_runner(path, threads=1)
    keys = task.keys()
    kept = task.evaluate(lambda feed: engine(task.static(feed)), keys)
    path.unlink()
    return {"bytes": size, "scores": task.score(keys, kept), "agreement": task.agreement(kept, reference), "n": len(keys)}
