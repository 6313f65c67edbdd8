"""Boxes: YOLO decoding, non-maximum suppression and COCO average precision.

The selection follows the description of Ultralytics v6.0's validation: score = objectness x class probability, every
(box, class) pair over the confidence threshold is a candidate (multi-label), suppression within a class by IoU, at most
300 kept. AP is pycocotools' own.
"""

import contextlib
import io
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Selection:
    """How candidates become detections."""

    confidence: float = 0.001
    iou: float = 0.6
    multi_label: bool = True
    keep: int = 300
    most: int = 30000


def iou_with(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of one xyxy box with many."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:4], others[:, 2:4])
    inner = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(box[2:4] - box[:2]) + np.prod(others[:, 2:4] - others[:, :2], axis=1)
    return inner / np.maximum(area - inner, 1e-12)


def suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float, keep: int) -> np.ndarray:
    """Greedy suppression in falling order of score; indices of what is kept."""
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order) and len(kept) < keep:
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[iou_with(boxes[best], boxes[order]) <= threshold]
    return np.array(kept, np.int64)


def detect_yolo(rows: np.ndarray, how: Selection) -> np.ndarray:
    """N x 85 (centre x, y, width, height, objectness, 80 classes) -> M x 6 (x0 y0 x1 y1 score class), input pixels."""
    rows = rows[rows[:, 4] > how.confidence]
    scores = rows[:, 5:] * rows[:, 4:5]
    if how.multi_label:
        which, label = np.nonzero(scores > how.confidence)
    else:
        label = scores.argmax(1)
        which = np.nonzero(scores.max(1) > how.confidence)[0]
        label = label[which]
    score = scores[which, label]
    best = np.argsort(-score, kind="stable")[: how.most]
    which, label, score = which[best], label[best], score[best]
    centre, half = rows[which, :2], rows[which, 2:4] / 2
    corners = np.hstack([centre - half, centre + half]).astype(np.float64)
    apart = corners + label[:, None] * 8192.0
    kept = suppress(apart, score, how.iou, how.keep)
    return np.hstack([corners[kept], score[kept, None], label[kept, None]])


def detect_faces(scores: np.ndarray, boxes: np.ndarray, confidence: float, iou: float) -> np.ndarray:
    """UltraFace's two outputs (4420 x 2, 4420 x 4 in 0..1) -> M x 5 (x0 y0 x1 y1 score)."""
    chosen = np.nonzero(scores[:, 1] > confidence)[0]
    corners, score = boxes[chosen].astype(np.float64), scores[chosen, 1]
    kept = suppress(corners, score, iou, 200)
    return np.hstack([corners[kept], score[kept, None]])


def matched_f1(ours: list[np.ndarray], theirs: list[np.ndarray], iou: float = 0.5) -> float:
    """F1 of two lists of detections, picture by picture, each box used at most once."""
    hits, total = 0, 0
    for a, b in zip(ours, theirs):
        total += len(a) + len(b)
        free = np.ones(len(b), bool)
        for box in a:
            overlap = np.where(free, iou_with(box, b), 0) if len(b) else np.zeros(1)
            if overlap.max(initial=0) >= iou:
                free[overlap.argmax()] = False
                hits += 1
    return 2 * hits / total if total else 1.0


def average_precision(found: list[np.ndarray], truth: list[np.ndarray], iou: float = 0.5) -> float:
    """Area under the precision envelope over recall, of boxes with scores (M x 5) against boxes, picture by picture."""
    ranked = sorted(((box, picture) for picture, rows in enumerate(found) for box in rows), key=lambda pair: -pair[0][4])
    free = [np.ones(len(boxes), bool) for boxes in truth]
    hits = []
    for box, picture in ranked:
        overlap = np.where(free[picture], iou_with(box, truth[picture]), 0) if len(truth[picture]) else np.zeros(1)
        hits.append(overlap.max() >= iou)
        if hits[-1]:
            free[picture][overlap.argmax()] = False
    total = sum(len(boxes) for boxes in truth)
    correct = np.cumsum(hits) if hits else np.zeros(0)
    envelope = np.maximum.accumulate((correct / np.arange(1, len(correct) + 1))[::-1])[::-1]
    return float((envelope * np.array(hits, float)).sum() / total) if total else 1.0


def coco_ap(truth: dict, detections: dict[int, np.ndarray]) -> tuple[float, float]:
    """AP and AP50 of detections (picture id -> M x 6 in picture pixels, classes 0..79) by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    ids = sorted(category["id"] for category in truth["categories"])
    rows = [
        {"image_id": image, "category_id": ids[int(d[5])], "bbox": [d[0], d[1], d[2] - d[0], d[3] - d[1]], "score": d[4]}
        for image, found in detections.items()
        for d in found.tolist()
    ]
    if not rows:
        return 0.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        answers = COCO()
        answers.dataset = truth
        answers.createIndex()
        judge = COCOeval(answers, answers.loadRes(rows), "bbox")
        judge.params.imgIds = sorted(detections)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[0]), float(judge.stats[1])
