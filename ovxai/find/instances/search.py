"""Where a model's instances are: boxes, labels, scores and masks, with or without a batch axis.

Mask R-CNN and RTMDet-Inst hand out boxes, labels and masks; end-to-end YOLO a table and prototypes; plain YOLO-seg
candidates before suppression and prototypes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import openvino as ov

from ovxai.find.detector.outputs import output_name
from ovxai.find.detector.scores import choose
from ovxai.find.detector.search import label_count
from ovxai.find.detector.taps import grid_tap, last_linear
from ovxai.find.detector.trail import follow
from ovxai.find.instances.outputs import instances_of, roles
from ovxai.find.instances.pyramid import count_classes, lacks_sigmoid, pyramid
from ovxai.find.instances.site import FULL, PROTOTYPES, Candidates, InstanceSite
from ovxai.find.site import No
from ovxai.graph.witness import Graph, snapshot

if TYPE_CHECKING:
    from ovxai.metadata import ModelInfo
    from ovxai.options import InsertOptions

EMPTY_LABEL = "otx_empty_lbl"


def find_instances(model: ov.Model, options: InsertOptions, model_info: ModelInfo) -> InstanceSite | No:
    """The instances of an instance segmentation model; the model is only read.

    Returns a reason instead where the model has none, or where the number of classes can't be told.
    """
    picture = picture_of(model)
    if not picture:
        return picture
    parameter, axes = picture
    graph = snapshot(model)
    index = next(i for i, node in enumerate(model.get_ordered_ops()) if node.get_name() == parameter.get_name())
    sides = tuple(graph.shapes[index][0][axis] for axis in axes)
    found = roles(model, graph, sides)
    given = label_count(options, model_info)
    if given and not options.labels and not options.num_classes and model_info.labels[0] == EMPTY_LABEL:
        given -= 1
    if not found:
        raw = find_candidates(model, graph, model_info, given)
        return _raw_site(model, graph, raw, parameter, axes) if raw else (raw if raw.near else found)
    results = _result_ports(model, graph)
    classes = count_classes(graph, results[found.labels], results[found.scores], given)
    if not classes:
        return classes
    if given and given not in (classes[0], classes[0] - 1):
        return No(f"{classes[1]}, but {given} labels are given; give the right --labels or --num-classes", final=True)
    masks = results[found.masks]
    nodes = model.get_ordered_ops()
    names = [output_name(model.outputs, n) for n in (found.boxes, found.labels, found.scores, found.masks)]
    return InstanceSite(
        found=instances_of(model, graph, found),
        mask_kind=found.kind,
        classes=classes[0],
        logits=found.kind == PROTOTYPES or lacks_sigmoid(graph, masks),
        picture=parameter.output(0),
        picture_axes=axes,
        prototypes=nodes[masks[0]].output(masks[1]) if found.kind == PROTOTYPES else None,
        pyramid=tuple(nodes[node].output(port) for node, port in pyramid(graph)),
        score_output=names[2],
        output=found.scores,
        prediction_format="" if found.kind == PROTOTYPES else "boxes-labels-masks",
        why=f"boxes {names[0]}, labels {names[1]}, scores {names[2]}, {found.kind} masks {names[3]}; {classes[1]}",
        candidates=tuple(_fact(graph, model, number, port) for number, port in results.items()),
        notes=(f"full-size masks are read as the model hands them out ({names[3]})",) if found.kind == FULL else (),
    )


def picture_of(model: ov.Model) -> tuple[ov.Node, tuple[int, int]] | No:
    """The input of rank 4 with 1, 3 or 4 channels, and the axes of its height and width."""
    for parameter in model.get_parameters():
        shape = parameter.get_partial_shape()
        if shape.rank.is_dynamic or len(shape) != 4:
            continue
        last = shape[3]
        return parameter, (1, 2) if last.is_static and last.get_length() in (1, 3, 4) else (2, 3)
    return No("no instance masks: no input takes a picture")


def _result_ports(model: ov.Model, graph: Graph) -> dict[int, tuple[int, int]]:
    order = {node.get_name(): number for number, node in enumerate(model.get_results())}
    nodes = model.get_ordered_ops()
    return dict(
        sorted((order[nodes[i].get_name()], graph.inputs[i][0]) for i, kind in enumerate(graph.kinds) if kind == "Result")
    )


def _fact(graph: Graph, model: ov.Model, number: int, port: tuple[int, int]) -> str:
    shape = ", ".join("?" if size is None else str(size) for size in graph.shape(port) or ())
    return f"{output_name(model.outputs, number)} [{shape}] {model.outputs[number].get_element_type().get_type_name()}"


def _raw_site(model: ov.Model, graph: Graph, raw, parameter: ov.Node, axes: tuple[int, int]) -> InstanceSite:
    nodes = model.get_ordered_ops()
    return InstanceSite(
        found=raw.candidates,
        mask_kind=PROTOTYPES,
        classes=raw.classes,
        logits=True,
        picture=parameter.output(0),
        picture_axes=axes,
        prototypes=raw.prototypes,
        pyramid=tuple(nodes[node].output(port) for node, port in pyramid(graph)),
        score_output=output_name(model.outputs, raw.output),
        output=raw.output,
        prediction_format="yolo-v8-seg" if raw.candidates.rows_last else "yolo-v5-seg",
        why=f"{raw.classes} class scores and {raw.candidates.coefficients} mask coefficients a candidate, and prototypes",
        notes=("candidates are suppressed inside the graph (NonMaxSuppression, then the best 100 a picture)",),
    )


# YOLO-seg without suppression: candidates [N, 4 + K + M, P] or [N, P, 5 + K + M] beside prototypes [N, M, h, w].

IOU, SCORE = 0.5, 0.25


@dataclass(frozen=True)
class RawInstances:
    candidates: Candidates
    prototypes: ov.Output
    classes: int
    output: int


def find_candidates(model: ov.Model, graph: Graph, model_info, count: int | None) -> RawInstances | No:
    """Two outputs, one a map of M prototypes, the other a table whose classes the detection search can name."""
    outputs = model.outputs
    shapes = [output.get_partial_shape() for output in outputs]
    maps = [i for i, shape in enumerate(shapes) if shape.rank.is_static and len(shape) == 4 and shape[1].is_static]
    tables = [i for i, shape in enumerate(shapes) if shape.rank.is_static and len(shape) == 3]
    if len(maps) != 1 or len(tables) != 1:
        return No("no candidates with prototypes")
    results = [graph.inputs[i][0] for i, kind in enumerate(graph.kinds) if kind == "Result"]
    linear, _ = last_linear(graph, results)
    taps = [tap for node in linear if (tap := grid_tap(graph, node))]
    chosen = choose(follow(graph, taps), count) if taps else No("no maps")
    if not chosen:
        return No(chosen.reason)
    coefficients, classes = shapes[maps[0]][1].get_length(), chosen.classes
    node = model.get_results()[tables[0]].input(0).get_source_output()
    for axis, head in ((1, 4), (2, 5)):
        side = shapes[tables[0]][axis]
        if side.is_static and side.get_length() == head + classes + coefficients:
            table = Candidates(
                node, rows_last=axis == 1, objectness=head == 5, coefficients=coefficients,
                iou=model_info.iou_threshold or IOU, score=model_info.confidence_threshold or SCORE,
            )  # fmt: skip
            prototypes = model.get_results()[maps[0]].input(0).get_source_output()
            return RawInstances(table, prototypes, classes, tables[0])
    return No(
        f"prototypes of {coefficients} channels and {classes} classes, but the other output has no room for both",
        near=True,
    )
