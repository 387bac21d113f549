"""The dense fallback: one masked copy beside the other, for what no rule can say better."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.layout import as_mapped, laid_out, laid_windows
from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.values import Leveled, Mapped, Merged, Pooled, Segments, Shared, Value, Windowed
from ovxai.graph import emit
from ovxai.graph.dims import Dims, ints, number, whole_number

if TYPE_CHECKING:
    from ovxai.collapse.interpreter import Interpreter


def densify(interpreter: Interpreter, value: Value) -> Shared | Mapped:
    """Any value as an ordinary tensor with the masks in front, [M, *dims]; shared ones stay single."""
    masks = interpreter.masks
    if isinstance(value, Shared):
        return value
    if isinstance(value, Leveled):
        return Mapped(value.dims, once(lambda: _full(laid_out(value, masks), value.dims, masks)))
    if isinstance(value, Windowed):
        return Mapped(value.dims, once(lambda: _scattered(value, masks)))
    if isinstance(value, Merged):
        return Mapped(value.dims, once(lambda: emit.reshape(laid_out(value.inner, masks), [masks.count, *value.dims])))
    if isinstance(value, Pooled):
        return Mapped(value.dims, once(lambda: _full(laid_windows(value, masks), value.dims, masks)))
    if isinstance(value, Segments):
        parts = [as_mapped(densify(interpreter, part()), masks) for part in value.parts]
        return Mapped(value.dims, once(lambda: emit.concat([part.out() for part in parts], value.axis + 1)))
    return as_mapped(value, masks)


def _full(tensor: ov.Output, dims: Dims, masks: Masks) -> ov.Output:
    """Spread axes that a flat level left at 1 (batch of a constant level 0, say)."""
    return emit.broadcast(tensor, (masks.count, *dims))


def _scattered(value: Windowed, masks: Masks) -> ov.Output:
    """Put the window's entries back among the positions, one axis after the other."""
    tensor = value.out()
    for axis in value.axes:
        live = emit.slice_axis(tensor, axis + 1, 0, masks.window)
        rest = emit.slice_axis(tensor, axis + 1, masks.window, masks.window + 1)
        placed = _placed(emit.subtract(live, rest), axis + 1, value.rank + 1, masks)
        tensor = emit.add(placed, rest)
    return tensor


def _one_hot(masks: Masks) -> ov.Output:
    """f32 [M, W, P]: where each present window cell lies."""
    depth = op.squeeze(masks.positions.node(), ints([0]))
    hot = op.one_hot(masks.window_index, depth, number(1), number(0), 2)
    return op.multiply(hot, op.unsqueeze(masks.presence, ints([2]))).output(0)


def _placed(change: ov.Output, axis: int, rank: int, masks: Masks) -> ov.Output:
    """sum over the window of onehot[m, j, p] * change[m, .., j, ..] -> [M, .., P, ..]."""
    others = [a for a in range(1, rank) if a != axis]
    turned = emit.transpose(change, [0, axis, *others])  # [M, W, ...]
    flat = op.reshape(turned, ints([0, 0, -1]), True)
    placed = emit.matmul(_one_hot(masks), flat.output(0), transpose_a=True)  # [M, P, ...]
    tail = op.gather(op.shape_of(turned, "i64"), ints(list(range(2, rank))), whole_number(0))
    head = op.gather(op.shape_of(placed, "i64"), ints([0, 1]), whole_number(0))
    back = op.reshape(placed, op.concat([head, tail], 0), False)
    order = [0, *(1 if a == axis else 2 + others.index(a) for a in range(1, rank))]
    return emit.transpose(back.output(0), order)
