"""Recipro-CAM (arXiv 2209.14074) and ViT Recipro-CAM (arXiv 2310.02588) by the exact collapse.

saliency[n, c, m] = logits of class c if only position m of the feature map is left (point mask), or
its neighbourhood weighted (gaussian). The two differ in what is gated, which the site says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import openvino as ov

from ovxai.collapse.gate import grid_dims, walk
from ovxai.collapse.head.class_maps import class_maps
from ovxai.collapse.head.classes import Selection, picked, pushed, select_classes
from ovxai.collapse.masks import Masks
from ovxai.collapse.values import Dense, Mapped, Value
from ovxai.errors import TargetLayerError
from ovxai.find.site import ClassifierSite
from ovxai.graph import emit
from ovxai.graph.dims import Dim, Dims, dims_of, sizes
from ovxai.graph.graph import Graph, Key, source
from ovxai.metadata import CLASSIFICATION
from ovxai.methods.activation_map import activation_map
from ovxai.methods.outputs import Branch, as_float, feature_map, feature_vector
from ovxai.options import InsertOptions


def build(graph: Graph, site: ClassifierSite, options: InsertOptions) -> Branch:
    """The explanation branch of a classifier, hung on the graph's own nodes.

    Raises:
        TargetLayerError: the scores do not depend on the gated tensor.
        OptionError: a class that the model does not have.
    """
    dims = dims_of(site.logits, graph.shape(site.logits))
    classes = max(sizes(dims)[1:])
    features = feature_map(site.taps[0], graph)
    if options.method == "activation-map":  # needs no head, and must not fail where the head does
        return Branch(
            saliency=activation_map(features),
            feature_map=features,
            feature_vector=feature_vector(site, features, graph) if options.feature_vector else None,
            info=_info(site, (), classes, options),
        )
    selection = select_classes(options.classes, site.logits, dims, classes)
    logits = _without_bias(site.logits, graph) if options.scale else site.logits
    chosen = None if selection is None else pushed(logits, selection, graph)
    goal = logits if chosen is None else chosen
    width = classes if chosen is None else selection.count
    head = Head(graph, site, goal, {} if selection is None else selection.fixed())
    maps, dense = _maps(head, dims[0], width, options.memory_budget)
    if selection is not None and chosen is None:
        maps = picked(maps, selection)
    return Branch(
        saliency=maps,
        feature_map=features,
        feature_vector=feature_vector(site, features, graph) if options.feature_vector else None,
        index=None if selection is None else selection.index,
        strength=_strength(site.logits, dims, selection),
        info=_info(site, dense, classes, options),
        notes=tuple(f"not collapsed at {one.name} ({one.kind}): {one.reason}" for one in dense),
    )


def _strength(logits: ov.Output, dims: Dims, selection: Selection | None) -> ov.Output:
    """f32 [N, C]: the scores of the classes that have maps."""
    flat = as_float(emit.reshape(logits, [dims[0], max(dims[1:], key=lambda dim: dim.size)]))
    return flat if selection is None else picked(flat, selection)


def _without_bias(logits: ov.Output, graph: Graph) -> ov.Output:
    """Scaling does not see a shift a class: without the bias less is rounded away in f16 and bf16."""
    node = logits.get_node()
    if node.get_type_name() != "Add":
        return logits
    for port in (0, 1):
        feed, other = source(node, port), source(node, 1 - port)
        if graph.is_constant(feed) and other.get_partial_shape() == logits.get_partial_shape():
            return other
    return logits


@dataclass(frozen=True)
class Head:
    """What is walked: from the site's taps to `goal`, with `known` left as it is for the plain picture."""

    graph: Graph
    site: ClassifierSite
    goal: ov.Output
    known: dict[Key, Value]


def _maps(head: Head, batch: Dim, classes: int, budget: int) -> tuple[ov.Output, tuple[Dense, ...]]:
    """f32 [N, C, h, w], and where it had to be laid out densely."""
    grid = grid_dims(head.site.taps[0], head.graph)
    whole = Masks(*grid, head.site.mask)
    scores = _walk(head, whole, head.goal)
    if not isinstance(scores, Mapped):
        names = ", ".join(tap.name for tap in head.site.taps)
        raise TargetLayerError(f"the scores do not depend on the positions of {names}; choose another --target-layer")
    pieces = [
        class_maps(head.goal, partial(_walk, head, masks), head.graph, masks, (batch, Dim(classes)))
        for masks in _chunks(whole, scores.dense, budget)
    ]
    maps = emit.reshape(emit.concat(pieces, 2), [batch, Dim(classes), *grid])
    return as_float(maps), scores.dense


def _walk(head: Head, masks: Masks, goal: ov.Output) -> Value:
    return walk(head.graph, head.site.taps, goal, masks, head.known)


#: Copies of a dense tensor that are alive at once: what is laid out, what the operation makes of it, and one on the way.
_ALIVE = 3


def dense_bytes(dense: tuple[Dense, ...]) -> int:
    """What one mask's dense copies take at the peak, in bytes (f32)."""
    return _ALIVE * 4 * max((one.elements for one in dense), default=0)


def _chunks(whole: Masks, dense: tuple[Dense, ...], budget: int) -> list[Masks]:
    """Runs of masks that keep the budget (MB); all of them at once where nothing is dense."""
    count = whole.count
    if not dense or not count.is_static:
        return [whole]
    fitting = max(1, (budget << 20) // max(1, dense_bytes(dense)))
    if fitting >= count.size:
        return [whole]
    pieces = math.ceil(count.size / fitting)
    step = math.ceil(count.size / pieces)
    edges = [*range(0, count.size, step), count.size]
    return [Masks(whole.h, whole.w, whole.kind, start, stop) for start, stop in zip(edges, edges[1:])]


def _info(site: ClassifierSite, dense: tuple[Dense, ...], classes: int, options: InsertOptions) -> dict:
    tap = site.taps[0]
    tokens = tap.is_tokens
    return {
        "task": CLASSIFICATION,
        "method": site.method,
        "target_layers": tuple(one.name for one in site.taps),
        "feature_layer": tap.name,
        "mask": site.mask,
        "layout": tap.layout,
        "grid": tap.grid if tokens else None,
        "prefix_tokens": tap.prefix if tokens else None,
        "collapse": collapse_word(site, dense),
        "collapse_reason": "; ".join(f"{one.name} ({one.kind}): {one.reason}" for one in dense),
        "classes": options.classes,
        "num_classes": classes,
        "prediction_format": "scores",
        "explained_output": site.output,
    }


def collapse_word(site: ClassifierSite, dense: tuple[Dense, ...]) -> str:
    """exact: nothing is laid out densely. dense: the gated tensor itself is. partial: something after it."""
    if not dense:
        return "exact"
    consumers = {inner.get_node().get_friendly_name() for tap in site.taps for inner in tap.port.get_target_inputs()}
    return "dense" if any(one.name in consumers for one in dense) else "partial"
