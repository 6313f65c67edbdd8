#!/usr/bin/env python3
"""Solves every memory planning instance of a folder with `pith plan` and writes how it went as CSV.

    tools/plan_instances.py FOLDER [--pith build/default/cli/pith] [-o tests/quality/plan_instances.csv]

An instance is NAME.CAPACITY.csv, as github.com/google/minimalloc has them (columns id, lower, upper, size). The plan is
checked here, independently of pith: no two buffers that live together may overlap, and none may reach beyond the
capacity. Seconds are of this machine; the rest is the same everywhere.
"""
import argparse
import csv
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def peak_of(path):
    """The highest end of any buffer; raises ValueError where two collide."""
    with open(path, newline="") as file:
        rows = [{k: int(v) for k, v in row.items() if k != "id"} | {"id": row["id"]} for row in csv.DictReader(file)]
    rows.sort(key=lambda r: r["lower"])
    live = []
    for r in rows:
        live = [a for a in live if a["upper"] > r["lower"]]
        for a in live:
            if a["offset"] < r["offset"] + r["size"] and r["offset"] < a["offset"] + a["size"]:
                raise ValueError(f"buffers {a['id']} and {r['id']} overlap")
        live.append(r)
    return max((r["offset"] + r["size"] for r in rows), default=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--pith", default=ROOT / "build/default/cli/pith")
    parser.add_argument("--steps", default="20000000")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "tests/quality/plan_instances.csv")
    args = parser.parse_args()
    instances = sorted(args.folder.glob("*.*.csv"))
    if not instances:
        sys.exit(f"error: no NAME.CAPACITY.csv in '{args.folder}'; give the folder of instances")
    lines, failed = ["instance,buffers,capacity,reached,seconds"], 0
    for path in instances:
        capacity = int(path.name.split(".")[-2])
        placed = args.output.with_suffix(".placed")
        started = time.monotonic()
        done = subprocess.run([args.pith, "plan", path, "--capacity", str(capacity), "--steps", args.steps, "-q", "-o", placed], text=True, capture_output=True)
        seconds = time.monotonic() - started
        reached = ""
        if done.returncode == 0:
            reached = peak_of(placed)
            placed.unlink()
        if reached == "" or reached > capacity:
            failed += 1
            print(done.stderr.strip(), file=sys.stderr)
        buffers = sum(1 for _ in open(path)) - 1
        lines.append(f"{path.name.split('.')[0]},{buffers},{capacity},{reached},{seconds:.1f}")
        print(lines[-1])
    args.output.write_text("\n".join(lines) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
