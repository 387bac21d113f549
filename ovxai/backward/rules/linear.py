"""Products with weights, and of two tensors: the derivative goes through the transposed product."""

from __future__ import annotations

from collections.abc import Callable

import openvino as ov
from openvino import opset13 as op

from ovxai.backward.rules.window import Window, cut_to
from ovxai.backward.step import Refusal, Step, sum_to
from ovxai.graph import emit
from ovxai.graph.dims import ONE, Dim, Dims


def convolution(step: Step) -> dict[int, ov.Output]:
    """y = W * x  ->  dx = W' * dy: the same weights in a transposed convolution."""
    return {0: step.unfolded(_backprop(step, op.convolution_backprop_data), 0)}


def group_convolution(step: Step) -> dict[int, ov.Output]:
    """As a convolution; the groups stay among themselves."""
    return {0: step.unfolded(_backprop(step, op.group_convolution_backprop_data), 0)}


def convolution_backprop(step: Step) -> dict[int, ov.Output]:
    """y = W' * x  ->  dx = W * dy: the same weights in a convolution."""
    return {0: step.unfolded(_forward(step, op.convolution), 0)}


def group_convolution_backprop(step: Step) -> dict[int, ov.Output]:
    """As a transposed convolution; the groups stay among themselves."""
    return {0: step.unfolded(_forward(step, op.group_convolution), 0)}


def _backprop(step: Step, make: Callable[..., ov.Node]) -> ov.Output:
    step.only(0)
    dims = step.dims(0)
    window = Window.of(step, dims)
    kernel = list(step.shape(1)[2 - len(dims) :])
    node = make(
        step.folded(), step.feed(1), window.strides, pads_begin=window.begin, pads_end=window.end,
        dilations=window.dilations, auto_pad="explicit", output_padding=window.left_over(dims, step.out_dims, kernel),
    )  # fmt: skip
    return cut_to(node.output(0), dims)


def _forward(step: Step, make: Callable[..., ov.Node]) -> ov.Output:
    step.only(0)
    if step.node.get_input_size() > 2 or step.word("auto_pad") != "explicit":
        raise Refusal("its padding follows from the size that it is asked for")
    window = Window.of(step, step.out_dims)
    return make(step.folded(), step.feed(1), window.strides, window.begin, window.end, window.dilations).output(0)


def matmul(step: Step) -> dict[int, ov.Output]:
    """C = A B  ->  dA = dC B', dB = A' dC; summed over the batches to which an operand was broadcast."""
    turned = [step.flag("transpose_a"), step.flag("transpose_b")]
    rows = [_as_matrix(step.dims(port), port) for port in (0, 1)]
    adjoint = _with_vectors(step, rows)
    found = {}
    for port in sorted(step.wanted):
        other = 1 - port
        matrix = step.feed(other)
        if len(step.shape(other)) == 1:
            matrix, flip = emit.reshape(matrix, rows[other]), False
        else:
            flip = turned[other]
        own = turned[port] and len(step.shape(port)) > 1
        found[port] = _operand(step, port, adjoint, (matrix, flip), own, rows)
    return found


def _as_matrix(dims: Dims, port: int) -> Dims:
    """A vector is a row on the left and a column on the right."""
    if len(dims) > 1:
        return dims
    return (ONE, *dims) if port == 0 else (*dims, ONE)


def _with_vectors(step: Step, rows: list[Dims]) -> ov.Output:
    """The adjoint with the axes that the product has dropped because an operand was a vector."""
    dims = list(step.out_dims)
    if len(step.shape(1)) == 1:
        dims.append(ONE)
    if len(step.shape(0)) == 1:
        dims.insert(len(dims) - 1, ONE)
    return step.targets.reshaped(step.adjoint, dims) if len(dims) > len(step.out_dims) else step.adjoint


def _operand(
    step: Step, port: int, adjoint: ov.Output, other: tuple[ov.Output, bool], turned: bool, rows: list[Dims]
) -> ov.Output:
    """The derivative by operand `port`. other: the other one as a matrix, and whether the product turns it round."""
    matrix, flip = other
    if port == 0:
        found = emit.matmul(matrix, adjoint, flip, True) if turned else emit.matmul(adjoint, matrix, False, not flip)
    else:
        found = emit.matmul(adjoint, matrix, True, flip) if turned else emit.matmul(matrix, adjoint, not flip, False)
    batches = _broadcast(rows[0][:-2], rows[1][:-2])
    wide = [*batches, *(dim.size for dim in rows[port][-2:])]
    total = sum_to(step.targets, found, wide, rows[port])
    return step.targets.reshaped(total, step.dims(port)) if len(step.shape(port)) == 1 else total


def _broadcast(one: Dims, other: Dims) -> list[int]:
    """The witness sizes of batch axes that were broadcast together."""
    rank = max(len(one), len(other))
    sides = [[Dim(1)] * (rank - len(dims)) + list(dims) for dims in (one, other)]
    return [max(left.size, right.size) for left, right in zip(*sides, strict=True)]
