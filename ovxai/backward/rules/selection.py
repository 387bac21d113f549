"""Parts of a tensor: what was picked goes back to its place, among zeros."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.backward.rules.resampling import along, of_each_entry
from ovxai.backward.step import Refusal, Step
from ovxai.backward.targets import Targets
from ovxai.graph import emit
from ovxai.graph.dims import Dim, ints, whole_number


def slice_(step: Step) -> dict[int, ov.Output]:
    """x[start:stop:step] along some axes  ->  zeros around it."""
    step.only(0)
    starts, stops, steps = (step.fixed(port) for port in (1, 2, 3))
    axes = step.fixed(4) if step.node.get_input_size() > 4 else list(range(len(starts)))
    rank = len(step.shape(0))
    adjoint = step.adjoint
    for axis, start, stop, stride in zip(axes, starts, stops, steps, strict=True):
        adjoint = _put_back(step, adjoint, axis % rank, slice(start, stop, stride))
    return {0: adjoint}


def strided_slice(step: Step) -> dict[int, ov.Output]:
    """As Slice; its masks open bounds and drop axes.

    Raises:
        Refusal: it makes new axes, or has an ellipsis.
    """
    step.only(0)
    attributes = step.node.get_attributes()
    if any(attributes["new_axis_mask"]) or any(attributes["ellipsis_mask"]):
        raise Refusal("it adds axes, or leaves out some in the middle")
    begins, ends = step.fixed(1), step.fixed(2)
    strides = step.fixed(3) if step.node.get_input_size() > 3 else [1] * len(begins)
    count = len(begins)
    no_begin, no_end, single = (
        [bool(bit) for bit in [*attributes[name], *[0] * count][:count]]
        for name in ("begin_mask", "end_mask", "shrink_axis_mask")
    )
    adjoint = step.targets.reshaped(step.adjoint, _sliced_dims(step, single)) if any(single) else step.adjoint
    for axis in range(count):
        start = None if no_begin[axis] else begins[axis]
        stop = None if no_end[axis] else ends[axis]
        part = _one(start or 0) if single[axis] else slice(start, stop, strides[axis])
        adjoint = _put_back(step, adjoint, axis, part)
    return {0: adjoint}


def _one(index: int) -> slice:
    return slice(index, index + 1 if index != -1 else None, 1)


def _sliced_dims(step: Step, single: Sequence[bool]) -> list[Dim]:
    """The result's extents with those axes as 1 that were dropped."""
    rest = iter(step.out_dims)
    return [Dim(1) if axis < len(single) and single[axis] else next(rest) for axis in range(len(step.shape(0)))]


def _put_back(step: Step, adjoint: ov.Output, axis: int, part: slice) -> ov.Output:
    extent = step.dims(0)[axis]
    chosen = np.arange(extent.size)[part]
    if extent.is_static:
        return placed(step.targets, adjoint, axis, chosen, extent.size)
    if (part.start, part.stop, part.step) == (None, None, 1) or (part.start in (0, None) and _endless(part)):
        return adjoint
    if part.step != 1:
        raise Refusal("it takes every n-th entry of an axis whose size is open")
    return padded_open(step, adjoint, axis, part.start or 0, extent)


def _endless(part: slice) -> bool:
    return part.step == 1 and (part.stop is None or part.stop >= 1 << 30)


def padded_open(step: Step, adjoint: ov.Output, axis: int, start: int, extent: Dim) -> ov.Output:
    """Zeros around entries that begin at `start`, counted from either end, of an axis whose size is open."""
    where = axis + step.targets.lead
    taken = op.gather(op.shape_of(adjoint, "i64"), ints([where]), whole_number(0)).output(0)
    begin = ints([start]) if start >= 0 else op.add(extent.node(), ints([start])).output(0)
    end = op.subtract(op.subtract(extent.node(), taken), begin).output(0)
    rank = len(step.shape(0)) + step.targets.lead
    pads = [emit.concat([ints([0] * where), edge, ints([0] * (rank - where - 1))], 0) for edge in (begin, end)]
    return op.pad(adjoint, *pads, "constant", emit.scalar(0.0, adjoint)).output(0)


def placed(targets: Targets, adjoint: ov.Output, axis: int, chosen: np.ndarray, extent: int) -> ov.Output:
    """Entries back at the places `chosen` along an axis of this extent, zeros elsewhere; what was taken twice adds up."""
    where = axis + targets.lead
    if np.array_equal(chosen, np.arange(extent)):
        return adjoint
    rank = len(adjoint.get_partial_shape())
    if np.array_equal(chosen, np.arange(len(chosen)) + chosen[0]):
        begin, end = [0] * rank, [0] * rank
        begin[where], end[where] = int(chosen[0]), int(extent - chosen[-1] - 1)
        return op.pad(adjoint, ints(begin), ints(end), "constant", emit.scalar(0.0, adjoint)).output(0)
    if len(set(chosen.tolist())) < len(chosen):
        matrix = np.zeros((len(chosen), extent), np.float32)
        matrix[np.arange(len(chosen)), chosen] = 1
        return along(adjoint, where, matrix)
    source = np.full(extent, len(chosen))
    source[chosen] = np.arange(len(chosen))
    if len(chosen) < extent:
        end = [0] * rank
        end[where] = 1
        adjoint = op.pad(adjoint, ints([0] * rank), ints(end), "constant", emit.scalar(0.0, adjoint)).output(0)
    return op.gather(adjoint, ints(source.tolist()), whole_number(where)).output(0)


def pad(step: Step) -> dict[int, ov.Output]:
    """What was there before, cut out again; repeated or mirrored borders are added to what they repeat."""
    step.only(0)
    begin, end = step.fixed(1), step.fixed(2)
    dims, mode = step.dims(0), step.word("pad_mode")
    adjoint = step.adjoint
    for axis, dim in enumerate(dims):
        if not begin[axis] and not end[axis]:
            continue
        where = axis + step.targets.lead
        if mode == "constant":
            if min(begin[axis], end[axis]) < 0:
                raise Refusal("it cuts instead of padding")
            adjoint = emit.slice_axis(adjoint, where, begin[axis], dim + Dim(begin[axis]))
            continue
        if not dim.is_static:
            raise Refusal("it repeats the border of an axis whose size is open")
        adjoint = along(adjoint, where, of_each_entry(_bordered(begin[axis], end[axis], mode), dim.size))
    return {0: adjoint}


def _bordered(begin: int, end: int, mode: str) -> Callable[[ov.Output], ov.Node]:
    return lambda columns: op.pad(columns, ints([begin, 0]), ints([end, 0]), mode)
