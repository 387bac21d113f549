"""Which output is boxes, labels, scores, masks: by element type, rank and sides, never by name."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from ovxai.find.detector.outputs import is_integer
from ovxai.find.detector.taps import behind_regions
from ovxai.find.instances.site import BOX, FULL, PROTOTYPES, Instances
from ovxai.find.site import No
from ovxai.graph.witness import Graph, Port


@dataclass(frozen=True)
class Roles:
    """Numbers of outputs. table: boxes, score, label and mask coefficients in one tensor (end-to-end YOLO)."""

    boxes: int
    labels: int
    scores: int
    masks: int
    kind: str
    table: bool = False


def roles(model: ov.Model, graph: Graph, sides: tuple[int, int]) -> Roles | No:
    """Tell the outputs apart; sides: (H, W) of the picture in the witness."""
    results = [i for i, kind in enumerate(graph.kinds) if kind == "Result"]
    ports = {_number(model, graph, i): graph.inputs[i][0] for i in results}
    shapes = {number: graph.shape(port) for number, port in ports.items()}
    ranks = {number: _rank(graph, port) for number, port in ports.items()}
    outputs = model.outputs
    labels = [n for n in ports if is_integer(outputs[n]) and ranks[n] in (1, 2)]
    wanted = ranks[labels[0]] + 1 if len(labels) == 1 else None
    boxes = [n for n in ports if not is_integer(outputs[n]) and ranks[n] == wanted and _last(outputs[n]) in (4, 5)]
    if len(labels) == 1 and len(boxes) == 1:
        return _finished(outputs, graph, ports, ranks, labels[0], boxes[0], sides)
    tables = [n for n in ports if ranks[n] == 3 and not is_integer(outputs[n])]
    maps = [n for n in ports if ranks[n] == 4 and _channels(shapes[n])]
    for table in tables:
        for prototypes in maps:
            if _last(outputs[table]) == 6 + _channels(shapes[prototypes]):
                return Roles(table, table, table, prototypes, PROTOTYPES, table=True)
    return No("no instance masks: outputs for boxes, whole-number labels and masks were looked for")


def _finished(outputs, graph: Graph, ports: dict[int, Port], ranks, labels: int, boxes: int, sides) -> Roles | No:
    rest = [n for n in ports if n not in (labels, boxes)]
    masks = [
        n for n in rest if ranks[n] in (3, 4, 5) and ranks[n] > ranks[boxes] - 1 and _mask_like(graph, ports[n], ranks[boxes])
    ]
    scores = [n for n in rest if not is_integer(outputs[n]) and ranks[n] == ranks[labels]]
    score = boxes if _last(outputs[boxes]) == 5 else scores[0] if len(scores) == 1 else None
    if score is None:
        return No("no instance masks: boxes and labels were found, but no score a box")
    coefficients = [n for n in rest if ranks[n] == ranks[boxes] and n not in masks and n not in scores]
    for n in coefficients:
        for prototypes in (m for m in rest if ranks[m] == 4):
            if _last(outputs[n]) == _channels(graph.shape(ports[prototypes])):
                return Roles(boxes, labels, score, prototypes, PROTOTYPES)
    if len(masks) != 1:
        return No(f"no instance masks: boxes and labels were found, but {len(masks) or 'no'} outputs with a mask a box")
    return Roles(boxes, labels, score, masks[0], _kind(graph, ports[masks[0]], sides))


def instances_of(model: ov.Model, graph: Graph, found: Roles) -> Instances:
    """The ports behind the outputs of `found`, and whether they begin with a batch."""
    results = {_number(model, graph, i): i for i, kind in enumerate(graph.kinds) if kind == "Result"}
    nodes = model.get_ordered_ops()

    def port(number: int) -> ov.Output:
        return nodes[results[number]].input(0).get_source_output()

    batched = _rank(graph, graph.inputs[results[found.boxes]][0]) == 3
    if found.table:
        last = _last(model.outputs[found.boxes])
        table = port(found.boxes)
        return Instances(table, table, table, table, True, label_column=5, score_column=4, mask_columns=(6, last))
    masks = _coefficients(model, graph, found, port) if found.kind == PROTOTYPES else port(found.masks)
    singleton = found.kind != PROTOTYPES and len(masks.get_partial_shape()) == (5 if batched else 4)
    return Instances(
        port(found.boxes), port(found.labels), port(found.scores), masks, batched,
        score_column=4 if found.scores == found.boxes else None, singleton=singleton,
    )  # fmt: skip


def _coefficients(model: ov.Model, graph: Graph, found: Roles, port) -> ov.Output:
    width = model.outputs[found.masks].get_partial_shape()[1].get_length()
    for number, output in enumerate(model.outputs):
        if number not in (found.boxes, found.labels, found.scores, found.masks) and _last(output) == width:
            return port(number)
    raise AssertionError("roles() saw the coefficients")


def _number(model: ov.Model, graph: Graph, result: int) -> int:
    name = model.get_ordered_ops()[result].get_name()
    return next(i for i, node in enumerate(model.get_results()) if node.get_name() == name)


def _rank(graph: Graph, port: Port) -> int:
    rank = graph.nodes[port[0]].output(port[1]).get_partial_shape().rank
    return rank.get_length() if rank.is_static else -1


def _last(output: ov.Output) -> int | None:
    shape = output.get_partial_shape()
    if shape.rank.is_dynamic or not len(shape) or shape[len(shape) - 1].is_dynamic:
        return None
    return shape[len(shape) - 1].get_length()


def _channels(shape) -> int | None:
    return shape[1] if shape is not None and len(shape) == 4 else None


def _mask_like(graph: Graph, port: Port, box_rank: int) -> bool:
    """[I, h, w] or [I, 1, h, w], with a batch in front where the boxes have one."""
    shape = graph.shape(port)
    lead = box_rank - 1
    if shape is None or len(shape) - lead not in (2, 3):
        return False
    if len(shape) - lead == 3 and shape[lead] != 1:
        return False
    return all(size is None or size > 1 for size in shape[-2:])


def _kind(graph: Graph, port: Port, sides: tuple[int, int]) -> str:
    """Masks with the picture's sides cover it; so do those of its aspect, if they were not cut out region by region."""
    height, width = graph.shape(port)[-2:]
    if (height, width) == sides:
        return FULL
    if None in (height, width, *sides):
        return FULL if not behind_regions(graph)[port[0]] else BOX
    same_aspect = abs(height * sides[1] - width * sides[0]) <= max(sides)
    return FULL if same_aspect and not behind_regions(graph)[port[0]] else BOX
