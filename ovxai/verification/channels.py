"""Which class is each channel of a class-logit tensor? Told by following marked channels through the plain graph.

The tensor is replaced by the numbers of its channels, and what only moves values (Reshape, Transpose,
Slice ...) carries them on. Where an axis as long as there are classes appears, the place of a channel
on it is its class. The maximum over anchors makes their order irrelevant.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.verification.engine import Engine, Feeds, is_float

MOVES = (
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Split",
    "VariadicSplit",
    "Slice",
    "StridedSlice",
    "Gather",
)
#: What changes values but not places.
KEEPS = (
    "Sigmoid",
    "Softmax",
    "LogSoftmax",
    "Convert",
    "FakeQuantize",
    "Clamp",
    "Add",
    "Multiply",
    "Subtract",
    "Exp",
)


def classes_of_channels(
    plain: ov.Model, port_name: tuple[str, int], axis: int, shape: tuple[int, ...], classes: int, feeds: Feeds
) -> np.ndarray | None:
    """[C]: the class of every channel, -1 for channels that hold none; None where the graph does not tell.

    port_name: friendly name and port of the tensor; axis: that of its channels; shape: its shape for `feeds`.
    """
    total = shape[axis]
    if total == classes:
        return np.arange(classes)
    model = plain.clone()
    node = next(one for one in model.get_ops() if one.get_friendly_name() == port_name[0])
    marked = op.parameter(list(shape), np.float32)
    source = node.output(port_name[1])
    for target in list(source.get_target_inputs()):
        target.replace_source_output(marked.output(0))
    ports = _carried(marked.output(0))
    results = [op.result(op.convert(port, "f32")) for port in ports]
    numbers = np.arange(total, dtype=np.float32).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    parameters = [*model.get_parameters(), marked]
    fed = {**feeds, len(parameters) - 1: np.broadcast_to(numbers, shape).copy()}
    values = Engine(ov.Model(results, parameters, "marks"))(fed) if ports else []
    # The last place where an axis of classes is seen is the nearest to where scores are read.
    found = [one for one in (_told(value, classes, total) for value in values) if one is not None]
    return found[-1] if found else None


def _carried(port: ov.Output) -> list[ov.Output]:
    """Ports that hold nothing but values of `port`, moved; operations that keep places are taken out of the way."""
    found: list[ov.Output] = []
    queue = [port]
    while queue:
        current = queue.pop(0)
        for target in list(current.get_target_inputs()):
            node = target.get_node()
            if target.get_index() != 0 or not all(is_float(output) for output in node.outputs()):
                continue
            if (
                node.get_type_name() in KEEPS
                and node.output(0).get_partial_shape().rank == current.get_partial_shape().rank
            ):
                for below in list(node.output(0).get_target_inputs()):
                    below.replace_source_output(current)
                queue.append(current)
                break
            if node.get_type_name() in MOVES:
                found += node.outputs()
                queue += node.outputs()
    return found


def _told(value: np.ndarray, classes: int, total: int) -> np.ndarray | None:
    """The class of each channel by its place on the one axis of `classes` along which only channels change."""
    numbers = np.rint(value).astype(int)
    axes = [
        axis for axis, size in enumerate(value.shape) if size == classes and _moves_channels(numbers, axis)
    ]
    if len(axes) != 1:
        return None
    found = np.full(total, -1)
    places = np.broadcast_to(
        np.arange(classes).reshape([-1 if axis == axes[0] else 1 for axis in range(value.ndim)]), value.shape
    )
    found[numbers.reshape(-1)] = places.reshape(-1)
    # A channel that stands at two places of the axis has no class of its own.
    return found if np.array_equal(found[numbers], places) else None


def _moves_channels(numbers: np.ndarray, axis: int) -> bool:
    return numbers.shape[axis] == 1 or bool((np.diff(numbers, axis=axis) != 0).all())
