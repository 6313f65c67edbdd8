"""Every kind of network that pith is for, exported by torch at several opsets, against ONNX Runtime: tests/kinds.csv.

    /usr/bin/python3 tools/kinds/export.py build/kinds          # Debian's python3-torch; small networks, seeded weights
    PEERS/python tools/kinds/graphs.py build/kinds             # what that torch does not write
    PEERS/python tools/check_model_kinds.py build/kinds/*.onnx --csv tests/kinds.csv
    PEERS/python tools/kinds/quantized.py build/kinds-quantized build/kinds   # 8-bit files of some of them
    PEERS/python tools/check_model_kinds.py build/kinds-quantized/*.onnx --literal --limits 0.02 0.001 --csv tests/kinds_quantized.csv

For each file: nodes before and after the import, the whole operators that fusion must find (and those it missed), and
the largest error of the float interpreter as a part of the largest value, imported with and without fusion. Exits 6 where
an error is beyond 1e-3 or an operator wasn't found.

An 8-bit file is imported without fusion as it is written; then a difference is a code that falls on the other side of a
rounding, so ONNX Runtime has to compute it literally too (--literal: no optimisation). With fusion the quantisation is
taken out on purpose (pith chooses its own), so that what is left is the noise that the 8 bits had made. The Python that runs this needs PyPI's onnx, onnxruntime and numpy.
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

COLUMNS = ["network", "opset", "nodes in the file", "nodes", "whole operators", "missed", "error fused", "error plain"]
LIMIT = 1e-3


def reference(path: Path, inputs: list[np.ndarray], literal: bool) -> list[np.ndarray]:
    settings = onnxruntime.SessionOptions()
    if literal:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    # an input that tracing found to be of no use isn't in the file
    return session.run(None, {port.name: inputs[int(port.name[2:])] for port in session.get_inputs()})


def error(runner: Path, path: Path, folder: str, flags: list[str], limit: float = LIMIT) -> str:
    done = subprocess.run([runner, path, folder, "--relative", str(limit), *flags], capture_output=True, text=True)
    found = re.search(r"error (\S+) of the largest value", done.stdout)
    return found[1] if done.returncode == 0 and found else (done.stdout or done.stderr).strip()[:300]


def imported_operators(pith: Path, path: Path) -> tuple[int, set[str]]:
    """The number of nodes, and the operators and activations, lower case and without the form (GeluTanh is a Gelu)."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as text:
        done = subprocess.run([pith, "import", path, "-q", "-o", text.name], capture_output=True, text=True)
        if done.returncode:
            return 0, set()
        lines = [line for line in Path(text.name).read_text().splitlines() if line.startswith("node ")]
    words = []
    for line in lines:
        words.append(re.search(r"= (\w+)", line)[1].lower())
        words += [word.lower() for word in re.findall(r" activation\((\w+)", line)]
    return len(lines), {word.removesuffix("tanh") or word for word in words}


def check(path: Path, options) -> list[str]:
    name, opset = path.stem.rsplit("-", 1)
    given = np.load(path.with_name(f"{name}.npz"))
    inputs = [given[key] for key in sorted(given.files)]
    model = onnx.load(path)
    outputs = reference(path, inputs, options.literal)
    with tempfile.TemporaryDirectory() as folder:
        used = [inputs[int(port.name[2:])] for port in model.graph.input]
        for kind, arrays in (("input", used), ("output", outputs)):
            for i, array in enumerate(arrays):
                Path(folder, f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(np.asarray(array)).SerializeToString())
        forms = zip(([], ["--no-fuse"]), options.limits, strict=True)
        errors = [error(options.runner, path, folder, flags, limit) for flags, limit in forms]
    wanted = path.with_name(f"{name}.txt").read_text().split()
    nodes, have = imported_operators(options.pith, path)
    missed = [operator for operator in wanted if operator.lower() not in have]
    return [name, opset, len(model.graph.node), nodes, " ".join(wanted), " ".join(missed), *errors]


def good(row: list[str], limits: list[float]) -> bool:
    try:
        return not row[5] and all(float(value) <= limit for value, limit in zip(row[6:], limits, strict=True))
    except ValueError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--runner", default="build/default/tests/pith_node_runner")
    parser.add_argument("--pith", default="build/default/cli/pith")
    parser.add_argument("--limits", nargs=2, type=float, default=[LIMIT, LIMIT], metavar=("FUSED", "PLAIN"))
    parser.add_argument("--literal", action="store_true", help="ONNX Runtime without optimisations")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    rows = []
    for path in sorted(options.models):
        rows.append(check(path, options))
        print("ok  " if good(rows[-1], options.limits) else "BAD ", *rows[-1], flush=True)
    if options.csv:
        with options.csv.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    return 0 if all(good(row, options.limits) for row in rows) else 6


if __name__ == "__main__":
    sys.exit(main())
