"""Entries at places that a tensor names: what was taken is added back where it came from, what was put there is taken again."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.backward.rules.selection import padded_open, placed
from ovxai.backward.rules.unary import indicator, number, one_less, scaled, shifted
from ovxai.backward.step import Found, Negated, Refusal, Step
from ovxai.backward.targets import Targets
from ovxai.graph import emit
from ovxai.graph.dims import ONE, Dim, Dims, ints, product, shape_node, whole_number


def gather(step: Step) -> dict[int, ov.Output]:
    """x[..., index, ...]  ->  each entry added back where it came from."""
    step.only(0)
    rank = len(step.shape(0))
    axis = step.fixed(2)[0] % rank
    if batch := int(step.number("batch_dims")) % len(step.shape(1)) if step.shape(1) else 0:
        return {0: _gathered_each(step, axis, batch)}
    index = step.constant(1)
    dims = step.dims(0)
    adjoint = step.targets.reshaped(step.adjoint, [*dims[:axis], product(step.dims(1)), *dims[axis + 1 :]])
    if index is not None and dims[axis].is_static:
        chosen = index.reshape(-1).astype(np.int64)
        extent = dims[axis].size
        return {0: placed(step.targets, adjoint, axis, np.where(chosen < 0, chosen + extent, chosen), extent)}
    if index is not None and index.size == 1:
        return {0: padded_open(step, adjoint, axis, int(index.reshape(-1)[0]), dims[axis])}
    spread = emit.unsqueeze(_row(step.feed(1)), list(range(1, rank - axis)))
    return {0: added(step.targets, adjoint, spread, axis, dims)}


def _gathered_each(step: Step, axis: int, batch: int) -> ov.Output:
    """The same where each picture has places of its own: all axes before, between and behind as one each."""
    dims, places = step.dims(0), step.dims(1)
    each, between, behind = product(dims[:batch]), product(dims[batch:axis]), product(dims[axis + 1 :])
    count = product(places[batch:])
    rows = step.targets.reshaped(step.adjoint, [each, between, count, behind])
    index = emit.reshape(step.feed(1), [each, ONE, count, ONE])
    found = added(step.targets, rows, index, 2, (each, between, dims[axis], behind))
    return step.targets.reshaped(found, dims)


def gather_elements(step: Step) -> dict[int, ov.Output]:
    """Each entry added back where it came from."""
    step.only(0)
    return {0: added(step.targets, step.adjoint, step.feed(1), step.axis(), step.dims(0))}


def gather_nd(step: Step) -> dict[int, ov.Output]:
    """Rows, each named by its place along several axes, added back where they came from.

    Raises:
        Refusal: along how many changes with the size of the picture.
    """
    step.only(0)
    if not step.dims(1)[-1].is_static:
        raise Refusal("its index names places along an open number of axes")
    batch, count = int(step.number("batch_dims")), step.shape(1)[-1]
    dims = step.dims(0)
    inner = dims[batch : batch + count]
    each, rows, behind = product(dims[:batch]), product(step.dims(1)[batch:-1]), product(dims[batch + count :])
    index = emit.reshape(_flat(step.feed(1), inner), [each, rows, ONE])
    adjoint = step.targets.reshaped(step.adjoint, [each, rows, behind])
    found = added(step.targets, adjoint, index, 1, (each, product(inner), behind))
    return {0: step.targets.reshaped(found, dims)}


def top_k(step: Step) -> dict[int, ov.Output]:
    """The values go back to the places that its second output names; which those are counts as fixed."""
    step.only(0)
    return {0: added(step.targets, step.adjoint, step.node.output(1), step.axis(), step.dims(0))}


def added(targets: Targets, adjoint: ov.Output, index: ov.Output, axis: int, dims: Dims) -> ov.Output:
    """The adjoint of a tensor of extents `dims`: zeros with the entries of `adjoint` added at the places along an axis that
    `index`, which broadcasts, names."""
    places = op.broadcast(index, op.shape_of(adjoint, "i64"), broadcast_spec="BIDIRECTIONAL")
    nothing = emit.zeros(targets.dims(dims), adjoint)
    where = whole_number(axis + targets.lead)
    return op.scatter_elements_update(nothing, places, adjoint, where, "sum").output(0)


# Scatters. Of several updates of one place it is not defined which stays: each of them gets all of its derivative.


def scatter_elements_update(step: Step) -> dict[int, ov.Output]:
    """Entry by entry."""
    step.only(0, 2)
    reduction, dims, index = _reduction(step, "none", "sum"), step.dims(0), step.feed(1)
    axis = step.fixed(3)[0] % len(dims)
    found = {}
    if 0 in step.wanted:
        whole = reduction == "sum" and step.flag("use_init_val")
        found[0] = step.adjoint if whole else step.times(_zeroed(step, index, dims, axis))
    if 2 in step.wanted:
        adjoint = _within(step, axis)
        places = emit.broadcast(index, step.targets.dims(step.dims(1)))
        found[2] = op.gather_elements(adjoint, places, axis + step.targets.lead).output(0)
    return found


def _within(step: Step, axis: int) -> ov.Output:
    """The adjoint without what lies beyond the indices on other axes than theirs.

    Raises:
        Refusal: such an axis is open.
    """
    adjoint = step.adjoint
    for each, (own, extent) in enumerate(zip(step.dims(1), step.dims(0), strict=True)):
        if each == axis or own.size == extent.size:
            continue
        if not own.is_static:
            raise Refusal("it writes to a part of an axis whose size is open")
        # No Slice: plugins drop one before GatherElements (OpenVINO 2026.4), whatever axes it cuts.
        adjoint = op.gather(adjoint, ints(range(own.size)), whole_number(each + step.targets.lead)).output(0)
    return adjoint


def _zeroed(step: Step, index: ov.Output, dims: Dims, axis: int) -> ov.Output:
    """Ones, and zeros at the places that are written to."""
    ones, zeros = (emit.broadcast(emit.scalar(value, step.result), sizes) for value, sizes in ((1.0, dims), (0.0, step.dims(1))))
    return op.scatter_elements_update(ones, index, zeros, whole_number(axis)).output(0)


def scatter_update(step: Step) -> dict[int, ov.Output]:
    """Slices along one axis."""
    step.only(0, 2)
    dims = step.dims(0)
    axis = step.fixed(3)[0] % len(dims)
    found = {}
    if 0 in step.wanted:
        left = _untouched(step, _row(step.feed(1)), dims[axis])
        found[0] = step.times(emit.unsqueeze(left, list(range(1, len(dims) - axis))))
    if 2 in step.wanted:
        found[2] = op.gather(step.adjoint, step.feed(1), whole_number(axis + step.targets.lead)).output(0)
    return found


def scatter_nd_update(step: Step) -> Found:
    """Rows, each at a place along several axes."""
    step.only(0, 2)
    reduction, targets = _reduction(step, "none", "sum", "sub"), step.targets
    dims, count = step.dims(0), step.shape(1)[-1]
    inner, behind = dims[:count], product(dims[count:])
    index = _row(_flat(step.feed(1), inner))
    rows = targets.reshaped(step.adjoint, [product(inner), behind])
    found: dict[int, ov.Output | Negated] = {}
    if 0 in step.wanted and reduction == "none":
        left = emit.unsqueeze(_untouched(step, index, product(inner)), [1])
        found[0] = targets.reshaped(targets.times(rows, left), dims)
    elif 0 in step.wanted:
        found[0] = step.adjoint
    if 2 in step.wanted:
        taken = op.gather(rows, index, whole_number(targets.lead)).output(0)
        own = targets.reshaped(taken, step.dims(2))
        found[2] = Negated(own) if reduction == "sub" else own
    return found


def _reduction(step: Step, *known: str) -> str:
    """What becomes of the value that was there before.

    Raises:
        Refusal: something else than is known here.
    """
    attributes = step.node.get_attributes()
    word = str(attributes.get("reduction", "none")).lower()
    if word not in known:
        raise Refusal(f"its reduction is {word}")
    return word


def _untouched(step: Step, index: ov.Output, extent: Dim) -> ov.Output:
    """[extent]: 1, and 0 at the places in `index`, which is a row."""
    ones = emit.broadcast(emit.scalar(1.0, step.result), (extent,))
    zeros = op.broadcast(emit.scalar(0.0, step.result), op.shape_of(index, "i64"))
    return op.scatter_update(ones, index, zeros, whole_number(0)).output(0)


def _row(index: ov.Output) -> ov.Output:
    return op.reshape(index, ints([-1]), False).output(0)


def _flat(index: ov.Output, extents: Sequence[Dim]) -> ov.Output:
    """i64 [...]: places [..., axes] along axes of these extents, counted through all of them."""
    places = emit.as_type(index, ov.Type.i64)
    places = op.select(op.less(places, whole_number(0)), op.add(places, shape_node(extents)), places).output(0)
    strides = shape_node([product(extents[axis + 1 :]) for axis in range(len(extents))])
    return emit.reduce_sum(emit.multiply(places, strides), [len(index.get_partial_shape()) - 1], False)


# Places between entries.


def grid_sample(step: Step) -> dict[int, ov.Output]:
    """Each sample is a weighted sum of four cells: a share goes back to each, and a place moves by the slope between them.

    Raises:
        Refusal: it samples otherwise than linearly, or mirrors what lies outside.
    """
    step.only(0, 1)
    if step.word("mode") != "bilinear":
        raise Refusal(f"it samples in the mode {step.word('mode')}")
    if step.word("padding_mode") == "reflection":
        raise Refusal("it mirrors the map at its borders")
    batch, channels, height, width = step.dims(0)
    rows, columns = _beside(step, 1, height), _beside(step, 0, width)
    line = width.node()
    index = emit.concat([emit.add(emit.multiply(row, line), column) for row in rows.cells for column in columns.cells], 2)
    adjoint = step.targets.reshaped(step.adjoint, [batch, channels, product(step.dims(1)[1:3])])
    found = {}
    if 0 in step.wanted:
        shares = [step.targets.times(adjoint, each) for each in _of_corners(rows.weights, columns.weights)]
        cells = emit.concat(shares, 2 + step.targets.lead)
        whole = added(step.targets, cells, index, 2, (batch, channels, height * width))
        found[0] = step.targets.reshaped(whole, step.dims(0))
    if 1 in step.wanted:
        values = _at(step, index)
        across = _moved(step, adjoint, values, _of_corners(rows.weights, columns.slopes))
        down = _moved(step, adjoint, values, _of_corners(rows.slopes, columns.weights))
        pairs = step.targets.reshaped(emit.concat([across, down], 2 + step.targets.lead), step.dims(1))
        found[1] = emit.as_type(pairs, step.feed(1).get_element_type())
    return found


@dataclass(frozen=True)
class _Beside:
    """Along one axis of a map the two cells beside each place, all of them [N, 1, places].

    cells: i64, within the map. weights: shares of them, 0 outside. slopes: of the shares, by what the grid says.
    """

    cells: tuple[ov.Output, ov.Output]
    weights: tuple[ov.Output, ov.Output]
    slopes: tuple[ov.Output, ov.Output]


def _beside(step: Step, entry: int, extent: Dim) -> _Beside:
    """entry: where the grid's last axis has the coordinate, from -1 to 1 over the whole axis."""
    batch, *sides, _ = step.dims(1)
    grid = emit.slice_axis(step.feed(1), 3, entry, entry + 1)
    grid = emit.as_type(emit.reshape(grid, [batch, ONE, product(sides)]), step.result.get_element_type())
    size = op.convert(extent.node(), grid.get_element_type()).output(0)
    last = shifted(size, -1.0)
    pace = scaled(last if step.flag("align_corners") else size, 0.5)
    place = emit.add(emit.multiply(grid, pace), scaled(last, 0.5))
    if step.word("padding_mode") == "border":
        inside = op.logical_and(op.greater(place, number(0.0, place)), op.less(place, last))
        pace = emit.multiply(pace, indicator(inside, place))
        place = _clipped(place, last)
    low = op.floor(place).output(0)
    ends = (low, shifted(low, 1.0))
    share = emit.subtract(place, low)
    there = [indicator(op.logical_and(op.greater_equal(end, number(0.0, end)), op.less_equal(end, last)), end) for end in ends]
    return _Beside(
        cells=tuple(emit.as_type(_clipped(end, last), ov.Type.i64) for end in ends),
        weights=(emit.multiply(one_less(share), there[0]), emit.multiply(share, there[1])),
        slopes=(op.negative(emit.multiply(pace, there[0])).output(0), emit.multiply(pace, there[1])),
    )


