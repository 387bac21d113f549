"""Maps of several levels at one size, worked out in NumPy: what products of gradient maps are compared with."""

from collections.abc import Sequence

import cv2
import numpy as np


def unit(maps: np.ndarray) -> np.ndarray:
    """From 0 to 1; zeros where there is nothing to tell apart, as of a box that does not depend on a level."""
    spread = maps.max() - maps.min()
    return (maps - maps.min()) / spread if spread else np.zeros_like(maps)


def bell(values: np.ndarray, wider: float = 1) -> np.ndarray:
    """[h, w] under a Gaussian whose deviation is 6 / 224 of each side, times `wider`; borders repeated."""
    for axis in (0, 1):
        size = values.shape[axis]
        deviation = wider * 6 / 224 * size
        reach = max(1, int(np.ceil(3 * deviation)))
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
        ends = [(reach, reach) if other == axis else (0, 0) for other in (0, 1)]
        wide = np.pad(values, ends, mode="edge")
        parts = [w * np.take(wide, np.arange(size) + k, axis) for k, w in enumerate(weights / weights.sum())]
        values = np.sum(parts, axis=0)
    return values


def at_finest(maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Maps [h, w] from coarse to fine: each at the finest size, blurred (not the coarsest), scaled to 0..1."""
    size = maps[-1].shape[::-1]
    large = [cv2.resize(each, size, interpolation=cv2.INTER_LINEAR) for each in maps]
    return [unit(bell(each) if place else each) for place, each in enumerate(large)]
