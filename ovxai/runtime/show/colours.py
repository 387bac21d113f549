"""Colour maps by name. Grey level -> RGB."""

from __future__ import annotations

import functools

import cv2
import numpy as np

#: OpenCV's number of each map. jet is what OTX paints with; the next five are perceptually uniform or nearly.
COLORMAPS = {
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


@functools.cache
def table(colormap: str) -> np.ndarray:
    """[256, 3] u8 RGB of `colormap`."""
    ramp = np.arange(256, dtype=np.uint8)
    number = COLORMAPS[colormap]
    if number is None:
        return np.repeat(ramp[:, None], 3, axis=1)
    return np.ascontiguousarray(cv2.applyColorMap(ramp[:, None], number)[:, 0, ::-1])


def colorize(grey: np.ndarray, colormap: str) -> np.ndarray:
    """[H, W] u8 -> [H, W, 3] u8 RGB."""
    return cv2.applyColorMap(grey, table(colormap)[:, None])


@functools.cache
def class_color(index: int) -> tuple[int, int, int]:
    """A colour for a class that stays the same from picture to picture; neighbours in index differ clearly."""
    hue = (index * 0.618034) % 1.0  # the golden ratio spreads any number of hues evenly
    pixel = np.uint8([[[int(hue * 179), 200, 255]]])
    blue, green, red = cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0]
    return int(red), int(green), int(blue)
