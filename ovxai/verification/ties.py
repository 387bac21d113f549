"""A quantiser inside the head is a staircase: where its input lies on an edge, the definition has two values.

Which one a program gets, the order of its sums decides. So the definition is taken again and again with its
gated tensors, and what its quantisers read, moved by as little as rounding moves them. Every cell gets an interval: what it is at least
and at most. Away from edges that interval is a point, as good as.

All classes see the same steps under one mask, and a few tries show neither every step nor every combination of them.
So what they move one class by under a mask is allowed to each class under that mask, beyond its own interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

#: How far rounding moves a value: gated tensors by two units of f32's last place; what a quantiser reads, relative to
#: the largest value that it tells apart, by what the order of a sum of some hundred products moves it (the root of their
#: number times half a unit of the last place is 2**-20 for 256), and twice that, since a rare large shift is enough for a step.
OF_VALUE, OF_RANGE = 2.0**-22, 2.0**-19
#: Each tie falls either way about half of the times.
TRIES = 24

#: (gated tensors, shifts of what each quantiser reads) -> maps
Rows = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], np.ndarray]
Between = tuple[np.ndarray, np.ndarray]


def between(maps: np.ndarray, rows: Rows, gated: Sequence[np.ndarray], read: Sequence[tuple[int, ...]]) -> Between:
    """(lowest, highest) value of every cell, like `maps`. rows: the definition. read: shapes of what quantisers read."""
    random = np.random.default_rng(0)
    low, high = maps.copy(), maps.copy()
    for _ in range(TRIES):
        moved = [(tensor * (1 + OF_VALUE * random.standard_normal(tensor.shape))).astype(np.float32) for tensor in gated]
        shifts = [(OF_RANGE * random.standard_normal(shape)).astype(np.float32) for shape in read]
        found = rows(moved, shifts)
        np.minimum(low, found, out=low)
        np.maximum(high, found, out=high)
    step = (high - low).max(axis=1, keepdims=True)
    return low - step, high + step
