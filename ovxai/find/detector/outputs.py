"""What the model hands out: where the scores are among its outputs, and in which of the known forms."""

from __future__ import annotations

from dataclasses import dataclass, field

import openvino as ov

from ovxai.find.detector.finished import LABEL, activation_of, columns_of, query_outputs, table_form
from ovxai.find.detector.tracers import ACTIVATED, PLACED
from ovxai.find.detector.trail import ClassTable, Trail, channel_axes, tracers_of
from ovxai.graph.graph import Extents, Graph, Port

#: The form of the answers of queries: class scores and boxes, nothing to suppress.
QUERIES = "queries"
INTEGERS = ("i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")


def sizes(output: ov.Output) -> Extents:
    """The model's own sizes of an output, None where open; () where not even the rank is known."""
    shape = output.get_partial_shape()
    if shape.rank.is_dynamic:
        return ()
    return tuple(dim.get_length() if dim.is_static else None for dim in shape)


def is_integer(output: ov.Output) -> bool:
    return output.get_element_type().get_type_name() in INTEGERS


@dataclass(frozen=True)
class Form:
    """name: as in `prediction_format`, "" for none that is known. scores: number of the output that holds them.

    due: the activation that they still need; None where that is the one of the class logits.
    """

    name: str
    scores: int | None
    due: str | None = None


@dataclass(frozen=True)
class Columns:
    """Where an output keeps the classes: at start, start + 1 ... along `axis`, every candidate in it."""

    axis: int
    start: int


@dataclass(frozen=True)
class Ingredients:
    """What the outputs are made from.

    cells: candidates over all levels, None where that is not known. columns: by output number. queries: whether some
    positions are picked to be looked at again.
    decoded: box columns have met strides or anchors inside the graph. bare: and no activation either.
    """

    classes: int
    levels: int
    softmax: bool = False
    heatmap: bool = False
    decoded: bool = False
    bare: bool = False
    cells: int | None = None
    queries: bool = False
    columns: dict[int, Columns] = field(default_factory=dict)


def prediction_form(graph: Graph, made_from: Ingredients) -> Form:
    """In which of the known forms the outputs are, and which of them has the scores."""
    outputs = graph.model.outputs
    picked = boxes_and_labels(outputs) or _picked(graph, made_from)
    if picked is not None:
        return picked
    for number, columns in made_from.columns.items():
        name = _joint_form(sizes(outputs[number]), columns, made_from)
        if name:
            return Form(name, number)
    finest = _level_rows(outputs, made_from) if made_from.levels > 1 else None
    if finest is not None:
        return Form("nanodet", finest)
    east = _east(outputs) if made_from.heatmap and made_from.classes == 1 else None
    if east is not None:
        return Form("east", east)
    if made_from.heatmap:
        maps = [i for i, output in enumerate(outputs) if len(sizes(output)) == 4 and sizes(output)[1] == made_from.classes]
        if maps:
            return Form("heatmap", maps[0])
    if len(made_from.columns) == 1:
        number = next(iter(made_from.columns))
        return Form("boxes-scores" if _beside_boxes(outputs, number, made_from) else "", number)
    if len(outputs) == 1:
        told = LABEL in columns_of(graph, graph.results[0])
        return Form("" if told else _finished_table(sizes(outputs[0]), made_from.cells), 0)
    scores = _tables_of(made_from.classes, outputs)
    return Form("", scores[0] if len(scores) == 1 else None)


def _picked(graph: Graph, made_from: Ingredients) -> Form | None:
    """Rows that were picked among all candidates, joined of box, score and label; or the answers of queries."""
    for number, port in enumerate(graph.results):
        name = table_form(graph, port) if len(sizes(graph.model.outputs[number])) == 3 else ""
        if name:
            return Form(name, number, "none")
    answers = query_outputs(graph, made_from.classes) if made_from.queries else None
    if answers is None:
        return None
    scores = graph.results[answers[0]]
    return Form(QUERIES, answers[0], "none" if activation_of(graph, scores) else "sigmoid")


def _east(outputs: list[ov.Output]) -> int | None:
    """EAST: a map of scores and one of four sides and an angle; the number of the scores."""
    channels = [sizes(output)[1] if len(sizes(output)) == 4 else None for output in outputs]
    return channels.index(1) if sorted(count or 0 for count in channels) == [1, 5] else None


