"""Greedy suppression of overlapping boxes, one class at a time."""

from __future__ import annotations

import numpy as np

#: Where model_info does not say; and how many instances a class and a picture keep.
IOU, SCORE, BEST = 0.5, 0.25, 100


def suppress(boxes: np.ndarray, scores: np.ndarray, iou: float | None, score: float | None) -> np.ndarray:
    """boxes [P, 4] (x1, y1, x2, y2), scores [P, K] -> rows (box, class) of the best that are kept, [I, 2]."""
    # A threshold of zero is as good as none stated: the inserting side takes the usual one then, too.
    iou, score = iou or IOU, score or SCORE
    kept = []
    for label in range(scores.shape[1]):
        order = [int(i) for i in np.argsort(-scores[:, label], kind="stable") if scores[i, label] > score]
        chosen: list[int] = []
        for index in order:
            if len(chosen) < BEST and all(_overlap(boxes[index], boxes[other]) <= iou for other in chosen):
                chosen.append(index)
        kept += [(scores[index, label], index, label) for index in chosen]
    kept.sort(key=lambda row: -row[0])
    return np.array([row[1:] for row in kept[:BEST]], np.int64).reshape(-1, 2)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if (sides <= 0).any():
        return 0.0
    shared = float(sides[0] * sides[1])
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other)]
    return shared / (sum(areas) - shared)
