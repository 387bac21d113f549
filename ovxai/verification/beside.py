"""The outputs that stand beside the map, each against what it should be."""

from __future__ import annotations

import numpy as np

from ovxai.metadata import EMBEDDED_MAP, EMBEDDED_OVERLAY, FEATURE_MAP, FEATURE_VECTOR, SALIENCY_INDEX, SALIENCY_MAP, ModelInfo
from ovxai.verification.batches import Batch
from ovxai.verification.compare import Definition
from ovxai.verification.detection import bilinear
from ovxai.verification.features import check_feature_map
from ovxai.verification.inputs import PictureInput
from ovxai.verification.plain import Case
from ovxai.verification.report import Check
from ovxai.verification.tasks import check_index, check_vector


def check_beside(
    case: Case, batch: Batch, found: dict[str, np.ndarray], wanted: Definition, classes: list[np.ndarray]
) -> list[Check]:
    """One check for each extra output but the map. classes: per picture those that its maps are of."""
    maps, index = found[SALIENCY_MAP], found.get(SALIENCY_INDEX)
    checks = [check_index(case.info.classes, index, wanted.ranking, wanted.maps.shape[1])]
    if FEATURE_MAP in found:
        checks.append(check_feature_map(found[FEATURE_MAP], wanted.features))
    if FEATURE_VECTOR in found:
        feeds = batch.feeds(case.plain, case.place)
        checks.append(check_vector(found[FEATURE_VECTOR], case.plain, case.info, feeds, wanted.features))
    if EMBEDDED_MAP in found:
        sides = batch.pictures.shape[2:] if case.place.nchw else batch.pictures.shape[1:3]
        checks.append(check_embedded_map(found[EMBEDDED_MAP], maps, sides))
    if EMBEDDED_OVERLAY in found and len(classes) == len(maps):
        whole = wanted.ranking if wanted.ranking is not None else np.zeros(wanted.maps.shape[:2])
        ranking = np.stack([scores[chosen] for scores, chosen in zip(whole, classes, strict=True)])
        own = ModelInfo.read(case.plain)
        checks.append(check_overlay(found[EMBEDDED_OVERLAY], maps, ranking, batch.pictures, case.place, own))
    return [check for check in checks if check is not None]


# The embedded pictures against the map beside them: what a client with an image library would have made of it.

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
    jet = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_JET)[:, 0, ::-1].astype(np.float64)
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
