"""Pools: the place where positions meet in most networks.

ReduceSum(V, positions) -> sum_p V_0[p] + rows(V - V_0);  ReduceMean divides by P
ReduceMax(V, positions) -> max(V_1[m], V_0) for the point mask where level 0 is flat
Windowed -> each entry counts as often as it stands for positions;  Segments -> run by run
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.carry import axis_values
from ovxai.collapse.layout import level_rows, rows, spread_over_masks
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.operation import Operation
from ovxai.collapse.values import ONE, ZERO, Leveled, Mapped, Merged, Refusal, Segments, Shared, Value, Windowed
from ovxai.graph import emit
from ovxai.graph.dims import Dim, Dims, ints, product

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter

_SUMS = ("ReduceMean", "ReduceSum")
_EXTREMES = {"ReduceMax": op.maximum, "ReduceMin": op.minimum}


def reduction(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    value = operation.inputs[0]
    axes = axis_values(operation.node, 1, value.rank)
    if axes is None or not (mixed := _gated_axes(value) & set(axes)):
        return None
    if operation.kind not in (*_SUMS, *_EXTREMES):
        raise Refusal("it pools positions in a way that has no rule")
    if isinstance(value, Leveled) and set(value.positions) != set(axes):
        raise Refusal("it pools positions together with other axes")
    if not isinstance(value, Leveled) and mixed != set(axes):
        raise Refusal("it pools tokens together with other axes")
    _check_leaves(value, set(axes))
    if operation.kind in _EXTREMES:
        _check_extreme(value, interpreter.masks)
    pooled = once(lambda: _pooled(operation, value, axes, interpreter.masks))
    dims = operation.out_dims[0]
    return [Mapped(dims, once(lambda: emit.reshape(pooled(), [interpreter.masks.count, *dims])))]


def _gated_axes(value: Value) -> set[int]:
    if isinstance(value, Leveled):
        return set(value.positions)
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


def _pooled(operation: Operation, value: Value, axes: list[int], masks: Masks) -> ov.Output:
    if operation.kind in _EXTREMES:
        return _extreme(value, axes, masks, operation.kind)
    total = _total(value, axes, masks)
    if operation.kind == "ReduceSum":
        return total
    return emit.multiply(total, reciprocal(product([value.dims[axis] for axis in axes]), total))


def reciprocal(count: Dim, like: ov.Output) -> ov.Output:
    if count.is_static:
        return emit.scalar(1.0 / count.size, like)
    return emit.divide(emit.scalar(1.0, like), emit.as_type(count.node(), like.get_element_type()))


def _total(value: Value, axes: list[int], masks: Masks) -> ov.Output:
    """Sum over `axes`, without them: [M, *rest]."""
    if isinstance(value, Leveled):
        return emit.add(level_rows(value, masks), _base_total(value, masks))
    if isinstance(value, Windowed):
        weighted = weighted_window(value, masks)
        return emit.reduce_sum(weighted, [axis + 1 for axis in axes], False)
    if isinstance(value, Segments):
        pieces = [_total(part(), axes, masks) for part in value.parts]
        total = pieces[0]
        for piece in pieces[1:]:
            total = emit.add(total, piece)
        return total
    if isinstance(value, Shared):
        kept = tuple(dim for axis, dim in enumerate(value.dims) if axis not in axes)
        return spread_over_masks(emit.reduce_sum(value.out(), axes, False), kept, masks)
    return emit.reduce_sum(value.out(), [axis + 1 for axis in axes], False)


def weighted_window(value: Windowed, masks: Masks) -> ov.Output:
    """Each entry times how many positions it stands for."""
    if value.weighted is not None:
        return value.weighted()
    tensor = value.out()
    for axis in value.axes:
        tensor = emit.multiply(tensor, along(masks.multiplicity, axis + 1, value.rank + 1))
    return tensor


def along(table: ov.Output, axis: int, rank: int) -> ov.Output:
    """[M, W + 1] laid out as [M, 1, .., W + 1, .., 1]."""
    shape = [0, *(-1 if place == axis else 1 for place in range(1, rank))]
    return op.reshape(table, ints(shape), True).output(0)


def _base_total(value: Leveled, masks: Masks) -> ov.Output:
    """sum over positions of V_0, without them."""
    base = value.levels[ZERO]()
    if not value.flat:
        return emit.reduce_sum(base, value.positions, False)
    flat = op.squeeze(base, ints(value.positions)).output(0)
    if emit.is_zero(base):
        kept: Dims = tuple(dim for axis, dim in enumerate(value.dims) if axis not in value.positions)
        return emit.zeros(kept, base)
    count = masks.positions
    if count.is_static:
        return emit.multiply(flat, emit.scalar(float(count.size), flat))
    return emit.multiply(flat, emit.as_type(count.node(), flat.get_element_type()))


def _check_extreme(value: Value, masks: Masks) -> None:
    """Refuse now: what is built later can't."""
    if isinstance(value, Segments):
        for part in value.parts:
            _check_extreme(part(), masks)
    if isinstance(value, Windowed) or (isinstance(value, Leveled) and (masks.levels != (ONE,) or masks.positions.size < 2)):
        raise Refusal("a maximum over neighbours that are gated differently")
    if isinstance(value, Leveled) and not value.flat:
        raise Refusal("a maximum over positions that differ when dark")


def _extreme(value: Value, axes: list[int], masks: Masks, kind: str) -> ov.Output:
    pick: Callable[..., ov.Node] = _EXTREMES[kind]
    reduce = op.reduce_max if kind == "ReduceMax" else op.reduce_min
    if isinstance(value, Leveled):
        live = rows(value.levels[ONE](), value, masks)
        return pick(live, op.squeeze(value.levels[ZERO](), ints(value.positions))).output(0)
    if isinstance(value, Segments):
        pieces = [_extreme(part(), axes, masks, kind) for part in value.parts]
        total = pieces[0]
        for piece in pieces[1:]:
            total = pick(total, piece).output(0)
        return total
    if isinstance(value, Shared):
        kept = tuple(dim for axis, dim in enumerate(value.dims) if axis not in axes)
        return spread_over_masks(reduce(value.out(), ints(axes), False).output(0), kept, masks)
    return reduce(value.out(), ints([axis + 1 for axis in axes]), False).output(0)
