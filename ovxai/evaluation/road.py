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
#: Where a step moves no pixel by more than this part of the spread, or after so many steps, or fewer in large pictures, whose
#: first guess comes of a solved smaller one.
_CLOSE, _ROUNDS, _WORK = 1e-6, 2000, 3_000_000


def imputed(planes: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """[C, h, w] f32 with every removed pixel the weighted mean of its neighbours, removed ones among them.

    removed: [h, w] bool. Solved by relaxation, from coarse to fine, to two parts in a hundred of the spread or better.
    With nothing left it is the planes' mean.
    """
    if not removed.any():
        return planes.copy()
    if removed.all():
        return np.broadcast_to(planes.mean(axis=(1, 2), keepdims=True), planes.shape).astype(np.float32)
    spread = max(float(np.ptp(planes)), 1e-12)
    return np.stack([_solved(plane.astype(np.float32), removed, spread) for plane in planes])


def _solved(plane: np.ndarray, removed: np.ndarray, spread: float) -> np.ndarray:
    known = (~removed).astype(np.float32)
    weight = cv2.filter2D(np.ones_like(known), -1, _NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)
    values = np.where(removed, _guess(plane, known, spread), plane)
    for _ in range(min(_ROUNDS, max(30, _WORK // plane.size))):
        mean = cv2.filter2D(values, -1, _NEIGHBOURS, borderType=cv2.BORDER_CONSTANT) / weight
        after = np.where(removed, mean, plane)
        done = float(np.abs(after - values).max()) <= _CLOSE * spread
        values = after
        if done:
            break
    return values


def _guess(plane: np.ndarray, known: np.ndarray, spread: float) -> np.ndarray:
    """The same of half the size, solved and enlarged."""
    if min(plane.shape) <= 4:
        return np.full_like(plane, float((plane * known).sum()) / max(float(known.sum()), 1e-12))
    half = (max(1, plane.shape[1] // 2), max(1, plane.shape[0] // 2))
    share = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(plane * known, half, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-12)
    removed = share <= 0
    if removed.any():
        mean = _solved(np.where(removed, 0, mean).astype(np.float32), removed, spread)
    return np.asarray(cv2.resize(mean, (plane.shape[1], plane.shape[0]), interpolation=cv2.INTER_LINEAR))


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
