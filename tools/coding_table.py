#!/usr/bin/env python3
"""Bytes of 8-bit networks: int8 + xz, and pith's codes with and without a price of bits; writes tests/quality/coding.csv.

    tools/coding_table.py build/default/cli/pith NETS CIFAR_TRAIN [--output tests/quality/coding.csv]

NETS is a folder with the ONNX files, CIFAR_TRAIN a CIFAR binary file to calibrate ResNets on; other nets are calibrated on
seeded noise, which decides activations and biases but hardly a byte of the weights. Needs numpy and onnx; the control is the
one of bench/peers/controls.py: weights in 8 bits per output channel, scales, the rest, and the graph in one xz -9e stream.
"""
import argparse
import csv
import json
import lzma
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper

ROOT = pathlib.Path(__file__).resolve().parent.parent
CIFAR = "image:rgb:32x32"
NETS = {
    "mlperf-tiny-resnet8": CIFAR,
    "cifar-resnet20": CIFAR + ":mean=123.675,116.28,103.53:scale=0.01712475,0.017507,0.01742919",
    "mlperf-tiny-kws": None,
    "mlperf-tiny-ad": None,
    "mlperf-tiny-vww": None,
}
VARIANTS = {
    "rans": ["--codec", "fastest", "--rate-weight", "0"],
    "adaptive": ["--codec", "balanced", "--rate-weight", "0"],
    "mixed": ["--rate-weight", "0"],
    "mixed, rate weight 2": ["--rate-weight", "2"],
    "mixed, rate weight 4 (default)": [],
}


def int8_xz(path):
    model = onnx.load(path)
    axes = {}
    for node in model.graph.node:
        if node.op_type in ("Gemm", "MatMul") and not any(a.name == "transB" and a.i for a in node.attribute):
            axes[node.input[1]] = 1
    weights = scales = rest = b""
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.ndim >= 2 and array.size >= 32:
            rows = np.moveaxis(array, axes.get(tensor.name, 0), 0).reshape(array.shape[axes.get(tensor.name, 0)], -1)
            scale = np.maximum(np.abs(rows).max(1, keepdims=True), 1e-30).astype(np.float32) / np.float32(127)
            weights += np.rint(rows / scale).astype(np.int8).tobytes()
            scales += scale.tobytes()
        else:
            rest += array.tobytes()
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.ClearField("int64_data")
    del model.graph.value_info[:]
    return len(lzma.compress(weights + scales + rest + model.SerializeToString(), preset=9 | lzma.PRESET_EXTREME))


def noise(path, out):
    shape = [d.dim_value or 1 for d in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    np.save(out, np.random.default_rng(0).normal(size=[64] + shape[1:]).astype(np.float32))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("pith", "nets", "cifar"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "tests/quality/coding.csv")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open(a.output, "w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["net", "code", "bytes", "bits per parameter", "sqnr in dB on 32 held-back samples"])
        for net, preprocess in NETS.items():
            path, file = a.nets / f"{net}.onnx", pathlib.Path(folder) / "net.pith"
            samples = a.cifar
            if preprocess is None:
                samples = pathlib.Path(folder) / "noise.npy"
                noise(path, samples)
            parameters = 0
            rows = []
            for variant, flags in VARIANTS.items():
                command = [a.pith, "compress", path, "--samples", samples, "--data-count", "256", "--held-back", "32", "-o", file, "--json", *flags]
                command += ["--preprocess", preprocess] if preprocess else []
                done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                parameters = done["parameters"]
                rows.append([net, variant, done["bytes"], round(done["bits_per_parameter"], 3), round(done["held_back"]["sqnr_db"], 1)])
            control = int8_xz(path)
            table.writerow([net, "int8 + xz", control, round(8 * control / parameters, 3), ""])
            table.writerows(rows)
            out.flush()


if __name__ == "__main__":
    main()
