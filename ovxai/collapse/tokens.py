"""Axes whose runs are of different kinds (class token | patches): operations go to each run by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.layout import anchored_mapped, as_mapped, for_each, moved
from ovxai.collapse.lazy import Lazy, once
from ovxai.collapse.operation import Operation
from ovxai.collapse.values import NOTHING, Leveled, Mapped, Part, Past, Refusal, Segments, Shared, Thunk, Value, Windowed
from ovxai.graph import emit
from ovxai.graph.dims import Dim, Dims

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter


def edges(sizes: Sequence[Dim]) -> list[Dim]:
    """Where the runs begin, and where the last one ends."""
    found = [Dim(0)]
    for size in sizes:
        found.append(_sum(found[-1], size))
    return found


def _sum(a: Dim, b: Dim) -> Dim:
    if a.is_static and b.is_static:
        return Dim(a.size + b.size)
    return Dim(a.size + b.size, lambda: op.add(a.node(), b.node()).output(0))


def cut(thunk: Thunk, axis: int, start: Dim, stop: Dim) -> Thunk:
    """The run start:stop of a tensor's axis."""
    return once(lambda: emit.slice_axis(thunk(), axis, start, stop))


def with_axis(dims: Dims, axis: int, size: Dim) -> Dims:
    """`dims` with another extent on one axis."""
    return tuple(size if place == axis else dim for place, dim in enumerate(dims))


def restrict(value: Value, axis: int, start: Dim, stop: Dim) -> Value:
    """The run start:stop of a value that is not gated along `axis`.

    Raises:
        Refusal: it is.
    """
    size = Dim(stop.size - start.size) if start.is_static and stop.is_static else _difference(stop, start)
    dims = with_axis(value.dims, axis, size)
    if isinstance(value, Shared):
        return Shared(dims, cut(value.out, axis, start, stop))
    if isinstance(value, Mapped) or (isinstance(value, Windowed) and axis not in value.axes):
        return moved(
            value, dims, lambda t: emit.slice_axis(t, axis, start, stop), lambda t: emit.slice_axis(t, axis + 1, start, stop)
        )
    if isinstance(value, Leveled) and axis not in value.positions:
        levels = {weight: cut(thunk, axis, start, stop) for weight, thunk in value.levels.items()}
        return Leveled(dims, value.positions, levels, value.flat, past=value.past)
    raise Refusal("single positions are picked out of what is gated")


def _difference(a: Dim, b: Dim) -> Dim:
    return Dim(a.size - b.size, lambda: op.subtract(a.node(), b.node()).output(0))


def segmented(interpreter: Interpreter, operation: Operation) -> list[Value]:
    """Apply an operation run by run along the first segmented axis that it carries.

    Raises:
        Refusal: it mixes the runs and no rule of its own knew how.
    """
    sizes, target = _leading(operation)
    _check_same_runs(operation, target, sizes)
    bounds = edges(sizes)

    def results(run: int) -> list[Value]:
        return interpreter.evaluate(_piece(interpreter, operation, target, sizes, bounds, run))

    runs = [once(partial(results, run)) for run in range(len(sizes))]
    return [
        Segments(dims, target, sizes, tuple(_output(run, index) for run in runs), plain)
        for index, (dims, plain) in enumerate(zip(operation.out_dims, operation.plain))
    ]


def _output(results: Lazy[list[Value]], index: int) -> Part:
    return Part(lambda: results()[index])


def history(values: Iterable[Value]) -> Past:
    """What happened on the way to `values`, to all of their runs."""
    past = NOTHING
    for value in values:
        past |= history(part() for part in value.parts) if isinstance(value, Segments) else value.past
    return past


def join(interpreter: Interpreter, value: Segments) -> Value:
    """All runs as one mapped tensor again, where none of them is gated any more."""
    parts = [part() for part in value.parts]
    if not all(isinstance(part, (Shared, Mapped)) for part in parts) or all(isinstance(part, Shared) for part in parts):
        return value
    mapped = [as_mapped(part, interpreter.masks) for part in parts]
    past = history([value])

    def joined(tensors: Iterable[ov.Output], axis: int) -> ov.Output:
        return emit.concat(list(tensors), axis)

    apart = [part.anchored for part in mapped]
    if any(one is None for one in apart):
        return Mapped(value.dims, once(lambda: joined((part.out() for part in mapped), value.axis + 1)), past=past)
    anchor = once(lambda: joined((for_each(one.anchor(), part.dims) for one, part in zip(apart, mapped) if one), value.axis))
    change = once(lambda: joined((one.change() for one in apart if one), value.axis + 1))
    return replace(anchored_mapped(value.dims, anchor, change), past=past)


def _leading(operation: Operation) -> tuple[Dims, int]:
    """The extents of the runs that lead, the first operand's, and the output axis on which they come out."""
    carried = operation.carried()
    for port, value in enumerate(operation.inputs):
        if isinstance(value, Segments):
            if value.axis not in carried[port]:
                raise operation.mixes("tokens of different kinds")
            return value.sizes, carried[port][value.axis]
    raise Refusal("nothing here is made of runs")


def _piece(interpreter: Interpreter, operation: Operation, target: int, sizes: Dims, bounds: list[Dim], run: int) -> Operation:
    """The operation on one run of the operands, `run` counted along the output's axis `target`."""
    carried = operation.carried()
    start, stop, size = bounds[run], bounds[run + 1], sizes[run]
    inputs = []
    for port, value in enumerate(operation.inputs):
        axis = next((a for a, b in carried[port].items() if b == target), None)
        if axis is None or value.dims[axis].size == 1:
            inputs.append(value)
        elif isinstance(value, Segments) and value.axis == axis:
            inputs.append(value.parts[run]())
        else:
            inputs.append(_own_run(interpreter, operation, value, axis, (start, stop)))
    dims = tuple(with_axis(out, target, size) for out in operation.out_dims)
    plain = tuple(None if one is None else cut(one, target, start, stop) for one in operation.plain)
    return Operation(operation.node, tuple(inputs), dims, plain, operation.facts)


def _own_run(interpreter: Interpreter, operation: Operation, value: Value, axis: int, run: tuple[Dim, Dim]) -> Value:
    """An operand that is cut into other runs: its share of this one, laid out densely if need be."""
    try:
        return restrict(value, axis, *run)
    except Refusal as refusal:
        return restrict(interpreter.laid_out(value, operation, str(refusal)), axis, *run)


def _check_same_runs(operation: Operation, target: int, sizes: Dims) -> None:
    for value, axes in zip(operation.inputs, operation.carried()):
        if not isinstance(value, Segments) or axes.get(value.axis) != target:
            continue
        if [own.size for own in value.sizes] != [size.size for size in sizes]:
            raise Refusal("two token axes are cut differently")
