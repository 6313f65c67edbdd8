#!/usr/bin/env python3
"""What plain tools make of the weights that a result of this folder started from, beside it: zoo/controls.csv.

    build/peers/venv/bin/python zoo/controls.py PITH NETWORK ORIGINAL.onnx METRIC "COMPILE FLAGS" "EVAL FLAGS"

Bytes as bench/peers/controls.py counts them (its venv, and nncodec's, are made by bench/peers/run.sh); quality of the rounded weights by pith's own float path, without
rounding of activations, which favours the controls. Rows of the network are replaced,
but for those of dense networks.
"""
import csv
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench" / "peers"))
import controls  # noqa: E402
import onnx  # noqa: E402

COLUMNS = ["network", "control", "bytes", "metric", "quality"]


def pith(program, *arguments):
    return json.loads(subprocess.run([program, *map(str, arguments), "--json"], check=True, stdout=subprocess.PIPE, text=True).stdout)


def main():
    program, network, original, metric, compile_flags, eval_flags = sys.argv[1:7]
    table = ROOT / "zoo" / "controls.csv"
    rows = [r for r in csv.DictReader(open(table, newline=""))] if table.exists() else []
    rows = [r for r in rows if r["network"] != network or r["control"].startswith("dense")]  # another network, trained: see lenet/README.md
    with tempfile.TemporaryDirectory() as work:
        rounded, file = pathlib.Path(work) / "rounded.onnx", pathlib.Path(work) / "rounded.pith"
        for name, control in controls.CONTROLS.items():
            model = onnx.load(original)
            try:
                size, seen = control(model)
            except controls.Unavailable as e:
                print(f"{name}: {e}", file=sys.stderr)
                continue
            for tensor in model.graph.initializer:
                if tensor.name in seen:
                    tensor.CopyFrom(onnx.numpy_helper.from_array(seen[tensor.name], tensor.name))
            onnx.save(model, rounded)
            pith(program, "compile", rounded, *shlex.split(compile_flags), "-o", file)
            quality = pith(program, "eval", file, *shlex.split(eval_flags))["metrics"][metric] * (100 if metric.startswith("ap") else 1)
            rows.append(dict(zip(COLUMNS, [network, name.removeprefix("control: "), size, metric, f"{quality:.2f}"])))
            print(rows[-1], flush=True)
    with open(table, "w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
