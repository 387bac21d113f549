"""Fused operations said in simpler ones, for reasoning only: what is built of them is what is asked for.

ScaledDotProductAttention -> MatMul, Multiply, Add, Softmax, MatMul
global AvgPool, AdaptiveAvgPool -> ReduceMean;  global MaxPool, AdaptiveMaxPool -> ReduceMax
depthwise convolution as large as the map -> Multiply, ReduceSum
Pad with a constant along one axis -> Concat
Slice, StridedSlice -> the same without the axes that stay whole, whose ends need not be said
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.carry import ENDLESS, Sizes, constant_lists
from ovxai.graph import emit
from ovxai.graph.dims import Dim, dims_of, ints, sizes
from ovxai.graph.graph import Key, constant_value, key_of, sources


class Witness:
    """Shapes of tensors as far as they are known; a rule notes those that can't be inferred again."""

    def __init__(self, ask: Callable[[ov.Output], Sizes]) -> None:
        self._ask = ask
        self.noted: dict[Key, Sizes] = {}

    def __call__(self, output: ov.Output) -> Sizes:
        return self._ask(output)

    def note(self, output: ov.Output, shape: Sizes) -> None:
        self.noted[key_of(output)] = shape


def attention(node: ov.Node, witness: Witness) -> ov.Output | None:
    """softmax(scale * query @ keys^T + mask) @ values; a causal one has no such form here."""
    if node.get_attributes().get("causal"):
        return None
    query, key, value, *rest = sources(node)
    kind = query.get_element_type()
    if len(rest) > 1:
        scale = rest[1]
    else:
        scale = op.constant(np.array(witness(query)[-1] ** -0.5), dtype=kind).output(0)
    # The query is scaled, not the scores: it is the smaller of the two.
    scores = op.matmul(op.multiply(query, scale), key, False, True)
    if rest and witness(rest[0]) and not _is_zero(rest[0]):
        mask = rest[0]
        if mask.get_element_type() == ov.Type.boolean:
            low = op.constant(np.array(-1e4), dtype=kind)
            scores = op.select(mask, scores, low)
        else:
            scores = op.add(scores, mask)
    return op.matmul(op.softmax(scores, -1), value, False, False).output(0)


def _is_zero(output: ov.Output) -> bool:
    value = constant_value(output)
    return value is not None and value.dtype != bool and not np.any(value)


def _covers_map(node: ov.Node, witness: Witness, kernel: list[int]) -> bool:
    attributes = node.get_attributes()
    pads = [*attributes.get("pads_begin", []), *attributes.get("pads_end", [])]
    dilated = any(step != 1 for step in attributes.get("dilations", []))
    return list(witness(sources(node)[0])[2:]) == list(kernel) and not any(pads) and not dilated


def pool(reduce: Callable[..., ov.Node]) -> Callable[[ov.Node, Witness], ov.Output | None]:
    """A pool whose kernel covers the map: a reduction."""

    def rule(node: ov.Node, witness: Witness) -> ov.Output | None:
        if not _covers_map(node, witness, list(node.get_attributes()["kernel"])):
            return None
        spatial = list(range(2, len(witness(sources(node)[0]))))
        return reduce(sources(node)[0], ints(spatial), True).output(0)

    return rule


def adaptive_pool(reduce: Callable[..., ov.Node]) -> Callable[[ov.Node, Witness], ov.Output | None]:
    """A pool to a single cell is a reduction, one to the map's own size is nothing."""

    def rule(node: ov.Node, witness: Witness) -> ov.Output | None:
        data, target = sources(node)
        size = constant_value(target)
        spatial = list(range(2, len(witness(data))))
        if size is None:
            return None
        if list(size) == list(witness(data)[2:]):
            return data
        return reduce(data, ints(spatial), True).output(0) if all(side == 1 for side in size) else None

    return rule


