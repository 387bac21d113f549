"""From a value to the tensors that hold it: levels, rows, windows, the dense form."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, reduce

import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.lazy import once
from ovxai.collapse.masks import Masks
from ovxai.collapse.values import ONE, ZERO, Anchored, Leveled, Mapped, Pooled, Refusal, Shared, Thunk, Value, Windowed
from ovxai.graph import emit
from ovxai.graph.dims import ONE as DIM_ONE
from ovxai.graph.dims import Dim, Dims, ints

Move = Callable[[ov.Output], ov.Output]


def flat_dims(dims: Dims, positions: Sequence[int]) -> Dims:
    """`dims` of a tensor that is the same at all positions: extent 1 there."""
    return tuple(DIM_ONE if axis in positions else dim for axis, dim in enumerate(dims))


def stacked_dims(dims: Dims, positions: Sequence[int], masks: Masks) -> Dims:
    """`dims` of all the gate's levels but 0, joined along the first position axis."""
    return tuple(dim * Dim(len(masks.levels)) if axis == positions[0] else dim for axis, dim in enumerate(dims))


def unstacked(stack: Thunk, dims: Dims, positions: Sequence[int], masks: Masks) -> dict[float, Thunk]:
    """Each level of a stack by itself."""
    axis = positions[0]
    edges = [dims[axis] * Dim(count) for count in range(len(masks.levels) + 1)]

    def level(index: int) -> Thunk:
        return once(lambda: emit.slice_axis(stack(), axis, edges[index], edges[index + 1]))

    return {weight: level(index) for index, weight in enumerate(masks.levels)}


def window_dims(dims: Dims, axes: Sequence[int], masks: Masks) -> Dims:
    """`dims` of a tensor that has on `axes` a window's positions and one for all the rest."""
    return tuple(Dim(masks.window + 1) if axis in axes else dim for axis, dim in enumerate(dims))


def expand_levels(value: Leveled, masks: Masks) -> Leveled:
    """All the gate's own levels, from the two that were enough while everything was affine."""
    if not value.affine or masks.levels == (ONE,):
        return value
    zero = value.levels[ZERO]

    def level(weight: float) -> Thunk:
        def build() -> ov.Output:
            base = zero()
            change = emit.subtract(value.levels[ONE](), base)
            return emit.add(emit.multiply(change, emit.scalar(weight, change)), base)

        return once(build)

    gated = {weight: level(weight) for weight in masks.levels}
    stack = once(lambda: emit.concat([build() for build in gated.values()], value.positions[0]))
    return Leveled(value.dims, value.positions, {ZERO: zero, **gated}, value.flat, stack=stack)


def change_of(value: Leveled, level: float) -> ov.Output:
    """V_level - V_0, with full extent on the positions."""
    return emit.subtract(value.levels[level](), value.levels[ZERO]())


def rows(tensor: ov.Output, value: Leveled, masks: Masks) -> ov.Output:
    """`tensor` (of value's dims) with its positions brought to the front: [M, *dims without them].

    Row m is the tensor at position m: all there is to do for the point mask.
    """
    rest = _others(value)
    # A single picture's axis may stay in front: NCHW -> NHWC is what the CPU often has in memory already.
    single = rest[0] == 0 and value.dims[0] == DIM_ONE
    order = [0, *value.positions, *rest[1:]] if single else [*value.positions, *rest]
    turned = emit.transpose(tensor, order)
    front = emit.reshape(turned, [masks.positions, *(value.dims[axis] for axis in rest)])
    return front if masks.stop is None else emit.slice_axis(front, 0, masks.start, masks.stop)


