#!/usr/bin/env python3
"""Draws the pictures that travel with the line reader: examples, a held-out set with its texts, and unlabelled samples to calibrate on.

Held-out lines and examples use only font families that training never saw; samples use the training families, since calibration
data comes from where training data came from. Stored pixels are rounded to 16 grey levels, which halves the files and changes nothing
that a reader sees. The same fonts give the same files.

    ./make_samples.py --examples ../../examples/line_reader --samples samples.npz
"""

import argparse
import os
import random

import numpy
from PIL import Image

from line_text import LineText
from render import HELD_OUT, TRAINING, WIDTH, LineRenderer, find_fonts, open_font

EXAMPLES = [("OpenSans-Regular", 0.0, "The quick brown fox jumps"), ("LinLibertine_R", 0.0, "Invoice No. 2023-0417"),
            ("JetBrainsMono-Regular", 0.0, "for (i = 0; i < n; i++) {"), ("Cantarell-Bold", 0.0, "Total due: $1,284.50"),
            ("GenBasI", 0.9, "Dear Mrs. Whitfield, thank you"), ("OpenSans-Semibold", 1.0, "Platform 9, 14:35 to York"),
            ("LinLibertine_RB", 1.0, "CHAPTER XII. A Long Walk"), ("JetBrainsMono-Medium", 1.0, "S/N 7QX-40418-KD")]


def round_levels(pixels):
    return (numpy.round(pixels / 17.0) * 17).astype(numpy.uint8)


def draw_lines(families, seed, count, wear, everyday=False, shortest=4):
    """(texts, uint8 [count, 32, 512]) of lines with at least `shortest` characters."""
    renderer, rng, texts, pictures = LineRenderer(families, LineText(everyday)), random.Random(seed), [], []
    while len(texts) < count:
        text, pixels = renderer.line(rng, WIDTH, wear)
        if len(text) >= shortest:
            texts.append(text)
            pictures.append(round_levels(pixels))
    return texts, numpy.stack(pictures)


def write_examples(folder):
    renderer = LineRenderer(HELD_OUT)
    paths = {os.path.splitext(os.path.basename(path))[0]: path for path, _ in find_fonts(HELD_OUT)}
    with open(os.path.join(folder, "lines.txt"), "w", encoding="ascii") as listing:
        for number, (font, wear, text) in enumerate(EXAMPLES, 1):
            picture = renderer.picture(random.Random(f"example {number}"), text, open_font(paths[font], 34), wear)
            name = f"line{number}.png"
            Image.fromarray(round_levels(numpy.asarray(picture, numpy.float32))).save(os.path.join(folder, name), optimize=True)
            listing.write(f"{name}\t{text}\n")


def write_held_out(folder, name, count, wear):
    texts, pictures = draw_lines(HELD_OUT, f"held out {name}", count, wear)
    numpy.savez_compressed(os.path.join(folder, f"heldout_{name}.npz"), pictures=pictures[:, None])
    with open(os.path.join(folder, f"heldout_{name}.txt"), "w", encoding="ascii") as file:
        file.writelines(text + "\n" for text in texts)


def write_training_lines(path, count):
    """Unlabelled lines in the training fonts, each with its own wear, for retraining: uint8 [count, 1, 32, 512]."""
    renderer, rng = LineRenderer(TRAINING), random.Random("training lines")
    pictures = numpy.empty((count, 1, 32, WIDTH), numpy.uint8)
    for index in range(count):
        pictures[index, 0] = round_levels(renderer.line(rng, WIDTH, rng.random())[1])
    numpy.save(path, pictures)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", default="../../examples/line_reader", help="folder of the example and held-out pictures")
    parser.add_argument("--samples", default="samples.npz", help="file of the unlabelled samples")
    parser.add_argument("--training-lines", type=int, default=0, help="write so many unlabelled training lines to lines.npy, and nothing else")
    arguments = parser.parse_args()
    if arguments.training_lines:
        return write_training_lines("lines.npy", arguments.training_lines)
    os.makedirs(arguments.examples, exist_ok=True)
    write_examples(arguments.examples)
    write_held_out(arguments.examples, "clean", 200, 0.0)
    write_held_out(arguments.examples, "worn", 80, 1.0)
    _, pictures = draw_lines(TRAINING, "samples", 256, 0.6)
    numpy.savez_compressed(arguments.samples, pictures=pictures[:, None])


if __name__ == "__main__":
    main()
