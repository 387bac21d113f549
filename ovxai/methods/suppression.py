"""Suppression of overlapping boxes inside the graph: NonMaxSuppression and its marks, no loop."""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as op

from ovxai.graph.dims import ints, number, whole_number

#: Instances kept per picture.
BEST = 100


def kept(boxes: ov.Node, scores: ov.Node, iou: float, score: float, most: int = BEST) -> ov.Node:
    """[N, K, P]: scores where suppression keeps the box, 0 elsewhere.

    boxes: [N, P, 4], corners. scores: [N, K, P]. iou, score: thresholds, within each class. most: boxes of each class.
    """
    chosen = op.non_max_suppression(
        boxes, scores, whole_number(most), number(iou), number(score),
        sort_result_descending=False, output_type="i64",
    )  # fmt: skip
    return _marked(chosen.output(0), scores)


def _marked(chosen: ov.Output, scores: ov.Node) -> ov.Node:
    """[N, K, P]: scores of what a suppression has chosen, 0 elsewhere. chosen: [I, 3] (picture, class, box); -1 is nothing."""
    # One slot more takes what points nowhere: rows of -1, and the row that is there when nothing is left.
    total = op.reduce_prod(op.shape_of(scores, "i64"), ints([0]), keep_dims=True)
    place = op.concat([_flat_places(op.convert(chosen, "i64").output(0), scores, total), total], 0)
    blank = op.broadcast(number(0), op.add(total, ints([1])))
    ones = op.broadcast(number(1), op.shape_of(place, "i64"))
    marks = op.scatter_elements_update(blank, place, ones, whole_number(0))
    marks = op.reshape(op.slice(marks, ints([0]), total, ints([1]), ints([0])), op.shape_of(scores, "i64"), False)
    return op.multiply(scores, marks)


def _flat_places(index: ov.Output, scores: ov.Node, total: ov.Node) -> ov.Node:
    """Rows (picture, class, box) -> positions in the flattened scores; rows of -1 -> one behind the last."""
    sizes = op.shape_of(scores, "i64")
    picture, kind, box = (op.gather(index, whole_number(i), whole_number(1)) for i in range(3))
    classes, places = (op.gather(sizes, whole_number(i), whole_number(0)) for i in (1, 2))
    flat = op.add(op.multiply(op.add(op.multiply(picture, classes), kind), places), box)
    return op.select(op.greater_equal(picture, whole_number(0)), flat, total)


def length(flat: ov.Node) -> ov.Node:
    return op.gather(op.shape_of(flat, "i64"), whole_number(1), whole_number(0))


def picked_rows(values: ov.Node, rows: ov.Node, width: int) -> ov.Output:
    """Rows of [N, P, width] by index [N, I]."""
    index = op.broadcast(op.unsqueeze(rows, ints([2])), ints([1, 1, width]), broadcast_spec="BIDIRECTIONAL")
    return op.gather_elements(values, index, 1).output(0)
