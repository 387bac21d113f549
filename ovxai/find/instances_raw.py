"""YOLO-seg without suppression: candidates [N, 4 + K + M, P] or [N, P, 5 + K + M] beside prototypes [N, M, h, w]."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from ovxai.find.detection_graph import Graph
from ovxai.find.detection_groups import choose
from ovxai.find.detection_taps import grid_tap, last_linear
from ovxai.find.detection_trail import follow
from ovxai.find.instances_site import Candidates
from ovxai.find.verdict import No

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
