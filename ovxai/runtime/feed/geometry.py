"""Where the network's input lies in the source picture, and the way back for maps and boxes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ovxai.metadata import WHOLE, MapFrame

Size = tuple[int, int]
#: Multiplications up to which OpenBLAS, numpy's, starts no threads.
_ONE_THREAD = 1 << 18
Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Geometry:
    """How a picture was fitted into the network's input.

    source, canvas: (height, width) of the picture and of the network's input, or of the part of it that is spoken of.
    window: x, y, width, height in the picture: the part that the network sees (smaller when cropped).
    content: x, y, width, height on the canvas: where that part lies (smaller when padded).
    """

    source: Size
    canvas: Size
    window: Rectangle
    content: Rectangle

    @property
    def covers_picture(self) -> bool:
        """Whether the network saw all of the picture."""
        return self.window_box() == (0, 0, self.source[1], self.source[0])

    def window_box(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 of the seen part, in whole pixels of the picture."""
        x, y, width, height = self.window
        return round(x), round(y), round(x + width), round(y + height)

    def within(self, frame: MapFrame) -> Geometry:
        """The same for a map whose grid covers `frame`'s box of the canvas: what lies beyond it was not looked at."""
        if frame.box == WHOLE.box:
            return self
        x, y, width, height = self.window
        left, top, inner_width, inner_height = self.content
        y1, x1, y2, x2 = (share * side for share, side in zip(frame.box, (*self.canvas, *self.canvas), strict=True))
        begin = max(left, x1), max(top, y1)
        size = max(0.0, min(left + inner_width, x2) - begin[0]), max(0.0, min(top + inner_height, y2) - begin[1])
        across, down = width / inner_width, height / inner_height
        # Shares of the canvas are all that counts of it, so that it can have whole sides.
        canvas = max(1, round(y2 - y1)), max(1, round(x2 - x1))
        wide, tall = canvas[1] / (x2 - x1), canvas[0] / (y2 - y1)
        return Geometry(
            self.source,
            canvas,
            (x + (begin[0] - left) * across, y + (begin[1] - top) * down, size[0] * across, size[1] * down),
            ((begin[0] - x1) * wide, (begin[1] - y1) * tall, size[0] * wide, size[1] * tall),
        )

    def at_size(self, size: Size) -> Geometry:
        """The same with a canvas of so many pixels: a network's own, where the graph resizes what it is fed."""
        x, y, width, height = self.content
        down, across = size[0] / self.canvas[0], size[1] / self.canvas[1]
        return replace(self, canvas=size, content=(x * across, y * down, width * across, height * down))

    def boxes_to_source(self, boxes: np.ndarray) -> np.ndarray:
        """[K, 4] x1, y1, x2, y2 in canvas pixels -> the same in pixels of the picture, cut at its edges."""
        x, y, width, height = self.window
        left, top, inner_width, inner_height = self.content
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4).copy()
        boxes[:, 0::2] = x + (boxes[:, 0::2] - left) * (width / inner_width)
        boxes[:, 1::2] = y + (boxes[:, 1::2] - top) * (height / inner_height)
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, self.source[1])
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, self.source[0])
        return boxes

    def map_to_source(self, values: np.ndarray, interpolation: str = "linear") -> np.ndarray:
        """A map over the canvas -> f32 over the picture; padding is cut away, zero outside of the window.

        values: [h, w], any number type; its cells divide the canvas evenly.

        Bilinear and bicubic resampling are separable, so this is two matrix products; unlike
        cv2.warpAffine, whose coordinates are rounded to 1/32 of a cell, it leaves no steps in a 7x7
        map on a large picture.
        """
        x1, y1, x2, y2 = self.window_box()
        if x2 <= x1 or y2 <= y1:
            return np.zeros(self.source, np.float32)
        values = np.ascontiguousarray(values, np.float32)
        if interpolation == "linear" and self.content == (0, 0, self.canvas[1], self.canvas[0]):
            seen = cv2.resize(values, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)  # the same, faster
        else:
            seen = self._resampled(values, (y2 - y1, x2 - x1), interpolation)
        if self.covers_picture:
            return seen
        whole = np.zeros(self.source, np.float32)
        whole[y1:y2, x1:x2] = seen
        return whole

    def _resampled(self, values: np.ndarray, size: Size, interpolation: str) -> np.ndarray:
        """`values`, a map over the canvas, at `size` (height, width) pixels over the content alone."""
        left, top, width, height = self.content
        rows = _weights(size[0], values.shape[0], top / self.canvas[0], height / self.canvas[0], interpolation)
        columns = _weights(size[1], values.shape[1], left / self.canvas[1], width / self.canvas[1], interpolation)
        seen = _product(rows, _product(values, columns.T))
        if interpolation == "cubic":  # overshoots at edges
            np.clip(seen, values.min(), values.max(), out=seen)
        return seen