def _clipped(place: ov.Output, last: ov.Output) -> ov.Output:
    return op.minimum(op.maximum(place, number(0.0, place)), last).output(0)


def _of_corners(rows: Sequence[ov.Output], columns: Sequence[ov.Output]) -> list[ov.Output]:
    """The products of each of the four corners."""
    return [emit.multiply(row, column) for row in rows for column in columns]


def _at(step: Step, index: ov.Output) -> list[ov.Output]:
    """The map's values [N, C, places] at the four corners."""
    batch, channels, height, width = step.dims(0)
    data = emit.reshape(step.feed(0), [batch, channels, height * width])
    count = product(step.dims(1)[1:3])
    places = emit.broadcast(index, (batch, channels, Dim(_CORNERS) * count))
    return list(op.split(op.gather_elements(data, places, 2), whole_number(2), _CORNERS).outputs())


_CORNERS = 4


def _moved(step: Step, adjoint: ov.Output, values: Sequence[ov.Output], slopes: Sequence[ov.Output]) -> ov.Output:
    """[N, places, 1]: the derivative by one coordinate. slopes: of the corners' weights by it."""
    terms = [emit.multiply(value, slope) for value, slope in zip(values, slopes, strict=True)]
    by_channel = step.targets.times(adjoint, functools.reduce(emit.add, terms))
    total = emit.reduce_sum(by_channel, step.targets.axes([1]), False)
    return emit.unsqueeze(total, step.targets.axes([2]))