def level_rows(value: Leveled, masks: Masks) -> ov.Output:
    """sum over p of T[m, p] - V_0[p]: [M, *dims without the positions], for sums over all positions."""
    if masks.levels == (ONE,):
        return rows(change_of(value, ONE), value, masks)
    if value.affine:
        blur = masks.band(masks.h, "blur"), masks.band(masks.w, "blur")
        whole = _as_grids(change_of(value, ONE), value, masks)
        return rows(_from_grids(emit.matmul(blur[0], emit.matmul(whole, blur[1])), value), value, masks)
    corner, edge, centre = (_as_grids(change_of(value, level), value, masks) for level in masks.levels)
    down, across = masks.band(masks.h, "near"), masks.band(masks.w, "near")
    total = emit.add(centre, emit.matmul(edge, across))
    total = emit.add(total, emit.matmul(down, emit.add(edge, emit.matmul(corner, across))))
    return rows(_from_grids(total, value), value, masks)


def _as_grids(tensor: ov.Output, value: Leveled, masks: Masks) -> ov.Output:
    """[all else, h, w], whose neighbours two small products add up, for the kernel is separable.

    Not of a higher rank: ARM's products of such a one with a table of rank 2 don't compile (OpenVINO 2026.4).
    """
    rest = _others(value)
    turned = emit.transpose(tensor, [*rest, *value.positions])
    return emit.reshape(turned, [_all_of(value, rest), masks.h, masks.w])


def _from_grids(grids: ov.Output, value: Leveled) -> ov.Output:
    order = [*_others(value), *value.positions]
    back = emit.reshape(grids, [value.dims[axis] for axis in order])
    return emit.transpose(back, [order.index(axis) for axis in range(value.rank)])


def _others(value: Leveled) -> list[int]:
    return [axis for axis in range(value.rank) if axis not in value.positions]


def _all_of(value: Leveled, axes: Sequence[int]) -> Dim:
    return reduce(operator.mul, (value.dims[axis] for axis in axes), DIM_ONE)


def spread_over_masks(tensor: ov.Output, dims: Dims, masks: Masks) -> ov.Output:
    """A tensor without masks, repeated for each: [M, *dims]."""
    return emit.broadcast(emit.unsqueeze(tensor, [0]), (masks.count, *dims))


def to_windowed(value: Value, axis: int, masks: Masks) -> Windowed:
    """A Leveled value by window: exact where level 0 is flat.

    Raises:
        Refusal: level 0 is not flat, or the positions are not one axis.
    """
    if isinstance(value, Windowed) and axis in value.axes:
        return value
    if not isinstance(value, Leveled) or value.positions != (axis,):
        raise Refusal("what is gated does not lie along one axis of tokens")
    if not value.flat:
        raise Refusal("ungated tokens differ by position (a position-dependent term), so they are no single class")
    change = once(lambda: _window_change(value, axis, masks))
    return Windowed(value.dims, (axis,), once(lambda: _window(value, axis, masks)), anchored=Anchored(value.levels[ZERO], change))


def added(parts: Anchored) -> Thunk:
    """anchor + change: [M, ...]."""
    return once(lambda: emit.add(parts.change(), emit.unsqueeze(parts.anchor(), [0])))


def zero_anchor(dims: Dims, like: ov.Output) -> ov.Output:
    """The anchor of what is zero when dark, one for all pictures."""
    return emit.zeros((DIM_ONE, *dims[1:]) if dims else dims, like)


def one_for_all(anchor: ov.Output, dims: Dims) -> ov.Output:
    """An anchor of `dims`; of a batch whose pictures no anchor hangs on, one for all of them.

    Not only less work: the CPU plugin (2026.4) computes a ReduceMean wrongly when a constant with an extent on the batch's
    axis is added behind it.
    """
    full = emit.reshape(anchor, dims)
    if not dims or dims[0].size == 1 or not dims[0].is_static or not emit.is_constant(full):
        return full
    values = emit.worked_out(full)
    return op.constant(values[:1], dtype=full.get_element_type()).output(0) if (values == values[:1]).all() else full


def for_each(anchor: ov.Output, dims: Dims) -> ov.Output:
    """An anchor of `dims` with all its pictures, of which there may be one for all."""
    short = dims and dims[0].size > 1 and anchor.get_partial_shape()[0] == ov.Dimension(1)
    return emit.broadcast(anchor, dims) if short else anchor


