"""Compares pith's float interpreter with ONNX Runtime on whole networks, imported with and without fusion.

    check_against_onnxruntime.py MODEL.onnx... [--runner build/default/tests/pith_node_runner] [--limit 1e-3] [--seed 1]
    check_against_onnxruntime.py nets/*.onnx --dimension sequence=576 --value sr=16000 --csv tests/agreement.csv

Each network runs on seeded random inputs in both; integers of few values (a sampling rate, a token) come from --value
NAME=NUMBER or are drawn from 0 to 99. The error is the largest difference as a part of the largest expected value, over
all outputs. Exits 6 when any is beyond the limit. Needs PyPI's onnx, onnxruntime and numpy; not part of the tests.
"""

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

COLUMNS = ["network", "inputs", "import", "nodes", "verdict", "largest error as a part of the largest value"]
BATCH_NAMES = ("batch", "n", "b", "bs")


def size_of(dimension, position: int, dimensions: dict[str, int]) -> int:
    if dimension.HasField("dim_value"):
        return dimension.dim_value
    name = dimension.dim_param
    if name in dimensions:
        return dimensions[name]
    if position == 0 or name.lower() in BATCH_NAMES:
        return 1
    raise SystemExit(f"dimension {name!r} has no size: give --dimension {name}=SIZE")


def random_input(value, rng, options) -> np.ndarray:
    shape = [size_of(d, i, options.dimensions) for i, d in enumerate(value.type.tensor_type.shape.dim)]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    if value.name in options.values:
        return np.full(shape, options.values[value.name], dtype)
    if np.issubdtype(dtype, np.floating):
        return rng.standard_normal(shape).astype(dtype)
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.integers(0, 100, shape).astype(dtype)


def row_of(path: Path, inputs: dict[str, np.ndarray], form: str, said: str) -> list[str]:
    sizes = " ".join(f"{name}:{'x'.join(map(str, array.shape)) or 'scalar'}" for name, array in inputs.items())
    found = re.search(r"error (\S+) of the largest value, (\d+) nodes", said)
    error, nodes = found.groups() if found else (said, "")
    return [path.name, sizes, form, nodes, said.split(":")[0], error]


def compare(path: Path, options) -> list[list[str]]:
    """A row of COLUMNS for each form of the import."""
    model = onnx.load(path)
    initialised = {t.name for t in model.graph.initializer}
    rng = np.random.default_rng(options.seed)
    inputs = {v.name: random_input(v, rng, options) for v in model.graph.input if v.name not in initialised}
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    outputs = session.run(None, inputs)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, arrays in (("input", inputs.values()), ("output", outputs)):
            for i, array in enumerate(arrays):
                Path(folder, f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(np.asarray(array)).SerializeToString())
        for flags in ([], ["--no-fuse"]):
            command = [options.runner, str(path), folder, "--relative", str(options.limit), *flags]
            done = subprocess.run(command, capture_output=True, text=True)
            said = done.stdout.strip() or f"crash: {done.stderr.strip()[-200:]}"
            rows.append(row_of(path, inputs, "plain" if flags else "fused", said))
            print(f"{path.name:32} {rows[-1][2]:6} {said}", flush=True)
    return rows


def pairs(texts: list[str], kind) -> dict:
    return {name: kind(value) for name, value in (text.split("=") for text in texts)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--runner", default="build/default/tests/pith_node_runner")
    parser.add_argument("--limit", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dimension", action="append", default=[], metavar="NAME=SIZE")
    parser.add_argument("--value", action="append", default=[], metavar="NAME=NUMBER", help="fills an input")
    parser.add_argument("--csv", type=Path, help="writes the table there")
    options = parser.parse_args()
    options.dimensions = pairs(options.dimension, int)
    options.values = pairs(options.value, float)
    rows = [row for path in options.models for row in compare(path, options)]
    if options.csv:
        with options.csv.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    return 0 if all(row[4] == "pass" for row in rows) else 6


if __name__ == "__main__":
    sys.exit(main())
