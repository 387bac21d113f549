"""Concat makes runs: class token + patches -> Segments. Mapped tensors joined with each other are one again.

Unless some of them were laid out densely: then they stay apart, for the head may read the others alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovxai.collapse.dims import Dim
from ovxai.collapse.operation import Operation
from ovxai.collapse.values import Leveled, Mapped, Part, Segments, Shared, Value, Windowed

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter


def concat(interpreter: Interpreter, operation: Operation) -> list[Value] | None:
    dims = operation.out_dims[0]
    axis = int(operation.attribute("axis")) % len(dims)
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
            parts.append(Part(lambda value=value: value))
    return [Segments(dims, axis, tuple(sizes), tuple(parts))]


def _has_runs(value: Value, axis: int) -> bool:
    """Whether joining along `axis` puts something beside positions (or beside runs that are there)."""
    if isinstance(value, Shared):
        return False
    if isinstance(value, Mapped):
        return bool(value.copied)
    if isinstance(value, Leveled):
        return value.positions == (axis,)
    if isinstance(value, Segments):
        return value.axis == axis
    return isinstance(value, Windowed) and axis in value.axes
