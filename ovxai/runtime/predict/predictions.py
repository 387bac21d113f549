"""Model outputs -> what the model predicts, as far as the output format is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ovxai.runtime.facts import ModelFacts
from ovxai.runtime.feed.geometry import Geometry
from ovxai.runtime.predict.boxes import (
    Instances,
    boxes_labels,
    boxes_labels_masks,
    boxes_labels_scores,
    boxes_table,
    detection_output,
)
from ovxai.runtime.predict.onestage import boxes_scores, fastestdet, heatmap, per_level, yolo_seg, yolo_v5, yolo_v8, yolox

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Prediction:
    """One predicted class or object.

    class_index: the class, as in `Explanation.maps`. score: 0..1. box: x1, y1, x2, y2 in pixels of the
    source picture. mask: [H, W] bool over the source picture.
    """

    class_index: int
    label: str
    score: float
    box: tuple[float, float, float, float] | None = None
    mask: np.ndarray | None = None


#: prediction_format of rt_info -> decoder of one picture's outputs: (outputs, facts, geometry) -> Instances.
DETECTORS: dict[str, Callable[[Outputs, ModelFacts, Geometry], Instances]] = {
    "boxes-labels": boxes_labels,
    "boxes-labels-scores": boxes_labels_scores,
    "boxes-labels-masks": boxes_labels_masks,
    "boxes-scores": boxes_scores,
    "boxes-table": boxes_table,
    "detection-output": detection_output,
    "yolox": yolox,
    "yolo-v5": yolo_v5,
    "yolo-v8": yolo_v8,
    "yolo-v5-seg": yolo_seg,
    "yolo-v8-seg": yolo_seg,
    "nanodet": per_level,
    "fastestdet": fastestdet,
    "heatmap": heatmap,
}


def decodable(facts: ModelFacts) -> bool:
    """Whether predictions can be read from this model's outputs."""
    form = facts.explained.prediction_format
    return form in DETECTORS or (form == "scores" and _score_name(facts) in facts.outputs)


def class_scores(outputs: Outputs, facts: ModelFacts) -> np.ndarray:
    """[C] f32 probabilities of a classifier for one picture."""
    raw = outputs[_score_name(facts)]
    values = np.asarray(raw, np.float32).reshape(-1)
    if raw.dtype == np.uint8:  # a quantised softmax gives 0..255
        values = values / 255.0
    activation = facts.explained.score_activation
    if facts.info.hierarchical and facts.info.hierarchy:
        return _hierarchical(values, facts.info.hierarchy["cls_heads_info"], activation)
    return {"softmax": softmax, "sigmoid": sigmoid}.get(activation, lambda x: x)(values)


def objects(outputs: Outputs, facts: ModelFacts, geometry: Geometry, threshold: float = 0.0) -> tuple[Prediction, ...]:
    """What a detector or instance segmenter found in one picture over `threshold`, best first."""
    found = DETECTORS[facts.explained.prediction_format](outputs, facts, geometry)
    boxes = None if found.boxes is None else geometry.boxes_to_source(found.boxes)
    order = np.argsort(-found.scores, kind="stable")
    return tuple(
        Prediction(
            class_index=int(found.labels[i]),
            label=facts.label(int(found.labels[i])),
            score=float(found.scores[i]),
            box=None if boxes is None else tuple(float(value) for value in boxes[i]),
            mask=None if found.masks is None else found.masks(i),
        )
        for i in order
        if found.scores[i] > threshold and found.labels[i] >= 0
    )


def _score_name(facts: ModelFacts) -> str:
    explained = facts.explained
    if explained.score_output in facts.outputs:
        return explained.score_output
    # Exports without tensor names: the position is what remains.
    return facts.own[explained.explained_output] if explained.explained_output < len(facts.own) else ""


def _hierarchical(values: np.ndarray, heads: dict, activation: str) -> np.ndarray:
    """Every exclusive group is a softmax of its own, the rest are sigmoids."""
    scores = values.copy()
    for head in range(heads["num_multiclass_heads"]):
        begin, end = heads["head_idx_to_logits_range"][str(head)]
        group = values[begin:end]
        done = activation == "none" and (group >= 0).all() and abs(float(group.sum()) - 1) < 1e-2
        scores[begin:end] = group if done else softmax(group)
    begin = heads["num_single_label_classes"]
    rest = values[begin:]
    done = activation == "none" and ((rest >= 0) & (rest <= 1)).all()
    scores[begin:] = rest if done else sigmoid(rest)
    return scores


def softmax(values: np.ndarray) -> np.ndarray:
    """Over all of `values`."""
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Elementwise; large negative values don't overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * values))
