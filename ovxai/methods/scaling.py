"""Grey levels, as OTX exports them."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.dims import ints

#: A map whose spread is below this share of its largest value says nothing: it is rounding noise.
EVIDENCE = 1e-6


def to_grey(maps: ov.Output, axes: tuple[int, ...] = (2, 3)) -> ov.Output:
    """f32 maps -> u8: 255 * (s - min) / (max - min) over `axes`, truncated; zeros where there is no evidence.

    Min-max over each map by itself. No epsilon is added: it would vanish in f16, and Select does it right.
    """
    low = op.reduce_min(maps, ints(axes), True)
    high = op.reduce_max(maps, ints(axes), True)
    spread = op.subtract(high, low)
    largest = op.maximum(op.abs(low), op.abs(high))
    seen = op.greater(spread, op.multiply(largest, _number(EVIDENCE)))
    safe = op.select(seen, spread, _number(1.0))
    factor = op.select(seen, op.divide(_number(255.0), safe), _number(0.0))
    # Shift before scale: the product then has no large term to cancel, which counts in bf16.
    return op.convert(op.multiply(op.subtract(maps, low), factor), "u8").output(0)


def largest_cells(maps: ov.Output) -> ov.Output:
    """[N, C, h, w] -> [N, C]."""
    return op.reduce_max(maps, ints([2, 3]), False).output(0)


def _number(value: float) -> ov.Node:
    return op.constant(np.float32(value))
