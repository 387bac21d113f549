"""Softmax and normalisations: what an entry takes from the others it also gives back to them."""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as op

from ovxai.backward.rules.reductions import reduced_axes
from ovxai.backward.rules.unary import number, scaled
from ovxai.backward.step import Refusal, Step
from ovxai.graph import emit
from ovxai.graph.dims import Dim, ints, product


def softmax(step: Step) -> dict[int, ov.Output]:
    """y (dy - sum of dy y)."""
    weighed = step.times(step.result)
    total = emit.reduce_sum(weighed, step.targets.axes([step.axis()]), True)
    return {0: emit.subtract(weighed, emit.multiply(total, step.result))}


def log_softmax(step: Step) -> dict[int, ov.Output]:
    """dy - e^y sum of dy."""
    total = emit.reduce_sum(step.adjoint, step.targets.axes([step.axis()]), True)
    return {0: emit.subtract(step.adjoint, emit.multiply(total, op.exp(step.result).output(0)))}


def mvn(step: Step) -> dict[int, ov.Output]:
    """y = (x - mean) / deviation  ->  (dy - mean of dy - y mean of dy y) / deviation."""
    step.only(0)
    if step.node.get_input_size() > 1:
        axes = reduced_axes(step)
    else:  # the first form has no input of axes
        axes = list(range(1 if step.flag("across_channels") else 2, len(step.shape(0))))
    if not step.flag("normalize_variance"):
        return {0: centred(step.adjoint, step.targets.axes(axes))}
    return {0: _whitened(step, axes)}


def centred(tensor: ov.Output, axes: list[int]) -> ov.Output:
    """A tensor less its mean over axes."""
    return emit.subtract(tensor, op.reduce_mean(tensor, ints(axes), True).output(0))


def _whitened(step: Step, axes: list[int]) -> ov.Output:
    inside = step.word("eps_mode").lower() == "inside_sqrt"
    return whitened(step, step.feed(0), step.adjoint, axes, step.number("eps"), inside)


def whitened(step: Step, x: ov.Output, adjoint: ov.Output, axes: list[int], eps: float, inside: bool) -> ov.Output:
    """The derivative by x of (x - mean) / deviation over `axes`. inside: whether eps is added before the root."""
    from_mean = centred(x, axes)
    variance = op.reduce_mean(op.multiply(from_mean, from_mean), ints(axes), True).output(0)
    root = op.sqrt(emit.add(variance, number(eps, x)) if inside else variance).output(0)
    deviation = root if inside else emit.add(root, number(eps, x))
    shape = emit.divide(from_mean, root)
    behind = step.targets.axes(axes)
    along = op.reduce_mean(emit.multiply(adjoint, shape), ints(behind), True).output(0)
    if not inside:
        along = emit.divide(emit.multiply(along, root), deviation)
    rest = emit.subtract(centred(adjoint, behind), emit.multiply(along, shape))
    return emit.divide(rest, deviation)


def normalize_l2(step: Step) -> dict[int, ov.Output]:
    """y = x / n with n = sqrt(sum of squares + eps)  ->  (dy - y sum of dy y) / n."""
    step.only(0)
    axes, x, eps = reduced_axes(step), step.feed(0), number(step.number("eps"), step.feed(0))
    squares = emit.reduce_sum(emit.multiply(x, x), axes, True)
    added = step.word("eps_mode").lower() == "add"
    length = op.sqrt(emit.add(squares, eps) if added else op.maximum(squares, eps)).output(0)
    if not axes:
        raise Refusal("it names no axes")
    along = emit.reduce_sum(step.times(step.result), step.targets.axes(axes), True)
    if not added:  # where eps stands for the length, it does not move
        along = emit.multiply(along, op.convert(op.greater(squares, eps), x.get_element_type()).output(0))
    return {0: emit.divide(emit.subtract(step.adjoint, emit.multiply(along, step.result)), length)}


def batch_norm(step: Step) -> dict[int, ov.Output]:
    """One factor per channel. Inputs: data, gamma, beta, mean, variance; of opset 1 gamma, beta, data, mean, variance."""
    data, gamma = (2, 0) if step.version == "opset1" else (0, 1)
    step.only(data)
    deviation = op.sqrt(emit.add(step.feed(4), number(step.number("epsilon"), step.feed(4)))).output(0)
    factor = emit.divide(step.feed(gamma), deviation)
    behind = list(range(1, len(step.shape(data)) - 1))
    return {data: step.times(emit.unsqueeze(factor, behind))}


def group_normalization(step: Step) -> dict[int, ov.Output]:
    """Each group of channels whitened by itself, then a factor per channel."""
    step.only(0)
    dims = step.dims(0)
    if not dims[1].is_static:
        raise Refusal("its number of channels is open")
    groups = int(step.number("num_groups"))
    inner = (dims[0], Dim(groups), Dim(dims[1].size // groups) * product(dims[2:]))
    weighed = step.times(emit.unsqueeze(step.feed(1), list(range(1, len(dims) - 1))))
    adjoint = step.targets.reshaped(weighed, inner)
    x = emit.reshape(step.feed(0), inner)
    found = whitened(step, x, adjoint, [2], step.number("epsilon"), True)
    return {0: step.targets.reshaped(found, dims)}


def lrn(step: Step) -> dict[int, ov.Output]:
    """y = x d^-b with d = bias + (a / size) * sum of squares of the neighbours.

    dx = dy d^-b - 2 a b / size * x * sum over the neighbours of dy y / d. The neighbourhood is symmetric along channels.
    """
    step.only(0)
    axes, size = step.fixed(1), int(step.number("size"))
    if [axis % len(step.shape(0)) for axis in axes] != [1] or size % 2 == 0 or len(step.shape(0)) != 4:
        raise Refusal("only an odd neighbourhood along channels has a rule")
    alpha, beta, bias = (step.number(name) for name in ("alpha", "beta", "bias"))
    x, dims = step.feed(0), step.dims(0)
    near = scaled(_neighbours(emit.multiply(x, x), size), alpha / size)
    depth = emit.add(near, number(bias, x))
    straight = step.times(op.power(depth, number(-beta, x)).output(0))
    folded = step.targets.fold(step.times(emit.divide(step.result, depth)), dims)
    around = step.targets.unfold(_neighbours(folded, size), dims)
    return {0: emit.subtract(straight, step.targets.times(around, scaled(x, 2 * alpha * beta / size)))}


def _neighbours(tensor: ov.Output, size: int) -> ov.Output:
    """The sum over `size` neighbouring channels of [N, C, h, w]."""
    half = size // 2
    stacked = emit.unsqueeze(tensor, [1])
    pool = op.avg_pool(stacked, [1, 1, 1], [half, 0, 0], [half, 0, 0], [size, 1, 1], False, "floor", "explicit")
    return scaled(op.squeeze(pool, ints([1])).output(0), float(size))
