"""Which axes an operation only passes along.

An operation *carries* axis a of an input to axis b of its output when it works on it index by index:
output index i along b depends on input index i along a alone. That one fact serves positions,
segments, windows and batches alike. An axis that is not carried is mixed, and some rule must say how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import openvino as ov

from ovxai.graph.graph import constant_value, source

Sizes = tuple[int, ...]
#: per input port: axis -> output axis
Carried = list[dict[int, int]]
Follow = Callable[[ov.Node, Sequence[Sizes], Sizes], Carried]

#: What exporters write as the end of an axis that is taken to its end.
ENDLESS = 2**31 - 1


def axis_values(node: ov.Node, port: int, rank: int) -> list[int] | None:
    """A constant list of axes at `port`, made non-negative; None when it is not a constant."""
    if port >= node.get_input_size():
        return None
    value = constant_value(source(node, port))
    return None if value is None else [int(axis) % rank for axis in np.atleast_1d(value)]


def constant_lists(node: ov.Node, first: int) -> list[list[int]] | None:
    """The lists of whole numbers at the inputs from `first` on; None when one of them is not a constant."""
    ports = range(first, node.get_input_size())
    values = [value for value in (constant_value(source(node, port)) for port in ports) if value is not None]
    return [[int(entry) for entry in value] for value in values] if len(values) == len(ports) else None


def _data_only(axes: dict[int, int], count: int) -> Carried:
    return [axes] + [{} for _ in range(count - 1)]


def elementwise(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    def one(shape: Sizes) -> dict[int, int]:
        lead = len(out) - len(shape)
        return {a: a + lead for a, size in enumerate(shape) if size == out[a + lead]}

    return [one(shape) for shape in ins]


def all_but(axes: Sequence[int], ins: Sequence[Sizes]) -> Carried:
    """Everything but `axes` of the data input keeps its place."""
    return _data_only({a: a for a in range(len(ins[0])) if a not in axes}, len(ins))


def data(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    return all_but((), ins)


def batch(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    return _data_only({0: 0}, len(ins))


def matmul(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    a, b = ins
    if len(a) < 2 or len(b) < 2:
        return [{}, {}]
    attributes = node.get_attributes()
    row = len(a) - (1 if attributes["transpose_a"] else 2)
    column = len(b) - (2 if attributes["transpose_b"] else 1)
    maps = []
    for shape, kept, target in ((a, row, len(out) - 2), (b, column, len(out) - 1)):
        lead = len(out) - len(shape)
        found = {x: x + lead for x in range(len(shape) - 2) if shape[x] == out[x + lead]}
        found[kept] = target
        maps.append(found)
    return maps


def is_pointwise_convolution(node: ov.Node, weight: Sizes) -> bool:
    """1x1, stride 1, no padding."""
    attributes = node.get_attributes()
    spatial = len(attributes["strides"])
    pads = [*attributes["pads_begin"], *attributes["pads_end"]]
    ones = all(size == 1 for size in weight[len(weight) - spatial :])
    return ones and all(s == 1 for s in attributes["strides"]) and (not any(pads) or attributes["auto_pad"] == "same_upper")


def convolution(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    axes = {0: 0}
    if is_pointwise_convolution(node, ins[1]):
        axes.update({a: a for a in range(2, len(ins[0]))})
    return _data_only(axes, len(ins))


def transpose(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    order = axis_values(node, 1, len(ins[0])) or list(reversed(range(len(ins[0]))))
    return _data_only({a: place for place, a in enumerate(order)}, len(ins))


def runs(before: Sizes, after: Sizes) -> list[tuple[list[int], list[int]]]:
    """Cut two shapes of equal product into the shortest runs of equal product; axes of 1 are left out."""
    left = [a for a, size in enumerate(before) if size != 1]
    right = [a for a, size in enumerate(after) if size != 1]
    found = []
    i = j = 0
    while i < len(left) and j < len(right):
        one, two = [left[i]], [right[j]]
        i, j = i + 1, j + 1
        while (p := int(np.prod([before[a] for a in one]))) != (q := int(np.prod([after[a] for a in two]))):
            if p < q:
                one.append(left[i])
                i += 1
            else:
                two.append(right[j])
                j += 1
        found.append((one, two))
    return found


def reshape(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    axes = {one[0]: two[0] for one, two in runs(ins[0], out) if len(one) == len(two) == 1}
    return _data_only(axes, len(ins))


def squeeze(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    rank = len(ins[0])
    gone = axis_values(node, 1, rank) if len(ins) > 1 else None
    if gone is None:
        gone = [a for a in range(rank) if ins[0][a] == 1]
    gone = [a for a in gone if ins[0][a] == 1]
    kept = [a for a in range(rank) if a not in gone]
    return _data_only({a: place for place, a in enumerate(kept)}, len(ins))


def unsqueeze(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    new = axis_values(node, 1, len(out)) or []
    kept = [place for place in range(len(out)) if place not in new]
    return _data_only(dict(enumerate(kept)), len(ins))


def slice_(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    steps = constant_value(source(node, 3))
    axes = axis_values(node, 4, len(ins[0])) if node.get_input_size() > 4 else list(range(ins[1][0]))
    if steps is None or axes is None:
        return _data_only({}, len(ins))
    turned = [a for a, step in zip(axes, steps) if step != 1]
    return _data_only({a: a for a in range(len(ins[0])) if ins[0][a] == out[a] and a not in turned}, len(ins))


def strided_slice(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    attributes = node.get_attributes()
    if any(attributes["ellipsis_mask"]) or any(attributes["new_axis_mask"]):
        return _data_only({}, len(ins))
    shrunk = [a for a, flag in enumerate(attributes["shrink_axis_mask"]) if flag]
    kept = [a for a in range(len(ins[0])) if a not in shrunk]
    strides = constant_value(source(node, 3)) if node.get_input_size() > 3 else None
    turned = [] if strides is None else [a for a, step in enumerate(strides) if step != 1]
    axes = {a: place for place, a in enumerate(kept) if ins[0][a] == out[place] and a not in turned}
    return _data_only(axes, len(ins))


def gather(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    axis = axis_values(node, 2, len(ins[0]))
    if axis is None or node.get_attributes().get("batch_dims"):
        return _data_only({}, len(ins))
    shift = len(ins[1]) - 1
    axes = {a: a if a < axis[0] else a + shift for a in range(len(ins[0])) if a != axis[0]}
    return _data_only(axes, len(ins))


def but_axis_input(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    axes = axis_values(node, 1, len(ins[0]))
    return all_but(range(len(ins[0])) if axes is None else axes, ins)


def but_axis_attribute(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    return all_but((int(node.get_attributes()["axis"]) % len(ins[0]),), ins)


def concat(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    axis = int(node.get_attributes()["axis"]) % len(out)
    return [{a: a for a in range(len(out)) if a != axis} for _ in ins]


def reduce(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    axes = axis_values(node, 1, len(ins[0]))
    if axes is None:
        return _data_only({}, len(ins))
    kept = [a for a in range(len(ins[0])) if a not in axes]
    if node.get_attributes()["keep_dims"]:
        return _data_only({a: a for a in kept}, len(ins))
    return _data_only({a: place for place, a in enumerate(kept)}, len(ins))


def broadcast(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    lead = len(out) - len(ins[0])
    if node.get_attributes().get("mode") not in ("numpy", "bidirectional"):
        return _data_only({}, len(ins))
    return _data_only({a: a + lead for a, size in enumerate(ins[0]) if size == out[a + lead]}, len(ins))


def same_size(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    if len(out) != len(ins[0]):
        return _data_only({}, len(ins))
    return _data_only({a: a for a in range(len(out)) if ins[0][a] == out[a]}, len(ins))


def pad(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    """An axis that gains and loses nothing at either end stays in place; the same extent may have been shifted."""
    ends = [constant_value(source(node, port)) for port in (1, 2)]
    if any(end is None for end in ends):
        return _data_only({}, len(ins))
    return all_but([axis for axis, counts in enumerate(zip(*ends)) if any(counts)], ins)


def along_channels(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    """PRelu, BatchNormInference: a parameter of one axis lies along axis 1, others broadcast."""
    whole, *parameters = ins

    def one(shape: Sizes) -> dict[int, int]:
        return {0: 1} if len(shape) == 1 and shape[0] > 1 else elementwise(node, [shape], out)[0]

    return [{a: a for a in range(len(whole))}, *map(one, parameters)]


def pool(node: ov.Node, ins: Sequence[Sizes], out: Sizes) -> Carried:
    return _data_only({0: 0, 1: 1}, len(ins))
