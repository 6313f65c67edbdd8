#!/usr/bin/env python3
"""Reads line pictures with the exported network under ONNX Runtime and writes the figures to results.csv.

This is the check from outside: another runner than the one that trained it, on the stored held-out lines and on many more freshly
drawn ones. ONNX Runtime is not in Debian; `pip install onnxruntime numpy pillow` in a venv gives all that this program needs, beside
the font packages of README.md.

    ./evaluate.py                      # all sets -> results.csv
    ./evaluate.py --read picture.png   # one picture of a line -> its text
"""

import argparse
import csv
import os

import numpy
import onnxruntime
from PIL import Image

from ctc import greedy_text, score
from make_samples import draw_lines
from render import HELD_OUT, TRAINING, fit

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(HERE, "../../examples/line_reader")
DRAWN = [("held-out fonts, clean, everyday words", HELD_OUT, 0.0, True), ("held-out fonts, worn, everyday words", HELD_OUT, 1.0, True),
         ("held-out fonts, clean, all texts", HELD_OUT, 0.0, False), ("held-out fonts, worn, all texts", HELD_OUT, 1.0, False),
         ("training fonts, clean, all texts", TRAINING, 0.0, False), ("training fonts, worn, all texts", TRAINING, 1.0, False)]


def read(session, pictures):
    """uint8 [N, 32, 512] -> list of N texts."""
    values = (pictures.astype(numpy.float32) - 127.5) / 127.5
    return [greedy_text(session.run(None, {"picture": value[None, None]})[0][0]) for value in values]


def stored_set(name):
    with open(os.path.join(EXAMPLES, f"heldout_{name}.txt"), encoding="ascii") as file:
        texts = file.read().splitlines()
    return texts, numpy.load(os.path.join(EXAMPLES, f"heldout_{name}.npz"))["pictures"][:, 0]


def example_set():
    with open(os.path.join(EXAMPLES, "lines.txt"), encoding="ascii") as file:
        names, texts = zip(*(line.rstrip("\n").split("\t") for line in file))
    return list(texts), numpy.stack([fit(Image.open(os.path.join(EXAMPLES, name))) for name in names])


def all_sets(drawn):
    yield "examples/line_reader/line*.png", *example_set()
    for name in ("clean", "worn"):
        yield f"examples/line_reader/heldout_{name}.npz", *stored_set(name)
    for name, families, wear, everyday in DRAWN if drawn else []:
        yield name, *draw_lines(families, f"evaluation {wear}", drawn, wear, everyday)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default=os.path.join(HERE, "line_reader.onnx"))
    parser.add_argument("--results", default=os.path.join(HERE, "results.csv"))
    parser.add_argument("--drawn", type=int, default=1000, help="lines of each freshly drawn set")
    parser.add_argument("--read", metavar="PICTURE", help="read this picture and stop")
    parser.add_argument("--misses", action="store_true", help="print each line that was not read exactly")
    arguments = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(arguments.network, options, providers=["CPUExecutionProvider"])
    if arguments.read:
        print(read(session, fit(Image.open(arguments.read))[None])[0])
        return
    with open(arguments.results, "w", newline="", encoding="ascii") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["set", "lines", "characters", "character_accuracy", "line_accuracy"])
        for name, texts, pictures in all_sets(arguments.drawn):
            readings = read(session, pictures)
            row = [name, len(texts), sum(map(len, texts)), *(f"{value:.4f}" for value in score(texts, readings))]
            table.writerow(row)
            print(*row, sep="  ", flush=True)
            for text, reading in zip(texts, readings):
                if arguments.misses and text != reading:
                    print(f"    {text}\n    {reading}")


if __name__ == "__main__":
    main()
