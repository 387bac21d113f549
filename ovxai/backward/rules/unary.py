"""Functions of each number by itself: the derivative is multiplied by a slope, read off the result where that is possible.

Off the result, since what an activation reads is often never written: plugins join it to the convolution before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.backward.step import Refusal, Rule, Step
from ovxai.graph import emit
from ovxai.graph.graph import constant_value, source

#: (step, x, y) -> dy/dx. x: what the operation reads, y: what it has made of it.
Slope = Callable[[Step, ov.Output, ov.Output], ov.Output]


def by(slope: Slope) -> Rule:
    """The rule of a function with this slope."""

    def rule(step: Step) -> dict[int, ov.Output]:
        step.only(0)
        return {0: step.times(slope(step, step.feed(0), step.result))}

    return rule


def number(value: float, like: ov.Output) -> ov.Output:
    return emit.scalar(value, like)


def scaled(tensor: ov.Output, factor: float) -> ov.Output:
    return emit.multiply(tensor, number(factor, tensor))


def shifted(tensor: ov.Output, by: float) -> ov.Output:
    return emit.add(tensor, number(by, tensor))


def one_less(tensor: ov.Output) -> ov.Output:
    """1 - tensor."""
    return op.subtract(number(1.0, tensor), tensor).output(0)


def indicator(condition: ov.Node, like: ov.Output) -> ov.Output:
    """1 where it holds, else 0."""
    return op.convert(condition, like.get_element_type()).output(0)


def between(tensor: ov.Output, low: float, high: float) -> ov.Output:
    """1 strictly between the two, else 0; an end that no number reaches is not looked at."""
    ends = []
    if low > -_FAR:
        ends.append(op.greater(tensor, number(low, tensor)))
    if high < _FAR:
        ends.append(op.less(tensor, number(high, tensor)))
    if not ends:
        return number(1.0, tensor)
    return indicator(ends[0] if len(ends) == 1 else op.logical_and(*ends), tensor)


#: Ends of a range beyond this are none.
_FAR = 1e30


def relu(step: Step) -> dict[int, ov.Output]:
    return _cut(step, 0.0, math.inf)


def clamp(step: Step) -> dict[int, ov.Output]:
    return _cut(step, step.number("min"), step.number("max"))


def _cut(step: Step, low: float, high: float) -> dict[int, ov.Output]:
    """Through where nothing was cut off."""
    if _quantised_within(step, low, high):
        return {0: step.adjoint}
    return {0: step.times(between(step.result, low, high))}


def _quantised_within(step: Step, low: float, high: float) -> bool:
    """Whether all that read the result are quantisers of a range within `low` to `high`: then none of what is cut off comes
    through them, and the result itself need not be read once more."""
    readers = [reader.get_node() for reader in step.result.get_target_inputs() if step.graph.knows(reader.get_node())]
    if not readers or any(reader.get_type_name() != "FakeQuantize" for reader in readers):
        return False
    ends = [[constant_value(source(reader, port)) for port in (1, 2)] for reader in readers]
    return all(
        floor is not None and ceiling is not None and floor.min() >= low and ceiling.max() <= high for floor, ceiling in ends
    )


def same(step: Step) -> dict[int, ov.Output]:
    """y = x but for a constant."""
    step.only(0)
    return {0: step.adjoint}


def negated(step: Step) -> dict[int, ov.Output]:
    return {0: op.negative(step.adjoint).output(0)}


def flat(step: Step) -> dict[int, ov.Output]:
    """A staircase: no small change of what it reads changes it."""
    return {}


def convert(step: Step) -> dict[int, ov.Output]:
    return {0: emit.as_type(step.adjoint, step.feed(0).get_element_type())}


def _sigmoid(step: Step, x: ov.Output, y: ov.Output) -> ov.Output:
    return emit.multiply(y, one_less(y))


def _swish(step: Step, x: ov.Output, y: ov.Output) -> ov.Output:
    """x s(bx)  ->  s + b y (1 - s)."""
    if step.node.get_input_size() > 1:
        beta = step.feed(1)
        share = op.sigmoid(emit.multiply(x, beta)).output(0)
        return emit.add(share, emit.multiply(emit.multiply(y, beta), one_less(share)))
    share = op.sigmoid(x).output(0)
    return emit.add(share, emit.multiply(y, one_less(share)))


def _hswish(step: Step, x: ov.Output, y: ov.Output) -> ov.Output:
    """x min(max(x + 3, 0), 6) / 6: 0 below -3, 1 above 3, x / 3 + 1/2 between."""
    middle = emit.multiply(shifted(scaled(x, 1 / 3), 0.5), between(x, -3.0, 3.0))
    return emit.add(middle, indicator(op.greater_equal(x, number(3.0, x)), x))


def _gelu(step: Step, x: ov.Output, y: ov.Output) -> ov.Output:
    return _gelu_tanh(x) if step.word("approximation_mode").lower() == "tanh" else _gelu_erf(step, x, y)


def _gelu_erf(step: Step, x: ov.Output, y: ov.Output) -> ov.Output:
    """x F(x)  ->  F + x f, the normal distribution and its density."""
    below = scaled(shifted(op.erf(scaled(x, math.sqrt(0.5))).output(0), 1.0), 0.5)
    density = scaled(op.exp(scaled(emit.multiply(x, x), -0.5)).output(0), 1 / math.sqrt(2 * math.pi))
    return emit.add(below, emit.multiply(x, density))


def _gelu_tanh(x: ov.Output) -> ov.Output:
    """x (1 + tanh u) / 2 with u = c (x + a x^3)."""
    cubic, outer = 0.044715, math.sqrt(2 / math.pi)
    square = emit.multiply(x, x)
    curve = op.tanh(scaled(emit.multiply(x, shifted(scaled(square, cubic), 1.0)), outer)).output(0)
    inner = scaled(shifted(scaled(square, 3 * cubic), 1.0), outer)
    bend = emit.multiply(emit.multiply(x, inner), one_less(emit.multiply(curve, curve)))
    return scaled(emit.add(shifted(curve, 1.0), bend), 0.5)


def _mish(step: Step, x: ov.Output, y: ov.Output) -> ov.Output:
    """x t with t = tanh(softplus x)  ->  t + x s (1 - t^2)."""
    curve = op.tanh(op.softplus(x)).output(0)
    return emit.add(curve, emit.multiply(emit.multiply(x, op.sigmoid(x).output(0)), one_less(emit.multiply(curve, curve))))


def _elu(step: Step, x: ov.Output, y: ov.Output) -> ov.Output:
    """1 above 0; a e^x = y + a below."""
    above = op.greater(x, number(0.0, x))
    return op.select(above, number(1.0, y), shifted(y, step.number("alpha"))).output(0)


def _selu(step: Step, x: ov.Output, y: ov.Output) -> ov.Output:
    """scale above 0; y + scale alpha below."""
    alpha, scale = step.feed(1), step.feed(2)
    return op.select(op.greater(x, number(0.0, x)), scale, emit.add(y, emit.multiply(scale, alpha))).output(0)


def _hard_sigmoid(step: Step, x: ov.Output, y: ov.Output) -> ov.Output:
    return emit.multiply(between(y, 0.0, 1.0), step.feed(1))


def _square_root(step: Step, x: ov.Output, y: ov.Output) -> ov.Output:
    return slope_of_root(y)


def slope_of_root(root: ov.Output) -> ov.Output:
    """1 / 2y, and 0 at 0: there it is endless, and times a derivative of 0 no number."""
    there = op.greater(root, number(0.0, root))
    return op.select(there, op.divide(number(0.5, root), root), number(0.0, root)).output(0)


def _inverse(tensor: ov.Output) -> ov.Output:
    return op.divide(number(1.0, tensor), tensor).output(0)


def _soft_sign(step: Step, x: ov.Output, y: ov.Output) -> ov.Output:
    size = shifted(op.abs(x).output(0), 1.0)
    return _inverse(emit.multiply(size, size))


def _of_square(tensor: ov.Output, sign: float, offset: float) -> ov.Output:
    """offset + sign * tensor^2."""
    return shifted(scaled(emit.multiply(tensor, tensor), sign), offset)


def _root(tensor: ov.Output) -> ov.Output:
    return op.sqrt(tensor).output(0)


def prelu(step: Step) -> dict[int, ov.Output]:
    """1 above 0, the slope below. A slope per channel lies along axis 1."""
    step.only(0)
    x, slope = step.feed(0), step.feed(1)
    shape, rank = step.shape(1), len(step.shape(0))
    if len(shape) == 1 and rank > 2 and shape[0] > 1:
        slope = emit.unsqueeze(slope, list(range(1, rank - 1)))
    if len(shape) > rank:
        raise Refusal("its slopes have more axes than what they bend")
    return {0: step.times(op.select(op.greater(x, number(0.0, x)), number(1.0, slope), slope).output(0))}


SLOPES: Mapping[str, Slope] = {
    "Sigmoid": _sigmoid,
    "Tanh": lambda step, x, y: _of_square(y, -1.0, 1.0),
    "Exp": lambda step, x, y: y,
    "Sqrt": _square_root,
    "Log": lambda step, x, y: _inverse(x),
    "Abs": lambda step, x, y: op.sign(x).output(0),
    "Swish": _swish,
    "HSwish": _hswish,
    "HSigmoid": lambda step, x, y: scaled(between(x, -3.0, 3.0), 1 / 6),
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Mish": _mish,
    "Elu": _elu,
    "Selu": _selu,
    "SoftPlus": lambda step, x, y: op.sigmoid(x).output(0),
    "SoftSign": _soft_sign,
    "Erf": lambda step, x, y: scaled(op.exp(op.negative(emit.multiply(x, x))).output(0), 2 / math.sqrt(math.pi)),
    "Sin": lambda step, x, y: op.cos(x).output(0),
    "Cos": lambda step, x, y: op.negative(op.sin(x)).output(0),
    "Tan": lambda step, x, y: _of_square(y, 1.0, 1.0),
    "Sinh": lambda step, x, y: op.cosh(x).output(0),
    "Cosh": lambda step, x, y: op.sinh(x).output(0),
    "Asin": lambda step, x, y: _inverse(_root(_of_square(x, -1.0, 1.0))),
    "Acos": lambda step, x, y: op.negative(_inverse(_root(_of_square(x, -1.0, 1.0)))).output(0),
    "Atan": lambda step, x, y: _inverse(_of_square(x, 1.0, 1.0)),
    "Asinh": lambda step, x, y: _inverse(_root(_of_square(x, 1.0, 1.0))),
    "Acosh": lambda step, x, y: _inverse(_root(_of_square(x, 1.0, -1.0))),
    "Atanh": lambda step, x, y: _inverse(_of_square(x, -1.0, 1.0)),
}
#: Steps: their slope is 0 wherever they have one.
STAIRCASES = ("Ceiling", "Floor", "Round", "Sign")


# Fake quantisers.


def fake_quantize(step: Step) -> dict[int, ov.Output]:
    """dx = dy between the outermost levels, times output range over input range: Bengio et al., arXiv 1308.3432.

    Straight through inside the range, as quantisation-aware training has it, nothing outside. What is inside is read off the
    result here too: a further reader of what a quantiser reads would move the model's own scores by a step here and there.
    """
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
