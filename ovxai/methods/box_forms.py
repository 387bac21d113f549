"""What detectors hand out before suppression, read inside the graph: candidates with their boxes in pixels of the input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.errors import UnsupportedModelError
from ovxai.find.site import DetectionSite
from ovxai.graph import emit
from ovxai.graph.dims import ints, number, whole_number
from ovxai.graph.graph import Graph, Port
from ovxai.metadata import KEPT_BRANCHES
from ovxai.methods.box_rows import Rows, Table
from ovxai.methods.finished_boxes import Finished, picked_from
from ovxai.methods.outputs import as_float


@dataclass(frozen=True)
class Form:
    """graph, site: the detector. sides: (h, w) of its input."""

    graph: Graph
    site: DetectionSite
    sides: tuple[int, int]

    def port(self, index: int) -> Port:
        return self.graph.results[index]

    def is_real(self, index: int) -> bool:
        return bool(self.graph.output_of(self.port(index)).get_element_type().is_real())

    def one(self, fits: Callable[[int], bool]) -> int:
        """The first output that fits.

        Raises:
            UnsupportedModelError: there is none.
        """
        found = next(filter(fits, self.outputs), None)
        if found is None:
            raise UnsupportedModelError(f"its outputs are not those of the form {self.site.prediction_format}")
        return found

    def rank(self, index: int) -> int:
        shape = self.graph.output_of(self.port(index)).get_partial_shape()
        return len(shape) if shape.rank.is_static else 0

    def table(self, index: int, start: int = 0, objectness: int | None = None, rows_last: bool = False) -> Table:
        """Rows of output `index`.

        Raises:
            UnsupportedModelError: they are open in number.
        """
        values = self.values(index, rows_last)
        kind = self.graph.output_of(self.port(index)).get_element_type()
        return Table(self.port(index), values, kind, self.site.classes, start, objectness, rows_last)

    def values(self, index: int, rows_last: bool = False) -> ov.Output:
        """f32 [N, P, columns]."""
        tensor = as_float(self.graph.output_of(self.port(index)))
        shape = tensor.get_partial_shape()
        if len(shape) != 3 or any(shape[axis].is_dynamic for axis in (1, 2)):
            raise UnsupportedModelError("maps per box need a fixed number of candidates; give the model a fixed picture size")
        return emit.transpose(tensor, [0, 2, 1]) if rows_last else tensor

    def shape(self, index: int) -> tuple[int, ...]:
        """Without the batch."""
        return tuple(self.graph.known_shape(self.graph.output_of(self.port(index))))[1:]

    @property
    def outputs(self) -> range:
        return range(len(self.graph.results))


def rows_of(graph: Graph, site: DetectionSite, sides: tuple[int, int]) -> Rows | Finished:
    """The candidates of a detector whose input has these sides (height, width).

    Raises:
        UnsupportedModelError: they are in another form than `FORMS` names, or open in number.
    """
    read = FORMS.get(site.prediction_format)
    if read is None:
        raise UnsupportedModelError(
            f"maps per box are made of outputs of the form {', '.join(FORMS)}, not of "
            f"{site.prediction_format or 'an unknown one'}; leave out --method gradient"
        )
    return read(Form(graph, site, sides))


def _yolox(form: Form) -> Rows:
    """Centres against their cells and logarithms of sizes, in strides, level after level from fine to coarse."""
    table = form.table(form.site.output, 5, 4)
    cells = np.concatenate([_cells(level.grid, form.sides) for level in form.site.levels])
    count = table.sizes[0]
    if len(cells) != count:
        raise UnsupportedModelError(f"{count} rows are not one for each of the {len(cells)} cells of the detector's levels")
    grid, strides = (op.constant(part.astype(np.float32)[None]).output(0) for part in (cells[:, :2], cells[:, 2:]))
    centre = emit.multiply(emit.add(table.columns(0, 2), grid), strides)
    size = emit.multiply(op.exp(op.clamp(table.columns(2, 4), -20.0, 20.0)).output(0), strides)
    return Rows((table,), _around(centre, size), form.site.score_activation)


def _cells(grid: tuple[int, int], sides: tuple[int, int]) -> np.ndarray:
    """[cells, 3]: column, row and stride."""
    height, width = grid
    rows, columns = np.divmod(np.arange(height * width), width)
    stride = 2 ** round(math.log2(max(sides[0] / height, sides[1] / width)))
    return np.stack([columns, rows, np.full(height * width, stride)], axis=1)


def _yolo_v5(form: Form) -> Rows:
    table = form.table(form.site.output, 5, 4)
    return Rows((table,), _centred(table.columns(0, 4), form), form.site.score_activation)


def _yolo_v8(form: Form) -> Rows:
    sides = form.shape(form.site.output)
    table = form.table(form.site.output, 4, rows_last=sides[0] < sides[1])
    return Rows((table,), _centred(table.columns(0, 4), form), form.site.score_activation)


def _boxes_scores(form: Form) -> Rows:
    """Corners, in order in every row; of centres and sizes some row breaks it."""
    table = _scores(form)
    given = _box_output(form, table)
    x1y1, x2y2 = _columns(given, 0, 2), _columns(given, 2, 4)
    ordered = op.reduce_logical_and(op.less_equal(x1y1, x2y2), ints([1, 2]), True)
    corners = op.select(ordered, given, _around(*_halves(given))).output(0)
    return Rows((table,), _in_pixels(corners, given, form), form.site.score_activation)


def _queries(form: Form) -> Rows:
    """Centres and sizes as shares of the input; nothing to suppress."""
    table = replace(form.table(form.site.output), behind=int(form.site.no_object))
    corners = _around(*_halves(_box_output(form, table)))
    return Rows((table,), emit.multiply(corners, _whole(form)), form.site.score_activation, suppressed=True)


def _scores(form: Form) -> Table:
    """The table of class scores alone, which may lie as [N, K, P]."""
    return form.table(form.site.output, rows_last=form.shape(form.site.output)[-1] != form.site.classes)


def _box_output(form: Form, table: Table) -> ov.Output:
    """f32 [N, P, 4].

    Raises:
        UnsupportedModelError: no other output has that form.
    """
    for index in form.outputs:
        if index != form.site.output and form.rank(index) == 3 and form.shape(index) == (table.sizes[0], 4):
            return form.values(index)
    raise UnsupportedModelError(f"no output holds a box for each of the {table.sizes[0]} rows of class scores")


def _finished(form: Form) -> Finished:
    """Boxes that the model has suppressed itself, as it hands them out: scores and labels in the same table, or apart.

    Raises:
        UnsupportedModelError: what the scores were picked from can't be told, or there is no batch axis and not one picture.
    """
    graph, site, score = form.graph, form.site, form.site.output
    apart = site.prediction_format == "boxes-labels-scores"
    table = form.one(lambda index: form.is_real(index) and form.rank(index) == form.rank(score) + 1) if apart else score
    alone = form.rank(table) == 2
    if alone and site.taps[0].port.get_partial_shape()[0] != ov.Dimension(1):
        raise UnsupportedModelError(f"output {table} holds the boxes of one picture; give the model a batch of 1")

    def rows(tensor: ov.Output) -> ov.Output:
        return emit.unsqueeze(tensor, [0]) if alone else tensor

    def column(number: int, tensor: ov.Output) -> ov.Output:
        return op.gather(rows(tensor), whole_number(number), whole_number(2)).output(0)

    scores = as_float(graph.output_of(form.port(score)))
    tables, places = picked_from(graph, form.port(score), [level.port for level in site.levels])
    if not tables:
        raise UnsupportedModelError(f"output {score} holds no scores that were picked from those of its levels")
    if site.prediction_format == "boxes-table":
        labels = column(_LABEL, scores)
    else:
        labels = rows(graph.output_of(form.port(form.one(lambda index: not form.is_real(index)))))
    given = _columns(rows(as_float(graph.output_of(form.port(table)))), 0, 4)
    return Finished(
        graph,
        boxes=_in_pixels(given, given, form),
        labels=emit.as_type(labels, ov.Type.i64),
        scores=rows(scores) if apart else column(_SCORE, scores),
        tables=tables,
        places=rows(places) if apart else column(_SCORE, places),
        classes=site.classes,
        kept=_branches(graph, graph.output_of(form.port(score))),
    )


def _branches(graph: Graph, scores: ov.Output) -> tuple[ov.Output, ...]:
    """What branches (If) in front of `scores` hand out.

    Raises:
        UnsupportedModelError: more than can be kept.
    """
    above = graph.ancestors([scores.get_node()])
    found = [node for node in graph.ops if node.get_type_name() == "If" and node.get_name() in above]
    outputs = tuple(port for node in found for port in node.outputs())
    if len(outputs) > len(KEPT_BRANCHES):
        raise UnsupportedModelError(
            f"its boxes come through branches, such as If {found[0].get_friendly_name()}, with {len(outputs)} outputs; maps "
            f"per box can stand beside {len(KEPT_BRANCHES)}"
        )
    return outputs


#: Columns behind the box in a table of finished boxes.
_SCORE, _LABEL = 4, 5


def _nanodet(form: Form) -> Rows:
    """Pairs of class scores and of distances to the sides, as distributions over bins: one pair per level.

    Raises:
        UnsupportedModelError: the outputs are no such pairs.
    """
    tables = [index for index in form.outputs if form.rank(index) == 3]
    scores = [form.table(index) for index in tables if form.shape(index)[1] == form.site.classes]
    sides = [form.values(index) for index in tables if form.shape(index)[1] != form.site.classes]
    counts = [[tensor.get_partial_shape()[1].get_length() for tensor in part] for part in ([t.values for t in scores], sides)]
    if not scores or counts[0] != counts[1]:
        raise UnsupportedModelError("its outputs are not pairs of class scores and boxes, one pair per level")
    corners = [_distances(side, form.sides) for side in sides]
    return Rows(tuple(scores), emit.concat(corners, 1), form.site.score_activation)


def _distances(sides: ov.Output, canvas: tuple[int, int]) -> ov.Output:
    """f32 [N, P, 4]. Generalised focal loss: the expected bin of each side, in strides, from the cell's centre."""
    shape = sides.get_partial_shape()
    count, bins = shape[1].get_length(), shape[2].get_length() // 4
    stride = round(math.sqrt(canvas[0] * canvas[1] / count))
    shares = op.softmax(op.reshape(sides, ints([0, 0, 4, bins]), True), 3)
    steps = op.constant((np.arange(bins) * stride).astype(np.float32)[:, None])
    reach = op.squeeze(op.matmul(shares, steps, False, False), ints([3]))
    rows, columns = np.divmod(np.arange(count), math.ceil(canvas[1] / stride))
    # NanoDet's training puts a cell's centre half a pixel before the middle.
    centre = np.stack([columns, rows, columns, rows], axis=1) * stride + 0.5 * (stride - 1)
    signs = op.constant(np.array([-1, -1, 1, 1], np.float32))
    return op.add(op.multiply(reach, signs), op.constant(centre.astype(np.float32)[None])).output(0)


