"""Which classes of a picture are to be explained."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ovxai.errors import OptionError
from ovxai.metadata import CLASSIFICATION, REGRESSION, VECTOR_TASKS
from ovxai.runtime.config import DEFAULT_THRESHOLD, ExplainConfig, TargetExplainGroup
from ovxai.runtime.feed.geometry import Geometry
from ovxai.runtime.predict.boxes import Outputs
from ovxai.runtime.predict.facts import ModelFacts
from ovxai.runtime.predict.formats import Prediction, class_scores, decodable, objects
from ovxai.runtime.predict.labels import Hierarchy, find_class


@dataclass(frozen=True)
class Wanted:
    """What a configuration means for one model.

    target: IMAGE, ALL or PREDICTIONS. classes: indices asked for by name; then `target` is not used.
    threshold: 0..1. top: so many best classes whatever their score; None: those over the threshold. beside: classes
    whose maps are wanted besides, to be shown in a grid. notes: what was asked for and can't be had.
    """

    target: TargetExplainGroup
    classes: tuple[int, ...]
    threshold: float
    notes: tuple[str, ...] = ()
    top: int | None = None
    beside: int = 0


def settle(config: ExplainConfig, facts: ModelFacts) -> Wanted:
    """Hold `config` against the model, once.

    Raises:
        OptionError: a class that the model does not have or does not map, IMAGE without a feature map.
    """
    return replace(_settle(config, facts), top=config.top, beside=config.grid)


def _settle(config: ExplainConfig, facts: ModelFacts) -> Wanted:
    threshold = threshold_of(config, facts)
    notes: tuple[str, ...] = ()
    target = config.target
    if facts.classless:
        if config.classes:
            raise OptionError(f"{facts.name}: its one map stands for no class; insert with another --method to explain classes")
        if target != TargetExplainGroup.IMAGE:
            notes = (f"the model gives one map for the picture, whatever the class: target image instead of {target}",)
        return Wanted(TargetExplainGroup.IMAGE, (), threshold, notes)
    if config.classes:
        return Wanted(target, _indices(config, facts), threshold)
    if target == TargetExplainGroup.IMAGE and not facts.has_feature_map:
        raise OptionError(
            f"{facts.name}: target image needs the feature_map output; insert with --feature-map, or explain classes"
        )
    if target == TargetExplainGroup.PREDICTIONS and not decodable(facts):
        target = TargetExplainGroup.IMAGE if facts.has_feature_map else TargetExplainGroup.ALL
        form = facts.explained.prediction_format or "unknown"
        notes = (f"predictions can't be read from this model's outputs (format: {form}): target {target} instead",)
    return Wanted(target, (), threshold, notes)


def threshold_of(config: ExplainConfig, facts: ModelFacts) -> float:
    """Over which a class counts as predicted, 0..1: the one asked for, the model's own where it has several answers, or 0.3."""
    if config.threshold is not None:
        return config.threshold
    own = facts.info.confidence_threshold
    several = facts.info.multilabel or facts.info.hierarchical or facts.explained.task not in VECTOR_TASKS
    return own if own is not None and several else DEFAULT_THRESHOLD


def _indices(config: ExplainConfig, facts: ModelFacts) -> tuple[int, ...]:
    count = facts.explained.num_classes or len(facts.names) or len(facts.channels or ())
    indices = tuple(dict.fromkeys(find_class(wanted, facts.names, count) for wanted in config.classes))
    for index in indices:
        if facts.channels is not None and index not in facts.channels:
            raise OptionError(
                f"class: {facts.label(index)} is not among the {len(facts.channels)} classes that the model maps "
                f"(inserted with --classes {facts.explained.classes})"
            )
    return indices


def guess_threshold(facts: ModelFacts, threshold: float) -> float | None:
    """Below which a class that is explained is called a guess; None where that is no question."""
    return threshold if facts.explained.task == CLASSIFICATION else None


def predicted(
    outputs: Outputs, facts: ModelFacts, geometry: Geometry, threshold: float, top: int | None = None
) -> tuple[dict[int, float], tuple[Prediction, ...]]:
    """Scores by class (of every class, for classifiers), and what is predicted, best first.

    top: the so many best classes, of detectors those of the classes found. geometry: how the picture lies in the input.
    """
    if not decodable(facts):
        return {}, ()
    if facts.explained.task in VECTOR_TASKS:
        values = class_scores(outputs, facts)
        scores = dict(enumerate(values.tolist()))
        chosen = predicted_classes(values, facts, threshold, top)
        return scores, tuple(Prediction(i, facts.label(i), scores[i]) for i in chosen)
    found = objects(outputs, facts, geometry, threshold)
    scores = best_scores(found)
    kept = set(list(scores)[:top])
    return scores, tuple(item for item in found if item.class_index in kept)


def predicted_classes(scores: np.ndarray, facts: ModelFacts, threshold: float, top: int | None = None) -> tuple[int, ...]:
    """Classes that a classifier predicts, best first.

    scores: [C] f32, 0..1. Single-label: the top class, and every other over the threshold. Multi-label:
    every class over it. Hierarchical: the best of each level whose ancestors are predicted as well. Regression: every value.
    top: the so many best instead, whatever their score.
    """
    order = np.argsort(-scores, kind="stable")
    if top is not None:
        return tuple(int(i) for i in order[:top])
    if facts.hierarchy:
        return _levels(scores, facts, facts.hierarchy, threshold)
    if facts.explained.task == REGRESSION:
        return tuple(range(len(scores)))
    over = [int(i) for i in order if scores[i] > threshold]
    if facts.info.multilabel or over:
        return tuple(over)
    return (int(order[0]),) if order.size else ()


def _levels(scores: np.ndarray, facts: ModelFacts, hierarchy: Hierarchy, threshold: float) -> tuple[int, ...]:
    best = [begin + int(scores[begin:end].argmax()) for begin, end in hierarchy.exclusive]
    best += [hierarchy.rest + int(i) for i in np.flatnonzero(scores[hierarchy.rest :] > threshold)]
    return _with_their_ancestors(best, facts, hierarchy)


def _with_their_ancestors(candidates: list[int], facts: ModelFacts, hierarchy: Hierarchy) -> tuple[int, ...]:
    """Model API's greedy rule: a label counts when all labels above it in the tree count."""
    parents = hierarchy.parents
    names = {facts.label(index) for index in candidates}

    def holds(label: str) -> bool:
        seen: set[str] = set()
        while label in parents and label not in seen:  # a damaged tree may run in a circle
            seen.add(label)
            label = parents[label]
            if label not in names:
                return False
        return True

    return tuple(index for index in candidates if holds(facts.label(index)))


def best_scores(predictions: tuple[Prediction, ...]) -> dict[int, float]:
    """Class -> the score of its best object; `predictions` come best first."""
    best: dict[int, float] = {}
    for prediction in predictions:
        best.setdefault(prediction.class_index, prediction.score)
    return best
