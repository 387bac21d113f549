"""Recipro-CAM (arXiv 2209.14074) and ViT Recipro-CAM (arXiv 2310.02588) by the exact collapse.

saliency[n, c, m] = logits of class c if only position m of the feature map is left (point mask), or
its neighbourhood weighted (gaussian). The two differ in what is gated, which the site says.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial

import openvino as ov

from ovxai.collapse.gate import grid_dims, walk
from ovxai.collapse.head.class_maps import class_maps
from ovxai.collapse.head.classes import Selection, picked, pushed, select_classes
from ovxai.collapse.masks import Masks
from ovxai.collapse.values import Dense, Mapped, Past, Value
from ovxai.errors import TargetLayerError
from ovxai.find.site import ClassifierSite
from ovxai.graph import emit
from ovxai.graph.dims import Dim, Dims, dims_of
from ovxai.graph.graph import Graph, Key, without_constant
from ovxai.metadata import CLASSIFICATION, REGRESSION, ExplainedInfo
from ovxai.methods.outputs import Branch, as_float, feature_map, feature_vector
from ovxai.options import InsertOptions
from ovxai.version import __version__


def build(graph: Graph, site: ClassifierSite, options: InsertOptions) -> Branch:
    """The explanation branch of a classifier, hung on the graph's own nodes.

    Raises:
        TargetLayerError: the scores do not depend on the gated tensor.
        OptionError: a class that the model does not have.
    """
    dims = dims_of(site.logits, graph.known_shape(site.logits))
    features = feature_map(graph, site)
    selection = select_classes(options.asked_classes, site.logits, dims, site.classes)
    # Scaling does not see a shift per class: without the bias less is rounded away in f16 and bf16.
    logits = without_constant(graph, site.logits)[0] if options.scale else site.logits
    chosen = None if selection is None else pushed(logits, selection, graph)
    goal = logits if chosen is None else chosen
    width = selection.count if selection is not None and chosen is not None else site.classes
    head = _GatedHead(graph, site, goal, {} if selection is None else selection.fixed())
    maps = _maps(head, dims[0], width, options.memory_budget)
    changes, level, dense = maps.changes, maps.level, maps.past.dense
    if selection is not None and chosen is None:
        changes = picked(changes, selection)
        level = None if level is None else picked(level, selection)
    return Branch(
        saliency=changes,
        level=level,
        feature_map=features,
        feature_vector=feature_vector(graph, site, features) if options.feature_vector else None,
        index=None if selection is None else selection.index,
        strength=_strength(site.logits, dims, selection),
        info=information(site, options, dense),
        notes=(
            *site.notes,
            *(f"not collapsed at {note.name} ({note.kind}): {note.reason}" for note in dense),
            *(f"in a low precision maps are rounded at {name}, which has no rule for changes" for name in maps.past.rounded),
        ),
    )


def _class_dim(dims: Dims) -> Dim:
    return max(dims[1:], key=lambda dim: dim.size)


def _strength(logits: ov.Output, dims: Dims, selection: Selection | None) -> ov.Output:
    """f32 [N, C]: the scores of the classes that have maps."""
    flat = as_float(emit.reshape(logits, [dims[0], _class_dim(dims)]))
    return flat if selection is None else picked(flat, selection)


@dataclass(frozen=True)
class _GatedHead:
    """What is walked: from the site's taps to `goal`, with `known` left as it is for the plain picture."""

    graph: Graph
    site: ClassifierSite
    goal: ov.Output
    known: dict[Key, Value]

    def walk(self, masks: Masks, goal: ov.Output) -> Value:
        return walk(self.graph, self.site.taps, goal, masks, self.known)


@dataclass(frozen=True)
class _Maps:
    """changes: f32 [N, C, h, w], what each mask changes of a class's score. level: f32 [N, C], the score if all is dark; None
    where the changes hold it. past: what happened on the way."""

    changes: ov.Output
    level: ov.Output | None
    past: Past


def _maps(head: _GatedHead, batch: Dim, classes: int, budget: int) -> _Maps:
    grid = grid_dims(head.site.taps[0], head.graph)
    whole = Masks(*grid, head.site.mask)
    scores = head.walk(whole, head.goal)
    if not isinstance(scores, Mapped):
        names = ", ".join(tap.name for tap in head.site.taps)
        raise TargetLayerError(f"the scores do not depend on the positions of {names}; choose another --target-layer")
    pieces = [
        class_maps(head.goal, partial(head.walk, masks), head.graph, masks, (batch, Dim(classes)))
        for masks in _chunks(whole, scores.dense, budget)
    ]
    changes = emit.reshape(emit.concat([piece.maps for piece in pieces], 2), [batch, Dim(classes), *grid])
    level = pieces[0].level
    return _Maps(as_float(changes), None if level is None else as_float(level), scores.past)


#: Copies of a dense tensor that are alive at once: what is laid out, what the operation makes of it, and one on the way.
_ALIVE = 3


def dense_bytes(dense: tuple[Dense, ...]) -> int:
    """What one mask's dense copies take at the peak, in bytes (f32)."""
    return _ALIVE * 4 * max((note.elements for note in dense), default=0)


def _chunks(whole: Masks, dense: tuple[Dense, ...], budget: int) -> list[Masks]:
    """Masks in portions that keep the budget (MB); all of them at once where nothing is dense."""
    count = whole.count
    if not dense or not count.is_static:
        return [whole]
    fitting = max(1, (budget << 20) // max(1, dense_bytes(dense)))
    if fitting >= count.size:
        return [whole]
    pieces = math.ceil(count.size / fitting)
    step = math.ceil(count.size / pieces)
    edges = [*range(0, count.size, step), count.size]
    return [Masks(whole.h, whole.w, whole.kind, start, stop) for start, stop in itertools.pairwise(edges)]


def information(site: ClassifierSite, options: InsertOptions, dense: tuple[Dense, ...] = ()) -> ExplainedInfo:
    """What rt_info will say. dense: where the collapse is not exact."""
    tap = site.taps[0]
    return ExplainedInfo(
        version=__version__,
        task=REGRESSION if options.task == REGRESSION else CLASSIFICATION,
        method=site.method,
        target_layers=tuple(gated.name for gated in site.taps),
        feature_layer=tap.name,
        mask=site.mask,
        layout=tap.layout,
        grid=tap.grid if tap.is_tokens else None,
        prefix_tokens=tap.prefix if tap.is_tokens else None,
        collapse=collapse_word(site, dense),
        collapse_reason="; ".join(f"{note.name} ({note.kind}): {note.reason}" for note in dense),
        classes=options.asked_classes,
        num_classes=site.classes,
        score_output=site.score_output,
        score_activation=site.score_activation,
        number_output=site.number_output,
        prediction_format="best-scores" if site.number_output else "scores",
        explained_output=site.output,
    )


def collapse_word(site: ClassifierSite, dense: tuple[Dense, ...]) -> str:
    """exact: nothing is laid out densely. dense: the gated tensor itself is. partial: something after it."""
    if not dense:
        return "exact"
    consumers = {reader.get_node().get_friendly_name() for tap in site.taps for reader in tap.port.get_target_inputs()}
    return "dense" if any(note.name in consumers for note in dense) else "partial"
