"""The one list of prediction formats, and what a model predicts, read by it.

`prediction_format` of rt_info names the format; insertion tells it from the outputs, by their shapes and by what
the graph does to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ovxai.metadata import MapFrame
from ovxai.runtime.feed.geometry import Geometry
from ovxai.runtime.predict import boxes, dense, pixels
from ovxai.runtime.predict.boxes import Instances, Outputs, Raw, sigmoid, softmax
from ovxai.runtime.predict.facts import ModelFacts
from ovxai.runtime.predict.labels import Hierarchy

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Format:
    """One way in which models hand out what they predict.

    columns: what the outputs of one picture hold. K classes, P candidates before suppression, I objects after it.
    objects: outputs -> objects; None for a classifier.
    """

    name: str
    columns: str
    objects: Callable[[Raw], Instances] | None = None


SCORES, BEST_SCORES = "scores", "best-scores"
FORMATS = MappingProxyType({one.name: one for one in (
    Format(SCORES, "class scores [K]"),
    Format(BEST_SCORES, "scores and numbers of the best classes (TopK), or the numbers alone (ArgMax)"),
    Format("boxes-labels", "boxes [I, 5] with the score last, labels [I] (OTX)", boxes.boxes_labels),
    Format("boxes-labels-scores", "boxes [I, 4], labels [I], scores [I] (torchvision)", boxes.boxes_labels_scores),
    Format("boxes-labels-masks", "boxes [I, 5] (or [I, 4] and scores [I]), labels [I], masks [I, h, w] or [I, 1, h, w] of "
           "the box or of the picture", boxes.boxes_labels_masks),
    Format("boxes-table", "rows [I, 6 or more]: corners, score, class, further values (end-to-end YOLO, also with keypoints)",
           boxes.boxes_table),
    Format("boxes-angle-table", "rows [I, 7]: centre and size, score, class, angle (end-to-end YOLO)", boxes.boxes_angle_table),
    Format("boxes-table-masks", "rows [I, 6 + M]: corners, score, class, mask coefficients; prototypes [M, h, w]",
           boxes.boxes_table_masks),
    Format("boxes-labels-prototypes", "boxes [I, 5] (or [I, 4] and scores [I]), labels [I], mask coefficients [I, M], prototypes "
           "[M, h, w]", boxes.boxes_labels_prototypes),
    Format("detection-output", "rows [1, I, 7]: picture (-1: no more), class, score, corners as shares of the input "
           "(OpenVINO's DetectionOutput)", boxes.detection_output),
    Format("boxes-scores", "boxes [P, 4], class scores [P, K] or [K, P]", dense.boxes_scores),
    Format("queries", "class scores [Q, K], or [Q, K + 1] with no object last, and boxes [Q, 4]: centre and size as shares "
           "of the input; nothing to suppress (DETR)", boxes.queries),
    Format("yolox", "rows [P, 5 + K], level after level: centre offset, log size, objectness, class scores", dense.yolox),
    Format("yolo-v5", "rows [P, 5 + K]: centre and size in pixels, objectness, class scores", dense.yolo_v5),
    Format("yolo-v8", "columns [4 + K (+ more), P], or rows: centre and size in pixels, class scores", dense.yolo_v8),
    Format("yolo-v5-seg", "rows [P, 5 + K + M] as yolo-v5 with M mask coefficients, prototypes [M, h, w]", dense.yolo_v5_seg),
    Format("yolo-v8-seg", "columns [4 + K + M, P] as yolo-v8 with M mask coefficients, prototypes [M, h, w]",
           dense.yolo_v8_seg),
    Format("nanodet", "per level, fine to coarse: class scores [P, K] and box-side distributions [P, 4 * bins]", dense.nanodet),
    Format("fastestdet", "one map [1 + 4 + K, h, w]: objectness, box against its cell, class probabilities", dense.fastestdet),
    Format("east", "a map of scores [1, h, w] and one of distances to four sides and an angle [5, h, w] (EAST)", dense.east),
    Format("class-maps", "class scores of pixels [K, h, w] (semantic segmentation)", pixels.class_maps),
    Format("class-maps-last", "class scores of pixels [h, w, K] (semantic segmentation)", pixels.class_maps_last),
    Format("heatmap", "class heat maps [K, h, w]: how sure each class is anywhere; no boxes are read (CenterNet)", dense.heatmap),
)})  # fmt: skip


@dataclass(frozen=True)
class Prediction:
    """One predicted class or object.

    class_index: the class, as in `Explanation.maps`. score: 0..1. box: x1, y1, x2, y2 in pixels of the
    source picture. mask: [H, W] bool over the source picture.
    """

    class_index: int
    label: str
    score: float
    box: Box | None = None
    mask: np.ndarray | None = None


def decodable(facts: ModelFacts) -> bool:
    """Whether predictions can be read from this model's outputs."""
    form = FORMATS.get(facts.explained.prediction_format)
    return form is not None and (form.objects is not None or _score_name(facts) in facts.outputs)