# Boxes.


def _columns(table: ov.Output, first: int, last: int) -> ov.Output:
    return op.slice(table, ints([first]), ints([last]), ints([1]), ints([2])).output(0)


def _halves(boxes: ov.Output) -> tuple[ov.Output, ov.Output]:
    return _columns(boxes, 0, 2), _columns(boxes, 2, 4)


def _around(centre: ov.Output, size: ov.Output) -> ov.Output:
    half = emit.multiply(size, number(0.5))
    return emit.concat([emit.subtract(centre, half), emit.add(centre, half)], 2)


def _centred(boxes: ov.Output, form: Form) -> ov.Output:
    return _in_pixels(_around(*_halves(boxes)), boxes, form)


def _in_pixels(corners: ov.Output, given: ov.Output, form: Form) -> ov.Output:
    """Pixels, or shares of the picture: those are 1 on the average of all at most. given: as the model has them."""
    shares = op.less_equal(op.reduce_mean(op.abs(given), ints([1, 2]), True), number(2.0))
    return op.select(shares, op.multiply(corners, _whole(form)), corners).output(0)


def _whole(form: Form) -> ov.Output:
    height, width = form.sides
    return op.constant(np.array([width, height, width, height], np.float32)).output(0)


#: By `prediction_format`.
FORMS: MappingProxyType[str, Callable[[Form], Rows | Finished]] = MappingProxyType({
    "yolox": _yolox, "yolo-v5": _yolo_v5, "yolo-v8": _yolo_v8, "boxes-scores": _boxes_scores, "queries": _queries,
    "nanodet": _nanodet, **dict.fromkeys(("boxes-labels", "boxes-labels-scores", "boxes-table"), _finished),
})  # fmt: skip
