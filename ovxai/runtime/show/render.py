"""A low-resolution map and a picture -> what people look at. All pictures here are [H, W, 3] u8 RGB."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.feed.geometry import Geometry

#: Levels of the contour style: share of the map's largest value.
_CONTOURS = (0.3, 0.5, 0.7, 0.9)
#: Shorter side of pictures in which lines leave room for shadows between them.
_SMALLEST_SHADED = 64


def to_grey(values: np.ndarray) -> np.ndarray:
    """A map of any range -> u8 0..255, least to largest; all zeros when it carries no evidence.

    The rule is that of the explained model's own maps: truncated, and nothing where the spread is
    within rounding of the values' size.
    """
    if values.dtype == np.uint8:
        return values
    values = np.asarray(values, np.float32)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all() or high - low <= 1e-6 * max(abs(low), abs(high)):
        return np.zeros(values.shape, np.uint8)
    return (255.0 * ((values - low) / (high - low))).astype(np.uint8)


def spread(values: np.ndarray, geometry: Geometry, config: ExplainConfig) -> np.ndarray:
    """A low-resolution map -> [H, W] u8 over the source picture, padding and crop undone."""
    # Bilinear surfaces have kinks, which shading hides and lines show.
    interpolation = "cubic" if config.style == "contour" else config.interpolation
    return cv2.convertScaleAbs(geometry.map_to_source(to_grey(values), interpolation))  # rounds and cuts off at 255


def heat_map(grey: np.ndarray, geometry: Geometry, config: ExplainConfig) -> np.ndarray:
    """The map alone, [H, W] u8, coloured; black where the network did not look."""
    colors = colorize(grey, config.colormap)
    if geometry.covers_picture:
        return colors
    seen = np.zeros_like(colors)
    x1, y1, x2, y2 = geometry.window_box()
    seen[y1:y2, x1:x2] = colors[y1:y2, x1:x2]
    return seen


def overlay(picture: np.ndarray, grey: np.ndarray, geometry: Geometry, config: ExplainConfig) -> np.ndarray:
    """The picture under its map, [H, W] u8; untouched where the network did not look."""
    paint = {"contour": _lines, "fade": _fade}.get(config.style, _blend)
    x1, y1, x2, y2 = geometry.window_box()
    if x2 <= x1 or y2 <= y1:
        return picture.copy()
    seen = paint(picture[y1:y2, x1:x2], grey[y1:y2, x1:x2], config)
    if geometry.covers_picture:
        return seen
    painted = picture.copy()
    painted[y1:y2, x1:x2] = seen
    return painted


def _blend(picture: np.ndarray, grey: np.ndarray, config: ExplainConfig) -> np.ndarray:
    return cv2.addWeighted(picture, 1 - config.opacity, colorize(grey, config.colormap), config.opacity, 0)


#: How the share of a map grows with its values in the style "fade": a bit faster than they do.
FADE_POWER = 0.75


def _fade(picture: np.ndarray, grey: np.ndarray, config: ExplainConfig) -> np.ndarray:
    """The map's share follows its values: what is cold keeps its colours."""
    share, colors = _faded(config.colormap, config.opacity)
    return cv2.add(cv2.multiply(picture, cv2.applyColorMap(grey, share), scale=1 / 255), cv2.applyColorMap(grey, colors))


@functools.lru_cache(maxsize=16)
def _faded(colormap: str, opacity: float) -> tuple[np.ndarray, np.ndarray]:
    """For every grey level, [256, 1, 3] u8: what is left of the picture, in 255ths, and what the map adds."""
    share = opacity * (np.arange(256) / 255.0) ** FADE_POWER
    left = np.repeat(np.rint(255 * (1 - share)).astype(np.uint8)[:, None, None], 3, axis=2)
    return left, np.floor(share[:, None] * table(colormap)).astype(np.uint8)[:, None]


