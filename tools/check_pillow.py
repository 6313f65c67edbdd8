#!/usr/bin/env python3
"""Compares our decoding and resizing (data/image.h) with Pillow's, bit for bit, and our `bilinear` with OpenCV's.

    cmake --build --preset default --target data_check
    python3 tools/check_pillow.py [--program build/default/data/data_check] [--rounds 200] [PICTURE...]

Needs Pillow and numpy (PyPI), and opencv-python-headless for the second part, which is left out where it is missing.
Random pictures of random sizes are resized to random sizes; the given pictures are decoded too. Exits with 1 where Pillow
up to version 12 differs at all, or OpenCV or Pillow 13, which sometimes takes the vertical pass first, by more than a level.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy
import PIL
from PIL import Image

try:
    import cv2
except ImportError:
    cv2 = None


def random_picture(rng):
    w, h = (int(v) for v in rng.integers(1, 300, 2))
    if rng.random() < 0.1:
        w, h = 2000, int(rng.integers(1, 20))
    gray = rng.random() < 0.3
    pixels = rng.integers(0, 256, (h, w) if gray else (h, w, 3), dtype=numpy.uint8)
    if rng.random() < 0.5:  # extremes show clipping and rounding
        pixels = (pixels > 127).astype(numpy.uint8) * 255
    return Image.fromarray(pixels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="*")
    parser.add_argument("--program", default="build/default/data/data_check")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = numpy.random.default_rng(options.seed)
    pil_allowed = 0 if int(PIL.__version__.split(".")[0]) < 13 else 1
    pil_differ, pil_worst, cv_worst, decode_differ = 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        source, out = os.path.join(folder, "in.png"), os.path.join(folder, "out.png")

        def ours(*arguments):
            subprocess.run([options.program, *map(str, arguments)], check=True)
            return numpy.asarray(Image.open(out)).astype(int)

        for _ in range(options.rounds):
            picture = random_picture(rng)
            picture.save(source)
            w, h = (int(v) for v in rng.integers(1, 300, 2))
            expected = numpy.asarray(picture.resize((w, h), Image.Resampling.BILINEAR)).astype(int)
            difference = numpy.abs(ours("resize", source, w, h, "pil_bilinear", out) - expected).max()
            pil_differ += difference > 0
            pil_worst = max(pil_worst, difference)
            if cv2 is not None:
                expected = cv2.resize(numpy.asarray(picture), (w, h), interpolation=cv2.INTER_LINEAR).astype(int)
                cv_worst = max(cv_worst, numpy.abs(ours("resize", source, w, h, "bilinear", out) - expected).max())
        for path in options.pictures:
            picture = Image.open(path)
            expected = numpy.asarray(picture.convert("L" if picture.mode == "L" else "RGB")).astype(int)
            decode_differ += not numpy.array_equal(ours("decode", path, out), expected)
            if cv2 is not None:
                expected = cv2.resize(numpy.asarray(picture.convert("RGB")), (333, 222)).astype(int)
                got = ours("resize", path, 333, 222, "bilinear", out)
                cv_worst = max(cv_worst, numpy.abs((got if got.ndim == 3 else got[..., None]) - expected).max())
    print(f"Pillow {PIL.__version__} BILINEAR: {pil_differ} of {options.rounds} random pictures differ, by at most "
          f"{pil_worst} levels (allowed {pil_allowed})")
    print(f"decoding: {decode_differ} of {len(options.pictures)} given pictures differ from Pillow")
    print("OpenCV INTER_LINEAR: " + ("not installed" if cv2 is None else f"largest difference {cv_worst} levels"))
    sys.exit(1 if pil_worst > pil_allowed or decode_differ or cv_worst > 1 else 0)


if __name__ == "__main__":
    main()
