#!/usr/bin/env python3
"""The virtual chip's results against the runtime's on every real network of a data folder and of the zoo.

    tools/chip_check.py DATA [--csv tests/quality/chip_agreement.csv] [--nets yolov5n,mlperf-tiny-kws]

Each network is compressed to 8 bits as tools/quality.py does (with few samples: which values a grid has doesn't matter
here), then `pith chip --check` runs the same random input through the functional simulator, the runtime's reference
kernels and the best kernels of the machine. A difference in any 8-bit or integer result is an error. Networks of
zoo/structures and files of zoo/ follow. Operators that chips don't have make a row of their own.
"""
import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

import quality

COLUMNS = ["network", "whole_results", "float_results", "different_from_reference", "worst_float_from_best", "note"]
STRUCTURES = ["kws", "mobilenetv2", "resnet50", "yolov5s", "yolov3", "roberta"]


class Compressed(Exception):
    pass


class Maker(quality.Bench):
    """Stops where the measuring of quality begins, with the compressed file made."""

    def files(self, network, model, samples, count, flags, held_back=8):
        self.network, self.file = network, self.work / "small.pith"
        self.pith("compress", model, *flags, "--samples", samples, "--data-count", min(count, 16), "--held-back", 1, "-o", self.file)
        raise Compressed


def check(program, name, *arguments):
    done = subprocess.run([program, "chip", *map(str, arguments), "--check", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode == 3:
        return [name, "", "", "", "", done.stderr.strip().split(": ", 1)[-1]]
    if done.returncode != 0:
        sys.exit(f"{name}: {done.stderr}")
    n = json.loads(done.stdout)["networks"][0]
    return [name, n["whole"], n["real"], n["different_from_reference"], f"{n['worst_from_best']:.2g}", ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--pith", type=pathlib.Path, default=quality.ROOT / "build" / "default" / "cli" / "pith")
    parser.add_argument("--nets", default="", help="names of tools/quality.py, separated by ';' or ',' (default: all)")
    parser.add_argument("--csv", type=pathlib.Path, default=quality.ROOT / "tests" / "quality" / "chip_agreement.csv")
    f = parser.parse_args()
    wanted = f.nets.split(";" if ";" in f.nets else ",") if f.nets else []
    rows = []
    for name, make in quality.NETWORKS.items():
        if wanted and name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as work:
            maker = Maker(f.pith, f.data, work)
            try:
                make(maker)
            except Compressed:
                pass
            rows.append(check(f.pith, maker.network, maker.file))
            print(*rows[-1], sep=", ", flush=True)
    if not wanted:
        for file in sorted((quality.ROOT / "zoo").glob("*/*.pith")):
            rows.append(check(f.pith, file.stem, file))
            print(*rows[-1], sep=", ", flush=True)
        for name in STRUCTURES:
            rows.append(check(f.pith, f"{name}, structure", "--structure", name))
            print(*rows[-1], sep=", ", flush=True)
    with f.csv.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
