#!/usr/bin/python3
"""Trains the two classic networks of the compression literature on MNIST, and writes them as ONNX.

LeNet-5 in Caffe's form (431,080 parameters: two convolutions without an activation, two max-poolings, 500 and 10 neurons) and LeNet-300-100
(266,610; LeCun et al. 1998). Both are what every paper on compression starts from, so that bytes can be compared. Recipe: Adam, cosine schedule,
pictures moved by up to two pixels, an exponential moving average of the weights; every twelfth training picture is held out and never trained on.

    ./train.py --net lenet5 --mnist DIR --epochs 10 --output lenet5.onnx        # about 10 minutes on one core
    ./train.py --net lenet300 --mnist DIR --epochs 30 --output lenet300.onnx
    ./train.py --net dense5 --mnist DIR --epochs 10 --output dense5.onnx        # and dense300: rivals of equal bytes

Needs Debian's python3-torch and python3-numpy. DIR holds the four IDX files, gzipped.
"""

import argparse
import copy
import gzip
import math
import os
import time

import numpy
import torch
from torch import nn
from torch.nn import functional


def lenet5():
    return nn.Sequential(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10))


def lenet300():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))


# As few numbers as their large brothers have bytes once they are compressed: what one might train instead.
def dense5():
    return nn.Sequential(nn.Conv2d(1, 5, 5), nn.MaxPool2d(2), nn.Conv2d(5, 10, 5), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(160, 30), nn.ReLU(), nn.Linear(30, 10))


def dense300():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 13), nn.ReLU(), nn.Linear(13, 20), nn.ReLU(), nn.Linear(20, 10))


NETS = {"lenet5": lenet5, "lenet300": lenet300, "dense5": dense5, "dense300": dense300}


def read_idx(path):
    data = gzip.open(path).read()
    dims = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big") for i in range(data[3])]
    return torch.from_numpy(numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * data[3]).reshape(dims).copy())


def read_set(folder, part):
    pictures = read_idx(os.path.join(folder, f"{part}-images-idx3-ubyte.gz")).float().unsqueeze(1) / 255
    return pictures, read_idx(os.path.join(folder, f"{part}-labels-idx1-ubyte.gz")).long()


def moved(x, pixels):
    """Each picture shifted by its own whole number of pixels, zeros coming in."""
    n, _, h, w = x.shape
    padded = functional.pad(x, [pixels] * 4)
    dy, dx = torch.randint(0, 2 * pixels + 1, (2, n))
    rows = (dy[:, None] + torch.arange(h)).view(n, 1, h, 1)
    columns = (dx[:, None] + torch.arange(w)).view(n, 1, 1, w)
    return padded[torch.arange(n).view(n, 1, 1, 1), 0, rows, columns]


def errors(model, x, y):
    model.eval()
    with torch.no_grad():
        wrong = sum(int((model(x[i:i + 500]).argmax(1) != y[i:i + 500]).sum()) for i in range(0, len(x), 500))
    model.train()
    return 100 * wrong / len(x)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=sorted(NETS), required=True)
    parser.add_argument("--mnist", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--shift", type=int, default=2)
    a = parser.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(1)
    x, y = read_set(a.mnist, "train")
    held = torch.zeros(len(x), dtype=torch.bool)
    held[::12] = True  # the files may be sorted by class
    held_x, held_y, x, y = x[held], y[held], x[~held], y[~held]
    model = NETS[a.net]()
    average = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=a.rate)
    steps = a.epochs * (len(x) // a.batch)
    step = 0
    started = time.time()
    for epoch in range(a.epochs):
        order = torch.randperm(len(x))
        for i in range(0, len(x) - a.batch + 1, a.batch):
            pick = order[i:i + a.batch]
            for group in optimizer.param_groups:
                group["lr"] = a.rate * 0.5 * (1 + math.cos(math.pi * step / steps))
            loss = functional.cross_entropy(model(moved(x[pick], a.shift)), y[pick])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            keep = min(0.998, step / (step + 10))
            with torch.no_grad():
                for p, q in zip(average.parameters(), model.parameters()):
                    p.mul_(keep).add_(q, alpha=1 - keep)
        print(f"epoch {epoch + 1}: held-out error {errors(average, held_x, held_y):.2f} %, {time.time() - started:.0f} s", flush=True)
        torch.onnx.export(average.eval(), torch.zeros(1, 1, 28, 28), a.output, opset_version=13, input_names=["picture"], output_names=["logits"])
    test_x, test_y = read_set(a.mnist, "t10k")
    print(f"test error {errors(average, test_x, test_y):.2f} %")


if __name__ == "__main__":
    main()
