"""What the model hands out: where the scores are among its outputs, and in which of the known forms."""

from __future__ import annotations

from dataclasses import dataclass, field

import openvino as ov

from ovxai.find.detector.probes import ACTIVATED, PLACED
from ovxai.find.detector.trail import Layout, Trail, channel_axes, probes_of
from ovxai.graph.witness import Graph, Port

INTEGERS = ("i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")


def output_name(outputs: list[ov.Output], number: int | None) -> str:
    """A tensor name of an output; `output_<number>` where it has none; '' for no output."""
    if number is None:
        return ""
    return next(iter(sorted(outputs[number].get_names())), f"output_{number}")


def sizes(output: ov.Output) -> tuple[int | None, ...]:
    shape = output.get_partial_shape()
    if shape.rank.is_dynamic:
        return ()
    return tuple(dim.get_length() if dim.is_static else None for dim in shape)


def is_integer(output: ov.Output) -> bool:
    return output.get_element_type().get_type_name() in INTEGERS


@dataclass(frozen=True)
class Form:
    """name: as in `prediction_format`, "" for none that is known. scores: number of the output that holds them."""

    name: str
    scores: int | None


@dataclass(frozen=True)
class Columns:
    """Where an output keeps the classes: at start, start + 1 ... along `axis`, every candidate in it."""

    axis: int
    start: int


@dataclass(frozen=True)
class Head:
    """What the outputs are made from.

    cells: candidates over all levels, None where that is not known. columns: by output number.
    decoded: box columns have met strides or anchors inside the graph. bare: and no activation either.
    """

    classes: int
    levels: int
    softmax: bool = False
    heatmap: bool = False
    decoded: bool = False
    bare: bool = False
    cells: int | None = None
    columns: dict[int, Columns] = field(default_factory=dict)


def prediction_form(outputs: list[ov.Output], head: Head) -> Form:
    """In which of the known forms the outputs are, and which of them has the scores."""
    boxed = boxes_and_labels(outputs)
    if boxed is not None:
        return boxed
    for number, columns in head.columns.items():
        name = _joint_form(sizes(outputs[number]), columns, head)
        if name:
            return Form(name, number)
    finest = _level_rows(outputs, head) if head.levels > 1 else None
    if finest is not None:
        return Form("nanodet", finest)
    if head.heatmap:
        maps = [i for i, output in enumerate(outputs) if len(sizes(output)) == 4 and sizes(output)[1] == head.classes]
        if maps:
            return Form("heatmap", maps[0])
    if len(head.columns) == 1:
        number = next(iter(head.columns))
        return Form("boxes-scores" if _beside_boxes(outputs, number, head) else "", number)
    if len(outputs) == 1:
        return Form(_finished_table(sizes(outputs[0]), head.cells), 0)
    scores = _tables_of(head.classes, outputs)
    return Form("", scores[0] if len(scores) == 1 else None)


def _joint_form(shape: tuple[int | None, ...], columns: Columns, head: Head) -> str:
    """Boxes and classes in one tensor: whose layout is it?"""
    place = (len(shape), columns.axis, columns.start)
    if place == (4, 1, 5) and head.softmax:
        return "fastestdet"
    if place == (3, 2, 5):
        return "yolo-v5" if head.decoded else "yolox" if head.bare else ""
    if place in ((3, 1, 4), (3, 2, 4)):
        return "yolo-v8" if head.decoded else ""
    return ""


def _tables_of(columns: int, outputs: list[ov.Output]) -> list[int]:
    """Outputs that are rows of so many columns."""
    return [i for i, output in enumerate(outputs) if sizes(output)[-1:] == (columns,) and len(sizes(output)) in (2, 3)]


def _level_rows(outputs: list[ov.Output], head: Head) -> int | None:
    """NanoDet: scores and boxes of each level are outputs of their own; the number of the finest scores."""
    rows = _tables_of(head.classes, outputs)
    if len(rows) != head.levels or len(outputs) != 2 * head.levels:
        return None
    return max(rows, key=lambda i: sizes(outputs[i])[-2] or 0)


def _beside_boxes(outputs: list[ov.Output], scores: int, head: Head) -> bool:
    """One table of finished boxes, one of scores, row by row."""
    columns = head.columns[scores]
    boxes = [i for i, output in enumerate(outputs) if i != scores and len(sizes(output)) == 3 and sizes(output)[2] == 4]
    return head.decoded and len(boxes) == 1 and len(sizes(outputs[scores])) == 3 and columns.start == 0


