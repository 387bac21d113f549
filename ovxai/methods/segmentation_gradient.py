"""Gradient maps of semantic segmentation: what a class's pixels, or one pixel, are recognised by."""

from __future__ import annotations

import functools
from dataclasses import replace

import openvino as ov
from openvino import opset13 as op

from ovxai.backward.interpreter import derivatives
from ovxai.backward.targets import Targets
from ovxai.collapse.head.classes import Selection, picked, select_classes
from ovxai.find.site import SegmentationSite
from ovxai.graph import emit
from ovxai.graph.dims import CHANNELS_FIRST, CHANNELS_LAST, Dim, Dims, dims_of, ints, number, product, whole_number
from ovxai.graph.graph import Graph
from ovxai.metadata import LOG_PROBABILITY, LOGIT, SEMANTIC_SEGMENTATION, ExplainedInfo
from ovxai.methods.gradient_maps import combined, derived_by, of_first, stated
from ovxai.methods.outputs import Branch, as_float, feature_map, feature_vector
from ovxai.options import InsertOptions, parse_pixel

#: The least probability of which a logarithm is derived, and the least share of pixels that is one.
_LEAST, _NONE = 1e-4, 1e-9


def build(graph: Graph, site: SegmentationSite, options: InsertOptions) -> Branch:
    """The explanation branch: one backward pass for each of the K chosen classes.

    The target of a class is the mean, over the pixels that the model gives it, of its log-probability (of its logit where
    classes exclude nothing); which pixels these are counts as fixed. After Seg-Grad-CAM (arXiv 2002.11434), which sums logits.

    Raises:
        UnsupportedModelError: an operation between the scores and the layers has no derivative here; names it.
        TargetLayerError: the scores do not depend on a layer. OptionError: a class that the model does not have.
    """
    axes = CHANNELS_FIRST if site.axis == 1 else CHANNELS_LAST
    given = dims_of(site.scores, graph.known_shape(site.scores))
    dims = tuple(given[axis] for axis in axes)
    scores = as_float(emit.transpose(site.scores, axes))
    pixels = _at(site.cell, dims) if site.cell else _own(scores, site)
    shares = op.reduce_mean(pixels, ints([2, 3]), False).output(0)  # [N, C] or, of one pixel, [1, 1]
    ranking = _at_cell(scores, site.cell) if site.cell else shares
    chosen = select_classes(options.asked_classes, ranking, dims[:2], site.classes)
    targets = Targets(site.classes if chosen is None else chosen.count)
    seed = _seed(scores, pixels, chosen, site, dims, targets)
    back = [axes.index(axis) for axis in range(4)]
    seed = emit.as_type(emit.transpose(seed, targets.order(back)), site.scores.get_element_type())
    adjoints = derivatives(graph, {graph.port_of(site.scores): seed}, [tap.port for tap in site.taps], targets)
    derived = derived_by(site.taps, adjoints)
    features = feature_map(graph, site)
    strength = ranking if chosen is None else picked(ranking, chosen)
    return Branch(
        saliency=combined(graph, derived, targets, options.combine),
        feature_map=features,
        feature_vector=feature_vector(graph, site, features) if options.feature_vector else None,
        index=None if chosen is None else _index(chosen, strength, site),
        strength=strength,
        info=information(site, options),
        notes=site.notes,
    )


def _own(scores: ov.Output, site: SegmentationSite) -> ov.Output:
    """f32 [N, C, h, w]: 1 at the pixels that the model gives a class."""
    if site.exclusive:
        best = op.equal(scores, op.reduce_max(scores, ints([1]), True))
    else:
        best = op.greater(scores, number(0.5 if site.probable else 0.0))
    return op.convert(best, "f32").output(0)


def _at(cell: tuple[int, int], dims: Dims) -> ov.Output:
    """f32 [1, 1, h, w]: 1 at one pixel."""
    ends = [number(1.0), number(0.0)]
    lines = [
        op.one_hot(whole_number(place), op.squeeze(size.node(), ints([0])), *ends, 0)
        for place, size in zip(cell, dims[2:], strict=True)
    ]
    one = op.multiply(op.unsqueeze(lines[0], ints([1])), op.unsqueeze(lines[1], ints([0])))
    return op.unsqueeze(one, ints([0, 1])).output(0)


def _at_cell(scores: ov.Output, cell: tuple[int, int]) -> ov.Output:
    """[N, C]: the scores of one pixel."""
    return functools.reduce(lambda rest, place: op.gather(rest, whole_number(place), whole_number(2)).output(0), cell, scores)


def _seed(
    scores: ov.Output, pixels: ov.Output, chosen: Selection | None, site: SegmentationSite, dims: Dims, targets: Targets
) -> ov.Output:
    """The derivative of the targets by the scores as [N, C, h, w], with the axis of targets in front."""
    own = pixels if chosen is None or site.cell else picked(pixels, chosen)
    share = op.reduce_mean(own, ints([2, 3]), True)
    count = op.convert(op.squeeze(product(dims[2:]).node(), ints([0])), "f32")
    weight = op.divide(own, op.multiply(op.maximum(share, number(_NONE)), count))
    weight = op.unsqueeze(weight, ints([2]))  # [N, K, 1, h, w]
    rows = ints(range(site.classes)) if chosen is None else chosen.rows
    one_hot = op.one_hot(rows, whole_number(site.classes), number(1.0), number(0.0), -1)  # [K, C] or [N, K, C]
    one_hot = op.unsqueeze(one_hot, ints([2, 3] if len(rows.get_partial_shape()) == 1 else [3, 4]))
    slope: ov.Node = one_hot
    if site.probable:
        slope = op.divide(one_hot, op.unsqueeze(op.maximum(scores, number(_LEAST)), ints([1])))
    elif site.exclusive:
        slope = op.subtract(one_hot, op.unsqueeze(op.softmax(scores, 1), ints([1])))
    whole = emit.broadcast(emit.multiply(weight.output(0), slope.output(0)), (dims[0], Dim(targets.count), *dims[1:]))
    return emit.transpose(whole, [1, 0, 2, 3, 4]) if targets.lead else op.squeeze(whole, ints([1])).output(0)


def _index(chosen: Selection, strength: ov.Output, site: SegmentationSite) -> ov.Output:
    """i64 [N, 1, K]: -1 where the picture has no pixel of a class."""
    if site.cell:
        return chosen.index
    there = op.unsqueeze(op.greater(strength, number(0.0)), ints([1]))
    return op.select(there, chosen.index, whole_number(-1)).output(0)


def information(site: SegmentationSite, options: InsertOptions) -> ExplainedInfo:
    """What rt_info will say."""
    target = LOG_PROBABILITY if site.exclusive or site.probable else LOGIT
    info = of_first(site.taps[0], stated(site, options, SEMANTIC_SEGMENTATION, target))
    form = "class-maps" if site.axis == 1 else "class-maps-last"
    return replace(info, pixel=None if options.pixel is None else parse_pixel(options.pixel), prediction_format=form)
