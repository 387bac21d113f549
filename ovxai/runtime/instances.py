"""Objects found in one picture, in the network's own coordinates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Instances:
    """boxes: [K, 4] x1, y1, x2, y2 in pixels of the network's input; None where they can't be read. labels, scores: [K].

    masks: index -> [H, W] bool over the source picture, made only for those that are wanted.
    origin: [K] rows of the raw output from which they come.
    """

    boxes: np.ndarray | None
    labels: np.ndarray
    scores: np.ndarray
    masks: Callable[[int], np.ndarray] | None = None
    origin: np.ndarray | None = None


NONE = Instances(np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros(0, np.float32), origin=np.zeros(0, int))


def suppress(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, floor: float, iou: float) -> np.ndarray:
    """Indices that survive non-maximum suppression within each class; scores below `floor` go first."""
    candidates = np.flatnonzero(scores >= floor)
    if not candidates.size:
        return candidates
    chosen = boxes[candidates]
    corners = np.concatenate([chosen[:, :2], chosen[:, 2:] - chosen[:, :2]], axis=1)
    # cv2 has NMSBoxesBatched only since 4.7 and with other rules for ties: boxes moved far apart by
    # class never overlap, which is the same.
    corners[:, :2] += labels[candidates, None] * (float(np.abs(chosen).max()) * 2 + 1)
    kept = cv2.dnn.NMSBoxes(corners.astype(float).tolist(), scores[candidates].astype(float).tolist(), floor, iou)
    return candidates[np.asarray(kept, int).reshape(-1)]