def _finished_table(shape: tuple[int | None, ...], cells: int | None) -> str:
    """What is left after suppression inside the graph, in one tensor."""
    if len(shape) == 4 and shape[1] == 1 and shape[3] == 7:
        return "detection-output"
    fewer = cells is not None and len(shape) == 3 and shape[1] is not None and shape[1] < cells
    return "boxes-table" if fewer and shape[2] == 6 else ""


def boxes_and_labels(outputs: list[ov.Output]) -> Form | None:
    """The forms of detectors that finish their boxes in the graph; None where boxes or labels are missing."""
    ranks = [len(sizes(output)) for output in outputs]
    whole = [is_integer(output) for output in outputs]
    labels = [i for i in range(len(outputs)) if whole[i] and ranks[i] in (1, 2)]
    if len(labels) != 1:
        return None
    wanted = ranks[labels[0]] + 1
    boxes = [i for i in range(len(outputs)) if not whole[i] and ranks[i] == wanted and sizes(outputs[i])[-1] in (4, 5)]
    if len(boxes) != 1:
        return None
    masks = [i for i in range(len(outputs)) if not whole[i] and i != boxes[0] and ranks[i] in (3, 4)]
    if sizes(outputs[boxes[0]])[-1] == 5:
        return Form("boxes-labels-masks" if masks else "boxes-labels", boxes[0])
    scores = [i for i in range(len(outputs)) if not whole[i] and ranks[i] == ranks[labels[0]]]
    if len(scores) != 1:
        return None
    return Form("boxes-labels-masks" if masks else "boxes-labels-scores", scores[0])


# Where the model's outputs keep the class scores, and how far its boxes are decoded: read off the trail.


def class_columns(graph: Graph, model: ov.Model, trail: Trail, layouts: dict[int, Layout]) -> dict[int, Columns]:
    """Output number -> where the classes of all levels stand in it."""
    found = {}
    for number, port in result_ports(graph, model).items():
        if port not in trail.known:
            continue
        seen = {_columns(graph, trail, port, tap, layout) for tap, layout in layouts.items()}
        if len(seen) == 1 and None not in seen:
            found[number] = seen.pop()
    return found


def result_ports(graph: Graph, model: ov.Model) -> dict[int, Port]:
    """What each output shows, by its number."""
    order = {node.get_name(): number for number, node in enumerate(model.get_results())}
    names = [node.get_name() for node in model.get_ordered_ops()]
    results = (i for i, kind in enumerate(graph.kinds) if kind == "Result")
    return dict(sorted((order[names[i]], graph.inputs[i][0]) for i in results))


def _columns(graph: Graph, trail: Trail, port: Port, tap: int, layout: Layout) -> Columns | None:
    channels = frozenset(channel for row in layout.channels for channel in row)
    probes = probes_of(trail, tap, port, channels)
    if set(probes.channel.tolist()) != channels:
        return None
    if layout.classes == 1:
        # One class has no axis: it is the column in which every candidate's score stands.
        spots = {axis: set(probes.coords[:, axis].tolist()) for axis in range(probes.coords.shape[1])}
        fixed = [axis for axis, where in spots.items() if axis and len(where) == 1]
        wide = [axis for axis in fixed if graph.shape(port)[axis] > 1]
        axis = (wide or fixed or [None])[-1]
        return None if axis is None else Columns(axis, spots[axis].pop())
    for axis, column in channel_axes(probes).items():
        start = column[layout.channels[0][0]]
        if all([column[c] for c in row] == list(range(start, start + layout.classes)) for row in layout.channels):
            return Columns(axis, start)
    return None


def is_decoded(trail: Trail) -> bool:
    """Whether values met grids, anchors or strides, or bins were summed up: boxes are made inside the graph."""
    return bool(trail.integrated) or any((probes.flags & PLACED != 0).any() for probes in trail.known.values())


def is_bare(trail: Trail, layouts: dict[int, Layout]) -> bool:
    """Whether boxes leave the graph as the convolution gave them: at most the objectness has an activation."""
    for tap, one in enumerate(trail.taps):
        layout = layouts.get(tap)
        classes = {channel for row in layout.channels for channel in row} if layout else set()
        on = set()
        for probes in trail.known.values():
            on |= set(probes.channel[(probes.tap == tap) & (probes.flags & ACTIVATED != 0)].tolist())
        if len(on - classes) > (layout.anchors if layout else one.channels if one.channels < 4 else 0):
            return False
    return True