def _lines(picture: np.ndarray, grey: np.ndarray, config: ExplainConfig) -> np.ndarray:
    """Lines of equal evidence, each in its colour; a shadow keeps them visible on any ground."""
    width = line_width(picture.shape)
    levels = {share: share * float(grey.max()) for share in _CONTOURS}
    lines = {share: _level_lines(grey, level) for share, level in levels.items() if level >= 1}
    painted = _shaded(picture, [line for some in lines.values() for line in some], width + 2)
    for share, some in lines.items():
        color = tuple(int(value) for value in table(config.colormap)[int(share * 255)])
        cv2.polylines(painted, some, False, color, width, cv2.LINE_AA)
    return painted


def _shaded(picture: np.ndarray, lines: list[np.ndarray], width: int) -> np.ndarray:
    """`picture` at half its brightness along `lines`; a picture so small that it would all be shadow stays as it is."""
    if min(picture.shape[:2]) < _SMALLEST_SHADED:
        return picture.copy()
    light = np.full(picture.shape[:2], 255, np.uint8)
    cv2.polylines(light, lines, False, 128, width, cv2.LINE_AA)
    return cv2.multiply(picture, cv2.cvtColor(light, cv2.COLOR_GRAY2RGB), scale=1 / 255)


def _level_lines(grey: np.ndarray, level: float) -> list[np.ndarray]:
    """Where `grey` crosses `level`, as open lines: along the edge nothing is crossed, the picture just ends."""
    outlines, _ = cv2.findContours((grey >= level).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    height, width = grey.shape
    lines = []
    for outline in outlines:
        points = np.concatenate([outline[:, 0], outline[:1, 0]])
        at_edge = (points[:, 0] % (width - 1 or 1) == 0) | (points[:, 1] % (height - 1 or 1) == 0)
        cuts = np.flatnonzero(np.diff(at_edge)) + 1
        for run, edge in zip(np.split(points, cuts), np.split(at_edge, cuts)):
            if not edge[0] and len(run) > 1:
                lines.append(run.astype(np.int32))
    return lines


def line_width(shape: tuple[int, ...]) -> int:
    """Thickness of lines that are seen, but hide little, on a picture of this shape."""
    return max(1, round(min(shape[:2]) / 250))


# Colours by name. Grey level -> RGB.

#: OpenCV's number of each of `COLORMAPS`.
_NUMBERS = {
    "jet": cv2.COLORMAP_JET,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "inferno": cv2.COLORMAP_INFERNO,
    "magma": cv2.COLORMAP_MAGMA,
    "plasma": cv2.COLORMAP_PLASMA,
    "cividis": cv2.COLORMAP_CIVIDIS,
    "turbo": cv2.COLORMAP_TURBO,
    "hot": cv2.COLORMAP_HOT,
    "bone": cv2.COLORMAP_BONE,
    "parula": cv2.COLORMAP_PARULA,
    "grey": None,
}
Color = tuple[int, int, int]


@functools.cache
def table(colormap: str) -> np.ndarray:
    """[256, 3] u8 RGB of `colormap`."""
    ramp = np.arange(256, dtype=np.uint8)
    number = _NUMBERS[colormap]
    if number is None:
        return np.repeat(ramp[:, None], 3, axis=1)
    return np.ascontiguousarray(cv2.applyColorMap(ramp[:, None], number)[:, 0, ::-1])


def colorize(grey: np.ndarray, colormap: str) -> np.ndarray:
    """[H, W] u8 -> [H, W, 3] u8 RGB."""
    return cv2.applyColorMap(grey, table(colormap)[:, None])


@functools.cache
def class_color(index: int) -> Color:
    """A colour for a class that stays the same from picture to picture; neighbours in index differ clearly."""
    hue = (index * 0.618034) % 1.0  # the golden ratio spreads any number of hues evenly
    pixel = np.array([[[int(hue * 179), 200, 255]]], np.uint8)
    blue, green, red = cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0]
    return int(red), int(green), int(blue)
