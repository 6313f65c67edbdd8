#!/usr/bin/env python3
"""Would a transform across channels make coded activations smaller? What it could gain, measured.

    tools/channel_transform.py DATA [--pictures 6]     needs onnx, onnxruntime and PIL (bench/peers has them)

The codec of waiting activations (numerics/row_model.h) predicts a value from its left neighbour, its zero point or the middle
of both, channel by channel. A transform that is fixed beforehand could decorrelate channels first: the best one in theory
is that of Karhunen and Loeve, the eigenvectors of the channels' second moments (here fitted on every other picture and
measured on the rest). Both ways, numbers on one uniform step (1/64 of a tensor's range; an orthonormal transform keeps
squared errors) are predicted by whichever of the three predictions makes a channel's empirical entropy least, and the entropies
are compared. That flatters the transform: its side information isn't counted, nor that it costs channels^2 multiplications
a position, nor that rounded results no longer repeat the zeros that half of all values are.

Tensors: pictures of at least eight channels and 28 x 28 positions that convolutions read. Writes tests/quality/channel_transform.csv.
"""
import argparse
import pathlib
import tarfile

import numpy as np
import onnx
import onnxruntime
from PIL import Image

from quality import write_table

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "quality" / "channel_transform.csv"
COLUMNS = ["network", "tensors", "bits_plain", "bits_transformed", "tensors_better", "most_saved", "bits_if_best_of_both"]


def pictures(path, count, size, scale):
    """Whole pictures squeezed to size x size: statistics, not answers, are wanted."""
    files = tarfile.open(path) if path.is_file() else None
    names = sorted(n for n in (files.getnames() if files else (p.name for p in path.iterdir())) if n.lower().endswith((".jpg", ".jpeg", ".png")))[:count]
    for name in names:
        image = Image.open(files.extractfile(name) if files else path / name).convert("RGB").resize((size, size))
        yield scale(np.asarray(image, np.float32)).transpose(2, 0, 1)[None]


def activations(model, feeds):
    """By name, a list of (positions in rows x width x channels) arrays, one for each picture."""
    graph = onnx.load(model)
    constants = {i.name for i in graph.graph.initializer}
    wanted = sorted({n.input[0] for n in graph.graph.node if n.op_type == "Conv"} - constants - {i.name for i in graph.graph.input})
    graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found = {name: [] for name in wanted}
    for feed in feeds:
        for name, value in zip(wanted, session.run(wanted, {session.get_inputs()[0].name: feed})):
            if value.ndim == 4 and value.shape[1] >= 8 and value.shape[3] >= 28:
                found[name].append(value[0].transpose(1, 2, 0))
    return {name: values for name, values in found.items() if values}


def entropy(numbers):
    _, counts = np.unique(numbers, return_counts=True)
    p = counts / counts.sum()
    return float(-(p * np.log2(p)).sum())


def bits_at(parts, step):
    """Mean bits a value of (rows x width x channels) parts on a step, each channel by its best prediction."""
    whole = [np.rint(x / step).astype(np.int64) for x in parts]
    total = 0.0
    channels = whole[0].shape[2]
    for c in range(channels):
        planes = [w[:, :, c] for w in whole]
        left = [p[:, 1:] - p[:, :-1] for p in planes]
        middle = [p[:, 1:] - (p[:, :-1] >> 1) for p in planes]
        total += min(entropy(np.concatenate([p[:, 1:].ravel() for p in group])) if group is planes else entropy(np.concatenate([p.ravel() for p in group])) for group in (planes, left, middle))
    return total / channels


def compared(values, rows=24):
    """Bits a value of one tensor, as it is and transformed."""
    fitted, measured = values[0::2], [x[:rows].astype(np.float64) for x in values[1::2]]
    flat = np.concatenate([x.reshape(-1, x.shape[2]) for x in fitted]).astype(np.float64)
    vectors = np.linalg.eigh(flat.T @ flat / len(flat))[1]
    step = (flat.max() - min(flat.min(), 0)) / 64
    return bits_at(measured, step), bits_at([x @ vectors for x in measured], step)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--pictures", type=int, default=6)
    o = parser.parse_args()
    nets = {"mobilenetv2": ("mobilenetv2-1.0-224.onnx", 224, lambda x: x / 127.5 - 1), "yolov5n": ("yolov5n.onnx", 640, lambda x: x / 255)}
    rows = []
    for name, (model, size, scale) in nets.items():
        values = activations(o.data / "nets" / model, pictures(o.data / "imagenet" / "images.tar", o.pictures, size, scale))
        pairs = [compared(v) for v in values.values()]
        plain, turned, best = (np.mean([f(p) for p in pairs]) for f in (lambda p: p[0], lambda p: p[1], min))
        rows.append(dict(zip(COLUMNS, [name, len(pairs), f"{plain:.3f}", f"{turned:.3f}", sum(t < p for p, t in pairs), f"{max(p - t for p, t in pairs):.3f}", f"{best:.3f}"])))
        print(rows[-1], flush=True)
    write_table(TABLE, COLUMNS, rows)


if __name__ == "__main__":
    main()
