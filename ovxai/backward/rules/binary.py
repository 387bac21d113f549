"""Functions of two numbers that broadcast as NumPy's do: each operand's slope, summed over where it was taken to."""

from __future__ import annotations

from collections.abc import Callable

import openvino as ov
from openvino import opset13 as op

from ovxai.backward.rules.unary import indicator, number, scaled, slope_of_root
from ovxai.backward.step import Refusal, Rule, Step
from ovxai.graph import emit
from ovxai.graph.graph import constant_value

#: step -> the adjoint of the result times the slope by one operand; summed over its broadcast afterwards.
Part = Callable[[Step], ov.Output]


def of(*parts: Part) -> Rule:
    """The rule of an operation from what each operand gets."""

    def rule(step: Step) -> dict[int, ov.Output]:
        step.only(*range(len(parts)))
        return {port: step.summed(parts[port](step), port) for port in sorted(step.wanted)}

    return rule


def _whole(step: Step) -> ov.Output:
    return step.adjoint


def _minus(step: Step) -> ov.Output:
    return op.negative(step.adjoint).output(0)


def _by_other(other: int) -> Part:
    return lambda step: step.times(step.feed(other))


def _over(step: Step) -> ov.Output:
    return emit.divide(step.adjoint, step.feed(1))


def _under(step: Step) -> ov.Output:
    """a / b  ->  -(a / b) / b."""
    return step.times(op.negative(emit.divide(step.result, step.feed(1))).output(0))


def _larger(here: int, compare: Callable[..., ov.Node]) -> Part:
    """The operand that won gets it; where both are equal, half each, as PyTorch has it."""

    def part(step: Step) -> ov.Output:
        own, other = step.feed(here), step.feed(1 - here)
        even = scaled(indicator(op.equal(own, other), own), 0.5)
        return step.times(emit.add(indicator(compare(own, other), own), even))

    return part


def _difference(sign: float) -> Part:
    return lambda step: step.times(scaled(emit.subtract(step.feed(0), step.feed(1)), 2 * sign))


def _base(step: Step) -> ov.Output:
    """x^p  ->  p x^(p - 1)."""
    x, power = step.feed(0), step.feed(1)
    value = constant_value(power)
    if value is not None and value.size == 1:
        return step.times(_slope_of_power(step, x, float(value.reshape(-1)[0])))
    lower = op.power(x, op.subtract(power, number(1.0, power)))
    return step.times(emit.multiply(power, lower.output(0)))


def _slope_of_power(step: Step, x: ov.Output, power: float) -> ov.Output:
    if power == 2:
        return scaled(x, 2.0)
    if power == 0.5:
        return slope_of_root(step.result)
    return scaled(op.power(x, number(power - 1, x)).output(0), power)


def _exponent(step: Step) -> ov.Output:
    """x^p  ->  x^p log x."""
    return step.times(emit.multiply(step.result, op.log(step.feed(0)).output(0)))


add = of(_whole, _whole)
subtract = of(_whole, _minus)
multiply = of(_by_other(1), _by_other(0))
divide = of(_over, _under)
maximum = of(_larger(0, op.greater), _larger(1, op.greater))
minimum = of(_larger(0, op.less), _larger(1, op.less))
squared_difference = of(_difference(1.0), _difference(-1.0))
power = of(_base, _exponent)
#: What is left of a division moves as what was divided does.
remainder = of(_whole)


def select(step: Step) -> dict[int, ov.Output]:
    """Each place's derivative goes to the operand that was taken there."""
    if step.word("auto_broadcast") == "pdpd":
        raise Refusal("it broadcasts in PaddlePaddle's way")
    step.only(1, 2)
    adjoint, nothing = step.adjoint, number(0.0, step.adjoint)
    taken = {1: (adjoint, nothing), 2: (nothing, adjoint)}
    return {port: step.summed(op.select(step.feed(0), *taken[port]).output(0), port) for port in sorted(step.wanted)}
