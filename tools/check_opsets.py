"""The same networks at every opset from 11 to 23, converted by ONNX's version converter: tests/opsets.csv.

    PEERS/python tools/check_opsets.py build/kinds/*-11.onnx --csv tests/opsets.csv

A cell is the largest error of the imported network against ONNX Runtime on the original file, as a part of the largest
value; "-" where the converter has no way there (its reason goes to stderr). Inputs come from NAME.npz beside NAME-11.onnx
(tools/kinds), or are drawn for any other file. Exits 6 where a network differs or is refused. Needs PyPI's onnx,
onnxruntime and numpy.
"""

import argparse
import csv
import sys
import tempfile
from pathlib import Path

import check_against_onnxruntime as agreement
import check_model_kinds as kinds
import numpy as np
import onnx
from onnx import numpy_helper, version_converter

OPSETS = range(11, 24)


def given_inputs(path: Path, model, options) -> list[np.ndarray]:
    beside = path.with_name(path.stem.rsplit("-", 1)[0] + ".npz")
    initialised = {t.name for t in model.graph.initializer}
    ports = [v for v in model.graph.input if v.name not in initialised]
    if beside.exists():
        data = np.load(beside)
        return [data[sorted(data.files)[int(port.name[2:])]] for port in ports]
    rng = np.random.default_rng(1)
    return [agreement.random_input(port, rng, options) for port in ports]


def outputs_of(path: Path, model, inputs: list[np.ndarray]) -> list[np.ndarray]:
    initialised = {t.name for t in model.graph.initializer}
    names = [v.name for v in model.graph.input if v.name not in initialised]
    settings = kinds.onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = kinds.onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, inputs, strict=True)))


def converted(model, opset: int, name: str):
    try:
        return version_converter.convert_version(model, opset)
    except Exception as error:  # the converter throws what it likes
        print(f"{name} to {opset}: {str(error).strip().splitlines()[-1][:160]}", file=sys.stderr)
        return None


def sweep(path: Path, options) -> list[str]:
    model = onnx.load(path)
    inputs = given_inputs(path, model, options)
    outputs = outputs_of(path, model, inputs)
    start = next(entry.version for entry in model.opset_import if entry.domain == "")
    cells = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, arrays in (("input", inputs), ("output", outputs)):
            for i, array in enumerate(arrays):
                Path(folder, f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(np.asarray(array)).SerializeToString())
        for opset in OPSETS:
            other = model if opset == start else converted(model, opset, path.name)
            if other is None:
                cells.append("-")
                continue
            file = Path(folder, "model.onnx")
            onnx.save(other, file)
            cells.append(kinds.error(options.runner, file, folder, []))
    return [path.stem, str(start), *cells]


def good(row: list[str]) -> bool:
    try:
        return all(cell == "-" or float(cell) <= kinds.LIMIT for cell in row[2:])
    except ValueError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--runner", default="build/default/tests/pith_node_runner")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    options.dimensions, options.values = {"sequence": 576}, {"sr": 16000}
    rows = []
    for path in options.models:
        rows.append(sweep(path, options))
        print("ok  " if good(rows[-1]) else "BAD ", *rows[-1], flush=True)
    if options.csv:
        with options.csv.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([["network", "written at", *map(str, OPSETS)], *rows])
    return 0 if all(map(good, rows)) else 6


if __name__ == "__main__":
    sys.exit(main())
