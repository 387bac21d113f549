"""DetClassProbabilityMap: the class logits of all pyramid levels, merged on one grid, as a map a class.

Per level the largest of the anchors, bilinear to the middle level's size, mean over levels, softmax over the classes:
OTX's definition. Nothing of the model is recomputed; the branch reads the head's own tensors.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.errors import OptionError
from ovxai.find.detector.site import NCHW, ClassLevel, DetectionSite
from ovxai.find.detector.taps import is_whole
from ovxai.methods.outputs import Branch, as_float
from ovxai.options import InsertOptions, parse_classes, parse_size

TASK, METHOD = "detection", "det-class-probability-map"


def build(site: DetectionSite, options: InsertOptions) -> Branch:
    """Add the map's nodes behind the class logits of `site`, in the model that it was found in."""
    maps = [as_float(level) for level in level_maps(site)]
    size = target_size(site, maps, options)
    maps = [m if i == site.size_level and options.map_size is None else resized(m, size) for i, m in enumerate(maps)]
    saliency = activated(merged(maps, options.levels), options.class_activation or "softmax", site.classes)
    saliency, index = chosen_classes(saliency, options.classes, site.classes)
    feature = site.levels[site.size_level]
    return Branch(
        saliency=saliency,
        feature_map=own_tensor(feature) if feature.feature is not None else None,
        feature_vector=spatial_means(site) if options.feature_vector else None,
        index=index,
        info=information(site, options),
        notes=site.notes,
    )


def to_nchw(port: ov.Output, axes: tuple[int, int, int, int]) -> ov.Output:
    return port if axes == NCHW else op.transpose(port, np.array(axes, np.int64)).output(0)


def own_tensor(level: ClassLevel) -> ov.Output:
    """The level's feature as a tensor of its own: clients find outputs by name, a shared one would carry several."""
    return op.convert(to_nchw(level.feature, level.feature_axes), "f32").output(0)


def level_maps(site: DetectionSite) -> list[ov.Output]:
    """[N, K, h, w] a level, fine to coarse."""
    if site.levels[0].rows is not None:
        return token_maps(site)
    return [level_map(level, site.classes) for level in site.levels]


def level_map(level: ClassLevel, classes: int) -> ov.Output:
    """[N, K, h, w]: the level's logits with classes in order, the largest over its anchors."""
    port = to_nchw(level.port, level.axes)
    total = level.port.get_partial_shape()[level.axes[1]].get_length()
    if not is_whole(level.channels, total):
        order = np.array(level.channels, np.int64).reshape(-1)
        port = op.gather(port, op.constant(order), op.constant(np.int64(1))).output(0)
    if level.anchors == 1:
        return port
    flat = op.reshape(port, np.array([0, level.anchors, classes, -1], np.int64), special_zero=True)
    best = op.reduce_max(flat, np.array([1], np.int64), keep_dims=False)
    return op.reshape(best, _size_of(port, classes), special_zero=True).output(0)


def _size_of(port: ov.Output, classes: int) -> ov.Output:
    """The target [0, K, h, w] of a reshape back to the map's own size."""
    return op.concat([op.constant(np.array([0, classes], np.int64)), _sides(port)], axis=0).output(0)


def token_maps(site: DetectionSite) -> list[ov.Output]:
    """The rows of [N, P, K] that belong to each level, back on the grid of the map they were made from."""
    levels = site.levels
    sides = [to_nchw(level.feature, level.feature_axes) for level in levels]
    order = sorted(range(len(levels)), key=lambda i: levels[i].rows)
    lengths = op.concat([op.reduce_prod(_sides(sides[i]), np.array([0], np.int64), keep_dims=True) for i in order], axis=0)
    parts = op.variadic_split(levels[0].port, op.constant(np.int64(1)), lengths)
    maps: list = [None] * len(levels)
    for position, i in enumerate(order):
        columns = op.transpose(parts.output(position), np.array([0, 2, 1], np.int64)).output(0)
        maps[i] = op.reshape(columns, _size_of(sides[i], site.classes), special_zero=True).output(0)
    return maps


def _sides(port: ov.Output) -> ov.Output:
    """[2]: height and width of a map, as constants where they are known."""
    shape = port.get_partial_shape()
    if shape[2].is_static and shape[3].is_static:
        return op.constant(np.array([shape[2].get_length(), shape[3].get_length()], np.int64)).output(0)
    return op.gather(op.shape_of(port, "i64"), op.constant(np.array([2, 3], np.int64)), op.constant(np.int64(0))).output(0)


def target_size(site: DetectionSite, maps: list[ov.Output], options: InsertOptions) -> ov.Output:
    """[2]: the map's height and width: what was asked for, else the size level's own."""
    if options.map_size is not None:
        return op.constant(np.array(parse_size(options.map_size), np.int64)).output(0)
    return _sides(maps[site.size_level])


def resized(port: ov.Output, size: ov.Output) -> ov.Output:
    """Bilinear with half-pixel centres and without antialiasing, as OTX does it."""
    return op.interpolate(
        port, size, mode="linear_onnx", shape_calculation_mode="sizes", coordinate_transformation_mode="half_pixel",
        antialias=False, axes=op.constant(np.array([2, 3], np.int64)),
    ).output(0)  # fmt: skip


def merged(maps: list[ov.Output], how: str) -> ov.Output:
    """Mean (OTX) or largest over the levels."""
    total = maps[0]
    for other in maps[1:]:
        total = (op.maximum if how == "max" else op.add)(total, other).output(0)
    if how == "max" or len(maps) == 1:
        return total
    return op.divide(total, op.constant(np.float32(len(maps)))).output(0)