def anchored_mapped(dims: Dims, anchor: Thunk, change: Thunk) -> Mapped:
    """A mapped tensor of two parts; the sum is made only for what asks for it."""
    parts = Anchored(anchor, change)
    return Mapped(dims, added(parts), anchored=parts)


def _window_change(value: Leveled, axis: int, masks: Masks) -> ov.Output:
    """What the window's cells have beside the dark tokens' value, which has none."""
    if masks.levels == (ONE,):
        live = emit.unsqueeze(rows(change_of(value, ONE), value, masks), [axis + 1])
    elif value.affine:
        change = _gathered(change_of(value, ONE), value, axis, masks.window_index)
        weight = op.reshape(masks.window_weight, ints(_spots(value.rank, axis)), False).output(0)
        live = emit.multiply(change, weight)
    else:
        live = _live_by_level(value, axis, masks, lambda level: change_of(value, level))
    rest = emit.zeros((masks.count, *flat_dims(value.dims, (axis,))), live)
    return emit.concat([live, rest], axis + 1)


def _window(value: Leveled, axis: int, masks: Masks) -> ov.Output:
    """[M, ..., W + 1, ...]: the window's cells under each mask and, last, a dark token."""
    base = emit.unsqueeze(value.levels[ZERO](), [0])
    if masks.levels == (ONE,):
        live = emit.unsqueeze(rows(value.levels[ONE](), value, masks), [axis + 1])
    elif value.affine:
        change = _gathered(change_of(value, ONE), value, axis, masks.window_index)
        weight = op.reshape(masks.window_weight, ints(_spots(value.rank, axis)), False).output(0)
        live = emit.add(emit.multiply(change, weight), base)
    else:
        live = _live_by_level(value, axis, masks, lambda level: value.levels[level]())
    rest = emit.broadcast(base, (masks.count, *flat_dims(value.dims, (axis,))))
    return emit.concat([live, rest], axis + 1)


def _spots(rank: int, axis: int) -> list[int]:
    """Shape that lays a window's weights along `axis` of a mapped tensor."""
    return [-1 if place == axis + 1 else 1 for place in range(rank + 1)]


def _live_by_level(value: Leveled, axis: int, masks: Masks, at: Callable[[float], ov.Output]) -> ov.Output:
    """The window's cells, each read off the tensor of its own level."""
    pieces, start = [], 0
    for level in masks.levels:
        stop = start + sum(cell[2] == level for cell in masks.offsets)
        index = emit.slice_axis(masks.window_index, 1, start, stop)
        pieces.append(_gathered(at(level), value, axis, index))
        start = stop
    return emit.concat(pieces, axis + 1)


def _gathered(tensor: ov.Output, value: Leveled, axis: int, index: ov.Output) -> ov.Output:
    """[M, ..., cells, ...]: the tensor's entries at each mask's cells."""
    rest = [place for place in range(value.rank) if place != axis]
    front = emit.transpose(tensor, [axis, *rest])
    cells = op.gather(front, index, ints([0])).output(0)  # [M, cells, *rest]
    order = [0, *(2 + rest.index(place) if place != axis else 1 for place in range(value.rank))]
    return emit.transpose(cells, order)


def level_gates(value: Leveled, masks: Masks) -> dict[float, ov.Output]:
    """level -> [M, h, w]: what share of V_level - V_0 every position has under every mask."""
    return {ONE: masks.gate()} if value.affine else {level: masks.indicator(level) for level in masks.levels}


def level_changes(value: Leveled, masks: Masks) -> dict[float, Thunk]:
    """level -> V_level - V_0 with full extent on the positions, for the gate's own levels."""
    if value.affine and masks.levels != (ONE,):
        whole = once(lambda: change_of(value, ONE))

        def share(level: float) -> ov.Output:
            return emit.multiply(whole(), emit.scalar(level, whole()))

        return {level: once(partial(share, level)) for level in masks.levels}
    return {level: once(partial(change_of, value, level)) for level in masks.levels}


