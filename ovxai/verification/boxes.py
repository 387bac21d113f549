"""Gradient maps per box by their definition.

Which boxes are the best is read from the plain model's outputs, and the derivatives are held against their scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import openvino as ov

from ovxai.errors import UnsupportedModelError
from ovxai.graph.picture import find_picture_input
from ovxai.metadata import SALIENCY_BOX, SALIENCY_INDEX, SALIENCY_SCORE, ExplainedInfo
from ovxai.verification.detection import upright
from ovxai.verification.differences import At, Layer, along_directions
from ovxai.verification.engine import Feeds, is_quantised, values_of
from ovxai.verification.gradient import maps_of, read_layers
from ovxai.verification.head import Head, cut_head
from ovxai.verification.instances import suppress
from ovxai.verification.maps import Definition
from ovxai.verification.plain import port_named
from ovxai.verification.report import Check

LOG_SCORE = "log-score"
#: Boxes below this score are none; within a class, boxes that overlap more than that are one.
FLOOR, IOU = 0.05, 0.5
#: Candidates, best first, that suppression sees.
CONSIDERED = 300
#: What scores may be off by, relatively, and boxes, as a part of the picture's sides.
SCORE_OFF, BOX_OFF = 1e-3, 1e-3
#: Scores that are this close, relatively, may change places.
TIE = 1e-5

#: Per picture (row, class, score) of the best boxes.
Wanted = Sequence[Sequence[tuple[int, int, float]]]


@dataclass(frozen=True)
class Candidates:
    """Of one picture: boxes [P, 4] in pixels of the input, scores [P, C]. finished: nothing is to be suppressed."""

    boxes: np.ndarray
    scores: np.ndarray
    finished: bool = False

    def best(self, labels_named: np.ndarray, boxes_named: np.ndarray, near: float) -> list[tuple[int, int, float]]:
        """(row, class, score) of the best boxes, each with its best class; fewer where there are not so many.

        labels_named [K], boxes_named [K, 4]: what the explained model names; of scores that tie any may be first, so these
        are, in their order. near: how far a named box may be off, in pixels.
        """
        labels, tall = self.scores.argmax(axis=1), self.scores.max(axis=1)
        count = len(labels_named)
        ranks = np.array(tall)
        for place in reversed(range(count)):
            own = (labels == labels_named[place]) & (np.abs(self.boxes - boxes_named[place]).max(axis=1) <= near)
            ranks[own] = tall[own] * (1 + TIE * (1 - place / count))
        rows = np.argsort(-ranks, kind="stable")[:CONSIDERED]
        if not self.finished:
            own = np.zeros((len(rows), self.scores.shape[1]))
            own[np.arange(len(rows)), labels[rows]] = np.where(tall[rows] > FLOOR, ranks[rows], 0)
            rows = rows[suppress(self.boxes[rows], own, IOU, FLOOR, CONSIDERED)[:, 0]]
        return [(int(row), int(labels[row]), float(tall[row])) for row in rows if tall[row] > FLOOR][:count]

    def has_twin(self, row: int, near: float) -> bool:
        """Whether another row has its class, its box and its score, so that nothing says which of the two is explained."""
        labels, tall = self.scores.argmax(axis=1), self.scores.max(axis=1)
        alike = (labels == labels[row]) & (np.abs(tall - tall[row]) <= TIE * tall[row])
        return int((alike & (np.abs(self.boxes - self.boxes[row]).max(axis=1) <= near)).sum()) > 1


def per_box(explained: ov.Model, plain: ov.Model, info: ExplainedInfo, feeds: Feeds) -> Definition:
    """The maps of the K best boxes, and what is said of those.

    Raises:
        TargetLayerError, UnsupportedModelError: rt_info names what the model does not have, or a form that is not known here.
    """
    if info.target != LOG_SCORE:
        raise UnsupportedModelError(f"rt_info says target {info.target!r}; of boxes verify knows {LOG_SCORE}")
    beside = [SALIENCY_INDEX, SALIENCY_BOX, SALIENCY_SCORE]
    layers, arrays = read_layers(explained, info, feeds, beside, lambda model: _own(model, len(plain.outputs)))
    *outputs, index, boxes, scores = arrays
    reader = Reader.of(plain, info)
    near, every = BOX_OFF * max(reader.sides), reader.candidates(outputs)
    wanted = [each.best(index[picture, 0], boxes[picture], near) for picture, each in enumerate(every)]
    alone = [[not each.has_twin(row, near) for row, _, _ in best] for each, best in zip(every, wanted, strict=True)]
    maps = maps_of(layers, info, boxes=True)
    return Definition(
        maps=maps,
        features=_features(plain, info, feeds, reader.sides),
        ranking=scores.astype(np.float64),
        doubtful=np.zeros(maps.shape, bool),
        checks=(
            _boxes_named(wanted, (index, boxes, scores), reader, outputs),
            *_differences(plain, info, feeds, layers, reader, wanted, alone),
        ),
    )


def _own(model: ov.Model, count: int) -> list[ov.Output]:
    """What the model's first outputs hand out."""
    return [result.input(0).get_source_output() for result in model.get_results()[:count]]


