"""From features and the derivative of a score by them to a map: HiResCAM, LayerCAM, Grad-CAM, and a product over levels."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.backward.targets import Targets
from ovxai.collapse.gate import grid_dims
from ovxai.errors import TargetLayerError
from ovxai.find.site import ClassifierSite, DetectionSite, SegmentationSite
from ovxai.graph import emit
from ovxai.graph.dims import CHANNEL_AXIS, POSITION_AXES, Tap, dims_of, ints, number
from ovxai.graph.graph import Graph
from ovxai.metadata import GRADIENT, ExplainedInfo
from ovxai.methods.outputs import EVIDENCE, as_float, resized, sides_of
from ovxai.options import GRAD_CAM, LAYER_CAM, PRODUCT, InsertOptions
from ovxai.version import __version__


@dataclass(frozen=True)
class Derived:
    """A feature map and the derivative of K targets by it, which has their axis in front."""

    tap: Tap
    adjoint: ov.Output


#: The derivatives' nodes are called so, with the layer's name behind: `verify` asks for them.
PREFIX = "derivative/"


def derived_by(taps: Sequence[Tap], adjoints: Sequence[ov.Output | None]) -> list[Derived]:
    """Layers and the derivatives by them, each as a node of its own, which plugins drop: other nodes may go by another form of
    the same numbers.

    Raises:
        TargetLayerError: the scores do not depend on a layer.
    """
    found = []
    for tap, adjoint in zip(taps, adjoints, strict=True):
        if adjoint is None:
            raise TargetLayerError(f"the scores have no derivative by {tap.name}; choose another --target-layer")
        own = op.convert(adjoint, adjoint.get_element_type())
        own.set_friendly_name(f"{PREFIX}{tap.name}")
        found.append(Derived(tap, own.output(0)))
    return found


def stated(
    site: ClassifierSite | DetectionSite | SegmentationSite, options: InsertOptions, task: str, target: str
) -> ExplainedInfo:
    """What rt_info says of gradient maps, whatever the task. target: of which function of the scores the derivative is."""
    return ExplainedInfo(
        version=__version__,
        task=task,
        method=GRADIENT,
        target_layers=tuple(each.name for each in site.taps),
        layout=site.taps[0].layout,
        combine=options.combine,
        target=target,
        derivatives=tuple(f"{PREFIX}{each.name}" for each in site.taps),
        level_layouts=",".join(each.layout for each in site.taps),
        level_grids=",".join(f"{each.grid[0]}x{each.grid[1]}" for each in site.taps),
        classes=options.asked_classes,
        num_classes=site.classes,
        score_output=site.score_output,
        score_activation=site.score_activation,
        explained_output=site.output,
    )


def of_first(tap: Tap, info: ExplainedInfo) -> ExplainedInfo:
    """`info` of a model whose feature map is the first tensor that gradients are asked of."""
    grid, prefix = (tap.grid, tap.prefix) if tap.is_tokens else (None, None)
    return replace(info, feature_layer=tap.name, grid=grid, prefix_tokens=prefix)


def combined(graph: Graph, derived: Sequence[Derived], targets: Targets, combine: str, *, boxes: bool = False) -> ov.Output:
    """f32 [N, K, h, w]: the map of each target.

    derived: coarse to fine; more than one only for the product. combine: a word of `options.COMBINES`. boxes: the targets are
    boxes, which have a form of the product of their own.
    """
    if combine == PRODUCT:
        levels = at_finest([class_activation(graph, each, targets, PRODUCT) for each in derived])
        return product_with_surroundings(levels) if boxes else product_of(levels)
    return class_activation(graph, derived[0], targets, combine)


def class_activation(graph: Graph, derived: Derived, targets: Targets, combine: str) -> ov.Output:
    """f32 [N, K, h, w] at one level, what speaks against the target cut off.

    HiResCAM (arXiv 2011.08891): the sum over channels of feature times derivative. LayerCAM (Jiang et al., TIP 2021): of
    feature times positive derivative. Grad-CAM (arXiv 1610.02391): of feature times mean derivative over positions.
    """
    tap, lead = derived.tap, targets.lead
    features, weights = _patches(graph, tap, tap.port, 0), _patches(graph, tap, derived.adjoint, lead)
    if combine == LAYER_CAM:
        weights = op.relu(weights).output(0)
    if combine == GRAD_CAM:
        weights = op.reduce_mean(weights, ints(targets.axes(POSITION_AXES[tap.layout])), True).output(0)
    total = emit.reduce_sum(targets.times(weights, features), targets.axes([CHANNEL_AXIS[tap.layout]]), False)
    positive = op.relu(_as_maps(graph, tap, total, targets)).output(0)
    return as_float(positive)


def _patches(graph: Graph, tap: Tap, tensor: ov.Output, lead: int) -> ov.Output:
    """Without the tokens in front of the grid."""
    if not tap.prefix:
        return tensor
    (axis,) = POSITION_AXES[tap.layout]
    return emit.slice_axis(tensor, axis + lead, tap.prefix, dims_of(tap.port, graph.known_shape(tap.port))[axis])


def _as_maps(graph: Graph, tap: Tap, total: ov.Output, targets: Targets) -> ov.Output:
    """[K, N, positions] -> [N, K, h, w]."""
    batch = dims_of(tap.port, graph.known_shape(tap.port))[0]
    maps = targets.reshaped(total, [batch, *grid_dims(tap, graph)]) if tap.is_tokens else total
    return emit.transpose(maps, [1, 0, 2, 3]) if targets.lead else emit.unsqueeze(maps, [1])


# The product over levels: where a coarse map and finer ones agree.

#: Added to each factor, so that no level alone can darken a place.
FLOOR = 0.05
#: Deviation of the blur over all but the coarsest level, as a part of the picture's side; in cells where that is open.
BLUR, BLUR_IN_CELLS = 6 / 224, 0.75
#: What the surroundings of a box count, and how many times wider they are blurred.
SURROUNDINGS, WIDER = 0.06, 2


def at_finest(maps: Sequence[ov.Output]) -> list[ov.Output]:
    """Maps [N, K, h, w] from coarse to fine: each at the finest size, blurred (not the coarsest), scaled to 0..1."""
    size = sides_of(maps[-1])
    large = [*(resized(each, size) for each in maps[:-1]), maps[-1]]
    return [_to_unit(blurred(each) if place else each) for place, each in enumerate(large)]


def product_of(levels: Sequence[ov.Output]) -> ov.Output:
    """[N, K, h, w] of what `at_finest` gives: the product of all, each with 0.05 added."""
    return functools.reduce(emit.multiply, [op.add(each, number(FLOOR)).output(0) for each in levels])


def product_with_surroundings(levels: Sequence[ov.Output]) -> ov.Output:
    """The product of all levels, plus 0.06 of their geometric mean under a wide blur.

    A box is small, and far from it a product leaves less than one of 255 grey levels: the order in which the surroundings count
    would be lost there. docs/gradients.md has the figures, and those of classes, for which it is worse.
    """
    mean = op.power(product_of(levels), number(1 / len(levels))).output(0)
    around = emit.multiply(blurred(mean, WIDER), number(SURROUNDINGS))
    return op.add(functools.reduce(emit.multiply, levels), around).output(0)


def _to_unit(maps: ov.Output) -> ov.Output:
    """Each map from 0 to 1; zeros where it is flat."""
    low = op.reduce_min(maps, ints([2, 3]), True)
    high = op.reduce_max(maps, ints([2, 3]), True)
    spread = op.subtract(high, low)
    seen = op.greater(spread, op.multiply(high, number(EVIDENCE)))
    factor = op.select(seen, op.divide(number(1.0), op.select(seen, spread, number(1.0))), number(0.0))
    return op.multiply(op.subtract(maps, low), factor).output(0)


def blurred(maps: ov.Output, wider: float = 1) -> ov.Output:
    """[N, K, h, w] under a Gaussian of `wider` times the usual deviation, borders repeated."""
    shape = maps.get_partial_shape()
    sides = [shape[axis] for axis in (2, 3)]
    rows, columns = (_bell(wider * (BLUR * side.get_length() if side.is_static else BLUR_IN_CELLS)) for side in sides)
    edges = ints([0, 0, len(rows) // 2, len(columns) // 2])
    kernel = np.tile(np.outer(rows, columns).astype(np.float32), (shape[1].get_length(), 1, 1, 1, 1))
    # With a value, which the mode does not read: copies of the graph have one, and nodes are matched by their number.
    wide = op.pad(maps, edges, edges, "edge", number(0.0))
    return op.group_convolution(wide, op.constant(kernel), [1, 1], [0, 0], [0, 0], [1, 1]).output(0)


def _bell(deviation: float) -> np.ndarray:
    """Weights of a Gaussian out to three deviations, in cells; they sum to 1."""
    reach = max(1, math.ceil(3 * deviation))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    return weights / weights.sum()
