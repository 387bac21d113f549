"""Gradient maps per box: the derivative of the K best boxes' scores by maps of the backbone."""

from __future__ import annotations

from dataclasses import replace

import openvino as ov

from ovxai.backward.interpreter import derivatives
from ovxai.backward.targets import Targets
from ovxai.errors import OptionError, UnsupportedModelError
from ovxai.find.site import DetectionSite
from ovxai.graph.graph import Graph
from ovxai.graph.names import name_of
from ovxai.metadata import DETECTION, ExplainedInfo
from ovxai.methods.box_forms import rows_of
from ovxai.methods.gradient_maps import combined, derived_by, stated
from ovxai.methods.outputs import Branch, feature_map, feature_vector
from ovxai.options import InsertOptions, parse_classes

#: What is derived, as rt_info says it: the logarithm of a box's score.
LOG_SCORE = "log-score"


def build(graph: Graph, site: DetectionSite, options: InsertOptions) -> Branch:
    """The explanation branch of a detector: one backward pass for each of the K best boxes.

    Raises:
        UnsupportedModelError: its outputs are in a form that is not read here, or an operation on the way has no derivative.
        TargetLayerError: the scores do not depend on a layer. OptionError: named classes instead of a count, or more boxes
            than there can be.
    """
    count = parse_classes(options.asked_classes)
    if not isinstance(count, int):
        raise OptionError(f"classes: {options.classes} names classes; with --per box give top:K, how many boxes")
    if site.sides is None:
        raise UnsupportedModelError("maps per box need a fixed picture size that the graph does not change")
    rows = rows_of(graph, site, site.sides)
    if options.classes is None:
        count = min(count, rows.considered)
    elif count > rows.considered:
        raise OptionError(f"classes: top:{count} asks for more than the {rows.considered} boxes that there can be")
    best = rows.best(count)
    targets = Targets(count)
    seeds = rows.seeds(best, targets)
    heads = [level.feature for level in site.levels if level.feature is not None]
    adjoints = derivatives(graph, seeds, [tap.port for tap in site.taps], targets, held=site.held, heads=heads)
    derived = derived_by(site.taps, adjoints)
    features = feature_map(graph, site)
    return Branch(
        saliency=combined(graph, derived, targets, options.combine, boxes=True),
        feature_map=features,
        feature_vector=feature_vector(graph, site, features) if options.feature_vector else None,
        index=best.index,
        strength=best.scores,
        boxes=best.boxes,
        box_scores=best.scores,
        info=information(site, options),
        notes=(*site.notes, *map(_kept, rows.kept)),
        kept=rows.kept,
    )


def _kept(port: ov.Output) -> str:
    name = port.get_node().get_friendly_name()
    return f"what If {name} hands out is an output too, which nobody need read: else the CPU plugin may take its memory too early"


def information(site: DetectionSite, options: InsertOptions) -> ExplainedInfo:
    """What rt_info will say."""
    feature = site.levels[site.size_level].feature
    return replace(
        stated(site, options, DETECTION, LOG_SCORE),
        feature_layer=name_of(feature) if feature is not None else "",
        per=options.per,
        class_activation="softmax" if site.score_activation == "softmax" else options.class_activation or "",
        held=site.held,
        prediction_format=site.prediction_format,
    )