def _joint_form(shape: Extents, columns: Columns, made_from: Ingredients) -> str:
    """Boxes and classes in one tensor: whose layout is it?"""
    place = (len(shape), columns.axis, columns.start)
    if place == (4, 1, 5) and made_from.softmax:
        return "fastestdet"
    if place == (3, 2, 5):
        return "yolo-v5" if made_from.decoded else "yolox" if made_from.bare else ""
    if place in ((3, 1, 4), (3, 2, 4)):
        return "yolo-v8" if made_from.decoded else ""
    return ""


def _tables_of(columns: int, outputs: list[ov.Output]) -> list[int]:
    """Outputs that are rows of so many columns."""
    return [i for i, output in enumerate(outputs) if sizes(output)[-1:] == (columns,) and len(sizes(output)) in (2, 3)]


def _level_rows(outputs: list[ov.Output], made_from: Ingredients) -> int | None:
    """NanoDet: scores and boxes of each level are outputs of their own; the number of the finest scores."""
    rows = _tables_of(made_from.classes, outputs)
    if len(rows) != made_from.levels or len(outputs) != 2 * made_from.levels:
        return None
    return max(rows, key=lambda i: sizes(outputs[i])[-2] or 0)


def _beside_boxes(outputs: list[ov.Output], scores: int, made_from: Ingredients) -> bool:
    """One table of finished boxes, one of scores, row by row."""
    columns = made_from.columns[scores]
    boxes = [i for i, output in enumerate(outputs) if i != scores and len(sizes(output)) == 3 and sizes(output)[2] == 4]
    return made_from.decoded and len(boxes) == 1 and len(sizes(outputs[scores])) == 3 and columns.start == 0


def _finished_table(shape: Extents, cells: int | None) -> str:
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


def class_columns(graph: Graph, trail: Trail, tables: dict[int, ClassTable]) -> dict[int, Columns]:
    """Output number -> where the classes of all levels stand in it. tables: of the class scores, by origin."""
    columns: dict[int, Columns] = {}
    for number, port in enumerate(graph.results):
        if port not in trail.known:
            continue
        seen = {_columns(graph, trail, port, origin, table) for origin, table in tables.items()}
        only = seen.pop() if len(seen) == 1 else None
        if only is not None:
            columns[number] = only
    return columns


def _columns(graph: Graph, trail: Trail, port: Port, origin: int, table: ClassTable) -> Columns | None:
    tracers = tracers_of(trail, origin, port, table.flat)
    if set(tracers.channel.tolist()) != table.flat:
        return None
    if table.classes == 1:
        # One class has no axis: it is the column in which every candidate's score stands.
        spots: dict[int, set[int]] = {axis: set(tracers.coords[:, axis].tolist()) for axis in range(tracers.coords.shape[1])}
        fixed = [axis for axis, where in spots.items() if axis and len(where) == 1]
        wide = [axis for axis in fixed if graph.known_shape(port)[axis] > 1]
        return next((Columns(axis, spots[axis].pop()) for axis in reversed(wide or fixed)), None)
    for axis, column in channel_axes(tracers).items():
        start = column[table.channels[0][0]]
        if all([column[c] for c in row] == list(range(start, start + table.classes)) for row in table.channels):
            return Columns(axis, start)
    return None


def is_decoded(trail: Trail) -> bool:
    """Whether values met grids, anchors or strides, or bins were summed up: boxes are made inside the graph."""
    return bool(trail.integrated) or any(trail.is_flagged(origin, PLACED) for origin in range(len(trail.maps)))


def is_bare(trail: Trail, tables: dict[int, ClassTable]) -> bool:
    """Whether boxes leave the graph as the convolution gave them: at most the objectness has an activation."""
    for origin, head in enumerate(trail.maps):
        table = tables.get(origin)
        activated: set[int] = set()
        for tracers in trail.known.values():
            activated.update(tracers.channel[(tracers.origin == origin) & (tracers.flags & ACTIVATED != 0)].tolist())
        allowed = table.anchors if table else head.channels if head.channels < 4 else 0
        if len(activated - (table.flat if table else frozenset())) > allowed:
            return False
    return True
