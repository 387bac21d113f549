"""MaxPool and AvgPool by windows that share no position, under the point mask.

A mask lights one position, and so one window at the most, in which all the others are dark, and dark alike:

    MaxPool    max(V_1[m], V_0)                     AvgPool    V_0 + (V_1[m] - V_0) / K         K positions in a window

Both are functions of single positions, on the grid that the masks have. What the pool made of it is a fact about counts:
where a sum over the map follows, it has as many V_0 as there are windows.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.apply import lifted
from ovxai.collapse.dense import densify
from ovxai.collapse.lazy import once
from ovxai.collapse.operation import Operation
from ovxai.collapse.values import ONE, ZERO, Leveled, Pooled, Refusal, Thunk, Value
from ovxai.graph import emit
from ovxai.graph.dims import Dims, ints, whole_number

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter

#: Spatial axes of a pool begin behind batch and channels.
FIRST = 2


def pool(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    """A pool whose windows share no position; None for any other, and where it pools what is not gated."""
    value = operation.inputs[0]
    if not isinstance(value, (Leveled, Pooled)) or not (cell := _window(operation, value)):
        return None
    inner, before = (value.inner, value.cell) if isinstance(value, Pooled) else (value, (1,) * len(value.positions))
    if interpreter.masks.levels != (ONE,):
        raise Refusal("windows of neighbours that are gated differently")
    if not inner.flat:
        raise Refusal("windows of positions that differ when dark")
    cell = tuple(a * b for a, b in zip(before, cell))
    count = math.prod(operation.attribute("kernel"))

    def lit() -> ov.Output:
        bright, dark = inner.levels[ONE](), inner.levels[ZERO]()
        if count == 1:
            return bright
        if operation.kind == "MaxPool":
            result = op.maximum(bright, dark).output(0)
        else:
            result = emit.add(emit.multiply(emit.subtract(bright, dark), emit.scalar(1.0 / count, bright)), dark)
        return _cut_off(result, dark, inner, cell, operation.out_dims[0])

    levels: dict[float, Thunk] = {ZERO: inner.levels[ZERO], ONE: once(lit)}
    pooled = Pooled(operation.out_dims[0], Leveled(inner.dims, inner.positions, levels, True), cell)
    if len(operation.out_dims) == 1:
        return [pooled]
    # Places of maxima, which nobody reads.
    return [pooled, *lifted(interpreter, operation.with_inputs([densify(interpreter, value)]))[1:]]


def _window(operation: Operation, value: Leveled | Pooled) -> tuple[int, ...] | None:
    """How many positions a window has along each position axis; None where windows overlap, are padded, mix other axes."""
    positions = value.inner.positions if isinstance(value, Pooled) else value.positions
    attributes = operation.node.get_attributes()
    kernel, strides = list(attributes["kernel"]), list(attributes["strides"])
    padded = [*attributes["pads_begin"], *attributes["pads_end"]]
    dilated = any(step != 1 for step in attributes.get("dilations", []))
    if kernel != strides or dilated or (any(padded) and attributes["auto_pad"] == "explicit"):
        return None
    sides = {axis + FIRST: size for axis, size in enumerate(kernel)}
    if any(size > 1 and axis not in positions for axis, size in sides.items()) or not set(positions) <= set(sides):
        return None
    # Windows that begin on the map and end behind it hold fewer positions.
    partial = attributes["rounding_type"] != "floor" or attributes["auto_pad"].startswith("same")
    tiled = all(value.dims[axis].is_static and value.dims[axis].size % size == 0 for axis, size in sides.items() if size > 1)
    read = any(output.get_target_inputs() for output in operation.node.outputs()[1:])
    return None if read or (partial and not tiled) else tuple(sides[axis] for axis in positions)


def _cut_off(lit: ov.Output, dark: ov.Output, inner: Leveled, cell: tuple[int, ...], windows: Dims) -> ov.Output:
    """The lit positions, of which those left over behind the last window change nothing."""
    inside = []
    for axis, size in zip(inner.positions, cell):
        if inner.dims[axis].is_static and windows[axis].size * size == inner.dims[axis].size:
            continue
        last = op.squeeze(inner.dims[axis].node(), ints([0]))
        place = op.range(whole_number(0), last, whole_number(1), "i64")
        shape = [-1 if spot == axis else 1 for spot in range(len(inner.dims))]
        end = op.multiply(windows[axis].node(), ints([size]))
        inside.append(op.less(op.reshape(place, ints(shape), False), end).output(0))
    if not inside:
        return lit
    return op.select(reduce(lambda a, b: op.logical_and(a, b).output(0), inside), lit, dark).output(0)
