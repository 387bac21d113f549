"""The K best boxes of a detector inside the graph, and how their scores depend on its outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.backward.targets import Targets
from ovxai.graph import emit
from ovxai.graph.dims import ints, number, whole_number
from ovxai.graph.graph import Port
from ovxai.methods.suppression import kept

#: Boxes below this score are none; within a class, boxes that overlap more than that are one. Both as `ovxai run` has them.
FLOOR, IOU = 0.05, 0.5
#: Rows, best first, among which suppression looks for boxes.
CONSIDERED = 300
#: More than any score.
_MOST = 1e30
#: The least probability of which a logarithm is derived.
LEAST = 1e-4


@dataclass(frozen=True)
class Table:
    """Rows of one output of the model. values: f32 [N, P, columns], classes from column `start` on.

    port: the output that it is of, with what element type. objectness: the column of a factor of all class scores.
    rows_last: whether the output is [N, columns, P]. behind: columns behind the classes that are exclusive with them and none
    themselves: "no object".
    """

    port: Port
    values: ov.Output
    kind: ov.Type
    classes: int
    start: int = 0
    objectness: int | None = None
    rows_last: bool = False
    behind: int = 0

    @property
    def sizes(self) -> tuple[int, int]:
        """P and columns."""
        shape = self.values.get_partial_shape()
        return shape[1].get_length(), shape[2].get_length()

    def columns(self, first: int, last: int) -> ov.Output:
        return op.slice(self.values, ints([first]), ints([last]), ints([1]), ints([2])).output(0)

    @property
    def scores(self) -> ov.Output:
        """[N, P, C], as the output has them."""
        return self.columns(self.start, self.start + self.classes)

    @property
    def exclusive(self) -> ov.Output:
        """[N, P, C or more]: all that a softmax goes over."""
        return self.columns(self.start, self.start + self.classes + self.behind)


@dataclass(frozen=True)
class Rows:
    """All candidates of a detector. tables: one below the other. corners: f32 [N, P, 4], x1, y1, x2, y2 in pixels of the input.

    due: the activation that class scores need: none, sigmoid or softmax. suppressed: whether no suppression is due.
    kept: see `Branch`.
    """

    tables: tuple[Table, ...]
    corners: ov.Output
    due: str
    suppressed: bool = False
    kept: tuple[ov.Output, ...] = ()

    @property
    def considered(self) -> int:
        """Rows among which boxes are looked for: so many there can be."""
        return min(CONSIDERED, sum(table.sizes[0] for table in self.tables))

    def best(self, count: int) -> Best:
        """The best boxes of each picture after suppression within each class, each with its best class. count: no more than are
        considered."""
        scores = emit.concat([_probabilities(table, self.due) for table in self.tables], 1)
        best = op.topk(scores, whole_number(1), 2, "max", "value", index_element_type="i64")
        tall, labels = (op.squeeze(port, ints([2])).output(0) for port in best.outputs())
        top = op.topk(tall, whole_number(self.considered), 1, "max", "value", index_element_type="i64")
        boxes, names = (emit.pick_each(tensor, top.output(1)) for tensor in (self.corners, labels))
        left = top.output(0) if self.suppressed else _unsuppressed(boxes, names, top.output(0), self.tables[0].classes)
        left = over_the_floor(left)
        final = op.topk(left, whole_number(count), 1, "max", "value", index_element_type="i64")
        rows, labels, boxes = (emit.pick_each(each, final.output(1)) for each in (top.output(1), names, boxes))
        return Best(rows, labels, final.output(0), boxes)

    def seeds(self, best: Best, targets: Targets) -> dict[Port, ov.Output]:
        """The derivative of log(class score times objectness) of each box by every output, [K, N, P, columns] or as it lies."""
        found, first = {}, 0
        for table in self.tables:
            own = op.subtract(best.rows, whole_number(first)).output(0)
            found[table.port] = _seed(table, own, best, self.due, targets)
            first += table.sizes[0]
        return found


@dataclass(frozen=True)
class Best:
    """The K best boxes. rows, labels: i64 [N, K]. scores: f32 [N, K], 0 where there is no box. boxes: f32 [N, K, 4]."""

    rows: ov.Output
    labels: ov.Output
    scores: ov.Output
    boxes: ov.Output

    @property
    def index(self) -> ov.Output:
        """i64 [N, 1, K]: the class of each box, -1 where there is none."""
        there = op.greater(self.scores, number(0.0))
        return emit.unsqueeze(op.select(there, self.labels, whole_number(-1)).output(0), [1])


def _probabilities(table: Table, due: str) -> ov.Output:
    """f32 [N, P, C]: class scores times objectness."""
    scores = table.scores
    if due == "sigmoid":
        scores = op.sigmoid(scores).output(0)
    elif due == "softmax":
        scores = emit.slice_axis(op.softmax(table.exclusive, 2).output(0), 2, 0, table.classes)
    if table.objectness is None:
        return scores
    return emit.multiply(scores, table.columns(table.objectness, table.objectness + 1))


def over_the_floor(scores: ov.Output | ov.Node) -> ov.Node:
    """Scores of boxes, 0 of what is none; so is what has no number for a score. (Of NaN some processors say that it is more than
    anything, but none that it is less as well.)"""
    there = op.logical_and(op.greater(scores, number(FLOOR)), op.less(scores, number(_MOST)))
    return op.select(there, scores, number(0.0))


def _unsuppressed(boxes: ov.Output, names: ov.Output, scores: ov.Output, classes: int) -> ov.Output:
    """f32 [N, P]: the scores of boxes that are left, 0 elsewhere."""
    ends = [op.constant(value, np.float32) for value in (1.0, 0.0)]
    by_class = op.multiply(op.one_hot(names, whole_number(classes), *ends, 1), op.unsqueeze(scores, ints([1])))
    return op.reduce_max(kept(boxes.get_node(), by_class, IOU, FLOOR, CONSIDERED), ints([1]), False).output(0)


def _seed(table: Table, own: ov.Output, best: Best, due: str, targets: Targets) -> ov.Output:
    """own: i64 [N, K], rows counted within the table; beyond it for boxes of others."""
    places = table.sizes[0]
    there = op.logical_and(op.greater_equal(own, whole_number(0)), op.less(own, whole_number(places)))
    there = op.logical_and(there, op.greater(best.scores, number(0.0)))
    entries = _entries(table, op.clamp(own, 0, places - 1).output(0), best.labels, due)
    entries = op.multiply(entries, op.convert(op.unsqueeze(there, ints([2])), "f32"))
    order = (3, 2) if table.rows_last else (2, 3)
    spread = op.unsqueeze(_one_hot(own, places), ints([order[1]]))
    whole = op.multiply(spread, op.unsqueeze(entries, ints([order[0]]))).output(0)  # [N, K, P, columns]
    lead = emit.transpose(whole, [1, 0, 2, 3]) if targets.lead else op.squeeze(whole, ints([1])).output(0)
    return emit.as_type(lead, table.kind)


def _entries(table: Table, rows: ov.Output, labels: ov.Output, due: str) -> ov.Node:
    """f32 [N, K, columns]: the derivative of a box's score by the values of its row."""
    columns = table.sizes[1]
    own = emit.pick_each(table.exclusive, rows)  # [N, K, classes or more]
    value = op.gather_elements(own, op.unsqueeze(labels, ints([2])), 2).output(0)  # [N, K, 1]
    one = _one_hot(op.add(labels, whole_number(table.start)).output(0), columns)
    if due == "softmax":
        rest = columns - table.start - table.classes - table.behind
        shares = op.pad(op.softmax(own, 2), ints([0, 0, table.start]), ints([0, 0, rest]), "constant", number(0.0))
        entries: ov.Node = op.subtract(one, shares)
    else:
        entries = op.multiply(one, op.subtract(number(1.0), op.sigmoid(value)) if due == "sigmoid" else _inverse(value))
    if table.objectness is None:
        return entries
    certainty = emit.pick_each(table.columns(table.objectness, table.objectness + 1), rows)
    return op.add(entries, op.multiply(_one_hot(ints([table.objectness]), columns), _inverse(certainty)))


def _inverse(value: ov.Output) -> ov.Node:
    return op.divide(number(1.0), op.maximum(value, number(LEAST)))


def _one_hot(index: ov.Output, depth: int) -> ov.Node:
    ends = [op.constant(value, np.float32) for value in (1.0, 0.0)]
    return op.one_hot(index, whole_number(depth), *ends, -1)
