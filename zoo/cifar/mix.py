#!/usr/bin/env python3
"""Writes training pictures for retraining on CIFAR-10, in CIFAR's own binary form: lossless pictures repeated, and JPEG ones beside.

    ./mix.py --lossless train4000.bin --repeat 5 --jpeg train50000-jpeg.tar.xz --every 4 --output mix.bin

The JPEG archive holds folders of 32 x 32 pictures by class. Strong JPEG moves what a network says by points, so that lossless pictures have to be among what
it is retrained on; each is repeated to keep its share. Labels are written as they are known, and retraining needn't read them. Needs numpy and Pillow.
"""
import argparse
import io
import random
import tarfile

import numpy
from PIL import Image

CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
RECORD = 1 + 3 * 32 * 32


def jpeg_records(path, every):
    records = []
    with tarfile.open(path) as archive:
        for index, member in enumerate(m for m in archive if m.isfile() and m.name.endswith(".jpg")):
            if index % every:
                continue
            pixels = numpy.asarray(Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB"))
            label = CLASSES.index(member.name.split("/")[-2])
            records.append(numpy.concatenate([[numpy.uint8(label)], pixels.transpose(2, 0, 1).reshape(-1)]))
    return records


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lossless", required=True)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--jpeg", required=True)
    parser.add_argument("--every", type=int, default=4, help="take every so manieth JPEG picture")
    parser.add_argument("--output", default="mix.bin")
    arguments = parser.parse_args()
    lossless = numpy.fromfile(arguments.lossless, numpy.uint8).reshape(-1, RECORD)
    records = [*lossless] * arguments.repeat + jpeg_records(arguments.jpeg, arguments.every)
    random.Random(1).shuffle(records)
    numpy.stack(records).tofile(arguments.output)
    print(f"{len(records)} pictures")


if __name__ == "__main__":
    main()
