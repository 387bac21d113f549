"""Raw candidates of YOLO-seg to the best instances of each picture: NonMaxSuppression and TopK, no loop."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.find.instances_site import Candidates
from ovxai.methods.features import as_float

#: Instances kept a picture.
BEST = 100


def suppressed(raw: Candidates, classes: int) -> tuple[ov.Output, ov.Output, ov.Output, ov.Output]:
    """(boxes [N, I, 4], labels [N, I], scores [N, I], coefficients [N, I, M]); I = 100, padding has score 0."""
    table = as_float(raw.table)
    table = table if raw.rows_last else op.transpose(table, ints(0, 2, 1)).output(0)  # [N, C, P]
    centre, extent, scores, coefficients = _columns(table, raw, classes)
    half = op.multiply(extent, op.constant(np.float32(0.5)))
    corners = op.concat([op.subtract(centre, half), op.add(centre, half)], 1)
    boxes = op.transpose(corners, ints(0, 2, 1))
    kept = _kept(boxes, scores, raw)
    flat = op.reshape(kept, ints(0, -1), True)
    best = op.topk(
        flat, op.minimum(_length(flat), op.constant(np.int64(BEST))), 1, "max", "value", index_element_type="i64"
    )
    places = op.gather(op.shape_of(scores, "i64"), op.constant(np.int64(2)), op.constant(np.int64(0)))
    labels = op.divide(best.output(1), places)
    rows = op.mod(best.output(1), places)
    return (
        _picked(boxes, rows, 4),
        labels.output(0),
        best.output(0),
        _picked(op.transpose(coefficients, ints(0, 2, 1)), rows, raw.coefficients),
    )


def ints(*values: int) -> ov.Node:
    return op.constant(np.array(values, np.int64))


def _columns(table: ov.Output, raw: Candidates, classes: int) -> tuple[ov.Node, ov.Node, ov.Node, ov.Node]:
    start = 5 if raw.objectness else 4
    cuts = [(0, 2), (2, 4), (start, start + classes), (start + classes, start + classes + raw.coefficients)]
    centre, extent, scores, coefficients = (op.slice(table, ints(a), ints(b), ints(1), ints(1)) for a, b in cuts)
    if raw.objectness:
        scores = op.multiply(scores, op.slice(table, ints(4), ints(5), ints(1), ints(1)))
    return centre, extent, scores, coefficients


def _kept(boxes: ov.Node, scores: ov.Node, raw: Candidates) -> ov.Node:
    """[N, K, P]: scores where suppression keeps the box, 0 elsewhere."""
    chosen = op.non_max_suppression(
        boxes, scores, op.constant(np.int64(BEST)), op.constant(np.float32(raw.iou)), op.constant(np.float32(raw.score)),
        sort_result_descending=False, output_type="i64",
    )  # fmt: skip
    # One slot more takes what points nowhere: rows of -1, and the row that is there when nothing is left.
    total = op.reduce_prod(op.shape_of(scores, "i64"), ints(0), keep_dims=True)
    place = op.concat([_flat_places(chosen.output(0), scores, total), total], 0)
    blank = op.broadcast(op.constant(np.float32(0)), op.add(total, ints(1)))
    ones = op.broadcast(op.constant(np.float32(1)), op.shape_of(place, "i64"))
    marks = op.scatter_elements_update(blank, place, ones, op.constant(np.int64(0)))
    marks = op.reshape(op.slice(marks, ints(0), total, ints(1), ints(0)), op.shape_of(scores, "i64"), False)
    return op.multiply(scores, marks)


def _flat_places(index: ov.Output, scores: ov.Node, total: ov.Node) -> ov.Node:
    """Rows (picture, class, box) -> positions in the flattened scores; rows of -1 -> one behind the last."""
    sizes = op.shape_of(scores, "i64")
    picture, kind, box = (op.gather(index, op.constant(np.int64(i)), op.constant(np.int64(1))) for i in range(3))
    classes, places = (op.gather(sizes, op.constant(np.int64(i)), op.constant(np.int64(0))) for i in (1, 2))
    flat = op.add(op.multiply(op.add(op.multiply(picture, classes), kind), places), box)
    return op.select(op.greater_equal(picture, op.constant(np.int64(0))), flat, total)


def _length(flat: ov.Node) -> ov.Node:
    return op.gather(op.shape_of(flat, "i64"), op.constant(np.int64(1)), op.constant(np.int64(0)))


def _picked(values: ov.Node, rows: ov.Node, width: int) -> ov.Output:
    """Rows of [N, P, width] by index [N, I]."""
    index = op.broadcast(op.unsqueeze(rows, ints(2)), ints(1, 1, width), broadcast_spec="BIDIRECTIONAL")
    return op.gather_elements(values, index, 1).output(0)