def class_scores(outputs: Outputs, facts: ModelFacts) -> np.ndarray:
    """[K] f32 probabilities of a classifier for one picture."""
    given = outputs[_score_name(facts)]
    if facts.explained.prediction_format == BEST_SCORES:
        return _spread(given, outputs.get(facts.explained.number_output), facts)
    values = np.asarray(given, np.float32).reshape(-1)
    if given.dtype == np.uint8:  # a quantised softmax gives 0..255
        values = values / np.float32(255.0)
    activation = facts.explained.score_activation
    if facts.hierarchy:
        return _hierarchical(values, facts.hierarchy, activation)
    return softmax(values) if activation == "softmax" else sigmoid(values) if activation == "sigmoid" else values


def objects(outputs: Outputs, facts: ModelFacts, geometry: Geometry, threshold: float = 0.0) -> tuple[Prediction, ...]:
    """What a detector or instance segmenter found in one picture over `threshold`, best first.

    Raises:
        UnsupportedModelError: the outputs are not what `prediction_format` says.
    """
    found, corners = _read(outputs, facts, geometry)
    order = np.argsort(-found.scores, kind="stable")
    return tuple(
        Prediction(
            class_index=int(found.labels[i]),
            label=facts.label(int(found.labels[i])),
            score=float(found.scores[i]),
            box=None if corners is None else _box(corners[i]),
            mask=None if found.masks is None else found.masks(i),
        )
        for i in order
        if found.scores[i] > threshold and found.labels[i] >= 0
    )


def candidates(
    outputs: Outputs, facts: ModelFacts, geometry: Geometry, class_index: int
) -> tuple[np.ndarray | None, np.ndarray]:  # fmt: skip
    """Every box that a detector considers, before suppression, where it leaves that to others: ([P, 4], [P]).

    Boxes are x1, y1, x2, y2 in pixels of the source picture, None where they can't be read; scores, of the class, 0..1.

    Raises:
        UnsupportedModelError: the outputs are not what `prediction_format` says.
    """
    found, corners = _read(outputs, facts, geometry, only=class_index)
    own = found.labels == class_index
    return None if corners is None else corners[own], np.asarray(found.scores[own], np.float64)


def _read(
    outputs: Outputs, facts: ModelFacts, geometry: Geometry, only: int | None = None
) -> tuple[Instances, np.ndarray | None]:  # fmt: skip
    """What is found, and its boxes in pixels of the source picture."""
    form, explained = FORMATS[facts.explained.prediction_format], facts.explained
    if form.objects is None:
        return Instances(None, np.zeros(0, int), np.zeros(0, np.float32)), None
    if explained.network_size is not None:
        geometry = geometry.within(MapFrame(explained.network_frame)).at_size(explained.network_size)
    found = form.objects(Raw(outputs, facts, geometry, form.columns, only))
    return found, None if found.boxes is None else geometry.boxes_to_source(found.boxes)


def _box(corners: np.ndarray) -> Box:
    x1, y1, x2, y2 = (float(value) for value in corners)
    return x1, y1, x2, y2


def _spread(values: np.ndarray, numbers: np.ndarray | None, facts: ModelFacts) -> np.ndarray:
    """[K] scores from a list of the best: 0 for what is not on it; a list without scores says 1."""
    listed = np.asarray(values if numbers is None else numbers).reshape(-1).astype(np.int64)
    alone = numbers is None or facts.explained.number_output == facts.explained.score_output
    given = np.ones(len(listed), np.float32) if alone else np.asarray(values, np.float32).reshape(-1)
    if facts.explained.score_activation != "none":
        given = softmax(given) if facts.explained.score_activation == "softmax" else sigmoid(given)
    scores = np.zeros(facts.explained.num_classes or int(listed.max(initial=0)) + 1, np.float32)
    known = (listed >= 0) & (listed < len(scores))
    scores[listed[known]] = given[known]
    return scores


def _score_name(facts: ModelFacts) -> str:
    explained = facts.explained
    if explained.score_output in facts.outputs:
        return explained.score_output
    # Exports without tensor names: the position is what remains.
    return facts.own[explained.explained_output] if explained.explained_output < len(facts.own) else ""


def _hierarchical(values: np.ndarray, hierarchy: Hierarchy, activation: str) -> np.ndarray:
    """Every exclusive group is a softmax of its own, the rest are sigmoids."""
    scores = values.copy()
    for begin, end in hierarchy.exclusive:
        group = values[begin:end]
        done = activation == "none" and (group >= 0).all() and abs(float(group.sum()) - 1) < 1e-2
        scores[begin:end] = group if done else softmax(group)
    rest = values[hierarchy.rest :]
    done = activation == "none" and ((rest >= 0) & (rest <= 1)).all()
    scores[hierarchy.rest :] = rest if done else sigmoid(rest)
    return scores