def depthwise(node: ov.Node, witness: Witness) -> ov.Output | None:
    """[g, 1, 1, kh, kw] weights over a map of kh x kw: a weighted sum per channel."""
    data, weight = sources(node)
    groups, outs, ins, *kernel = witness(weight)
    if (outs, ins) != (1, 1) or not _covers_map(node, witness, kernel):
        return None
    spatial = list(range(2, 2 + len(kernel)))
    table = op.reshape(weight, ints([1, groups, *kernel]), False)
    return op.reduce_sum(op.multiply(data, table), ints(spatial), True).output(0)


def pad(node: ov.Node, witness: Witness) -> ov.Output | None:
    """Constant padding of one axis: Concat with a constant on either side."""
    data, begin, end, *fill = sources(node)
    before, after = constant_value(begin), constant_value(end)
    if node.get_attributes()["pad_mode"].lower() != "constant" or before is None or after is None:
        return None
    axes = [axis for axis in range(len(before)) if before[axis] or after[axis]]
    if len(axes) != 1 or min(before[axes[0]], after[axes[0]]) < 0:
        return None
    axis = axes[0]
    value = fill[0] if fill else op.constant(0.0, dtype=data.get_element_type()).output(0)

    def edge(count: int) -> list[ov.Output]:
        dims = list(dims_of(data, witness(data)))
        dims[axis] = Dim(count)
        table = emit.broadcast(value, tuple(dims))
        witness.note(table, sizes(tuple(dims)))
        return [table] if count else []

    return op.concat([*edge(int(before[axis])), data, *edge(int(after[axis]))], axis).output(0)


def slice_(node: ov.Node, witness: Witness) -> ov.Output | None:
    """Slice along the axes that it shortens alone."""
    data, bounds = sources(node)[0], constant_lists(node, 1)
    if bounds is None:
        return None
    starts, stops, steps, *given = bounds
    axes = given[0] if given else list(range(len(starts)))
    cut = [i for i, axis in enumerate(axes) if not _is_whole(data, axis, starts[i], stops[i], steps[i], witness)]
    if len(cut) == len(axes):
        return None
    if not cut:
        return data
    return op.slice(data, *(ints([line[i] for i in cut]) for line in (starts, stops, steps, axes))).output(0)


def strided_slice(node: ov.Node, witness: Witness) -> ov.Output | None:
    """StridedSlice whose whole axes are said to be whole."""
    attributes = node.get_attributes()
    data, *bounds = sources(node)
    values = constant_lists(node, 1)
    if values is None or any(attributes["new_axis_mask"]) or any(attributes["ellipsis_mask"]):
        return None
    begins, ends, *given = values
    count = len(begins)
    strides = given[0] if given else [1] * count
    open_begin, open_end, shrunk = (
        [*attributes[name], *[0] * count][:count] for name in ("begin_mask", "end_mask", "shrink_axis_mask")
    )
    whole = [
        not shrunk[axis] and _is_whole(
            data, axis, 0 if open_begin[axis] else begins[axis], ENDLESS if open_end[axis] else ends[axis], strides[axis], witness
        ) for axis in range(count)
    ]  # fmt: skip
    if all(whole):
        return data
    masks = {
        "begin_mask": [int(a or b) for a, b in zip(open_begin, whole)],
        "end_mask": [int(a or b) for a, b in zip(open_end, whole)],
    }
    if masks == {"begin_mask": open_begin, "end_mask": open_end}:
        return None
    return emit.clone(node, [data, *bounds], **masks).output(0)


def _is_whole(data: ov.Output, axis: int, start: int, stop: int, step: int, witness: Witness) -> bool:
    """Whether an axis comes through a slice as it is, as far as the shape says."""
    size = witness(data)[axis]
    shape = data.get_partial_shape()
    known = stop >= ENDLESS or (shape.rank.is_static and shape[axis].is_static)
    return known and step == 1 and (start == 0 or start <= -size) and stop >= size
