"""Pools: the place where positions meet in most networks.

ReduceSum(V, positions) -> sum_p V_0[p] + rows(V - V_0);  ReduceMean divides by P
ReduceMax(V, positions) -> max(V_1[m], V_0) for the point mask where level 0 is flat
Pooled -> the same, with as many V_0 as there are windows
Windowed -> each entry counts as often as it stands for positions;  Segments -> run by run
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import TYPE_CHECKING

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.carry import axis_values
from ovxai.collapse.layout import anchored_mapped, change_of, level_rows, one_for_all, rows, spread_over_masks, zero_anchor
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import Operation
from ovxai.collapse.values import ONE, ZERO, Leveled, Mapped, Merged, Pooled, Refusal, Segments, Shared, Value, Windowed, held
from ovxai.graph import emit
from ovxai.graph.dims import Dim, Dims, ints, product

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter

#: What a sum is shared out among.
ONE_POSITION = Dim(1)
_SUMS = ("ReduceMean", "ReduceSum")
_EXTREMES = {"ReduceMax": op.maximum, "ReduceMin": op.minimum}


def reduction(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    """A pool over gated positions; None where it pools other axes."""
    value = operation.inputs[0]
    axes = axis_values(operation.node, 1, value.rank)
    if axes is None or not (mixed := _gated_axes(value) & set(axes)):
        return None
    if operation.kind not in (*_SUMS, *_EXTREMES):
        raise Refusal("it pools positions in a way that has no rule")
    if isinstance(value, (Leveled, Pooled)) and _gated_axes(value) != set(axes):
        raise Refusal("it pools positions together with other axes")
    if not isinstance(value, (Leveled, Pooled)) and mixed != set(axes):
        raise Refusal("it pools tokens together with other axes")
    _check_leaves(value, set(axes))
    if operation.kind in _EXTREMES:
        _check_extreme(value, interpreter.masks)
    return [_pooled(operation, value, axes, interpreter.masks)]


def _gated_axes(value: Value) -> set[int]:
    if isinstance(value, Leveled):
        return set(value.positions)
    if isinstance(value, Pooled):
        return set(value.inner.positions)
    if isinstance(value, Windowed):
        return set(value.axes)
    return {value.axis} if isinstance(value, Segments) else set()


def _check_leaves(value: Value, axes: set[int]) -> None:
    """Queries x keys have two gated axes; a pool over one of them leaves the other."""
    if not _gated_axes(value) <= axes:
        raise Refusal("it pools one of two axes of tokens")
    if isinstance(value, Merged):
        raise Refusal("it pools positions that were merged with channels")
    if isinstance(value, Segments):
        if not value.parts:
            raise Refusal("it pools no tokens at all")
        for part in value.parts:
            _check_leaves(part(), axes)


def _pooled(operation: Operation, value: Value, axes: list[int], masks: Masks) -> Mapped:
    dims = operation.out_dims[0]
    whole = [masks.count, *dims]
    if operation.kind in _EXTREMES:
        if isinstance(value, (Leveled, Pooled)):
            return _extreme_of_levels(_on_grid(value), masks, operation.kind, dims)
        return Mapped(dims, once(lambda: emit.reshape(_extreme(value, axes, masks, operation.kind), whole)))
    share = product([value.dims[axis] for axis in axes]) if operation.kind == "ReduceMean" else ONE_POSITION

    def scaled(total: ov.Output) -> ov.Output:
        return total if share == ONE_POSITION else emit.multiply(total, reciprocal(share, total))

    if not _has_parts(value):
        return Mapped(dims, once(lambda: emit.reshape(scaled(_total(value, axes, masks)), whole)))

    def anchor() -> ov.Output:
        base = _base(value, axes, masks)
        return zero_anchor(dims, base) if emit.is_zero(base) else one_for_all(scaled(base), dims)

    return anchored_mapped(dims, once(anchor), once(lambda: emit.reshape(scaled(_change(value, axes, masks)), whole)))


def reciprocal(count: Dim, like: ov.Output) -> ov.Output:
    """1 / count in `like`'s element type."""
    if count.is_static:
        return emit.scalar(1.0 / count.size, like)
    return emit.divide(emit.scalar(1.0, like), as_number(count, like))


def _has_parts(value: Value) -> bool:
    """Whether the sum over positions can be told from what the masks change of it."""
    if isinstance(value, Segments):
        return all(_has_parts(part()) for part in value.parts)
    return value.anchored is not None if isinstance(value, (Mapped, Windowed)) else isinstance(value, (Leveled, Pooled, Shared))


def _base(value: Value, axes: list[int], masks: Masks) -> ov.Output:
    """The sum over `axes`, without them, if all that is gated is dark: [*rest]."""
    if isinstance(value, Leveled):
        return _base_total(value, masks.positions)
    if isinstance(value, Pooled):
        return _base_total(value.inner, value.windows)
    if isinstance(value, Segments):
        return _sum(_base(part(), axes, masks) for part in value.parts)
    if isinstance(value, (Mapped, Windowed)) and value.anchored:
        total = emit.reduce_sum(value.anchored.anchor(), axes, False)
        return total if isinstance(value, Mapped) else emit.multiply(total, as_number(masks.positions, total))
    if isinstance(value, Shared):
        return emit.reduce_sum(value.out(), axes, False)
    raise Refusal("what is pooled has no anchor")


