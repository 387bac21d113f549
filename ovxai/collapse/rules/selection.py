"""Gather, Slice, StridedSlice, Split on an axis of runs: whole runs are handed on, none is cut open.

Gather(class token | patches, 0) -> class token
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.carry import ENDLESS, axis_values, constant_lists
from ovxai.collapse.layout import moved
from ovxai.collapse.lazy import once
from ovxai.collapse.operation import Operation
from ovxai.collapse.tokens import edges, restrict, with_axis
from ovxai.collapse.values import Leveled, Mapped, Part, Pooled, Refusal, Segments, Shared, Thunk, Value, Windowed, part_of
from ovxai.graph import emit
from ovxai.graph.dims import Dim, ints
from ovxai.graph.graph import constant_value, source

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter


def _bounds_of(operation: Operation) -> list[list[int]]:
    """The lists behind the data: where a slice starts, where it stops, its steps, its axes.

    Raises:
        Refusal: one of them is not constant.
    """
    bounds = constant_lists(operation.node, 1)
    if bounds is None:
        raise Refusal("which tokens are read depends on the picture")
    return bounds


def _segments(operation: Operation, axis: int | None) -> Segments | None:
    value = operation.inputs[0]
    return value if isinstance(value, Segments) and value.axis == axis else None


def pick(value: Segments, start: int, stop: int) -> Value:
    """The run start:stop of a segmented axis."""
    bounds = edges(value.sizes)
    kept: list[tuple[Dim, Part]] = []
    for index, part in enumerate(value.parts):
        low, high = bounds[index].size, bounds[index + 1].size
        first, last = max(start, low), min(stop, high)
        if first >= last:
            continue
        if (first, last) == (low, high):
            kept.append((value.sizes[index], part))
        else:
            inside = restrict(part(), value.axis, Dim(first - low), Dim(last - low))  # now, for it may refuse
            kept.append((Dim(last - first), part_of(inside)))
    if len(kept) == 1:
        return kept[0][1]()
    total = edges([size for size, _ in kept])[-1]
    dims = with_axis(value.dims, value.axis, total)
    return Segments(dims, value.axis, tuple(size for size, _ in kept), tuple(part for _, part in kept))


def drop_axis(value: Value, axis: int) -> Value:
    """A value without its axis `axis` of extent 1."""
    dims = tuple(dim for place, dim in enumerate(value.dims) if place != axis)

    def down(place: int) -> int:
        return place - 1 if place > axis else place

    if isinstance(value, Shared):
        return Shared(dims, once(lambda: emit.reshape(value.out(), dims)))
    if isinstance(value, (Mapped, Windowed)):
        short = moved(value, dims, lambda t: _squeezed(t, axis), lambda t: _squeezed(t, axis + 1))
        return replace(short, axes=tuple(down(a) for a in short.axes)) if isinstance(short, Windowed) else short
    if isinstance(value, Leveled) and axis not in value.positions:
        levels = {weight: _without(thunk, axis) for weight, thunk in value.levels.items()}
        return Leveled(dims, tuple(down(a) for a in value.positions), levels, value.flat, past=value.past)
    if isinstance(value, Segments) and value.axis != axis:
        return Segments(dims, down(value.axis), value.sizes, tuple(_part_without(part, axis) for part in value.parts))
    raise Refusal("a single position is picked out of what is gated")


def _part_without(part: Part, axis: int) -> Part:
    return Part(lambda: drop_axis(part(), axis))


def _without(thunk: Thunk, axis: int) -> Thunk:
    return once(lambda: _squeezed(thunk(), axis))


def _squeezed(tensor: ov.Output, axis: int) -> ov.Output:
    return op.squeeze(tensor, ints([axis])).output(0)


def gather(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    """One token, or neighbours in order."""
    axis = axis_values(operation.node, 2, operation.inputs[0].rank)
    value = _segments(operation, axis[0] if axis else None)
    if value is None:
        return None
    indices = constant_value(source(operation.node, 1))
    if indices is None:
        raise Refusal("which token is read depends on the picture")
    if indices.ndim > 1:
        raise Refusal("tokens are picked out of order")
    if not indices.size:
        raise Refusal("no token is picked")
    length = value.dims[value.axis].size
    wanted = [int(index) % length for index in np.atleast_1d(indices)]
    if wanted != list(range(wanted[0], wanted[0] + len(wanted))):
        raise Refusal("tokens are picked out of order")
    picked = pick(value, wanted[0], wanted[-1] + 1)
    return [drop_axis(picked, value.axis) if indices.ndim == 0 else picked]


def _bounds(start: int, stop: int, dim: Dim) -> tuple[int, int]:
    """Of a witness: an axis whose size only the running model knows can't be cut, only taken to its end."""
    if not dim.is_static and (start < 0 or 0 <= stop < ENDLESS) and (start, stop) != (0, 1):
        raise Refusal("an axis of dynamic size is cut")
    low, high, _ = slice(start, stop).indices(dim.size)
    return low, high


