"""Products with weights, and of two tensors: the derivative goes through the transposed product."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import openvino as ov
from openvino import opset13 as op

from ovxai.backward.rules.window import Window, by_phases, cut_to, parts_into_phases
from ovxai.backward.step import Found, Negated, Refusal, Step, sum_to
from ovxai.graph import emit
from ovxai.graph.dims import ONE, Dim, Dims, sizes


def convolution(step: Step) -> Found:
    """y = W * x  ->  dx = W' * dy: the same weights in a transposed convolution."""
    return _backprop(step, op.convolution_backprop_data, step.shape(1)[:2])


def group_convolution(step: Step) -> Found:
    """As a convolution; the groups stay among themselves."""
    return _backprop(step, op.group_convolution_backprop_data, step.shape(1)[1:3])


def convolution_backprop(step: Step) -> Found:
    """y = W' * x  ->  dx = W * dy: the same weights in a convolution."""
    return _forward(step, op.convolution, step.shape(1)[:2])


def group_convolution_backprop(step: Step) -> Found:
    """As a transposed convolution; the groups stay among themselves."""
    return _forward(step, op.group_convolution, step.shape(1)[1:3])


def _backprop(step: Step, make: Callable[..., ov.Node], channels: Sequence[int]) -> Found:
    step.only(0)
    dims = step.dims(0)
    window = Window.of(step, dims)
    kernel = list(step.shape(1)[2 - len(dims) :])
    weights = _Weights.of(step.feed(1), channels)
    if make is op.group_convolution_backprop_data and parts_into_phases(window, weights.tensor, dims, step.out_dims):
        return {0: weights.result(step.unfolded(by_phases(window, weights.tensor, step.folded(), dims), 0))}
    node = make(
        step.folded(), weights.tensor, window.strides, pads_begin=window.begin, pads_end=window.end,
        dilations=window.dilations, auto_pad="explicit", output_padding=window.left_over(dims, step.out_dims, kernel),
    )  # fmt: skip
    return {0: weights.result(step.unfolded(cut_to(node.output(0), dims), 0))}


def _forward(step: Step, make: Callable[..., ov.Node], channels: Sequence[int]) -> Found:
    step.only(0)
    if step.node.get_input_size() > 2 or step.word("auto_pad") != "explicit":
        raise Refusal("its padding follows from the size that it is asked for")
    window = Window.of(step, step.out_dims)
    weights = _Weights.of(step.feed(1), channels)
    node = make(step.folded(), weights.tensor, window.strides, window.begin, window.end, window.dilations)
    return {0: weights.result(step.unfolded(node.output(0), 0))}


@dataclass(frozen=True)
class _Weights:
    """Weights as the way back may read them: their own, or, where the device would stumble, with the other sign.

    The CPU plugin (OpenVINO 2026.4) takes square weights that are read both ways for one and the same once it has packed
    them, and silently gives wrong numbers for one of the two. With another sign they are other numbers to it. Weights
    compressed to whole numbers it divides by zero when a product reads them the other way round; with another sign they
    are unpacked while it compiles.
    """

    tensor: ov.Output
    negated: bool

    @classmethod
    def of(cls, weights: ov.Output, sides: Sequence[int]) -> _Weights:
        """sides: numbers of channels that are summed over one way and the other."""
        square = sides[0] == sides[1] > 1
        if not square and not emit.has_whole_numbers(weights):
            return cls(weights, False)
        return cls(emit.multiply(weights, emit.scalar(-1.0, weights)), True)

    def result(self, adjoint: ov.Output) -> ov.Output | Negated:
        return Negated(adjoint) if self.negated else adjoint


def matmul(step: Step) -> Found:
    """C = A B  ->  dA = dC B', dB = A' dC; summed over the batches to which an operand was broadcast."""
    turned = [step.flag("transpose_a"), step.flag("transpose_b")]
    rows = [_as_matrix(step.dims(port), port) for port in (0, 1)]
    adjoint = _with_vectors(step, rows)
    found: dict[int, ov.Output | Negated] = {}
    for port in sorted(step.wanted):
        other = 1 - port
        fixed = step.graph.is_constant(step.feed(other))
        weights = _Weights.of(step.feed(other), sizes(rows[other][-2:])) if fixed else _Weights(step.feed(other), False)
        matrix, flip = weights.tensor, turned[other]
        if len(step.shape(other)) == 1:
            matrix, flip = emit.reshape(matrix, rows[other]), False
        own = turned[port] and len(step.shape(port)) > 1
        found[port] = weights.result(_operand(step, port, adjoint, (matrix, flip), own, rows))
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


def einsum(step: Step) -> Found:
    """The adjoint takes the place of the operand: "ij,jk->ik" hands on "ik,jk->ij" and "ik,ij->jk".

    Raises:
        Refusal: an equation with an ellipsis, a diagonal, or axes that were broadcast.
    """
    terms, result = _equation(step)
    batch = next(letter for letter in string.ascii_letters if letter not in "".join(terms)) if step.targets.lead else ""
    found = {}
    for port in sorted(step.wanted):
        others = [other for other in range(len(terms)) if other != port]
        elsewhere = result + "".join(terms[other] for other in others)
        known = "".join(letter for letter in terms[port] if letter in elsewhere)
        equation = ",".join([batch + result, *(terms[other] for other in others)]) + "->" + batch + known
        total = op.einsum([step.adjoint, *(step.feed(other) for other in others)], equation).output(0)
        if known != terms[port]:
            dims = step.dims(port)
            bare = [dim if letter in known else ONE for letter, dim in zip(terms[port], dims, strict=True)]
            total = emit.broadcast(step.targets.reshaped(total, bare), step.targets.dims(dims))
        found[port] = total
    return found


def _equation(step: Step) -> tuple[list[str], str]:
    """The letters of each operand, and of the result: where the equation names none, those that stand in it once, in order."""
    equation = step.word("equation").replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if "." in equation or any(len(set(term)) < len(term) for term in terms):
        raise Refusal(f"there is no rule for equations like {equation}")
    if not arrow:
        result = "".join(sorted(letter for letter in set(left) - {","} if left.count(letter) == 1))
    extents: dict[str, int] = {}
    for port, term in enumerate(terms):
        for letter, dim in zip(term, step.dims(port), strict=True):
            if dim.is_static and extents.setdefault(letter, dim.size) != dim.size:
                raise Refusal(f"axis {letter} of its equation {equation} is {extents[letter]} long here and {dim.size} there")
    return terms, result
