"""What maps look like by themselves, as numbers: how much they cover, how concentrated they are, how they go with scores."""

from __future__ import annotations

import numpy as np

from ovxai.evaluation.metrics import NO_EVIDENCE, map_correlation


def unit_map(heat: np.ndarray) -> np.ndarray:
    """A map scaled to 0..1, f32; a flat one is all zeros, and what is no number counts as 0.

    heat: [H, W], in any units.
    """
    values = np.nan_to_num(np.asarray(heat, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if high - low <= NO_EVIDENCE * max(abs(low), abs(high)):
        return np.zeros_like(values)
    return np.asarray((values - low) / (high - low), np.float32)


def complexity(heat: np.ndarray) -> float:
    """The mean of the map scaled to 0..1: how much of the picture it names, 0..1; less is better. A flat map: 0.

    Poppi et al., "Revisiting the Evaluation of Class Activation Mapping" (arXiv 2104.10252): its L1 norm, over the pixels.
    """
    return float(unit_map(heat).mean(dtype=np.float64))


def coherency(heat: np.ndarray, again: np.ndarray) -> float:
    """How little the map changes when the model sees only what the map names, 0..1; more is better.

    heat: [H, W]. again: [H, W], the map of the same class for the picture times the map (scaled to 0..1).

    Poppi et al. (arXiv 2104.10252): Pearson's correlation, brought from -1..1 to 0..1.
    """
    return (1.0 + map_correlation(unit_map(heat), unit_map(again))) / 2.0


def adcc(drop: float, coherent: float, complex_: float) -> float:
    """Average drop, coherency and complexity in one number, 0..1; more is better.

    Poppi et al. (arXiv 2104.10252): the harmonic mean of 1 - average drop, coherency and 1 - complexity; 0 where one of them is.
    """
    parts = (1.0 - drop, coherent, 1.0 - complex_)
    return 0.0 if min(parts) <= 0.0 else 3.0 / sum(1.0 / part for part in parts)


def sparseness(heat: np.ndarray) -> float:
    """The Gini index of the map's values, 0 (flat) to just below 1 (one pixel); more is more concentrated.

    heat: [H, W], not negative or in any units: the smallest value counts as 0 if it is below 0.

    Chalasani et al., "Concise Explanations of Neural Networks using Adversarial Training" (arXiv 1810.06583); the
    formula is Hurley and Rickard's (arXiv 0811.4706).
    """
    values = np.nan_to_num(np.asarray(heat, np.float64).reshape(-1), nan=0.0, posinf=0.0, neginf=0.0)
    values = np.sort(values - min(0.0, float(values.min())))
    total = float(values.sum())
    if total <= 0.0:
        return 0.0
    weights = (len(values) - np.arange(1, len(values) + 1) + 0.5) / len(values)
    return float(max(0.0, 1.0 - 2.0 * float(values @ weights) / total))
