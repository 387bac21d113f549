"""The figures of one map by their names: which there are, what they need, and how the means of many are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from ovxai.errors import UsageError
from ovxai.evaluation.cases import Case
from ovxai.evaluation.curves import (
    FILLS,
    STEPS,
    Curve,
    Score,
    average_drop,
    deletion,
    increased,
    insertion,
    masked_picture,
    max_sensitivity,
)
from ovxai.evaluation.judge import View
from ovxai.evaluation.metrics import PUBLISHED_TOLERANCE, energy, map_correlation, pointing
from ovxai.evaluation.road import road
from ovxai.evaluation.shapes import adcc, coherency, complexity, sparseness, unit_map


@dataclass(frozen=True)
class Metric:
    """One figure. up: whether more is better; None: neither. ground: needs an annotated region. again: runs the method again.

    parts: the numbers of a map that it is made of, where it is a ratio of two means; else its own name.
    """

    name: str
    line: str
    up: bool | None
    ground: bool = False
    again: bool = False
    parts: tuple[str, ...] = ()


METRICS = MappingProxyType({one.name: one for one in (
    Metric("pointing", "share of maps whose peak lies in an object (Zhang et al. 2016, without tolerance)", True, ground=True),
    Metric("pointing_15", "the same with the published tolerance of 15 pixels around the objects", True, ground=True),
    Metric("energy", "share of the map's energy in the objects over their share of the picture; 1: as a flat map", True,
           ground=True, parts=("inside", "area")),
    Metric("inside", "share of the map's energy in the objects (Score-CAM's energy-based pointing game)", True, ground=True),
    Metric("insertion", "area under the score while the strongest pixels appear (RISE)", True),
    Metric("deletion", "area under the score while the strongest pixels go (RISE)", False),
    Metric("drop", "by which share the score falls when only what the map names is shown (Grad-CAM++)", False),
    Metric("increase", "share of maps for which it rises (Grad-CAM++)", True),
    Metric("complexity", "mean of the map scaled to 0..1 (Poppi et al.)", False),
    Metric("coherency", "how little the map changes when only what it names is shown (Poppi et al.)", True, again=True),
    Metric("adcc", "harmonic mean of 1 - drop, coherency and 1 - complexity (Poppi et al.)", True, again=True),
    Metric("sparseness", "Gini index of the map's values (Chalasani et al.)", None),
    Metric("road", "remove and debias: score without the weakest less without the strongest, halved (Rong et al.)", True),
    Metric("sensitivity", "how far the map moves when noise of 2 % is added (Yeh et al.)", False, again=True),
    Metric("randomisation", "correlation with the map of the model with shuffled weights (Adebayo et al.)", False, again=True),
)})  # fmt: skip
DEFAULT = ("pointing", "pointing_15", "energy", "insertion", "deletion")
#: Pictures with a little noise that `sensitivity` tries, and the noise, as a share of white.
_NOISY, _NOISE = 5, 0.02


def chosen_metrics(words: Sequence[str]) -> tuple[str, ...]:
    """The metrics that are meant, in the table's order; "all", "default" or names.

    Raises:
        UsageError: there is no such metric.
    """
    wanted = set(DEFAULT) if not words else set()
    for word in words:
        if word == "all":
            wanted |= set(METRICS)
        elif word == "default":
            wanted |= set(DEFAULT)
        elif word in METRICS:
            wanted.add(word)
        else:
            raise UsageError(f"metrics: there is no {word!r}; choose all, default, or of {', '.join(METRICS)}")
    return tuple(name for name in METRICS if name in wanted)


@dataclass(frozen=True)
class Measuring:
    """How figures are made. fill: one for both curves, or None: as published, blurred for insertion and grey for deletion."""

    metrics: tuple[str, ...] = DEFAULT
    steps: int = STEPS
    fill: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.fill is not None and self.fill not in FILLS:
            raise UsageError(f"fill: there is no {self.fill!r}; choose one of {', '.join(FILLS)}")
        if self.steps < 1:
            raise UsageError(f"steps: {self.steps} is below 1")


#: What a method makes of other pixels of the same size: the map of the same target; None where it has none.
Again = Callable[[np.ndarray], np.ndarray | None]


@dataclass(frozen=True)
class Figures:
    """Of one map. values: by metric, and "area" of the region; a figure that can't be had is missing. curves: scores by name."""

    values: Mapping[str, float]
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def measure(
    case: Case,
    heat: np.ndarray,
    view: View,
    score: Score,
    before: float,
    measuring: Measuring,
    again: Again,
    shuffled: Again | None,
) -> Figures:
    """The figures of a map. heat: [H, W] over the picture. before: the target's score for the picture as it is.

    again, shuffled: the same method on other pixels, and of the model with shuffled weights.
    """
    wanted, values, curves = set(measuring.metrics), dict[str, float](), dict[str, Curve]()
    content = view.on_content(heat)
    if case.region is not None:
        values["area"] = float(case.region.mean())
        values["inside"] = energy(heat, case.region)
        values["pointing"] = pointing(heat, case.region)
        values["pointing_15"] = pointing(heat, case.region, PUBLISHED_TOLERANCE)
    for name, function, fill in (("insertion", insertion, "blur"), ("deletion", deletion, "mean")):
        if name in wanted:
            curves[name] = function(view.sight, content, score, measuring.fill or fill, measuring.steps, measuring.seed)
            values[name] = curves[name].area
    values["complexity"], values["sparseness"] = complexity(heat), sparseness(heat)
    if wanted & {"drop", "increase", "adcc"}:
        after = float(score([masked_picture(view.sight, content)])[0])
        values["drop"], values["increase"] = average_drop(before, after), increased(before, after)
    if wanted & {"coherency", "adcc"}:
        masked = again(_masked_pixels(view.pixels, heat))
        if masked is not None:
            values["coherency"] = coherency(heat, masked)
    if "adcc" in wanted and "coherency" in values:
        values["adcc"] = adcc(values["drop"], values["coherency"], values["complexity"])
    if "road" in wanted:
        values["road"] = road(view.sight, content, score, seed=measuring.seed)
    if "sensitivity" in wanted:
        others = [again(pixels) for pixels in _noisy(view.pixels, measuring.seed)]
        values["sensitivity"] = max_sensitivity(heat, [other for other in others if other is not None])
    if "randomisation" in wanted and shuffled is not None:
        other = shuffled(view.pixels)
        if other is not None:
            values["randomisation"] = map_correlation(heat, other)
    kept = {name: value for name, value in values.items() if name in wanted or name in ("area", "inside")}
    return Figures(kept, {name: tuple(curve.scores.tolist()) for name, curve in curves.items()})


def _masked_pixels(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture times its map, on grey of its mean colour."""
    share = unit_map(heat)[..., None]
    mean = pixels.mean(axis=(0, 1), keepdims=True)
    return np.asarray(np.rint(mean + share * (pixels - mean)), np.uint8)


def _noisy(pixels: np.ndarray, seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    width = 255 * _NOISE
    return [
        np.clip(np.rint(pixels + random.uniform(-width, width, pixels.shape)), 0, 255).astype(np.uint8) for _ in range(_NOISY)
    ]
