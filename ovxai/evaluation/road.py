"""Remove and debias: how the score falls when pixels are replaced by what their neighbours suggest.

Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods" (ROAD, arXiv 2202.00449): pixels that
are painted over leave the mask's shape in the picture, which models read; noisy linear imputation hides it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ovxai.evaluation.curves import Score, Sight, ranks

#: Shares of the picture that are removed, as in pytorch-grad-cam, and the noise that is added, per unit of the tensor's spread.
SHARES = (0.2, 0.4, 0.6, 0.8)
NOISE = 0.01
#: Of the eight neighbours: those beside count twice those across the corner.
_NEIGHBOURS = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]], np.float32) / 12
_ROUNDS, _CLOSE = 2000, 1e-4


def imputed(planes: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """[C, h, w] f32 with every removed pixel the weighted mean of its neighbours, removed ones among them.

    removed: [h, w] bool. Solved by relaxation from a coarse first guess, to 1e-4 of the planes' spread. With nothing left it is
    the planes' mean.
    """
    if not removed.any():
        return planes.copy()
    if removed.all():
        return np.broadcast_to(planes.mean(axis=(1, 2), keepdims=True), planes.shape).astype(np.float32)
    known = (~removed).astype(np.float32)
    weight = cv2.filter2D(np.ones_like(known), -1, _NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)
    spread = max(float(np.ptp(planes)), 1e-12)
    return np.stack([_relaxed(plane.astype(np.float32), removed, known, weight, spread) for plane in planes])


def _relaxed(plane: np.ndarray, removed: np.ndarray, known: np.ndarray, weight: np.ndarray, spread: float) -> np.ndarray:
    values = np.where(removed, _guess(plane, known), plane)
    for _ in range(_ROUNDS):
        mean = cv2.filter2D(values, -1, _NEIGHBOURS, borderType=cv2.BORDER_CONSTANT) / weight
        after = np.where(removed, mean, plane)
        # A step of size d leaves an error of many d: relaxation is slow in wide holes.
        done = float(np.abs(after - values).max()) <= _CLOSE * spread * 1e-2
        values = after
        if done:
            break
    return values


def _guess(plane: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What the nearest level of a pyramid of means of known pixels says."""
    if min(plane.shape) <= 2 or known.all():
        total = float(known.sum())
        return np.full_like(plane, float((plane * known).sum()) / total) if total else np.zeros_like(plane)
    half = (max(1, plane.shape[1] // 2), max(1, plane.shape[0] // 2))
    weight = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(plane * known, half, interpolation=cv2.INTER_AREA) / np.maximum(weight, 1e-12)
    coarse = _guess(np.where(weight > 0, mean, 0).astype(np.float32), (weight > 0).astype(np.float32))
    filled = np.where(weight > 0, mean, coarse).astype(np.float32)
    return np.asarray(cv2.resize(filled, (plane.shape[1], plane.shape[0]), interpolation=cv2.INTER_LINEAR))


def road(sight: Sight, heat: np.ndarray, score: Score, shares: Sequence[float] = SHARES, seed: int = 0) -> float:
    """Half the mean of (score without the weakest pixels - score without the strongest), -0.5..0.5; more is better.

    heat: [h', w'] over the content. shares: of the pixels that are removed. As pytorch-grad-cam's ROADCombined averages it.
    """
    places = ranks(heat, seed)
    least = places.size - 1 - places
    strongest, weakest = (
        score([_without(sight, order < round(share * order.size), seed) for share in shares]) for order in (places, least)
    )
    return float(np.nan_to_num(np.mean(weakest - strongest) / 2))


def _without(sight: Sight, removed: np.ndarray, seed: int) -> np.ndarray:
    x, y, width, height = sight.content
    planes = sight.tensor if sight.planar else np.moveaxis(sight.tensor, -1, 0)
    seen = planes[:, y : y + height, x : x + width].astype(np.float32)
    noise = np.random.default_rng(seed).standard_normal(seen.shape, np.float32) * (NOISE * max(float(np.ptp(seen)), 1e-12))
    filled = np.where(removed, imputed(seen, removed) + noise, seen)
    made = planes.copy()
    if np.issubdtype(made.dtype, np.integer):
        limits = np.iinfo(made.dtype)
        filled = np.clip(np.rint(filled), limits.min, limits.max)
    made[:, y : y + height, x : x + width] = filled
    return made if sight.planar else np.ascontiguousarray(np.moveaxis(made, 0, -1))
