"""Gated tokens as one query sees them: the weighted mean of their values, as a quotient of two sums over positions.

o = sum(a * v) / sum(a), a = exp(score), over all runs of tokens. Scores and values depend on a position's level alone,
so both sums are pools of levelled tensors, and with o0, what the query sees of dark tokens, the change is

    o - o0 = sum((a - a0) * (v0 - o0) + a * (v - v0)) / (sum(a0) + sum(a - a0))

No weight of any token is ever stored, no mask is laid out, and nothing is a difference of two rounded means.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, reduce

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.layout import anchored_mapped, change_of, level_changes, level_rows
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import Operation
from ovxai.collapse.rules.reduction import as_number
from ovxai.collapse.tokens import with_axis
from ovxai.collapse.values import ONE, ZERO, Leveled, Mapped, Segments, Shared, Thunk, Value
from ovxai.graph import emit
from ovxai.graph.dims import Dim, ints, sizes

#: Exponentials are taken relative to the dark tokens' largest score, which keeps what they add up to, unless a lit one is
#: this much above it: exp(10) fits in f16.
_ROOM = 10.0


@dataclass(frozen=True)
class _Read:
    """What is read: the only gated run's scores [.., 1, P] and values, and those of the runs that are the same under every mask.

    turned: the values lie [.., d, tokens], not [.., tokens, d].
    """

    scores: Leveled
    values: Leveled
    others: tuple[tuple[Shared, Shared], ...]
    turned: bool


def read_by_one(operation: Operation, inner: tuple[int, int], masks: Masks) -> Value | None:
    """Softmax weights of one query times values; None where it is something else, or read by queries that vary."""
    read = _read(operation, inner)
    return None if read is None else _mean(read, operation, masks)


def _read(operation: Operation, inner: tuple[int, int]) -> _Read | None:
    weights, values = operation.inputs
    scores = weights.scores if isinstance(weights, (Mapped, Segments)) else None
    row = weights.rank - 1
    if scores is None or operation.attribute("transpose_a") or weights.dims[-2].size != 1 or not weights.dims[-2].is_static:
        return None
    if sizes(weights.dims[:-2]) != sizes(values.dims[:-2]) or inner[0] != row:
        return None
    pairs = _pairs(scores, values, row, inner[1])
    gated = [(s, v) for s, v in pairs or [] if isinstance(s, Leveled) and isinstance(v, Leveled)]
    others = [(s, v) for s, v in pairs or [] if isinstance(s, Shared) and isinstance(v, Shared)]
    if pairs is None or len(gated) != 1 or len(others) != len(pairs) - 1:
        return None
    lit, held = gated[0]
    fits = lit.positions == (row,) and held.positions == (inner[1],) and all(dim.is_static for dim in held.dims[-2:])
    return _Read(lit, held, tuple(others), bool(operation.attribute("transpose_b"))) if fits else None


def _pairs(scores: Value, values: Value, row: int, column: int) -> list[tuple[Value, Value]] | None:
    """Run by run; None where the two are cut differently."""
    if isinstance(scores, Segments) and isinstance(values, Segments):
        alike = (scores.axis, values.axis) == (row, column) and sizes(scores.sizes) == sizes(values.sizes)
        return [(first(), second()) for first, second in zip(scores.parts, values.parts)] if alike else None
    return None if isinstance(scores, Segments) or isinstance(values, Segments) else [(scores, values)]


def _mean(read: _Read, operation: Operation, masks: Masks) -> Mapped:
    dims = operation.out_dims[0]
    sums = once(lambda: _sums(read, masks))
    change = once(lambda: emit.reshape(_change(read, sums(), masks), [masks.count, *dims]))
    return anchored_mapped(dims, once(lambda: sums().mean), change)


@dataclass(frozen=True)
class _Sums:
    """Of the dark tokens and the other runs. top: [.., 1, 1]. dark: a0 of a position. total: sum(a0). mean: o0 [.., 1, d]."""

    top: ov.Output
    dark: ov.Output
    total: ov.Output
    mean: ov.Output


def _sums(read: _Read, masks: Masks) -> _Sums:
    base = read.scores.levels[ZERO]()
    last = read.scores.rank - 1
    top = _reference(read, base, masks)
    dark = _exp(base, top)
    values = _upright(read.values.levels[ZERO](), read.turned)
    total, summed = _of_dark(read, dark, values, masks)
    for score, value in read.others:
        share = _exp(score.out(), top)
        total = emit.add(total, emit.reduce_sum(share, [last], True))
        summed = emit.add(summed, emit.matmul(share, _upright(value.out(), read.turned)))
    return _Sums(top, dark, total, emit.divide(summed, total))


def _reference(read: _Read, base: ov.Output, masks: Masks) -> ov.Output:
    """What scores are taken relative to, shared by all masks: [.., 1, 1]."""
    last = [read.scores.rank - 1]
    dark = reduce(_larger, (op.reduce_max(t, ints(last), True).output(0) for t in [base, *(s.out() for s, _ in read.others)]))
    changes = level_changes(read.scores, masks)
    ends = [max(changes)] if read.scores.affine else list(changes)  # an affine score is largest at either end
    lit = reduce(_larger, (op.reduce_max(emit.add(changes[level](), base), ints(last), True).output(0) for level in ends))
    return _larger(dark, emit.subtract(lit, emit.scalar(_ROOM, lit)))


def _of_dark(read: _Read, dark: ov.Output, values: ov.Output, masks: Masks) -> tuple[ov.Output, ov.Output]:
    """sum(a0), sum(a0 * v0) over all positions of the gated run."""
    last = read.scores.rank - 1
    total = dark if read.scores.flat else emit.reduce_sum(dark, [last], True)
    if read.scores.flat:
        total = emit.multiply(total, as_number(masks.positions, total))
    if read.values.flat:
        return total, emit.multiply(total, values)
    if read.scores.flat:
        return total, emit.multiply(dark, emit.reduce_sum(values, [last - 1], True))
    return total, emit.matmul(dark, values)


def _change(read: _Read, sums: _Sums, masks: Masks) -> ov.Output:
    """[M, .., d]: the quotient of the two pools."""
    rank = read.scores.rank
    levels = _terms(read, sums, masks)
    width = read.values.dims[rank - 2 if read.turned else rank - 1]
    dims = with_axis(read.scores.dims, rank - 2, Dim(width.size + 1))
    zero = once(lambda: emit.zeros(with_axis(dims, rank - 1, Dim(1)), sums.dark))
    rows = level_rows(Leveled(dims, (rank - 1,), {ZERO: zero, **levels}, flat=True), masks)  # [M, .., d + 1]
    last = rank - 1
    gain = emit.slice_axis(rows, last, width, Dim(width.size + 1))
    total = emit.reshape(sums.total, [*read.scores.dims[:-2], Dim(1)])
    return emit.divide(emit.slice_axis(rows, last, 0, width), emit.add(gain, total))


def _terms(read: _Read, sums: _Sums, masks: Masks) -> dict[float, Thunk]:
    """level -> [.., d + 1, P]: what a position at that level adds to the sum of values and, last, to the sum of weights."""
    base = read.scores.levels[ZERO]()
    apart = emit.subtract(_upright(read.values.levels[ZERO](), read.turned), sums.mean)  # [.., P or 1, d]
    columns = _turned(apart)
    steps, lit = level_changes(read.scores, masks), _lit_columns(read, masks)

    def term(level: float) -> ov.Output:
        score = emit.subtract(emit.add(steps[level](), base), sums.top)
        weight = op.exp(score).output(0)  # [.., 1, P]
        more = emit.subtract(weight, sums.dark)
        change = emit.multiply(weight, lit[level]())
        return emit.concat([emit.add(emit.multiply(more, columns), change), more], read.scores.rank - 2)

    return {level: once(partial(term, level)) for level in masks.levels}


def _lit_columns(read: _Read, masks: Masks) -> dict[float, Thunk]:
    """level -> v - v0 of a position at that level, [.., d, P]; turned once where the levels are multiples of one."""
    changes = level_changes(read.values, masks)
    if read.turned:
        return changes
    if not read.values.affine:
        return {level: once(partial(_turn, change)) for level, change in changes.items()}
    whole = once(lambda: _turned(change_of(read.values, ONE)))

    def share(level: float) -> ov.Output:
        return emit.multiply(whole(), emit.scalar(level, whole()))

    return {level: once(partial(share, level)) for level in changes}


def _turn(values: Thunk) -> ov.Output:
    return _turned(values())


def _upright(values: ov.Output, turned: bool) -> ov.Output:
    """[.., tokens, d]"""
    return _turned(values) if turned else values


def _turned(tensor: ov.Output) -> ov.Output:
    rank = len(tensor.get_partial_shape())
    return emit.transpose(tensor, [*range(rank - 2), rank - 1, rank - 2])


def _exp(scores: ov.Output, top: ov.Output) -> ov.Output:
    return op.exp(emit.subtract(scores, top)).output(0)


def _larger(a: ov.Output, b: ov.Output) -> ov.Output:
    return op.maximum(a, b).output(0)