def upright(values: np.ndarray, frame: MapFrame) -> np.ndarray:
    """A map [h, w] whose axes run as `frame` says -> rows downwards, columns to the right."""
    down, across = frame.backwards
    turned = values[:: -1 if down else 1, :: -1 if across else 1]
    return turned.T if frame.transposed else turned


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b, so many rows at a time that BLAS stays in this thread; its own would spin and take cores from the inference."""
    step = max(1, _ONE_THREAD // b.size)
    out = np.empty((a.shape[0], b.shape[1]), np.float32)
    for row in range(0, a.shape[0], step):
        np.matmul(a[row : row + step], b, out=out[row : row + step])
    return out


@functools.lru_cache(maxsize=32)
def _weights(count: int, cells: int, start: float, extent: float, interpolation: str) -> np.ndarray:
    """[count, cells]: how much each cell gives to each of `count` pixels that lie in start..start+extent (0..1)."""
    centre = (start + extent * (np.arange(count) + 0.5) / count) * cells - 0.5
    first = np.floor(centre).astype(int)
    weights = np.zeros((count, cells), np.float32)
    taps = (0, 1) if interpolation == "linear" else (-1, 0, 1, 2)
    kernel = _tent if interpolation == "linear" else _keys
    for tap in taps:
        cell = np.clip(first + tap, 0, cells - 1)
        np.add.at(weights, (np.arange(count), cell), kernel(np.abs(centre - first - tap)))
    weights.setflags(write=False)
    return weights


def _tent(distance: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - distance)


def _keys(distance: np.ndarray, a: float = -0.5) -> np.ndarray:
    # Keys' cubic convolution; a = -0.5 overshoots least.
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


def fit(source: Size, canvas: Size, resize_type: str) -> Geometry:
    """The geometry of Model API's resize types; see `ovxai.options.RESIZE_TYPES`."""
    height, width = source
    whole = (0.0, 0.0, float(width), float(height))
    full = (0.0, 0.0, float(canvas[1]), float(canvas[0]))
    if resize_type == "crop":
        return Geometry(source, canvas, _centre_crop(source, canvas), full)
    if resize_type == "standard":
        return Geometry(source, canvas, whole, full)
    scale = min(canvas[1] / width, canvas[0] / height)
    inner_width = min(canvas[1], max(1, round(width * scale)))
    inner_height = min(canvas[0], max(1, round(height * scale)))
    left = top = 0
    if resize_type == "fit_to_window_letterbox":
        left, top = (canvas[1] - inner_width) // 2, (canvas[0] - inner_height) // 2
    return Geometry(source, canvas, whole, (left, top, inner_width, inner_height))


def _centre_crop(source: Size, canvas: Size) -> Rectangle:
    height, width = source
    aspect = canvas[1] / canvas[0]
    crop_width = min(width, max(1, math.floor(height * aspect)))
    crop_height = min(height, max(1, math.floor(width / aspect)))
    return (width - crop_width) // 2, (height - crop_height) // 2, crop_width, crop_height
