#!/usr/bin/env python3
"""The ratchet on committed results: each file of results.csv is there, has the stated bytes, loads, is read by the second reader, and is as good as stated.

    zoo/results_test.py build/default/cli/pith [DATA]

Bytes, parameters and ratio are checked for every row. Quality is measured again, by `pith eval` over the row's whole set, where the row's samples are at
hand: in the repository, or under DATA (default: the environment's PITH_DATA), which holds the public sets under the names that the column gives.
"""
import csv
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(pith, *arguments):
    return json.loads(subprocess.run([pith, *map(str, arguments), "--json"], check=True, stdout=subprocess.PIPE, text=True).stdout)


def samples_of(row, data):
    for folder in filter(None, [ROOT, data]):
        path = pathlib.Path(folder) / row["samples"]
        if path.exists():
            return path
    return None


def masked_nats(pith, file, text):
    """Nats of masked words on held-out lines, every sixth of those that zoo/masked_lm/vocabulary.py holds out of a folder of text."""
    sys.path.insert(0, str(ROOT / "zoo/masked_lm"))
    from vocabulary import read

    with tempfile.NamedTemporaryFile("w", suffix=".txt") as lines:
        lines.write("\n".join(read(text)[1][::6]) + "\n")
        lines.flush()
        return run(pith, "run", file, "--text-file", lines.name, "--nats")["results"][0]["nats_per_token"]


def check(pith, row, data):
    file = ROOT / "zoo" / row["file"]
    faults = []
    size = file.stat().st_size
    if size != int(row["bytes"]):
        faults.append(f"{size} bytes, stated {row['bytes']}")
    second = subprocess.run([sys.executable, ROOT / "tools/read_pith.py", file], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if second.returncode != 0:
        faults.append(f"the second reader: {second.stderr.strip()}")
    info = run(pith, "info", file)
    if int(info["parameters"]) != int(row["parameters"]):
        faults.append(f"{info['parameters']} parameters, stated {row['parameters']}")
    ratio = 4 * int(row["parameters"]) / size
    if abs(ratio - float(row["ratio"])) > 0.051:
        faults.append(f"ratio {ratio:.1f}, stated {row['ratio']}")
    if abs(float(row["float"]) - float(row["compressed"]) - float(row["drop"])) > 0.006:
        faults.append("the drop isn't the difference of the two qualities")
    samples, measured = samples_of(row, data), "not measured: no samples here"
    if samples and row["metric"] == "nats":  # less is better; the drop is the growth, with its sign
        nats = masked_nats(pith, file, samples)
        measured = f"{nats:.3f}"
        if nats > float(row["compressed"]) + 0.005:
            faults.append(f"{row['metric']} {measured}, stated {row['compressed']}")
    elif samples:
        metrics = run(pith, "eval", file, "--samples", samples, *shlex.split(row["eval_flags"].replace("ROOT", str(ROOT)).replace("DATA", str(data))))["metrics"]
        measured = f"{metrics[row['metric']]:.2f} %"
        if metrics[row["metric"]] < float(row["compressed"]) - 0.03:
            faults.append(f"{row['metric']} {measured}, stated {row['compressed']}")
    print(f"{row['file']}: {size} bytes, {ratio:.1f}x, {row['metric']} {measured}", "; ".join(["", *faults]) if faults else "")
    return not faults


def main():
    pith, data = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else os.environ.get("PITH_DATA")
    rows = list(csv.DictReader(open(ROOT / "zoo/results.csv", newline="")))
    return 0 if rows and all([check(pith, row, data) for row in rows]) else 1


if __name__ == "__main__":
    sys.exit(main())