def slice_(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    """Slice, where it cuts the axis of runs."""
    value = operation.inputs[0]
    if not isinstance(value, Segments):
        return None
    starts, stops, steps, *given = _bounds_of(operation)
    axes = [axis % value.rank for axis in given[0]] if given else list(range(len(starts)))
    if value.axis not in axes:
        return None
    if any(step != 1 for step in steps):
        raise Refusal("tokens are picked out of order")
    picked: Value = value
    for axis, start, stop in zip(axes, starts, stops):
        picked = _cut(picked, value.axis, axis, *_bounds(start, stop, value.dims[axis]))
    return [picked]


def _cut(picked: Value, runs: int, axis: int, low: int, high: int) -> Value:
    """low:high of one axis; runs: the axis of the segments that `picked` was."""
    if (low, high) == (0, picked.dims[axis].size):
        return picked
    if axis == runs and isinstance(picked, Segments):
        return pick(picked, low, high)
    return restrict(picked, axis, Dim(low), Dim(high))


def strided_slice(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    """StridedSlice, where it cuts the axis of runs."""
    value = operation.inputs[0]
    if not isinstance(value, Segments) or value.axis in operation.carried()[0]:
        return None
    bounds = _bounds_of(operation)
    masks = operation.node.get_attributes()
    if any(masks["new_axis_mask"]) or any(masks["ellipsis_mask"]):
        raise Refusal("a slice that adds axes")
    picked: Value = value
    shrunk = []
    for axis in range(len(bounds[0])):
        start, stop, shrink = _strided_bounds(bounds, masks, axis, value.dims[axis])
        picked = _cut(picked, value.axis, axis, start, stop)
        if shrink:
            shrunk.append(axis)
    for axis in reversed(shrunk):
        picked = drop_axis(picked, axis)
    return [picked]


def _strided_bounds(bounds: list[list[int]], masks: Mapping[str, Sequence[int]], axis: int, dim: Dim) -> tuple[int, int, bool]:
    """Where a StridedSlice starts and stops on an axis, and whether it takes the axis away."""
    if len(bounds) > 2 and bounds[2][axis] != 1:
        raise Refusal("tokens are picked out of order")

    def flag(name: str) -> bool:
        return axis < len(masks[name]) and bool(masks[name][axis])

    if flag("shrink_axis_mask"):
        index = bounds[0][axis] % dim.size
        return index, index + 1, True
    start = 0 if flag("begin_mask") else bounds[0][axis]
    stop = ENDLESS if flag("end_mask") else bounds[1][axis]
    low, high = _bounds(start, stop, dim)
    return low, high, False


def split(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    """Split and VariadicSplit."""
    axis = axis_values(operation.node, 1, operation.inputs[0].rank)
    value = _segments(operation, axis[0] if axis else None)
    if value is None:
        return None
    start = 0
    found = []
    for dims in operation.out_dims:
        size = dims[value.axis].size
        found.append(pick(value, start, start + size))
        start += size
    return found


# Concat makes runs: class token + patches -> Segments. Mapped tensors joined with each other are one again.
#
# Unless some of them were laid out densely: then they stay apart, for the head may read the others alone.


def concat(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    """Concat of what lies along one axis: an axis of runs; None where channels or mapped tensors are joined."""
    dims = operation.out_dims[0]
    axis = int(operation.attribute("axis")) % len(dims)
    if any(isinstance(value, Pooled) for value in operation.inputs):
        return None
    mixed = any(isinstance(value, Shared) for value in operation.inputs)
    if not mixed and not any(_has_runs(value, axis) for value in operation.inputs):
        return None
    if mixed and any(isinstance(value, Leveled) and value.positions != (axis,) for value in operation.inputs):
        return None  # channels side by side
    sizes: list[Dim] = []
    parts: list[Part] = []
    for value in operation.inputs:
        if isinstance(value, Segments) and value.axis == axis:
            sizes.extend(value.sizes)
            parts.extend(value.parts)
        else:
            sizes.append(value.dims[axis])
            parts.append(part_of(value))
    return [Segments(dims, axis, tuple(sizes), tuple(parts))]


def _has_runs(value: Value, axis: int) -> bool:
    """Whether joining along `axis` puts something beside positions (or beside runs that are there)."""
    if isinstance(value, Shared):
        return False
    if isinstance(value, Mapped):
        return bool(value.dense)
    if isinstance(value, Leveled):
        return value.positions == (axis,)
    if isinstance(value, Segments):
        return value.axis == axis
    return isinstance(value, Windowed) and axis in value.axes
