#!/usr/bin/env python3
"""Bytes against quality without retraining, on the networks of a data folder.

    tools/post_training.py DATA --nets mlperf-tiny-resnet8 --ratios 8,12 [--macs 0.5]

For each network and ratio: `pith compress --no-retrain --ratio`, then float and compressed through the C++ runtime on what didn't
calibrate (tools/quality.py says what). Rows go into tests/quality/post_training.csv; a network's rows of the same
ratio and share of operations are replaced. The ratio counts 4 bytes for every parameter over the bytes of the whole file.
"""
import argparse
import pathlib
import tempfile

import quality

TABLE = quality.ROOT / "tests" / "quality" / "post_training.csv"
COLUMNS = ["network", "asked", "macs", "ratio", "file_bytes", "samples", "metric", "float", "compressed", "drop"]


class Bench(quality.Bench):
    """The same measurements on a file that was made without retraining at a ratio."""

    def __init__(self, program, folder, work, asked, macs):
        super().__init__(program, folder, work)
        self.asked, self.macs = asked, macs

    def files(self, network, model, samples, count, flags, held_back=8):
        big, small = self.work / "float.pith", self.work / "small.pith"
        self.pith("compile", model, *flags, "-o", big)
        extra = (["--no-retrain", "--ratio", self.asked] if self.asked else []) + (["--macs", self.macs] if self.macs != "1" else [])
        made = self.pith("compress", model, *flags, "--samples", samples, "--data-count", count, "--held-back", held_back, *extra, "-o", small)
        self.common = {"network": network, "asked": self.asked, "macs": self.macs, "ratio": f"{made['ratio']:.2f}", "file_bytes": made["bytes"]}
        return big, small


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--nets", required=True)
    parser.add_argument("--ratios", default="", help="none: 8 bits")
    parser.add_argument("--macs", default="1", help="share of the multiply-accumulates that stays")
    parser.add_argument("--program", default=quality.ROOT / "build" / "default" / "cli" / "pith")
    options = parser.parse_args()
    rows = quality.read_table(TABLE)
    for name in options.nets.split(","):
        for asked in options.ratios.split(","):
            with tempfile.TemporaryDirectory() as work:
                bench = Bench(options.program, options.data, work, asked, options.macs)
                quality.NETWORKS[name](bench)
            new = bench.rows[0]["network"]
            rows = [r for r in rows if (r["network"], r["asked"], r["macs"]) != (new, asked, options.macs)] + bench.rows
            rows.sort(key=lambda r: (r["network"], float(r["macs"]), float(r["asked"] or 0)))
            quality.write_table(TABLE, COLUMNS, ({k: str(r[k]) for k in COLUMNS} for r in rows))


if __name__ == "__main__":
    main()
