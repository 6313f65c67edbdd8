#!/usr/bin/env python3
"""Lays pictures of single things out as scenes of several, for retraining a detector without labels: a tar archive of JPEG pictures.

    ./mosaic.py --pictures images.tar --count 2000 --size 320 --output scenes.tar

A third of the scenes is one picture, a third 2 x 2, a third a random layout of 3 to 6 that overlap; each piece is scaled, mirrored and recoloured a little.
Needs Pillow.
"""
import argparse
import io
import random
import tarfile

from PIL import Image, ImageEnhance


def piece(picture, width, height, rng):
    w, h = picture.size
    part = rng.uniform(0.7, 1.0)
    left, top = rng.uniform(0, w * (1 - part)), rng.uniform(0, h * (1 - part))
    made = picture.resize((width, height), Image.Resampling.BICUBIC, (left, top, left + w * part, top + h * part))
    if rng.random() < 0.5:
        made = made.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        made = enhance(made).enhance(rng.uniform(0.7, 1.3))
    return made


def scene(pictures, size, kind, rng):
    canvas = Image.new("RGB", (size, size), tuple(rng.randrange(256) for _ in range(3)))
    if kind == 0:
        canvas.paste(piece(rng.choice(pictures), size, size, rng))
    elif kind == 1:
        x, y = (round(size * rng.uniform(0.35, 0.65)) for _ in range(2))
        for left, top, right, bottom in ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size)):
            canvas.paste(piece(rng.choice(pictures), right - left, bottom - top, rng), (left, top))
    else:
        canvas.paste(piece(rng.choice(pictures), size, size, rng))
        for _ in range(rng.randint(3, 6)):
            w, h = (round(size * rng.uniform(0.15, 0.5)) for _ in range(2))
            canvas.paste(piece(rng.choice(pictures), w, h, rng), (rng.randint(-w // 4, size - w * 3 // 4), rng.randint(-h // 4, size - h * 3 // 4)))
    return canvas


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--output", default="scenes.tar")
    a = parser.parse_args()
    with tarfile.open(a.pictures) as archive:
        pictures = [Image.open(io.BytesIO(archive.extractfile(m).read())).convert("RGB") for m in archive if m.isfile() and m.name.lower().endswith((".jpg", ".jpeg", ".png"))]
    rng = random.Random(1)
    with tarfile.open(a.output, "w") as archive:
        for index in range(a.count):
            out = io.BytesIO()
            scene(pictures, a.size, index % 3, rng).save(out, "JPEG", quality=95)
            info = tarfile.TarInfo(f"{index:05}.jpg")
            info.size = len(out.getvalue())
            out.seek(0)
            archive.addfile(info, out)


if __name__ == "__main__":
    main()
