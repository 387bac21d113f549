"""Operations that make one cell of several neighbours: convolutions, pools, resizes, padding."""

from __future__ import annotations

import numpy as np

from ovxai.graph.graph import Graph
from ovxai.trace.field import Field, Lost, joined, merged, spread, stepped, taken
from ovxai.trace.tags import Step, Tags

CONVOLUTIONS = ("Convolution", "GroupConvolution", "DeformableConvolution")
POOLS = ("MaxPool", "AvgPool")


def _respread(field: Field, step: Step) -> Field:
    for axis, (before, after) in enumerate(zip(step.before(), step.after(), strict=True)):
        if axis > 1 and before != after:
            field = spread(field, axis, after)
    return field


def pool(step: Step) -> Tags:
    """Pools, also of a fixed size: every channel by itself."""
    return step.data.each(lambda field: _respread(field, step))


def convolution(step: Step) -> Tags:
    """All channels are summed."""
    return step.data.each(lambda field: _respread(merged(field, [1]), step))


def group_convolution(step: Step) -> Tags:
    """Channels are summed group by group, so that a batch laid out beside the channels stays what it is."""
    groups = step.before(1)[0]

    def change(field: Field) -> Field:
        count = field.centres.shape[1]
        if count > 1:
            shape = field.centres.shape
            inner = field.centres.reshape(shape[0], groups, count // groups, *shape[2:])
            summed = merged(Field(field.side, inner, field.cell), [2])
            wide = np.repeat(summed.centres[:, :, 0], step.after()[1] // groups, axis=1)
            field = summed.moved(wide)
        return _respread(field, step)

    return step.data.each(change)


def resize(step: Step) -> Tags:
    """Interpolate: every axis whose extent changes covers what it covered."""

    def change(field: Field) -> Field:
        for axis, after in enumerate(step.after()):
            field = spread(field, axis, after)
        return field

    return step.data.each(change)


def pad(step: Step) -> Tags:
    """Entries in front and behind lie beyond what was covered; negative padding cuts off.

    Padding that the kernel of what reads it reaches over is that one's own, as exporters write it for uneven borders.
    """
    begins, ends = step.numbers(1), step.numbers(2)
    after = step.after()

    def change(field: Field) -> Field:
        for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            size = field.centres.shape[axis]
            if size == 1 or not (begin or end):
                continue
            if begin <= 0 and end <= 0:
                field = taken(field, axis, np.arange(-begin, size + end))
            elif _of_kernel(step.graph, step.index, axis, max(begin, end)):
                field = spread(field, axis, after[axis])
            else:
                field = _extended(field, axis, begin, end, after[axis])
        return field

    return step.data.each(change)


def _extended(field: Field, axis: int, begin: int, end: int, count: int) -> Field:
    try:
        return stepped(field, axis, -begin, 1.0, count)
    except Lost:  # a row of tokens: what is put beside them is no position
        if min(begin, end) < 0:
            raise
        sizes = [size for size in (begin, field.centres.shape[axis], end) if size]
        parts = [None if size != field.centres.shape[axis] else field for size in sizes]
        return joined(parts, sizes, axis)


def _of_kernel(graph: Graph, index: int, axis: int, count: int) -> bool:
    readers = [node for node, _ in graph.consumers.get((index, 0), [])]
    return axis > 1 and bool(readers) and all(count < _reach(graph, node, axis - 2) for node in readers)


def _reach(graph: Graph, node: int, side: int) -> int:
    """Over how many entries the kernel of a convolution or pool reaches; 0 for anything else."""
    kind = graph.kinds[node]
    if kind not in (*CONVOLUTIONS, *POOLS):
        return 0
    attributes = graph.ops[node].get_attributes()
    kernel = attributes.get("kernel")
    if kernel is None:
        weights = graph.shape(graph.inputs[node][1 if kind != "DeformableConvolution" else 2]) or ()
        kernel = weights[3:] if kind == "GroupConvolution" else weights[2:]
    dilations = attributes.get("dilations") or [1] * len(kernel)
    return (int(kernel[side]) - 1) * int(dilations[side]) + 1 if side < len(kernel) else 0
