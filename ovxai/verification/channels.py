"""Which class is each channel of a class-logit tensor? Told by following marked channels through the plain graph.

The tensor is replaced by the numbers of its channels, and what only moves values (Reshape, Transpose,
Slice ...) carries them on. Where an axis as long as there are classes appears, the place of a channel
on it is its class. The maximum over anchors makes their order irrelevant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.metadata import ExplainedInfo
from ovxai.verification.engine import Engine, Feeds, is_float

MOVES = (
    "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Split", "VariadicSplit", "Slice", "StridedSlice", "Gather",
)  # fmt: skip
#: What changes values but not places.
KEEPS = (
    "Sigmoid", "Softmax", "LogSoftmax", "Convert", "FakeQuantize", "Clamp", "Add", "Multiply", "Subtract", "Exp",
)  # fmt: skip
#: Values in front of the classes in a row of scores: none; box and objectness; a box alone.
HEADS: tuple[int, ...] = (0, 5, 4)
#: Prediction formats whose rows keep box and objectness in front of the classes all the way.
ROWS: dict[str, tuple[int, ...]] = {"yolo-v5": (5,)}


@dataclass(frozen=True)
class ClassLogits:
    """A tensor of class logits in the plain model.

    node, port: friendly name and output index of where it comes from. shape: that it has for what is fed.
    axis: that of its channels. classes: how many the model has.
    """

    node: str
    port: int
    shape: tuple[int, ...]
    axis: int
    classes: int

    @property
    def channels(self) -> int:
        """How many there are."""
        return self.shape[self.axis]


@dataclass(frozen=True)
class Candidate:
    """What one axis of one tensor says. known: class of each channel. weight: how surely the axis is one of scores."""

    known: np.ndarray
    weight: int


def classes_of_channels(plain: ov.Model, info: ExplainedInfo, logits: ClassLogits, feeds: Feeds) -> np.ndarray | None:
    """[C]: the class of every channel, -1 for channels that hold none; None where the graph does not tell."""
    total, classes = logits.channels, logits.classes
    heads = ROWS.get(info.prediction_format, HEADS)
    if classes == 1 and info.channel_order == "selected":
        heads = tuple(head for head in heads if head)
    elif total == classes or classes == 1:
        return np.arange(total) % classes
    model = plain.clone()
    nodes = model.get_ordered_ops()
    node = next(one for one in nodes if one.get_friendly_name() == logits.node)
    source = node.output(logits.port)
    if regions := _regions(source, total, classes):
        return np.array(regions)
    values = _marked_values(model, nodes, source, logits, feeds)
    found = [candidate for value in values for candidate in _candidates(value, classes, total, heads)]
    if not found:
        return None
    # The last place is the nearest to where scores are read.
    best = max(range(len(found)), key=lambda index: (found[index].weight, index))
    return found[best].known


def _marked_values(
    model: ov.Model, nodes: list[ov.Node], source: ov.Output, logits: ClassLogits, feeds: Feeds
) -> list[np.ndarray]:
    """Every tensor that holds nothing but moved channel numbers when `source` is replaced by them. Rewires `model`.

    nodes: all of the model, in topological order. They must be held while the graph is rewired: an
    operation that nobody reads any more would be freed under our hands.
    """
    marked = op.parameter(list(logits.shape), np.float32)
    for target in list(source.get_target_inputs()):
        target.replace_source_output(marked.output(0))
    ports = _carried(nodes, marked)
    if not ports:
        return []
    results = [op.result(op.convert(port, "f32")) for port in ports]
    parameters = [*model.get_parameters(), marked]
    numbers = _along(np.arange(logits.channels, dtype=np.float32), logits.axis, len(logits.shape))
    fed = {**feeds, len(parameters) - 1: np.broadcast_to(numbers, logits.shape).copy()}
    return Engine(ov.Model(results, parameters, "marks"))(fed)


def _regions(source: ov.Output, total: int, classes: int) -> list[int]:
    """RegionYolo says it by its attributes: for each anchor box, objectness, classes."""
    for target in source.get_target_inputs():
        if target.get_node().get_type_name() == "RegionYolo":
            row = [-1] * (target.get_node().get_attributes()["coords"] + 1) + list(range(classes))
            return row * (total // len(row)) if total % len(row) == 0 else []
    return []


def _carried(nodes: list[ov.Node], marked: ov.Node) -> list[ov.Output]:
    """Ports that hold nothing but marks, moved; operations that keep places are taken out of the way."""
    carried = {(marked.get_name(), 0)}
    found: list[ov.Output] = []
    for node in nodes:
        if not node.get_input_size():
            continue
        source = node.input(0).get_source_output()
        if (source.get_node().get_name(), source.get_index()) not in carried:
            continue
        if not all(is_float(output) for output in node.outputs()):
            continue
        if node.get_type_name() in MOVES:
            found += node.outputs()
            carried |= {(node.get_name(), output.get_index()) for output in node.outputs()}
        elif node.get_type_name() in KEEPS and _rank(node.output(0)) == _rank(source):
            for below in list(node.output(0).get_target_inputs()):
                below.replace_source_output(source)
    return found


def _rank(port: ov.Output) -> int:
    rank = port.get_partial_shape().rank
    return rank.get_length() if rank.is_static else -1


def _candidates(value: np.ndarray, classes: int, total: int, heads: tuple[int, ...]) -> list[Candidate]:
    """The class of each channel by its place on an axis of scores, along which only channels change.

    A row of classes at the end is what every decoder reads; next come neighbouring channels; an axis of
    the right length over distant channels may as well be that of the anchors.
    """
    numbers = np.rint(value).astype(int)
    found = []
    for axis, size in enumerate(value.shape):
        steps = np.diff(numbers, axis=axis)
        if size - classes not in heads or not (steps != 0).all():
            continue
        known = _by_place(numbers, axis, size - classes, total)
        if known is not None:
            row = size == classes and axis == value.ndim - 1
            found.append(Candidate(known, 2 if row else int(bool((steps == 1).all()))))
    return found


def _by_place(numbers: np.ndarray, axis: int, head: int, total: int) -> np.ndarray | None:
    """The class of each channel, from its place on `axis` behind `head` other values; None where it has two."""
    row = np.maximum(np.arange(numbers.shape[axis]) - head, -1)
    places = np.broadcast_to(_along(row, axis, numbers.ndim), numbers.shape)
    known = np.full(total, -1)
    known[numbers.reshape(-1)] = places.reshape(-1)
    return known if np.array_equal(known[numbers], places) else None


def _along(row: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """`row` as a tensor of `rank` axes that is long only on `axis`."""
    shape = [1] * rank
    shape[axis] = -1
    return row.reshape(shape)