def laid_change(value: Leveled, masks: Masks) -> ov.Output:
    """[M, *dims]: sum over levels of indicator * (V_level - V_0), which is all that the masks change."""
    steps = []
    for level, gate in level_gates(value, masks).items():
        change = emit.unsqueeze(change_of(value, level), [0])
        steps.append(emit.multiply(change, laid_gate(value.dims, value.positions, masks, gate)))
    return reduce(emit.add, steps)


def laid_out(value: Leveled, masks: Masks) -> ov.Output:
    """[M, *dims]: V_0 + sum over levels of indicator * (V_level - V_0). The dense form."""
    kind = value.levels[ZERO]().get_element_type()
    if not kind.is_real():  # conditions and places: weighted as numbers, of which only one at a time counts
        return emit.as_type(laid_out(_as_numbers(value), masks), kind)
    return emit.add(laid_change(value, masks), emit.unsqueeze(value.levels[ZERO](), [0]))


def _as_numbers(value: Leveled) -> Leveled:
    def number(level: float) -> ov.Output:
        return emit.as_type(value.levels[level](), ov.Type.f32)

    return replace(value, levels={level: once(partial(number, level)) for level in value.levels}, stack=None)


def laid_gate(dims: Dims, positions: Sequence[int], masks: Masks, gate: ov.Output | None = None) -> ov.Output:
    """A gate [M, h, w] (by default the masks' own) laid along `positions` of a tensor [M, *dims]."""
    gate = masks.gate() if gate is None else gate
    grid = dict(zip(positions, (masks.h, masks.w))) if len(positions) == 2 else {positions[0]: masks.positions}
    if list(positions) != sorted(positions):
        gate = emit.transpose(gate, [0, 2, 1])
    return emit.reshape(gate, [masks.count, *(grid.get(axis, DIM_ONE) for axis in range(len(dims)))])


def laid_windows(value: Pooled, masks: Masks) -> ov.Output:
    """[M, *dims] of what was pooled by windows: V_0, and what a mask changes of it in the window that it lights."""
    inner = value.inner
    kind = inner.levels[ZERO]().get_element_type()
    if not kind.is_real():
        return emit.as_type(laid_windows(replace(value, inner=_as_numbers(inner)), masks), kind)
    gate = laid_gate(inner.dims, inner.positions, masks)
    folded = [masks.count]
    inside = []
    for axis, dim in enumerate(value.dims):
        if axis not in inner.positions:
            folded.append(DIM_ONE)
            continue
        cell = Dim(value.cell[inner.positions.index(axis)])
        gate = emit.slice_axis(gate, axis + 1, 0, dim * cell)
        inside.append(len(folded) + 1)
        folded.extend((dim, cell))
    gate = emit.reduce_sum(emit.reshape(gate, folded), inside, False)
    change = emit.unsqueeze(rows(change_of(inner, ONE), inner, masks), sorted(axis + 1 for axis in inner.positions))
    return emit.add(emit.multiply(change, gate), emit.unsqueeze(inner.levels[ZERO](), [0]))


def as_mapped(value: Value, masks: Masks) -> Mapped:
    """[M, *dims] for values that need no laying out.

    Raises:
        Refusal: the value is of another kind.
    """
    if isinstance(value, Mapped):
        return value
    if isinstance(value, Shared):
        nothing = once(lambda: emit.zeros((masks.count, *value.dims), value.out()))
        spread = once(lambda: spread_over_masks(value.out(), value.dims, masks))
        return Mapped(value.dims, spread, anchored=Anchored(value.out, nothing))
    raise Refusal("positions are still apart here")


def moved(value: Mapped | Windowed, dims: Dims, plain: Move, mapped: Move) -> Mapped | Windowed:
    """A value whose tensors are only cut or reshaped. plain, mapped: how, without and with the masks in front."""
    parts = value.anchored
    if parts is not None:
        base, change = parts.anchor, parts.change
        parts = Anchored(once(lambda: plain(base())), once(lambda: mapped(change())), parts.stepped)
    out = once(lambda: mapped(value.out()))
    if isinstance(value, Windowed):
        return Windowed(dims, value.axes, out, anchored=parts, past=value.past)
    return Mapped(dims, out, anchored=parts, past=value.past)
