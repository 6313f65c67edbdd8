"""Establishes what the float originals reach on the measuring data, as facts for every other harness.

Runs each net in ONNX Runtime with float32 and writes `float_quality.csv`: net, data, n, metric, value, preprocessing in
words. The C++ harness must reproduce these figures before any compressed figure of it is believed.

    python bench/peers/reference.py [--nets yolov5n,mlperf-tiny-kws]
"""

import argparse
import csv
from pathlib import Path

import numpy as np

import boxes
import datasets
import features
from engines import ort_runner
from tasks import TASKS, Task

TABLE = Path(__file__).with_name("float_quality.csv")
COLUMNS = ["net", "data", "n", "metric", "value", "preprocessing"]


def row(task: Task, n: int, metric: str, value: float, data: str = "", words: str = "") -> dict:
    return {
        "net": task.net, "data": data or task.data, "n": n, "metric": metric, "value": f"{value:.4f}" if value < 1 else f"{value:.2f}",
        "preprocessing": words or task.preprocessing,
    }  # fmt: skip


def measured(task: Task, run) -> list[dict]:
    keys = task.keys()
    return [row(task, len(keys), name, value) for name, value in task.score(keys, task.evaluate(run)).items()]


def all_imagenet(task: Task, run) -> list[dict]:
    """MobileNet on all 650 pictures, with the three places where a 224 crop of 227 can start."""
    rows = []
    for top, left in ((1, 1), (2, 2), (0, 0)):
        kept = []
        for path, _ in datasets.imagenet():
            picture = datasets.read_picture(path)[top : top + 224, left : left + 224]
            kept.append(run({"input": features.planar(picture) / np.float32(127.5) - np.float32(1)})[0][0])
        for name, value in task.score(datasets.imagenet(), kept).items():
            words = f"as above with the crop at row {top}, column {left}"
            rows.append(row(task, len(kept), name, value, "imagenet/: all 650 pictures", words))
    return rows


def all_clips(task: Task, run) -> list[dict]:
    rows = []
    for scale, words in (("peak", task.preprocessing), ("int16", "the same with samples over 32768")):
        kept = [run({"input": features.mfcc(datasets.read_wav(p), scale)[None, None]})[0][0] for p, _ in datasets.speech_clips()]
        for name, value in task.score(datasets.speech_clips(), kept).items():
            rows.append(row(task, len(kept), name, value, "speech/: all 600 clips", words))
    return rows


def other_selections(task: Task, run) -> list[dict]:
    """AP under other confidence and NMS settings, from the same network outputs."""
    settings = [
        boxes.Selection(iou=0.45),
        boxes.Selection(iou=0.65),
        boxes.Selection(multi_label=False),
        boxes.Selection(confidence=0.01),
        boxes.Selection(confidence=0.25, iou=0.45, multi_label=False),
    ]
    kept = {setting: [] for setting in settings}
    keys = task.keys()
    for key in keys:
        outputs = run(task.feed(key))
        for setting in settings:
            task.selection = setting
            kept[setting].append(task.keep(key, outputs))
    task.selection = boxes.Selection()
    rows = []
    for setting in settings:
        words = f"as above with confidence {setting.confidence}, IoU {setting.iou}, " + (
            "multi-label" if setting.multi_label else "best class only"
        )
        rows += [row(task, len(keys), name, value, words=words) for name, value in task.score(keys, kept[setting]).items()]
    return rows


EXTRA = {"mobilenetv2-1.0-224": all_imagenet, "mlperf-tiny-kws": all_clips, "yolov5n": other_selections}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nets", default=",".join(TASKS), help="comma-separated names (default: all)")
    wanted = parser.parse_args().nets.split(",")
    old = list(csv.DictReader(TABLE.open())) if TABLE.exists() else []
    rows = []
    for name, task in TASKS.items():
        if name not in wanted:
            rows += [r for r in old if r["net"] == name]
            continue
        run = ort_runner(datasets.net_path(name), threads=1)
        found = measured(task, run) + (EXTRA[name](task, run) if name in EXTRA else [])
        for r in found:
            print(f"{r['net']:22} n={r['n']:<5} {r['metric']:38} {r['value']:>8}  {r['preprocessing'][:70]}", flush=True)
        rows += found
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
