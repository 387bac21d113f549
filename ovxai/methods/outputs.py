"""What every method hands back and needs for it: features in one form, grey levels, and the picture finished in the graph."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.collapse.gate import grid_dims
from ovxai.collapse.head.classes import picked, select_classes
from ovxai.find.site import ClassifierSite, DetectionSite, FeatureSite, InstanceSite, SegmentationSite, Site
from ovxai.graph import emit
from ovxai.graph.dims import CHANNEL_AXIS, NCP, NHWC, POSITION_AXES, MapAxes, Tap, dims_of, ints, number, whole_number
from ovxai.graph.graph import Graph, source
from ovxai.graph.picture import PictureInput
from ovxai.metadata import WHOLE, ExplainedInfo, MapFrame, ModelInfo


@dataclass(frozen=True)
class Branch:
    """An explanation subgraph that hangs on the model's nodes: new tensors, not yet outputs, and what is to be written.

    saliency: f32 [N, C, h, w], not yet scaled to grey levels. level: f32 [N, C], to be added to the maps where they are
    handed out unscaled (maps of small changes are kept apart from it, for in a low precision the sum rounds them away).
    info: what rt_info will say, but for what insertion adds (`scaled`, `embed`, `extra_outputs`).
    feature_map: f32 [N, c, h, w]. feature_vector: f32 [N, c]. index: i64 [N, 1, K], which classes.
    strength: f32 [N, C], how strong each map's class is; None: its largest cell tells.
    boxes: f32 [N, K, 4], of maps per box: x1, y1, x2, y2 in pixels of the input. box_scores: f32 [N, K].
    notes: lines for the person who inserts. kept: what branches (If) of the model hand out, made outputs too: with the
    explanation beside it OpenVINO's CPU plugin (2026.4) gives that memory to other tensors while it is still read, where its
    size changes, and the process ends; the memory of outputs it leaves alone.
    """

    saliency: ov.Output
    info: ExplainedInfo
    feature_map: ov.Output | None = None
    feature_vector: ov.Output | None = None
    index: ov.Output | None = None
    strength: ov.Output | None = None
    notes: tuple[str, ...] = ()
    level: ov.Output | None = None
    boxes: ov.Output | None = None
    box_scores: ov.Output | None = None
    kept: tuple[ov.Output, ...] = ()

    @property
    def raw(self) -> ov.Output:
        """f32 [N, C, h, w]: the maps as they are defined."""
        return self.saliency if self.level is None else op.add(self.saliency, op.unsqueeze(self.level, ints([2, 3]))).output(0)


def as_float(tensor: ov.Output) -> ov.Output:
    return emit.as_type(tensor, ov.Type.f32)


# The feature map and the feature vector, in the one form that clients get.


def feature_map(graph: Graph, site: Site) -> ov.Output | None:
    """f32 [N, c, h, w], a tensor of its own: clients find outputs by name, and a shared one would carry several.

    A classifier's first tap, a detector's neck at the level whose size the map has, the middle of a pyramid; None
    where the site has no such tensor.
    """
    if isinstance(site, (ClassifierSite, SegmentationSite)):
        return _tap_as_map(site.taps[0], graph)
    if isinstance(site, FeatureSite):
        return _tap_as_map(site.tap, graph)
    if isinstance(site, DetectionSite):
        level = site.levels[site.size_level]
        return None if level.feature is None else op.convert(channels_first(level.feature, level.feature_axes), "f32").output(0)
    if isinstance(site, InstanceSite) and site.pyramid:
        return op.convert(site.pyramid[len(site.pyramid) // 2], "f32").output(0)
    return None


def feature_vector(graph: Graph, site: Site, features: ov.Output | None) -> ov.Output | None:
    """f32 [N, c]: the class token as the classifier reads it, or the means of the features over positions, those of all
    levels side by side. features: the site's feature map."""
    if isinstance(site, DetectionSite):
        maps = [channels_first(level.feature, level.feature_axes) for level in site.levels if level.feature is not None]
        return spatial_means(maps) if maps else None
    if isinstance(site, InstanceSite):
        return spatial_means(site.pyramid) if site.pyramid else None
    token = _classifier_input(site.logits, graph) if isinstance(site, ClassifierSite) and site.taps[0].prefix else None
    if token is not None:
        dims = dims_of(token, graph.known_shape(token))
        return as_float(emit.reshape(token, [dims[0], max(dims[1:], key=lambda dim: dim.size)]))
    return None if features is None else spatial_means([features])


def spatial_means(maps: Sequence[ov.Output]) -> ov.Output:
    """f32 [N, sum of c] of maps [N, c, h, w]."""
    return as_float(emit.concat([op.reduce_mean(each, ints([2, 3]), False).output(0) for each in maps], 1))


def channels_first(port: ov.Output, axes: MapAxes) -> ov.Output:
    """[N, C, h, w] of a map whose axes stand otherwise."""
    return emit.transpose(port, axes)


