"""The embedded pictures against the map beside them: what a client with an image library would have made of it."""

from __future__ import annotations

import numpy as np

from ovxai.metadata import ModelInfo
from ovxai.verification.inputs import PictureInput
from ovxai.verification.report import Check
from ovxai.verification.resize import bilinear

#: Grey levels: rounding of the map, and what one level of it is at the steepest place of the colour table, blended.
MAP_OFF, OVERLAY_OFF = 1, 4
OPACITY = 0.5


def check_embedded_map(found: np.ndarray, maps: np.ndarray, sides: tuple[int, int]) -> Check:
    """u8 [N, C, H, W]: `maps` [N, C, h, w], bilinear at the input's size."""
    wanted = np.rint(bilinear(grey(maps), *sides))
    return _compared("saliency_map_resized", found, wanted, MAP_OFF)


def check_overlay(
    found: np.ndarray,
    maps: np.ndarray,
    ranking: np.ndarray,
    pictures: np.ndarray,
    place: PictureInput,
    info: ModelInfo,
) -> Check:
    """u8 [N, H, W, 3], RGB: the strongest class's map in jet colours, half and half with the picture as fed.

    ranking: [N, C] of the classes that `maps` show, by which the strongest is told.
    """
    import cv2

    shown = _displayed(pictures, place, info)
    jet = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_JET)[:, 0, ::-1].astype(
        np.float64
    )
    best = np.stack([grey(one)[scores.argmax()] for one, scores in zip(maps, ranking, strict=True)])
    levels = np.rint(bilinear(best, *shown.shape[1:3])).astype(int)
    wanted = np.rint(OPACITY * jet[levels] + (1 - OPACITY) * shown)
    return _compared("saliency_overlay", found, wanted, OVERLAY_OFF)


def grey(maps: np.ndarray) -> np.ndarray:
    """0..255 per map, as scaled maps are already."""
    if maps.dtype == np.uint8:
        return maps.astype(np.float64)
    low, high = maps.min(axis=(-2, -1), keepdims=True), maps.max(axis=(-2, -1), keepdims=True)
    return np.floor(255 * (maps.astype(np.float64) - low) / np.where(high > low, high - low, 1))


def _compared(title: str, found: np.ndarray, wanted: np.ndarray, allowed: int) -> Check:
    if found.dtype != np.uint8 or found.shape != wanted.shape:
        return Check(
            title,
            False,
            f"is {found.dtype} of shape {list(found.shape)}, should be uint8 of {list(wanted.shape)}",
        )
    off = np.abs(found.astype(int) - wanted)
    detail = f"{int(off.max())} grey levels from what the map beside it gives, {allowed} allowed"
    return Check(title, bool(off.max() <= allowed), detail)


def _displayed(pictures: np.ndarray, place: PictureInput, info: ModelInfo) -> np.ndarray:
    """[N, H, W, 3] RGB 0..255 of what was fed."""
    pixels = (pictures.transpose(0, 2, 3, 1) if place.nchw else pictures).astype(np.float64)
    if np.issubdtype(pictures.dtype, np.floating) and not info.embedded_processing:
        if info.mean or info.scale:
            pixels = pixels * np.array(info.scale or (1.0,)) + np.array(info.mean or (0.0,))
        else:
            low, high = pixels.min(axis=(1, 2, 3), keepdims=True), pixels.max(axis=(1, 2, 3), keepdims=True)
            pixels = 255 * (pixels - low) / np.maximum(high - low, 1e-6)
    pixels = pixels[..., ::-1] if info.reverse_input_channels else pixels
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels
