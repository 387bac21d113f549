"""What kind of model is it? Each search is asked in turn; the first that finds its site settles it."""

from __future__ import annotations

from dataclasses import dataclass, field

import openvino as ov

from ovxai.find.classifier.readout import output_index, picture_input
from ovxai.find.classifier.search import find_classifier
from ovxai.find.detector.search import find_detection
from ovxai.find.instances.search import find_instances
from ovxai.find.site import ClassifierSite, No
from ovxai.graph.graph import Graph
from ovxai.metadata import CLASSIFICATION, DETECTION, INSTANCE_SEGMENTATION, ModelInfo
from ovxai.options import InsertOptions


@dataclass(frozen=True)
class Plan:
    """task: as in rt_info. site: the finder's own dataclass. picture: the input that takes the picture.

    score_output, score_activation: which output holds the scores and what they still need; "" where the
    site itself says. shows_features: whether `feature_map` is an output unless asked otherwise.
    """

    task: str
    site: object
    picture: ov.Node
    why: str
    shows_features: bool = True
    candidates: tuple[str, ...] = ()
    details: dict = field(default_factory=dict)


_TASK_OF_METHOD = {
    "reciprocam": CLASSIFICATION,
    "vit-reciprocam": CLASSIFICATION,
    "det-class-probability-map": DETECTION,
    "inst-seg": INSTANCE_SEGMENTATION,
}


def find_plan(model: ov.Model, graph: Graph, options: InsertOptions, model_info: ModelInfo) -> Plan | str:
    """What to explain and where, or one line that says what was looked for in vain."""
    picture = picture_input(model, graph)
    if isinstance(picture, No):
        return picture.reason
    if options.output is not None and isinstance(index := output_index(model, options.output), No):
        return index.reason
    asked = _asked(options)
    refused: dict[str, No] = {}
    order = (asked,) if asked else _order(graph, model)
    for task in order:
        plan = _FINDERS[task](model, graph, options, model_info, picture)
        if isinstance(plan, Plan):
            return plan
        refused[task] = plan
        if plan.final:
            break
    told = _telling(refused) if order[0] != CLASSIFICATION else {}
    reasons = "; ".join(f"as {task}: {no.reason}" for task, no in (told or refused).items())
    return reasons + ("" if asked or told else "; --task and --target-layer settle it")


def _telling(refused: dict[str, No]) -> dict[str, No]:
    """The reasons of those searches that nearly found what they looked for."""
    final = {task: no for task, no in refused.items() if no.final}
    return final or {task: no for task, no in refused.items() if no.near}


def _asked(options: InsertOptions) -> str | None:
    """The task that the options speak of, if any does."""
    if options.task != "auto":
        return options.task
    return CLASSIFICATION if options.blocks > 1 else _TASK_OF_METHOD.get(options.method)


def _order(graph: Graph, model: ov.Model) -> tuple[str, ...]:
    """Detectors have outputs with places in them; a model with one vector of scores is asked as a classifier first."""
    shapes = [graph.shape(result.input(0).get_source_output()) for result in model.get_results()]
    vectors = all(shape is not None and sum(size > 1 for size in shape[1:]) <= 1 for shape in shapes)
    if vectors:
        return CLASSIFICATION, DETECTION, INSTANCE_SEGMENTATION
    return INSTANCE_SEGMENTATION, DETECTION, CLASSIFICATION


def _classifier(model: ov.Model, graph: Graph, options: InsertOptions, info: ModelInfo, picture: ov.Node) -> Plan | No:
    labels = options.num_classes or (len(info.labels) if info.labels else None)
    site = find_classifier(model, graph, options, labels)
    if isinstance(site, No):
        return site
    names = sorted(model.outputs[site.output].get_names())
    details = {
        "score_output": names[0] if names else str(site.output),
        "score_activation": _due(site, info),
    }
    return Plan(CLASSIFICATION, site, picture, site.why, True, site.candidates, details)


def _due(site: ClassifierSite, info: ModelInfo) -> str:
    if site.activation in ("softmax", "sigmoid"):
        return "none"
    return "sigmoid" if info.multilabel else "softmax"


def _detector(model: ov.Model, graph: Graph, options: InsertOptions, info: ModelInfo, picture: ov.Node) -> Plan | No:
    site = find_detection(model, options, info)
    if isinstance(site, No):
        return site
    return Plan(DETECTION, site, picture, getattr(site, "why", ""), True, tuple(getattr(site, "candidates", ())))


def _instances(model: ov.Model, graph: Graph, options: InsertOptions, info: ModelInfo, picture: ov.Node) -> Plan | No:
    site = find_instances(model, options, info)
    if isinstance(site, No):
        return site
    candidates = tuple(getattr(site, "candidates", ()))
    return Plan(INSTANCE_SEGMENTATION, site, picture, getattr(site, "why", ""), False, candidates)


_FINDERS = {CLASSIFICATION: _classifier, DETECTION: _detector, INSTANCE_SEGMENTATION: _instances}