def _tap_as_map(tap: Tap, graph: Graph) -> ov.Output:
    """Channels first, tokens laid out as the grid, prefix tokens left out."""
    dims = dims_of(tap.port, graph.known_shape(tap.port))
    tensor = tap.port
    if tap.prefix:
        axis = POSITION_AXES[tap.layout][0]
        tensor = emit.slice_axis(tensor, axis, tap.prefix, dims[axis])
    if tap.layout == NHWC:
        tensor = emit.transpose(tensor, [0, 3, 1, 2])
    if tap.is_tokens:
        tensor = tensor if tap.layout == NCP else emit.transpose(tensor, [0, 2, 1])
        tensor = emit.reshape(tensor, [dims[0], dims[CHANNEL_AXIS[tap.layout]], *grid_dims(tap, graph)])
    if tensor.get_node().get_name() == tap.port.get_node().get_name():
        tensor = op.convert(tensor, "f32").output(0)
    return as_float(tensor)


def _classifier_input(logits: ov.Output, graph: Graph) -> ov.Output | None:
    """What the last product with constant weights reads, if it is one vector per picture."""
    here = logits
    while True:
        node = here.get_node()
        if node.get_type_name() == "MatMul" and graph.is_constant(source(node, 1)):
            data = source(node, 0)
            return data if sum(size > 1 for size in graph.known_shape(data)[1:]) == 1 else None
        if node.get_type_name() not in ("Add", "Multiply", "Divide", "Reshape", "Squeeze", "Convert", "FakeQuantize"):
            return None
        here = source(node, 1) if graph.is_constant(source(node, 0)) else source(node, 0)


# Sizes, and grey levels as OTX exports them.


def sides_of(port: ov.Output, axes: tuple[int, int] = (2, 3)) -> ov.Output:
    """i64 [2]: height and width, as constants where they are known."""
    shape = port.get_partial_shape()
    if all(shape[axis].is_static for axis in axes):
        return ints([shape[axis].get_length() for axis in axes])
    return op.gather(op.shape_of(port, "i64"), ints(axes), whole_number(0)).output(0)


def resized(port: ov.Output, size: ov.Output) -> ov.Output:
    """Bilinear with half-pixel centres and without antialiasing, as OTX does it. size: i64 [2]."""
    return op.interpolate(
        port, size, mode="linear_onnx", shape_calculation_mode="sizes", coordinate_transformation_mode="half_pixel",
        antialias=False, axes=ints([2, 3]),
    ).output(0)  # fmt: skip


#: A map whose spread is below this share of its largest value says nothing: it is rounding noise.
EVIDENCE = 1e-6


def to_grey(maps: ov.Output, axes: tuple[int, ...] = (2, 3), level: ov.Output | None = None) -> ov.Output:
    """f32 maps -> u8: 255 * (s - min) / (max - min) over `axes`, truncated; zeros where there is no evidence.

    Min-max over each map by itself; level [N, C]: what s has beside `maps`, which only tells whether the spread is more
    than rounding noise. No epsilon is added: it would vanish in f16, and Select does it right.
    """
    low = op.reduce_min(maps, ints(axes), True)
    high = op.reduce_max(maps, ints(axes), True)
    spread = op.subtract(high, low)
    # A score that is small because a large change cancels its level is as noisy as these are.
    ends = [low, high] if level is None else [low, high, *(op.add(end, op.unsqueeze(level, ints(axes))) for end in (low, high))]
    largest = functools.reduce(op.maximum, [op.abs(end) for end in ends])
    seen = op.greater(spread, op.multiply(largest, number(EVIDENCE)))
    safe = op.select(seen, spread, number(1.0))
    factor = op.select(seen, number(255.0), number(0.0))
    # Shift before scale: the product then has no large term to cancel, which counts in bf16. And a share before the factor:
    # 255 / spread is beyond f16 for a spread below 0.004.
    share = op.divide(op.subtract(maps, low), safe)
    return op.convert(op.multiply(share, factor), "u8").output(0)


def largest_cells(maps: ov.Output) -> ov.Output:
    """[N, C, h, w] -> [N, C]."""
    return op.reduce_max(maps, ints([2, 3]), False).output(0)


def chosen_classes(saliency: ov.Output, wanted: str, classes: int) -> tuple[ov.Output, ov.Output | None]:
    """All classes; the K with the largest cell; or the listed ones. The last two with their index, i64 [N, 1, K].

    saliency: f32 [N, C, h, w]. wanted: the `--classes` option.

    Raises:
        OptionError: a class that the model does not have.
    """
    peaks = largest_cells(saliency)
    selection = select_classes(wanted, peaks, dims_of(peaks, (1, classes)), classes)
    return (saliency, None) if selection is None else (picked(saliency, selection), selection.index)


# For clients without an image library: the finished picture as one more output, made by standard operations.

#: Share of the map in the overlay; the runner's default.
OPACITY = 0.5


