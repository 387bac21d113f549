"""Sums, means, largest entries over axes, and running sums: the derivative goes back to all that took part."""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as op

from ovxai.backward.rules.unary import indicator, number
from ovxai.backward.step import Step
from ovxai.graph import emit
from ovxai.graph.dims import ONE, Dims, ints, product


def reduced_axes(step: Step) -> list[int]:
    """The axes that a reduction or normalisation goes over, counted from the front."""
    rank = len(step.shape(0))
    return sorted({axis % rank for axis in step.fixed(1)})


def kept(step: Step, tensor: ov.Output, *, adjoint: bool) -> ov.Output:
    """What came out of a reduction, with the axes that it went over as extents of 1."""
    if bool(step.node.get_attributes()["keep_dims"]):
        return tensor
    dims = _ones(step)
    return step.targets.reshaped(tensor, dims) if adjoint else emit.reshape(tensor, dims)


def _ones(step: Step) -> Dims:
    axes = reduced_axes(step)
    return tuple(ONE if axis in axes else dim for axis, dim in enumerate(step.dims(0)))


def spread(step: Step, adjoint: ov.Output) -> ov.Output:
    """An adjoint with extents of 1 taken to all entries of input 0."""
    return emit.broadcast(adjoint, step.targets.dims(step.dims(0)))


def entries(step: Step, axes: list[int], like: ov.Output) -> ov.Output:
    """How many entries there are along axes of input 0, as a number of `like`'s type."""
    count = product([step.dims(0)[axis] for axis in axes])
    if count.is_static:
        return number(float(count.size), like)
    return op.convert(count.node(), like.get_element_type()).output(0)


def reduce_sum(step: Step) -> dict[int, ov.Output]:
    step.only(0)
    return {0: spread(step, kept(step, step.adjoint, adjoint=True))}


def reduce_mean(step: Step) -> dict[int, ov.Output]:
    """An equal share to every entry."""
    step.only(0)
    share = emit.divide(step.adjoint, entries(step, reduced_axes(step), step.adjoint))
    return {0: spread(step, kept(step, share, adjoint=True))}


def reduce_extreme(step: Step) -> dict[int, ov.Output]:
    """To the largest (or smallest) entry; to several that are equal, equal shares, as PyTorch's amax."""
    step.only(0)
    found = indicator(op.equal(step.feed(0), kept(step, step.result, adjoint=False)), step.result)
    share = emit.divide(found, emit.reduce_sum(found, reduced_axes(step), True))
    return {0: emit.multiply(kept(step, step.adjoint, adjoint=True), share)}


def reduce_product(step: Step) -> dict[int, ov.Output]:
    """To each entry the product of the others, also where entries are 0."""
    step.only(0)
    x, axes = step.feed(0), ints(reduced_axes(step))
    nothing = indicator(op.equal(x, number(0.0, x)), x)
    rest = emit.add(x, nothing)  # 1 in place of each 0
    whole = op.reduce_prod(rest, axes, True).output(0)
    # An entry's others hold no 0 if there is none, or if it is the only one itself.
    zeros = emit.subtract(op.reduce_sum(nothing, axes, True).output(0), nothing)
    alone = indicator(op.equal(zeros, number(0.0, x)), x)
    others = emit.multiply(emit.divide(whole, rest), alone)
    return {0: emit.multiply(kept(step, step.adjoint, adjoint=True), others)}


def reduce_l1(step: Step) -> dict[int, ov.Output]:
    step.only(0)
    return {0: emit.multiply(kept(step, step.adjoint, adjoint=True), op.sign(step.feed(0)).output(0))}


def reduce_l2(step: Step) -> dict[int, ov.Output]:
    """|x|  ->  x / |x|; 0 at 0, as PyTorch's norm."""
    step.only(0)
    length = kept(step, step.result, adjoint=False)
    length = op.select(op.greater(length, number(0.0, length)), length, number(1.0, length)).output(0)
    share = emit.divide(kept(step, step.adjoint, adjoint=True), length)
    return {0: emit.multiply(share, step.feed(0))}


def cumulative_sum(step: Step) -> dict[int, ov.Output]:
    """A running sum the other way round."""
    step.only(0)
    (axis,) = (each % len(step.shape(0)) for each in step.fixed(1))
    where = op.constant(axis + step.targets.lead, ov.Type.i64)
    return {0: op.cum_sum(step.adjoint, where, step.flag("exclusive"), not step.flag("reverse")).output(0)}
