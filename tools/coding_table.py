#!/usr/bin/env python3
"""Bytes of 8-bit networks: int8 + xz, and pith's codes with and without a price of bits; writes tests/quality/coding.csv.

    tools/coding_table.py build/default/cli/pith DATA [--nets ultraface-rfb-320,yolov5n] [--all-codes] [--output FILE]

DATA is the folder that tools/quality.py takes. Each net is compressed as there, on fewer samples where it is large; nets of
sounds are calibrated on seeded noise, which decides activations and biases but hardly a byte of the weights. Without
--all-codes only the default is measured, rows of other codes stay as they are. Needs numpy and onnx; the control is the
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
PICTURES, CIFAR = "imagenet/images.tar", "cifar10/train4000.bin"


def picture(recipe, *more):
    return ["--preprocess", "image:rgb:" + recipe, *more]


# samples below DATA (none: noise), how many, flags
NETS = {
    "mlperf-tiny-resnet8": (CIFAR, 256, picture("32x32")),
    "cifar-resnet20": (CIFAR, 256, picture("32x32:mean=123.675,116.28,103.53:scale=0.01712475,0.017507,0.01742919")),
    "mlperf-tiny-kws": (None, 256, []),
    "mlperf-tiny-ad": (None, 256, []),
    "mlperf-tiny-vww": (PICTURES, 256, picture("96x96:stretch:pil_bilinear:scale=1/255")),
    "silero_vad_16k": (None, 256, ["--input-shape", "input:1x576", "--dimension", "batch=1", "--state", "state=stateN"]),
    "ultraface-rfb-320": (PICTURES, 128, picture("320x240:stretch:pil_bilinear:mean=127:std=128")),
    "mobilenetv2-1.0-224": (PICTURES, 64, picture("224x224:crop:mean=127.5:std=127.5")),
    "yolov5n": (PICTURES, 16, picture("640x640:letterbox=114:scale=1/255", "--cut-head", "--head", "yolov5-raw")),
}
DEFAULT = "mixed, rate weight 4 (default)"
VARIANTS = {
    "rans": ["--codec", "fastest", "--rate-weight", "0"],
    "adaptive": ["--codec", "balanced", "--rate-weight", "0"],
    "mixed": ["--rate-weight", "0"],
    "mixed, rate weight 2": ["--rate-weight", "2"],
    DEFAULT: [],
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


def noise(path, out, flags):
    inputs = onnx.load(path).graph.input
    given = {i.name: [d.dim_value or 1 for d in i.type.tensor_type.shape.dim] for i in inputs}
    state = flags[flags.index("--state") + 1].split("=")[0] if "--state" in flags else None
    if "--input-shape" in flags:
        name, shape = flags[flags.index("--input-shape") + 1].split(":")
        given[name] = [int(d) for d in shape.split("x")]
    random = np.random.default_rng(0)
    arrays = {name: random.normal(size=[256] + shape[1:]).astype(np.float32) for name, shape in given.items() if shape and name != state}
    arrays |= {name: np.int64(16000) for name, shape in given.items() if not shape}  # the rate
    np.savez(out, **(arrays if len(inputs) > 1 else {"x": next(iter(arrays.values()))}))


def compress(a, path, folder, samples, count, flags, net_flags):
    file = pathlib.Path(folder) / "net.pith"
    command = [a.pith, "compress", path, "--samples", samples, "--data-count", str(count), "--held-back", "8", "-o", file, "--json", *net_flags, *flags]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("pith", "data"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--all-codes", action="store_true")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "tests/quality/coding.csv")
    a = parser.parse_args()
    head = ["net", "code", "bytes", "bits per parameter", "sqnr in dB on held-back samples"]
    rows = {}
    if a.output.exists():
        with open(a.output, newline="") as file:
            rows = {(r[0], r[1]): r for r in list(csv.reader(file))[1:]}
    for net in a.nets.split(","):
        source, count, flags = NETS[net]
        path = a.data / "nets" / f"{net}.onnx"
        with tempfile.TemporaryDirectory() as folder:
            samples = a.data / source if source else pathlib.Path(folder) / "noise.npz"
            if source is None:
                noise(path, samples, flags)
            for variant, more in VARIANTS.items():
                if variant != DEFAULT and not a.all_codes:
                    continue
                done = compress(a, path, folder, samples, count, more, flags)
                rows[net, variant] = [net, variant, done["bytes"], round(done["bits_per_parameter"], 3), round(done["held_back"]["sqnr_db"], 1)]
                print(*rows[net, variant], flush=True)
        control = int8_xz(path)
        rows[net, "int8 + xz"] = [net, "int8 + xz", control, round(8 * control / done["parameters"], 3), ""]
        print(*rows[net, "int8 + xz"], f"{100 * (done['bytes'] / control - 1):.1f} % beside it", flush=True)
    codes = ["int8 + xz", *VARIANTS]
    with open(a.output, "w", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(head)
        table.writerows(rows[net, code] for net in NETS for code in codes if (net, code) in rows)


if __name__ == "__main__":
    main()