def embed(
    kind: str,
    grey: ov.Output,
    strength: ov.Output,
    picture: ov.Output,
    place: PictureInput,
    model_info: ModelInfo,
    frame: MapFrame,
) -> ov.Output:
    """The map at the input's size, or the finished overlay.

    kind: "map" gives u8 [N, C, H, W], bilinear; "overlay" gives u8 [N, H, W, 3] in RGB: the map of each
    picture's strongest class in jet colours over the picture. grey: u8 [N, C, h, w], of which `frame` says where it
    lies; what it does not cover is 0, and untouched by colours. strength: f32 [N, C],
    by which the strongest class is told. picture: the model's input, which lies as `place` says; mean, scale and
    channel order come from rt_info `model_info`. Without them a float picture is stretched to its own range.
    """
    sides = sides_of(picture, place.axes)
    if kind == "map":
        return _as_u8(_large(grey, sides, frame))
    best = op.topk(strength, whole_number(1), 1, "max", "value", index_element_type="i64")
    strongest = emit.pick_each(grey, best.output(1))  # [N, 1, h, w]
    level = op.squeeze(_as_u8(_large(strongest, sides, frame)), ints([1]))
    colours = op.gather(_jet(), op.convert(level, "i32"), whole_number(0))
    shown = _displayed(picture, place, model_info)
    opacity = number(OPACITY)
    if frame.box != WHOLE.box:
        covered = _large(op.add(op.multiply(op.convert(strongest, "f32"), number(0.0)), number(OPACITY)).output(0), sides, frame)
        opacity = op.transpose(covered, ints([0, 2, 3, 1])).output(0)
    blend = op.add(op.multiply(colours, opacity), op.multiply(shown, op.subtract(number(1.0), opacity)))
    return _as_u8(blend.output(0))


def _large(grey: ov.Output, sides: ov.Output, frame: MapFrame) -> ov.Output:
    """f32 [N, C, H, W] of [N, C, h, w]: laid upright, at its place on an input of `sides` (i64 [2])."""
    tensor = op.convert(grey, "f32").output(0)
    for axis, backwards in zip((2, 3), frame.backwards):
        if backwards:
            ends = (ints([-1]), ints([-(2**31)]), ints([-1]), ints([axis]))
            tensor = op.slice(tensor, *ends).output(0)
    if frame.transposed:
        tensor = emit.transpose(tensor, [0, 1, 3, 2])
    if frame.box == WHOLE.box:
        return resized(tensor, sides)
    y1, x1, y2, x2 = frame.box
    before, size = (_pixels(sides, shares) for shares in ((y1, x1), (y2 - y1, x2 - x1)))
    none = ints([0, 0])
    after = op.subtract(op.subtract(sides, before), size)  # less than nothing where the grid reaches beyond the input
    pads = (op.concat([none, before], 0), op.concat([none, after], 0))
    return op.pad(resized(tensor, size), *pads, "constant", number(0.0)).output(0)


def _pixels(sides: ov.Output, shares: tuple[float, float]) -> ov.Output:
    """i64 [2]: shares of height and width in whole pixels."""
    exact = op.multiply(op.convert(sides, "f32"), op.constant(np.array(shares, np.float32)))
    return op.convert(op.round(exact, "half_to_even"), "i64").output(0)


def _as_u8(tensor: ov.Output) -> ov.Output:
    return op.convert(op.clamp(op.round(tensor, "half_to_even"), 0.0, 255.0), "u8").output(0)


def _jet() -> ov.Output:
    """f32 [256, 3]: grey level -> RGB."""
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_JET)[:, 0, ::-1]
    return op.convert(op.constant(np.ascontiguousarray(table)), "f32").output(0)


def _displayed(picture: ov.Output, place: PictureInput, info: ModelInfo) -> ov.Output:
    """The input as f32 [N, H, W, 3], RGB 0..255."""
    pixels = op.convert(picture, "f32")
    if not place.batched:
        pixels = op.unsqueeze(pixels, ints([0]))
    if "C" not in place.layout:
        pixels = op.unsqueeze(pixels, ints([3]))
    if place.planar:
        pixels = op.transpose(pixels, ints([0, 2, 3, 1]))
    if picture.get_element_type().is_real() and not info.embedded_processing:  # else the graph takes 0..255 and normalises
        pixels = _undo_normalisation(pixels, info) if info.mean or info.scale else _stretched(pixels)
    colours = place.colours(reverse=bool(info.reverse_input_channels))
    if (place.channels, colours) != (3, (0, 1, 2)):
        pixels = op.gather(pixels, ints(colours), whole_number(3))
    return pixels.output(0)


def _undo_normalisation(pixels: ov.Node, info: ModelInfo) -> ov.Node:
    if info.scale:
        pixels = op.multiply(pixels, op.constant(np.array(info.scale, np.float32)))
    return op.add(pixels, op.constant(np.array(info.mean, np.float32))) if info.mean else pixels


def _stretched(pixels: ov.Node) -> ov.Node:
    low = op.reduce_min(pixels, ints([1, 2, 3]), True)
    high = op.reduce_max(pixels, ints([1, 2, 3]), True)
    span = op.maximum(op.subtract(high, low), number(1e-6))
    return op.divide(op.multiply(op.subtract(pixels, low), number(255.0)), span)
