"""Scores of pixels -> classes of the picture, each with its mask: semantic segmentation."""

from __future__ import annotations

import numpy as np

from ovxai.runtime.predict.boxes import Instances, Raw, sigmoid

#: Scores of a pixel that sum up to 1 this closely are shares of one class.
_WHOLE = 1e-2


def class_maps(raw: Raw) -> Instances:
    """One object per class that has pixels: its score is the mean over these of its probability."""
    return _objects(raw, raw.scored(lambda a: a.ndim == 3))


def class_maps_last(raw: Raw) -> Instances:
    """The same of [h, w, K]."""
    return _objects(raw, np.moveaxis(raw.scored(lambda a: a.ndim == 3), -1, 0))


def _objects(raw: Raw, table: np.ndarray) -> Instances:
    """table: [K, h, w]."""
    scores = _probabilities(table, raw.facts.explained.score_activation)
    exclusive = len(scores) > 1 and abs(float(np.median(scores.sum(axis=0))) - 1) < _WHOLE
    own = np.arange(len(scores))[:, None, None] == scores.argmax(axis=0) if exclusive else scores > 0.5
    labels = np.flatnonzero(own.any(axis=(1, 2)))
    means = np.array([scores[label][own[label]].mean() for label in labels], np.float32)

    def mask(index: int) -> np.ndarray:
        return raw.geometry.map_to_source(own[labels[index]].astype(np.float32)) > 0.5

    return Instances(None, labels, means, mask)


def _probabilities(table: np.ndarray, activation: str) -> np.ndarray:
    """[K, h, w], 0..1."""
    if activation == "sigmoid":
        return sigmoid(table)
    if activation != "softmax":
        return table
    powers = np.exp(table - table.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0))
