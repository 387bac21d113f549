"""What a function makes of a change, f(a + d) - f(a), without the difference of two values that a device has rounded.

    ramp (Relu, Clamp)  clip(d + e, low - b, high - b),  b = clip(a), e = a - b
    sigmoid             sign(d) * g * s(lower) * (1 - s(upper)),  g = 2t / (1 + t) = 1 - exp(-|d|) * ..., t = tanh(|d| / 2)
    tanh                tanh(d) * (1 - tanh(a) * tanh(a + d))
    exp                 exp(the larger of both) * sign(d) * 2t / (1 + t)
    erf                 the integral of its slope by the derivatives at a; for large d the difference
    sqrt                d / (sqrt(a + d) + sqrt(a))
    x * g(x)            d * g(a + d) + a * (g(a + d) - g(a)):  Swish, Gelu, HSwish

CPUs compute such a chain in one go and round at its end; there f(a + d) - f(a) would do. GPUs and ARM store every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.changes import Step, difference
from ovxai.graph import emit
from ovxai.graph.graph import constant_value, source

#: A function of an anchor and a change: its value at their sum, and what the change makes of it.
Pair = tuple[ov.Output, ov.Output]
Curve = Callable[[ov.Output, ov.Output], Pair]
#: Up to this change, in standard deviations of the bell, five of its derivatives give its integral to some 1e-6.
_NEAR = 0.25


def _number(value: float, like: ov.Output) -> ov.Output:
    return emit.scalar(value, like)


def _scaled(tensor: ov.Output, factor: float) -> ov.Output:
    return emit.multiply(tensor, _number(factor, tensor))


def _ramp(low: float, high: float) -> Curve:
    def curve(base: ov.Output, change: ov.Output) -> Pair:
        inside = op.clamp(base, low, high).output(0)
        moved = emit.add(change, emit.subtract(base, inside))
        if math.isfinite(low):
            moved = op.maximum(moved, emit.subtract(_number(low, base), inside)).output(0)
        if math.isfinite(high):
            moved = op.minimum(moved, emit.subtract(_number(high, base), inside)).output(0)
        return emit.add(inside, moved), moved

    return curve


def _hard_sigmoid(slope: float, shift: float) -> Curve:
    ramp = _ramp(0.0, 1.0)
    return lambda base, change: ramp(emit.add(_scaled(base, slope), _number(shift, base)), _scaled(change, slope))


def _growth(change: ov.Output) -> ov.Output:
    """1 - exp(-|d|), with the sign of d."""
    half = op.tanh(_scaled(change, 0.5)).output(0)
    return emit.divide(_scaled(half, 2.0), emit.add(op.abs(half).output(0), _number(1.0, half)))


def _sigmoid(base: ov.Output, change: ov.Output) -> Pair:
    whole = emit.add(base, change)
    lit = op.sigmoid(whole).output(0)
    upper = op.sigmoid(op.negative(op.minimum(whole, base))).output(0)  # 1 - s(the smaller)
    # s(x) - s(y) = s(x) * (1 - s(y)) * (1 - exp(y - x)) for x > y, and the same with both changed over.
    higher = op.sigmoid(op.maximum(whole, base)).output(0)
    return lit, emit.multiply(emit.multiply(higher, upper), _growth(change))


def _tanh(base: ov.Output, change: ov.Output) -> Pair:
    lit = op.tanh(emit.add(base, change)).output(0)
    rest = emit.subtract(_number(1.0, lit), emit.multiply(lit, op.tanh(base).output(0)))
    return lit, emit.multiply(op.tanh(change).output(0), rest)


def _exp(base: ov.Output, change: ov.Output) -> Pair:
    whole = emit.add(base, change)
    top = op.exp(op.maximum(whole, base)).output(0)
    return op.exp(whole).output(0), emit.multiply(top, _growth(change))


def _sqrt(base: ov.Output, change: ov.Output) -> Pair:
    lit, dark = op.sqrt(emit.add(base, change)).output(0), op.sqrt(base).output(0)
    return lit, emit.divide(change, emit.add(lit, dark))


def _erf(base: ov.Output, change: ov.Output) -> Pair:
    def share(tensor: ov.Output) -> ov.Output:
        return op.erf(tensor).output(0)

    return _under_the_bell(share, base, change, 1.0)


def _normal(base: ov.Output, change: ov.Output) -> Pair:
    """The share of a normal distribution below: (1 + erf(x / sqrt(2))) / 2."""

    def share(tensor: ov.Output) -> ov.Output:
        half = _scaled(op.erf(_scaled(tensor, math.sqrt(0.5))).output(0), 0.5)
        return emit.add(half, _number(0.5, half))

    return _under_the_bell(share, base, change, 0.5)


def _under_the_bell(share: Callable[[ov.Output], ov.Output], base: ov.Output, change: ov.Output, width: float) -> Pair:
    """The integral of the bell h * exp(-width * x^2) from a to a + d, h = sqrt(width / pi) (twice that for erf).

    For small d by the bell's derivatives at a, d * (b0 + d * (b1 / 2 + d * (b2 / 6 + d * (b3 / 24 + d * b4 / 120)))),
    which the anchor alone tells; for large d the difference.
    """
    lit = share(emit.add(base, change))
    dark, *slopes = _once([share, *(_bell_slope(order, width) for order in range(5))], base)
    near = slopes.pop()
    for slope in reversed(slopes):
        near = emit.add(emit.multiply(near, change), slope)
    small = op.less_equal(op.abs(change), _number(_NEAR / math.sqrt(2 * width), change))
    return lit, op.select(small, emit.multiply(near, change), emit.subtract(lit, dark)).output(0)


def _bell_slope(order: int, width: float) -> Callable[[ov.Output], ov.Output]:
    """A derivative of the bell over the factorial of the next order: exp(-width * x^2) by a Hermite polynomial."""
    height = (2 if width == 1.0 else 1) * math.sqrt(width / math.pi)
    hermite = np.polynomial.hermite.herm2poly([0] * order + [1])
    powers = [value * (-1) ** order * width ** ((order + power) / 2) for power, value in enumerate(hermite)]
    factors = [height * value / math.factorial(order + 1) for value in powers]

    def slope(tensor: ov.Output) -> ov.Output:
        polynomial = _number(factors[-1], tensor)
        for factor in reversed(factors[:-1]):
            polynomial = emit.multiply(polynomial, tensor)
            polynomial = emit.add(polynomial, _number(factor, tensor)) if factor else polynomial
        bell = op.exp(_scaled(emit.multiply(tensor, tensor), -width)).output(0)
        return emit.multiply(bell, polynomial)

    return slope


def _once(functions: Sequence[Callable[[ov.Output], ov.Output]], base: ov.Output) -> list[ov.Output]:
    """Functions of an anchor, kept by reshapes from what follows: fused with it, a CPU would work them out anew for each mask."""
    lifted = emit.unsqueeze(base, [0])
    return [op.squeeze(function(lifted), np.array([0], np.int64)).output(0) for function in functions]


def _about_normal(base: ov.Output, change: ov.Output) -> Pair:
    """(1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2, Gelu's approximation."""
    cubic, outer = 0.044715, math.sqrt(2 / math.pi)
    square = emit.multiply(base, base)
    inner = _scaled(emit.add(base, _scaled(emit.multiply(square, base), cubic)), outer)
    whole = emit.add(base, change)
    # (a + d)^3 - a^3 = d * ((a + d)^2 + (a + d) * a + a^2)
    squares = emit.add(emit.add(emit.multiply(whole, whole), emit.multiply(whole, base)), square)
    slope = emit.add(_scaled(squares, cubic), _number(1.0, squares))
    lit, gain = _tanh(inner, _scaled(emit.multiply(change, slope), outer))
    return emit.add(_scaled(lit, 0.5), _number(0.5, lit)), _scaled(gain, 0.5)


def _times_itself(share: Curve) -> Curve:
    """x * g(x)"""

    def curve(base: ov.Output, change: ov.Output) -> Pair:
        lit, gain = share(base, change)
        value = emit.multiply(emit.add(base, change), lit)
        return value, emit.add(emit.multiply(change, lit), emit.multiply(base, gain))

    return curve


def _swish(step: Step) -> Curve | None:
    beta = constant_value(source(step.operation.node, 1)) if len(step.values) > 1 else np.float32(1)
    if beta is None or np.size(beta) != 1:
        return None
    factor = float(np.ravel(beta)[0])
    return _times_itself(lambda base, change: _sigmoid(_scaled(base, factor), _scaled(change, factor)))


def _gelu(step: Step) -> Curve:
    exact = str(step.operation.node.get_attributes().get("approximation_mode", "erf")).lower() == "erf"
    return _times_itself(_normal if exact else _about_normal)


def _clamp(step: Step) -> Curve:
    return _ramp(float(step.operation.attribute("min")), float(step.operation.attribute("max")))


_PLAIN: dict[str, Curve] = {
    "Relu": _ramp(0.0, math.inf), "Sigmoid": _sigmoid, "Tanh": _tanh, "Exp": _exp, "Erf": _erf, "Sqrt": _sqrt,
    "HSwish": _times_itself(_hard_sigmoid(1 / 6, 0.5)), "HSigmoid": _hard_sigmoid(1 / 6, 0.5),
}  # fmt: skip
_MADE: dict[str, Callable[[Step], Curve | None]] = {"Swish": _swish, "Gelu": _gelu, "Clamp": _clamp}
#: The functions that `curved` knows.
CURVES = (*_PLAIN, *_MADE)


def curved(step: Step) -> list[ov.Output]:
    """The change of a function of one operand by its closed form."""
    kind = step.operation.kind
    curve = _PLAIN.get(kind) or (_MADE[kind](step) if kind in _MADE else None)
    if curve is None or step.varying != [0]:
        return difference(step)
    return [curve(step.dark(0), step.change(0))[1]]
