"""Bilinear resizing as the definition of the detection map means it, in NumPy."""

from __future__ import annotations

import numpy as np


def bilinear(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """[..., h, w] -> [..., height, width]: half-pixel centres, edges repeated, no antialiasing (ONNX `linear`)."""
    return _along(_along(maps, height, -2), width, -1)


def _along(maps: np.ndarray, size: int, axis: int) -> np.ndarray:
    own = maps.shape[axis]
    if own == size:
        return maps
    place = np.clip((np.arange(size) + 0.5) * own / size - 0.5, 0, own - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, own - 1)
    share = place - low
    if axis == -2:
        share = share[:, None]
    return np.take(maps, low, axis) * (1 - share) + np.take(maps, high, axis) * share