def activated(port: ov.Output, activation: str, classes: int) -> ov.Output:
    """Softmax over the classes, except where there is only one (it would be 1 everywhere); sigmoid; or nothing."""
    if activation == "softmax" and classes > 1:
        return op.softmax(port, 1).output(0)
    return op.sigmoid(port).output(0) if activation == "sigmoid" else port


def chosen_classes(saliency: ov.Output, wanted: str, classes: int) -> tuple[ov.Output, ov.Output | None]:
    """All classes; the K with the largest cell; or the listed ones. The last two with their index, i64 [N, 1, K].

    Raises:
        OptionError: a class that the model does not have.
    """
    asked = parse_classes(wanted)
    if asked is None:
        return saliency, None
    if isinstance(asked, int):
        if asked > classes:
            raise OptionError(f"classes: top:{asked} asks for more than the model's {classes} classes")
        peaks = op.reduce_max(saliency, np.array([2, 3], np.int64), keep_dims=False)
        top = op.topk(peaks, op.constant(np.int64(asked)), 1, "max", "value", index_element_type="i64")
        # Not Gather with batch_dims: the CPU plugin (2026.4) reads past the end where few cells follow the axis.
        cells = op.concat([op.constant(np.array([1, 1], np.int64)), _sides(saliency)], axis=0)
        wide = op.unsqueeze(top.output(1), op.constant(np.array([2, 3], np.int64)))
        picked = op.gather_elements(saliency, op.broadcast(wide, cells, broadcast_spec="BIDIRECTIONAL"), 1)
        return picked.output(0), op.unsqueeze(top.output(1), op.constant(np.int64(1))).output(0)
    missing = [index for index in asked if index >= classes]
    if missing:
        raise OptionError(f"classes: the model has classes 0 to {classes - 1}, not {missing[0]}")
    listed = np.array(asked, np.int64)
    picked = op.gather(saliency, op.constant(listed), op.constant(np.int64(1)))
    batch = op.gather(op.shape_of(saliency, "i64"), op.constant(np.array([0], np.int64)), op.constant(np.int64(0)))
    shape = op.concat([batch, op.constant(np.array([1, len(asked)], np.int64))], axis=0)
    return picked.output(0), op.broadcast(op.constant(listed.reshape(1, 1, -1)), shape).output(0)


def spatial_means(site: DetectionSite) -> ov.Output:
    """[N, sum of c]: the neck's features averaged over their positions, level after level."""
    means = [
        op.reduce_mean(to_nchw(level.feature, level.feature_axes), np.array([2, 3], np.int64), keep_dims=False)
        for level in site.levels
        if level.feature is not None
    ]
    return as_float(means[0].output(0) if len(means) == 1 else op.concat(means, axis=1).output(0))


def layer_name(port: ov.Output) -> str:
    """Friendly name of a port's node, `name:port` where the port is not 0."""
    name, index = port.get_node().get_friendly_name(), port.get_index()
    return f"{name}:{index}" if index else name


def information(site: DetectionSite, options: InsertOptions) -> dict:
    feature = site.levels[site.size_level].feature
    size = options.map_size or _size_text(site)
    return dict(
        task=TASK,
        method=METHOD,
        target_layers=tuple(dict.fromkeys(layer_name(level.port) for level in site.levels)),
        feature_layer=layer_name(feature) if feature is not None else "",
        layout="NCHW",
        collapse="exact",
        classes=options.classes,
        num_classes=site.classes,
        class_activation=options.class_activation or "softmax",
        levels=options.levels,
        map_size=size,
        explained_output=site.output,
        score_output=site.score_output,
        score_activation=site.score_activation,
        prediction_format=site.prediction_format,
        **arrangement(site),
    )


def arrangement(site: DetectionSite) -> dict[str, str]:
    """How the channels stand (of selected ones their numbers, anchor by anchor); for tokens the grids in the order of
    their rows."""
    found = {}
    orders = {order_of(level) for level in site.levels if level.anchors > 1 or order_of(level) == "selected"}
    if len(orders) == 1:
        found["channel_order"] = orders.pop()
    tables = {level.channels for level in site.levels}
    if len(tables) == 1 and found.get("channel_order") == "selected":
        found["class_channels"] = ";".join(",".join(map(str, row)) for row in tables.pop())
    if site.levels[0].rows is not None and level_sides_known(site):
        by_row = sorted(site.levels, key=lambda level: level.rows)
        found["level_grids"] = ",".join(f"{h}x{w}" for h, w in (level.grid for level in by_row))
    return found


def order_of(level: ClassLevel) -> str:
    """anchor-major (all classes of the first anchor first), class-major, or selected (other channels between)."""
    table = np.array(level.channels)
    total = level.port.get_partial_shape()[level.axes[1]].get_length() if level.rows is None else table.size
    if table.size < total:
        return "selected"
    if is_whole(level.channels, table.size):
        return "anchor-major"
    return "class-major" if np.array_equal(table.T.reshape(-1), np.arange(table.size)) else "selected"


def level_sides_known(site: DetectionSite) -> bool:
    return site.levels[0].port.get_partial_shape()[1].is_static


def _size_text(site: DetectionSite) -> str:
    level = site.levels[site.size_level]
    axes = (1,) if level.rows is not None else level.axes[2:]
    if any(level.port.get_partial_shape()[axis].is_dynamic for axis in axes):
        return ""
    return f"{level.grid[0]}x{level.grid[1]}"
