"""DetClassProbabilityMap: the class logits of all pyramid levels, merged on one grid, as one map per class.

Per level the largest of the anchors, bilinear to the middle level's size, mean over levels, softmax over the classes:
OTX's definition. Nothing of the model is recomputed; the branch reads the head's own tensors.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.find.site import CLASS_PROBABILITY_MAP, Channels, ClassLevel, DetectionSite
from ovxai.graph import emit
from ovxai.graph.dims import ints, number, whole_number
from ovxai.graph.graph import Graph
from ovxai.graph.names import name_of
from ovxai.metadata import DETECTION, ExplainedInfo
from ovxai.methods.outputs import Branch, as_float, channels_first, chosen_classes, feature_map, feature_vector, resized, sides_of
from ovxai.options import InsertOptions, parse_size
from ovxai.version import __version__


def build(graph: Graph, site: DetectionSite, options: InsertOptions) -> Branch:
    """Add the map's nodes behind the class logits of `site`, in the model that it was found in.

    Raises:
        OptionError: a class that the model does not have.
    """
    maps = [as_float(level) for level in level_maps(site)]
    size = target_size(site, maps, options)
    maps = [m if i == site.size_level and options.map_size is None else resized(m, size) for i, m in enumerate(maps)]
    saliency = activated(merged(maps, options.levels), options.class_activation or "softmax", site.classes)
    saliency, index = chosen_classes(saliency, options.asked_classes, site.classes)
    features = feature_map(graph, site)
    return Branch(
        saliency=saliency,
        feature_map=features,
        feature_vector=feature_vector(graph, site, features) if options.feature_vector else None,
        index=index,
        info=information(site, options),
        notes=site.notes,
    )


def level_maps(site: DetectionSite) -> list[ov.Output]:
    """[N, K, h, w] per level, fine to coarse."""
    if site.levels[0].rows is not None:
        return token_maps(site)
    return [level_map(level, site.classes) for level in site.levels]


def is_whole(channels: Channels, total: int) -> bool:
    """Whether the channels are all there are, anchor by anchor: a plain reshape to [A, K] reads them."""
    return bool(np.array_equal(np.array(channels).reshape(-1), np.arange(total)))


def level_map(level: ClassLevel, classes: int) -> ov.Output:
    """[N, K, h, w]: the level's logits with classes in order, the largest over its anchors."""
    port = channels_first(level.port, level.axes)
    total = level.port.get_partial_shape()[level.axes[1]].get_length()
    if not is_whole(level.channels, total):
        order = [channel for row in level.channels for channel in row]
        port = op.gather(port, ints(order), whole_number(1)).output(0)
    if level.anchors == 1:
        return port
    flat = op.reshape(port, ints([0, level.anchors, classes, -1]), special_zero=True)
    best = op.reduce_max(flat, ints([1]), keep_dims=False)
    return op.reshape(best, _size_of(port, classes), special_zero=True).output(0)


def _size_of(port: ov.Output, classes: int) -> ov.Output:
    """The target [0, K, h, w] of a reshape back to the map's own size."""
    return op.concat([ints([0, classes]), sides_of(port)], axis=0).output(0)


def token_maps(site: DetectionSite) -> list[ov.Output]:
    """The rows of [N, P, K] that belong to each level, back on the grid of the map they were made from."""
    levels = site.levels
    sides = [channels_first(level.feature, level.feature_axes) for level in levels]
    order = sorted(range(len(levels)), key=lambda i: levels[i].rows or (0, 0))
    lengths = op.concat([op.reduce_prod(sides_of(sides[i]), ints([0]), keep_dims=True) for i in order], axis=0)
    parts = op.variadic_split(levels[0].port, whole_number(1), lengths)
    maps: dict[int, ov.Output] = {}
    for position, i in enumerate(order):
        columns = emit.transpose(parts.output(position), [0, 2, 1])
        maps[i] = op.reshape(columns, _size_of(sides[i], site.classes), special_zero=True).output(0)
    return [maps[i] for i in range(len(levels))]


def target_size(site: DetectionSite, maps: list[ov.Output], options: InsertOptions) -> ov.Output:
    """[2]: the map's height and width: what was asked for, else the size level's own."""
    if options.map_size is not None:
        return ints(parse_size(options.map_size))
    return sides_of(maps[site.size_level])


def merged(maps: list[ov.Output], how: str) -> ov.Output:
    """Mean (OTX) or largest over the levels."""
    total = maps[0]
    for other in maps[1:]:
        total = (op.maximum if how == "max" else op.add)(total, other).output(0)
    if how == "max" or len(maps) == 1:
        return total
    return op.divide(total, number(len(maps))).output(0)


def activated(port: ov.Output, activation: str, classes: int) -> ov.Output:
    """Softmax over the classes, except where there is only one (it would be 1 everywhere); sigmoid; or nothing."""
    if activation == "softmax" and classes > 1:
        return op.softmax(port, 1).output(0)
    return op.sigmoid(port).output(0) if activation == "sigmoid" else port


def information(site: DetectionSite, options: InsertOptions) -> ExplainedInfo:
    """What rt_info will say."""
    feature = site.levels[site.size_level].feature
    order, channels = arrangement(site)
    return ExplainedInfo(
        version=__version__,
        task=DETECTION,
        method=CLASS_PROBABILITY_MAP,
        target_layers=tuple(dict.fromkeys(name_of(level.port) for level in site.levels)),
        feature_layer=name_of(feature) if feature is not None else "",
        layout="NCHW",
        collapse="exact",
        classes=options.asked_classes,
        num_classes=site.classes,
        class_activation=options.class_activation or "softmax",
        levels=options.levels,
        map_size=options.map_size or _size_text(site),
        explained_output=site.output,
        score_output=site.score_output,
        score_activation=site.score_activation,
        prediction_format=site.prediction_format,
        channel_order=order,
        class_channels=channels,
        level_grids=_grids_text(site),
    )


def arrangement(site: DetectionSite) -> tuple[str, str]:
    """How the channels stand, where all levels agree (see `order_of`), and of selected ones their numbers, anchor by anchor."""
    orders = {order_of(level) for level in site.levels if level.anchors > 1 or order_of(level) == SELECTED}
    order = orders.pop() if len(orders) == 1 else ""
    tables = {level.channels for level in site.levels}
    if len(tables) > 1 or order != SELECTED:
        return order, ""
    return order, ";".join(",".join(map(str, row)) for row in tables.pop())


SELECTED = "selected"


def order_of(level: ClassLevel) -> str:
    """anchor-major (all classes of the first anchor first), class-major, or selected (other channels between)."""
    table = np.array(level.channels)
    total = level.port.get_partial_shape()[level.axes[1]].get_length() if level.rows is None else table.size
    if table.size < total:
        return SELECTED
    if is_whole(level.channels, table.size):
        return "anchor-major"
    return "class-major" if np.array_equal(table.T.reshape(-1), np.arange(table.size)) else SELECTED


def _grids_text(site: DetectionSite) -> str:
    """For tokens of known number the grids, in the order of their rows."""
    if not site.levels[0].port.get_partial_shape()[1].is_static:
        return ""
    by_row = sorted((level.rows, level.grid) for level in site.levels if level.rows is not None)
    return ",".join(f"{height}x{width}" for _, (height, width) in by_row)


def _size_text(site: DetectionSite) -> str:
    level = site.levels[site.size_level]
    axes = (1,) if level.rows is not None else level.axes[2:]
    if any(level.port.get_partial_shape()[axis].is_dynamic for axis in axes):
        return ""
    return f"{level.grid[0]}x{level.grid[1]}"
