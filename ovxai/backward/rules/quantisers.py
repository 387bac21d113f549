"""Fake quantisers: straight through inside their range, as quantisation-aware training has it, nothing outside.

What is inside is read off the result: what a quantiser reads is rarely written, plugins join it to the convolution before it,
and a further reader would not only cost time but move the model's own scores by a step here and there.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.backward.rules.unary import indicator, scaled
from ovxai.backward.step import Step
from ovxai.graph import emit


def fake_quantize(step: Step) -> dict[int, ov.Output]:
    """dx = dy between the outermost levels, times output range over input range: Bengio et al., arXiv 1308.3432."""
    step.only(0)
    low, high, floor, ceiling = (step.feed(port) for port in range(1, 5))
    half = scaled(emit.subtract(ceiling, floor), 0.5 / (step.number("levels") - 1))
    ends = emit.add(floor, half), emit.subtract(ceiling, half)
    above, below = op.minimum(*ends), op.maximum(*ends)  # a negative factor that was folded in turns the range round
    inside = indicator(op.logical_and(op.greater(step.result, above), op.less(step.result, below)), step.result)
    if not (_alike(step, 1, 3) and _alike(step, 2, 4)):
        inside = emit.multiply(inside, emit.divide(emit.subtract(ceiling, floor), emit.subtract(high, low)))
    return {0: step.times(inside)}


def _alike(step: Step, one: int, other: int) -> bool:
    first, second = step.constant(one), step.constant(other)
    return first is not None and second is not None and first.shape == second.shape and bool(np.array_equal(first, second))
