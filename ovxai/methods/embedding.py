"""For clients without an image library: the finished picture as one more output, made by standard operations."""

from __future__ import annotations

import cv2
import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.graph import emit
from ovxai.graph.dims import ints
from ovxai.metadata import ModelInfo
from ovxai.methods.class_probability_map import resized

#: Share of the map in the overlay; the runner's default.
OPACITY = 0.5


def embed(kind: str, grey: ov.Output, strength: ov.Output, picture: ov.Node, model_info: ModelInfo) -> ov.Output:
    """The map at the input's size, or the finished overlay.

    kind: "map" gives u8 [N, C, H, W], bilinear; "overlay" gives u8 [N, H, W, 3] in RGB: the map of each
    picture's strongest class in jet colours over the picture. grey: u8 [N, C, h, w]. strength: f32 [N, C],
    by which the strongest class is told. picture: the model's input; mean, scale and channel order
    come from rt_info `model_info`. Without them a float picture is stretched to its own range.
    """
    if kind == "map":
        return _as_u8(_large(grey, picture))
    best = op.topk(strength, op.constant(np.int64(1)), 1, "max", "value", index_element_type="i64")
    one = emit.pick_each(grey, best.output(1))  # [N, 1, h, w]
    level = op.squeeze(_as_u8(_large(one, picture)), ints([1]))
    colours = op.gather(_jet(), op.convert(level, "i32"), op.constant(np.int64(0)))
    shown = _displayed(picture, model_info)
    blend = op.add(op.multiply(colours, _number(OPACITY)), op.multiply(shown, _number(1 - OPACITY)))
    return _as_u8(blend.output(0))


def _large(grey: ov.Output, picture: ov.Node) -> ov.Output:
    return resized(op.convert(grey, "f32").output(0), _sides(picture))


def _number(value: float) -> ov.Node:
    return op.constant(np.float32(value))


def _as_u8(tensor: ov.Output) -> ov.Output:
    return op.convert(op.clamp(op.round(tensor, "half_to_even"), 0.0, 255.0), "u8").output(0)


def _jet() -> ov.Output:
    """f32 [256, 3]: grey level -> RGB."""
    table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_JET)[:, 0, ::-1]
    return op.convert(op.constant(np.ascontiguousarray(table)), "f32").output(0)


def _is_channels_last(picture: ov.Node) -> bool:
    shape = picture.get_partial_shape()
    return not (shape[1].is_static and shape[1].get_length() in (1, 3, 4))


def _sides(picture: ov.Node) -> ov.Output:
    """i64 [2]: the input's height and width."""
    axes = [1, 2] if _is_channels_last(picture) else [2, 3]
    shape = picture.get_partial_shape()
    if all(shape[axis].is_static for axis in axes):
        return ints([shape[axis].get_length() for axis in axes])
    return op.gather(op.shape_of(picture, "i64"), ints(axes), op.constant(np.int64(0))).output(0)


def _displayed(picture: ov.Node, info: ModelInfo) -> ov.Output:
    """The input as f32 [N, H, W, 3], RGB 0..255."""
    pixels = op.convert(picture, "f32")
    if not _is_channels_last(picture):
        pixels = op.transpose(pixels, ints([0, 2, 3, 1]))
    if picture.get_element_type().is_real() and not info.embedded_processing:  # else the graph takes 0..255 and normalises
        pixels = _undo_normalisation(pixels, info) if info.mean or info.scale else _stretched(pixels)
    if info.reverse_input_channels:
        pixels = op.gather(pixels, ints([2, 1, 0]), op.constant(np.int64(3)))
    channels = pixels.output(0).get_partial_shape()[3]
    if channels.is_static and channels.get_length() == 1:
        pixels = op.concat([pixels] * 3, 3)
    return pixels.output(0)


def _undo_normalisation(pixels: ov.Node, info: ModelInfo) -> ov.Node:
    if info.scale:
        pixels = op.multiply(pixels, op.constant(np.array(info.scale, np.float32)))
    return op.add(pixels, op.constant(np.array(info.mean, np.float32))) if info.mean else pixels


def _stretched(pixels: ov.Node) -> ov.Node:
    low = op.reduce_min(pixels, ints([1, 2, 3]), True)
    high = op.reduce_max(pixels, ints([1, 2, 3]), True)
    span = op.maximum(op.subtract(high, low), _number(1e-6))
    return op.divide(op.multiply(op.subtract(pixels, low), _number(255.0)), span)
