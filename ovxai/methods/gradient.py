"""Gradient maps: a backward pass in the graph from the scores of chosen classes to feature maps of the trunk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.backward.interpreter import derivatives
from ovxai.backward.targets import Targets
from ovxai.collapse.head.classes import Selection, picked, select_classes
from ovxai.errors import OptionError
from ovxai.find.site import ClassifierSite
from ovxai.graph import emit
from ovxai.graph.dims import Dim, dims_of, ints, number, whole_number
from ovxai.graph.graph import Graph
from ovxai.metadata import CLASSIFICATION, COSINE, LOG_ODDS, LOGIT, REGRESSION, ExplainedInfo
from ovxai.methods.gradient_maps import Derived, combined, derived_by, of_first, stated
from ovxai.methods.outputs import Branch, as_float, feature_map, feature_vector
from ovxai.options import InsertOptions


def build(graph: Graph, site: ClassifierSite, options: InsertOptions) -> Branch:
    """The explanation branch of a classifier: one backward pass for each of the K chosen classes.

    Raises:
        UnsupportedModelError: an operation between the scores and the layers has no derivative here; names it.
        TargetLayerError: the scores do not depend on a layer. OptionError: a class that the model does not have.
    """
    if options.toward is not None:
        return _toward(graph, site, options, np.array(options.toward))
    dims = dims_of(site.logits, graph.known_shape(site.logits))
    flat = emit.reshape(site.logits, [dims[0], Dim(site.classes)])
    chosen = select_classes(options.asked_classes, site.logits, dims, site.classes)
    rows = ints(range(site.classes)) if chosen is None else chosen.rows
    targets = Targets(site.classes if chosen is None else chosen.count)
    seed = _seed(flat, rows, site, dims[0], targets)
    derived = derived_at(graph, site, targets.reshaped(seed, dims), targets)
    features = feature_map(graph, site)
    return Branch(
        saliency=combined(graph, derived, targets, options.combine),
        feature_map=features,
        feature_vector=feature_vector(graph, site, features) if options.feature_vector else None,
        index=None if chosen is None else chosen.index,
        strength=_strength(flat, chosen),
        info=information(site, options),
        notes=site.notes,
    )


def _toward(graph: Graph, site: ClassifierSite, options: InsertOptions, vector: np.ndarray) -> Branch:
    """The branch of an embedding: one map, of its cosine similarity to a vector.

    Raises:
        OptionError: the vector has another length than the embedding.
    """
    if len(vector) != site.classes:
        raise OptionError(f"toward: the vector has {len(vector)} numbers, output {site.score_output} has {site.classes}")
    dims = dims_of(site.logits, graph.known_shape(site.logits))
    values = as_float(emit.reshape(site.logits, [dims[0], Dim(site.classes)]))
    unit = op.constant((vector / np.linalg.norm(vector)).astype(np.float32)[None])
    unit.set_friendly_name(TOWARD)
    length = op.maximum(op.reduce_l2(values, ints([1]), True), number(_SHORTEST))
    own = op.divide(values, length)
    cosine = op.reduce_sum(op.multiply(own, unit), ints([1]), True)
    seed = op.divide(op.subtract(unit, op.multiply(cosine, own)), length).output(0)
    targets = Targets(1)
    seed = emit.as_type(targets.reshaped(seed, dims), site.logits.get_element_type())
    derived = derived_at(graph, site, seed, targets)
    features = feature_map(graph, site)
    info = information(site, options)
    return Branch(
        saliency=combined(graph, derived, targets, options.combine),
        feature_map=features,
        feature_vector=feature_vector(graph, site, features) if options.feature_vector else None,
        strength=cosine.output(0),
        info=replace(info, target=COSINE, classes="all", num_classes=1, score_output="", prediction_format=""),
        notes=(*site.notes, "one map, of the embedding's cosine similarity to the vector given"),
    )


def derived_at(graph: Graph, site: ClassifierSite, seed: ov.Output, targets: Targets) -> list[Derived]:
    """The derivative by each layer of the site. seed: the derivative by its logits."""
    ports = [tap.port for tap in site.taps]
    adjoints = derivatives(graph, {graph.port_of(site.logits): seed}, ports, targets)
    return derived_by(site.taps, adjoints)


#: The node with the vector that an embedding is compared with, of length 1, is called so; and no embedding counts as shorter.
TOWARD, _SHORTEST = "toward", 1e-6


def _seed(logits: ov.Output, rows: ov.Output, site: ClassifierSite, batch: Dim, targets: Targets) -> ov.Output:
    """The derivative of the targets by the logits, [N, C] or [K, N, C]. rows: i64 [K] or [N, K], the classes.

    Of classes that exclude each other the log-odds log(p / (1 - p)), else the logit. The log-odds have the derivative of
    log p over 1 - p: the same map, and one that does not vanish where the model is sure.
    """
    one_hot = _one_hot(rows, site.classes, logits.get_element_type(), targets)
    if not site.exclusive:
        return emit.broadcast(one_hot, targets.dims([batch, Dim(site.classes)]))
    own = op.greater(one_hot, emit.scalar(0.5, one_hot))
    others = op.select(own, emit.scalar(_NEVER, logits), logits)
    return op.subtract(one_hot, op.softmax(others, 1 + targets.lead)).output(0)


#: A logit whose class never comes about; every float type can hold it.
_NEVER = -65504.0


def _one_hot(rows: ov.Output, classes: int, kind: ov.Type, targets: Targets) -> ov.Output:
    """[K, 1, C] or [K, N, C]; of one target without the first axis."""
    if len(rows.get_partial_shape()) == 2:
        rows = emit.transpose(rows, [1, 0])
    else:
        rows = emit.unsqueeze(rows, [1])
    if not targets.lead:
        rows = op.squeeze(rows, ints([0])).output(0)
    ends = [op.constant(value, kind) for value in (1.0, 0.0)]
    return op.one_hot(rows, whole_number(classes), *ends, -1).output(0)


def _strength(flat: ov.Output, chosen: Selection | None) -> ov.Output:
    """f32 [N, K]: the scores of the classes that have maps."""
    scores = as_float(flat)
    return scores if chosen is None else picked(scores, chosen)


def information(site: ClassifierSite, options: InsertOptions) -> ExplainedInfo:
    """What rt_info will say."""
    task = REGRESSION if options.task == REGRESSION else CLASSIFICATION
    info = stated(site, options, task, LOG_ODDS if site.exclusive else LOGIT)
    return replace(of_first(site.taps[0], info), prediction_format="scores")
