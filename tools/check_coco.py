#!/usr/bin/env python3
"""Compares our COCO score (data/coco.h) with pycocotools' COCOeval on random detections.

    cmake --build --preset default --target data_check
    python3 tools/check_coco.py instances.json [--program build/default/data/data_check] [--rounds 20]

Needs pycocotools and numpy (PyPI). Detections are true boxes, moved and rescored, some doubled, some on crowds, and boxes
at random; scores are coarse so that ties happen. Exits with 1 where any figure differs by more than 1e-9.
"""
import argparse
import contextlib
import io
import json
import random
import subprocess
import sys
import tempfile

import numpy
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def random_detections(truth, rng):
    found = []
    categories = [c["id"] for c in truth["categories"]]
    noise = rng.choice([0.01, 0.05, 0.15])
    for a in truth["annotations"]:
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            x, y, w, h = a["bbox"]
            box = [x + rng.gauss(0, noise) * w, y + rng.gauss(0, noise) * h,
                   w * abs(1 + rng.gauss(0, noise)), h * abs(1 + rng.gauss(0, noise))]
            if rng.random() < 0.1:
                box = a["bbox"]  # overlap exactly 1
            category = a["category_id"] if rng.random() < 0.9 else rng.choice(categories)
            found.append({"image_id": a["image_id"], "category_id": category, "bbox": box,
                          "score": round(rng.random(), rng.choice([1, 2, 6]))})
    for image in truth["images"]:
        # now and then more than the 100 that count
        for _ in range(rng.choice([0, 5, 20, 150])):
            found.append({"image_id": image["id"], "category_id": rng.choice(categories[:3]),
                          "bbox": [rng.uniform(0, 500), rng.uniform(0, 300), rng.uniform(1, 300), rng.uniform(1, 300)],
                          "score": round(rng.random(), 2)})
    rng.shuffle(found)
    return found


def peer_scores(truth, found):
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        e = COCOeval(coco, coco.loadRes([dict(d) for d in found]), "bbox")
        e.evaluate()
        e.accumulate()
        e.summarize()
    per_category = []
    for k in range(len(e.params.catIds)):
        p = e.eval["precision"][:, :, k, 0, 2]
        per_category.append(numpy.mean(p[p > -1]) if (p > -1).any() else -1.0)
    return [e.stats[0], e.stats[1], e.stats[2], e.stats[8]] + per_category


def our_scores(program, truth_path, found):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(found, file)
        file.flush()
        out = subprocess.run([program, "coco", truth_path, file.name], check=True, capture_output=True, text=True)
    return [float(line) for line in out.stdout.split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("truth")
    parser.add_argument("--program", default="build/default/data/data_check")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with open(options.truth) as file:
        truth = json.load(file)
    rng = random.Random(options.seed)
    worst = 0.0
    for i in range(options.rounds):
        found = random_detections(truth, rng)
        peer, ours = peer_scores(truth, found), our_scores(options.program, options.truth, found)
        if len(peer) != len(ours):
            sys.exit(f"{len(ours)} figures of ours for {len(peer)} of pycocotools")
        difference = max(abs(a - b) for a, b in zip(peer, ours))
        worst = max(worst, difference)
        print(f"round {i + 1}: {len(found)} detections, AP {ours[0]:.6f} AP50 {ours[1]:.6f} AP75 {ours[2]:.6f} "
              f"AR {ours[3]:.6f}, largest difference of {len(ours)} figures {difference:.2g}")
    print(f"largest difference {worst:.3g} (allowed 1e-9)")
    sys.exit(0 if worst <= 1e-9 else 1)


if __name__ == "__main__":
    main()