def _change(value: Value, axes: list[int], masks: Masks) -> ov.Output:
    """What each mask adds to `_base`: [M, *rest]."""
    if isinstance(value, (Leveled, Pooled)):
        return level_rows(_on_grid(value), masks)
    if isinstance(value, Segments):
        return _sum(_change(part(), axes, masks) for part in value.parts if not isinstance(part(), Shared))
    behind = [axis + 1 for axis in axes]
    if isinstance(value, Mapped) and value.anchored:
        return emit.reduce_sum(value.anchored.change(), behind, False)
    if isinstance(value, Windowed) and value.anchored:
        return emit.reduce_sum(counted(value.anchored.change(), value, masks), behind, False)
    raise Refusal("what is pooled has no anchor")


def _sum(terms: Iterable[ov.Output]) -> ov.Output:
    return reduce(emit.add, terms)


def _total(value: Value, axes: list[int], masks: Masks) -> ov.Output:
    """Sum over `axes`, without them: [M, *rest]."""
    if isinstance(value, (Leveled, Pooled)):
        return emit.add(_change(value, axes, masks), _base(value, axes, masks))
    if isinstance(value, Windowed):
        weighted = weighted_window(value, masks)
        return emit.reduce_sum(weighted, [axis + 1 for axis in axes], False)
    if isinstance(value, Segments):
        return _sum(_total(part(), axes, masks) for part in value.parts)
    if isinstance(value, Shared):
        kept = tuple(dim for axis, dim in enumerate(value.dims) if axis not in axes)
        return spread_over_masks(emit.reduce_sum(value.out(), axes, False), kept, masks)
    if isinstance(value, Mapped):
        return emit.reduce_sum(value.out(), [axis + 1 for axis in axes], False)
    raise Refusal("it pools positions that were merged with channels")


def weighted_window(value: Windowed, masks: Masks) -> ov.Output:
    """Each entry times how many positions it stands for."""
    if value.weighted is not None:
        return value.weighted()
    return counted(value.out(), value, masks)


def counted(tensor: ov.Output, value: Windowed, masks: Masks) -> ov.Output:
    """A tensor on `value`'s windows, each entry times how many positions it stands for."""
    for axis in value.axes:
        tensor = emit.multiply(tensor, along(masks.multiplicity, axis + 1, value.rank + 1))
    return tensor


def along(table: ov.Output, axis: int, rank: int) -> ov.Output:
    """[M, W + 1] laid out as [M, 1, .., W + 1, .., 1]."""
    shape = [0, *(-1 if place == axis else 1 for place in range(1, rank))]
    return op.reshape(table, ints(shape), True).output(0)


def _on_grid(value: Leveled | Pooled) -> Leveled:
    """Per position of the masks: what it lights there, alone or in its window."""
    return value.inner if isinstance(value, Pooled) else value


def _base_total(value: Leveled, count: Dim) -> ov.Output:
    """sum of V_0 over `count` positions or windows, without them."""
    base = value.levels[ZERO]()
    if not value.flat:
        return emit.reduce_sum(base, value.positions, False)
    flat = op.squeeze(base, ints(value.positions)).output(0)
    if emit.is_zero(base):
        kept: Dims = tuple(dim for axis, dim in enumerate(value.dims) if axis not in value.positions)
        return emit.zeros(kept, base)
    return emit.multiply(flat, as_number(count, flat))


def as_number(count: Dim, like: ov.Output) -> ov.Output:
    """An extent in `like`'s element type."""
    if count.is_static:
        return emit.scalar(float(count.size), like)
    return emit.as_type(count.node(), like.get_element_type())


def _check_extreme(value: Value, masks: Masks) -> None:
    """Refuse now: what is built later can't."""
    if isinstance(value, Segments):
        for part in value.parts:
            _check_extreme(part(), masks)
    if isinstance(value, Pooled) and value.windows.size < 2:
        raise Refusal("a maximum over a single window")
    if isinstance(value, Windowed) or (isinstance(value, Leveled) and (masks.levels != (ONE,) or masks.positions.size < 2)):
        raise Refusal("a maximum over neighbours that are gated differently")
    if isinstance(value, Leveled) and not value.flat:
        raise Refusal("a maximum over positions that differ when dark")


def _extreme_of_levels(value: Leveled, masks: Masks, kind: str, dims: Dims) -> Mapped:
    """max(V_1[m], V_0) = V_0 + max(V_1[m] - V_0, 0)."""

    def change() -> ov.Output:
        lit = rows(change_of(value, ONE), value, masks)
        return emit.reshape(_EXTREMES[kind](lit, emit.scalar(0.0, lit)).output(0), [masks.count, *dims])

    return anchored_mapped(dims, once(lambda: one_for_all(value.levels[ZERO](), dims)), once(change))


def _extreme(value: Value, axes: list[int], masks: Masks, kind: str) -> ov.Output:
    pick: Callable[..., ov.Node] = _EXTREMES[kind]
    pool = op.reduce_max if kind == "ReduceMax" else op.reduce_min
    if isinstance(value, (Leveled, Pooled)):
        grid = _on_grid(value)
        live = rows(grid.levels[ONE](), grid, masks)
        return pick(live, op.squeeze(grid.levels[ZERO](), ints(grid.positions))).output(0)
    if isinstance(value, Segments):
        pieces = [_extreme(part(), axes, masks, kind) for part in value.parts]
        total = pieces[0]
        for piece in pieces[1:]:
            total = pick(total, piece).output(0)
        return total
    if isinstance(value, Shared):
        kept = tuple(dim for axis, dim in enumerate(value.dims) if axis not in axes)
        return spread_over_masks(pool(value.out(), ints(axes), False).output(0), kept, masks)
    return pool(held(value).out(), ints([axis + 1 for axis in axes]), False).output(0)