def _sides(plain: ov.Model, info: ExplainedInfo) -> tuple[int, int]:
    """(h, w) of the picture input, in whose pixels boxes are counted."""
    port = find_picture_input(plain, info)
    if port.height is None or port.width is None:
        raise UnsupportedModelError("maps per box need a fixed picture size, which the plain part does not have")
    return port.height, port.width


def _features(plain: ov.Model, info: ExplainedInfo, feeds: Feeds, sides: tuple[int, int]) -> np.ndarray | None:
    """What `feature_map` should be."""
    if not info.feature_layer:
        return None
    model = plain.clone()
    tensor = values_of(model, [port_named(model, info.feature_layer)], feeds)[0]
    height, width = sides

    def skew(shape: Sequence[int]) -> float:
        return abs(math.log(shape[0] / height * width / shape[1]))

    axis = min((1, 3), key=lambda axis: skew(tensor.shape[2:] if axis == 1 else tensor.shape[1:3]))
    return upright(tensor, axis, sides)


def _boxes_named(wanted: Wanted, found: Sequence[np.ndarray], reader: Reader, outputs: Sequence[np.ndarray]) -> Check:
    """`saliency_index`, `saliency_box` and `saliency_score` name the best boxes. found: the three."""
    title = "saliency_box"
    index, boxes, scores = found
    every = reader.candidates(outputs)
    for picture, best in enumerate(wanted):
        for place in range(scores.shape[1]):
            if place >= len(best):
                if index[picture, 0, place] != -1 or scores[picture, place] != 0:
                    return Check(title, False, f"names a box at place {place + 1}; there are {len(best)}")
                continue
            row, label, score = best[place]
            if index[picture, 0, place] != label:
                return Check(title, False, f"place {place + 1} is class {index[picture, 0, place]}, not {label}")
            if abs(scores[picture, place] - score) > SCORE_OFF * score:
                return Check(title, False, f"place {place + 1} has the score {scores[picture, place]:.6g}, not {score:.6g}")
            off = np.abs(boxes[picture, place] - every[picture].boxes[row]).max()
            if off > BOX_OFF * max(reader.sides):
                return Check(title, False, f"place {place + 1} is {off:.3g} pixels off")
    count = sum(len(best) for best in wanted)
    return Check(title, True, f"the {count} best boxes after suppression, best first")


def _differences(
    plain: ov.Model,
    info: ExplainedInfo,
    feeds: Feeds,
    layers: Sequence[Layer],
    reader: Reader,
    wanted: Wanted,
    alone: Sequence[Sequence[bool]],
) -> tuple[Check, ...]:
    """One check per layer: along random directions the boxes' scores change as the derivative says. alone: which of the boxes
    have no twin; the others can't be judged.

    Where layers count by themselves, the plain model is cut at all of them, and one is moved at a time.
    """
    checks = []
    for place, layer in enumerate(layers):
        name = f"derivative by {layer.name}"
        if is_quantised(plain):
            checks.append(Check(name, None, "could not tell: quantisers are stairs, which have no derivative to compare with"))
            continue
        if any(map(len, alone)) and not any(map(any, alone)):
            checks.append(Check(name, None, "could not tell: each box has a twin of its class and score in its place"))
            continue
        names = info.target_layers if info.held else [layer.name]
        head = cut_head(plain, names, info.explained_output, feeds, whole=True, choices=layer.choices)
        judged = np.zeros(layer.derivative.shape[1::-1], bool)  # [N, K]
        for picture, flags in enumerate(alone):
            judged[picture, : len(flags)] = flags
        slope = layer.derivative * judged.T.reshape(*judged.T.shape, *[1] * (layer.features.ndim - 1))
        at = _at(head, place if info.held else 0, reader, wanted, judged)
        checks.append(along_directions(name, at, replace(layer, derivative=slope)))
    return tuple(checks)


def _at(head: Head, place: int, reader: Reader, wanted: Wanted, judged: np.ndarray) -> At:
    """The logarithms of the scores of the rows `wanted` of each picture, 0 where `judged` [N, K] says no. Queries and finished
    boxes stand in the rows in which they were chosen, whatever the head is given."""

    def at(change: np.ndarray) -> tuple[np.ndarray, float]:
        gated = [np.array(each) for each in head.gated]
        gated[place] = (gated[place] + change).astype(np.float32)
        found = np.zeros(judged.shape)
        every = reader.logarithms(head.outputs(gated))
        for picture, best in enumerate(wanted):
            for target, (row, label, _) in enumerate(best):
                found[picture, target] = every[picture][row, label]
        return found * judged, max(1.0, float(np.abs(found).max()))

    return at


# What the plain model's outputs say.


@dataclass(frozen=True)
class Reader:
    """form: `prediction_format`. due: the activation that class scores need. score: number of the output with the scores.
    classes: how many. sides: (h, w) of the input."""

    form: str
    due: str
    score: int
    classes: int
    sides: tuple[int, int]

    @classmethod
    def of(cls, plain: ov.Model, info: ExplainedInfo) -> Reader:
        """Raises UnsupportedModelError: the form is not known here."""
        if info.prediction_format not in FORMS:
            raise UnsupportedModelError(f"rt_info says prediction_format {info.prediction_format!r}; verify has no boxes of it")
        return cls(
            info.prediction_format, info.score_activation, info.explained_output, info.num_classes or 1, _sides(plain, info)
        )

    def candidates(self, outputs: Sequence[np.ndarray]) -> list[Candidates]:
        """One per picture."""
        return [
            Candidates(FORMS[self.form](self, own), np.exp(logs), self.form in FINISHED)
            for own, logs in zip(self._pictures(outputs), self.logarithms(outputs), strict=True)
        ]

    def logarithms(self, outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Per picture [P, C]: the logarithm of class score times objectness."""
        return [self._logarithms([np.asarray(each, np.float64) for each in own]) for own in self._pictures(outputs)]

    def _pictures(self, outputs: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
        """The outputs of each picture. Finished boxes may be those of one, with no axis for more."""
        if self.form in SUPPRESSED and outputs[self.score].ndim == (1 if self.form == "boxes-labels-scores" else 2):
            return [list(outputs)]
        return [[each[picture] for each in outputs] for picture in range(len(outputs[0]))]

    def _logarithms(self, own: Sequence[np.ndarray]) -> np.ndarray:
        if self.form in SUPPRESSED:
            return np.log(np.maximum(self.finished(own)[1], TINY))
        if self.form == "nanodet":
            return self._activated(np.concatenate(self.pairs(own)[0]))
        rows = self.rows(own[self.score])
        if self.form == "queries":  # of an exclusive set the last is no class: no object
            return self._activated(rows)[:, : self.classes]
        start = COLUMNS.get(self.form, 0)
        logs = self._activated(rows[:, start : start + self.classes])
        return logs + np.log(np.maximum(rows[:, 4:5], TINY)) if start == 5 else logs

    def _activated(self, scores: np.ndarray) -> np.ndarray:
        if self.due == "sigmoid":
            return np.asarray(-np.logaddexp(0, -scores))
        if self.due == "softmax":
            return np.asarray(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True))
        return np.log(np.maximum(scores, TINY))

    def rows(self, table: np.ndarray) -> np.ndarray:
        """[P, columns], whichever way it lies."""
        if self.form == "yolo-v8":
            return table.T if table.shape[0] < table.shape[1] else table
        return table.T if self.form == "boxes-scores" and table.shape[1] != self.classes else table

    def pairs(self, own: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Class scores and boxes of each level."""
        tables = [table for table in own if table.ndim == 2]
        scores = [table for table in tables if table.shape[1] == self.classes]
        return scores, [table for table in tables if table.shape[1] != self.classes]

    def finished(self, own: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Boxes as they are, [I, 4], and scores [I, C]: each of its own class alone."""
        table = own[self.score] if own[self.score].ndim == 2 else next(each for each in own if each.ndim == 2)
        scores = table[:, 4] if table.shape[1] > 4 else own[self.score]
        rows = self.form == "boxes-table"
        labels = table[:, 5] if rows else next(each for place, each in enumerate(own) if each.ndim == 1 and place != self.score)
        spread = np.zeros((len(table), self.classes))
        known = (labels >= 0) & (labels < self.classes)
        spread[np.flatnonzero(known), labels[known].astype(np.int64)] = scores[known]
        return table[:, :4], spread

    def boxes(self, own: Sequence[np.ndarray]) -> np.ndarray:
        """[P, 4] of the output that has no scores."""
        count = len(self.rows(own[self.score]))
        return next(each for place, each in enumerate(own) if place != self.score and each.shape == (count, 4))

    @property
    def whole(self) -> np.ndarray:
        return np.array([self.sides[1], self.sides[0]] * 2, np.float64)


#: Forms in which the model has suppressed itself; and those in which nothing is to be suppressed.
SUPPRESSED = ("boxes-labels", "boxes-labels-scores", "boxes-table")
FINISHED = ("queries", *SUPPRESSED)
#: The least probability that has a logarithm.
TINY = 1e-30
#: Where classes begin in a row; behind an objectness where that is 5.
COLUMNS = {"yolox": 5, "yolo-v5": 5, "yolo-v8": 4}


def _around(centre: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def _pixels(corners: np.ndarray, given: np.ndarray, reader: Reader) -> np.ndarray:
    return corners * reader.whole if np.abs(given).mean() <= 2 else corners


def _yolox(reader: Reader, own: Sequence[np.ndarray]) -> np.ndarray:
    rows = own[reader.score]
    cells = _cells(len(rows), reader.sides)
    return _around((rows[:, :2] + cells[:, :2]) * cells[:, 2:], np.exp(np.clip(rows[:, 2:4], -20, 20)) * cells[:, 2:])


def _cells(count: int, sides: tuple[int, int]) -> np.ndarray:
    """[count, 3]: column, row and stride of the cells of levels whose strides double."""
    for first in (4, 8, 16, 32):
        found: list[np.ndarray] = []
        for stride in (first * 2**step for step in range(6)):
            height, width = (math.ceil(side / stride) for side in sides)
            rows, columns = np.divmod(np.arange(height * width), width)
            found.append(np.stack([columns, rows, np.full(height * width, stride)], axis=1))
            if sum(len(level) for level in found) == count:
                return np.concatenate(found)
    raise UnsupportedModelError(f"{count} rows are no pyramid over {sides[0]}x{sides[1]}")


def _centred(reader: Reader, own: Sequence[np.ndarray]) -> np.ndarray:
    rows = reader.rows(own[reader.score])
    return _pixels(_around(rows[:, :2], rows[:, 2:4]), rows[:, :4], reader)


def _boxes_scores(reader: Reader, own: Sequence[np.ndarray]) -> np.ndarray:
    given = reader.boxes(own)
    ordered = (given[:, :2] <= given[:, 2:]).all()
    return _pixels(given if ordered else _around(given[:, :2], given[:, 2:]), given, reader)


def _finished(reader: Reader, own: Sequence[np.ndarray]) -> np.ndarray:
    boxes = reader.finished(own)[0]
    return _pixels(boxes, boxes, reader) if len(boxes) else boxes


def _queries(reader: Reader, own: Sequence[np.ndarray]) -> np.ndarray:
    given = reader.boxes(own)
    return np.asarray(_around(given[:, :2], given[:, 2:]) * reader.whole)


def _nanodet(reader: Reader, own: Sequence[np.ndarray]) -> np.ndarray:
    """Distances to the four sides, in strides: the mean over bins under their softmax."""
    found = []
    for table in reader.pairs(own)[1]:
        stride = round(math.sqrt(reader.sides[0] * reader.sides[1] / len(table)))
        bins = np.exp(table.reshape(len(table), 4, -1).astype(np.float64))
        reach = stride * (bins * np.arange(bins.shape[2])).sum(axis=2) / bins.sum(axis=2)
        rows, columns = np.divmod(np.arange(len(table)), math.ceil(reader.sides[1] / stride))
        middle = np.stack([columns, rows], axis=1) * stride + (stride - 1) / 2
        found.append(np.concatenate([middle - reach[:, :2], middle + reach[:, 2:]], axis=1))
    return np.concatenate(found)


FORMS: dict[str, Callable[[Reader, Sequence[np.ndarray]], np.ndarray]] = {
    "yolox": _yolox, "yolo-v5": _centred, "yolo-v8": _centred, "boxes-scores": _boxes_scores, "queries": _queries,
    "nanodet": _nanodet, **dict.fromkeys(SUPPRESSED, _finished),
}  # fmt: skip
