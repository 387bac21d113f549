"""Is what a map names what the model looks at? The picture is changed by the map, and the model's score is watched.

Everything here works on the tensor that is fed to the model and asks for scores through a function, so it knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from ovxai.errors import UsageError
from ovxai.evaluation.shapes import unit_map

#: Tensors without batch axis -> the score of the target in each, 0..1.
Score = Callable[[Iterable[np.ndarray]], np.ndarray]
#: What stands where nothing of the picture is shown.
FILLS = ("blur", "mean", "zero")
#: Steps of the curves.
STEPS = 30
#: RISE's blur: a kernel of 11 pixels with sigma 5 for pictures 224 pixels wide; of smaller ones than the last it is as of that.
_KERNEL, _SIGMA, _WIDE, _NARROW = 11, 5.0, 224, 61


@dataclass(frozen=True)
class Sight:
    """A picture as it is fed. tensor: [C, h, w] (planar) or [h, w, C]. content: x, y, width, height of what shows the
    picture; around it is padding, which is never changed. black: [C], the tensor's numbers for a black pixel."""

    tensor: np.ndarray
    planar: bool
    content: tuple[int, int, int, int]
    black: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the content."""
        return self.content[3], self.content[2]

    def spread(self, share: np.ndarray) -> np.ndarray:
        """[h', w'] over the content -> what multiplies with the tensor, 1 around it."""
        x, y, width, height = self.content
        sides = self.tensor.shape[1:] if self.planar else self.tensor.shape[:2]
        whole = np.ones(sides, share.dtype)
        whole[y : y + height, x : x + width] = share
        return whole[None] if self.planar else whole[..., None]

    def mixed(self, other: np.ndarray, share: np.ndarray) -> np.ndarray:
        """share: [h', w'] bool or 0..1, how much of the picture is shown; the rest shows `other`."""
        factor = self.spread(share)
        if factor.dtype == bool:
            return np.where(factor, self.tensor, other)
        values = other.astype(np.float32) + factor.astype(np.float32) * (
            self.tensor.astype(np.float32) - other.astype(np.float32)
        )
        if np.issubdtype(self.tensor.dtype, np.integer):
            values = np.rint(values)
        return values.astype(self.tensor.dtype)

    def filled(self, fill: str) -> np.ndarray:
        """The tensor of the picture with nothing in it: blurred, of its mean colour, or black.

        Raises:
            UsageError: another fill.
        """
        if fill not in FILLS:
            raise UsageError(f"fill: there is no {fill!r}; choose one of {', '.join(FILLS)}")
        x, y, width, height = self.content
        planes = self.tensor if self.planar else np.moveaxis(self.tensor, -1, 0)
        made = planes.copy()
        for channel, plane in enumerate(planes):
            seen = plane[y : y + height, x : x + width]
            made[channel, y : y + height, x : x + width] = self._filling(seen.astype(np.float32), channel, fill)
        return made if self.planar else np.ascontiguousarray(np.moveaxis(made, 0, -1))

    def _filling(self, seen: np.ndarray, channel: int, fill: str) -> np.ndarray:
        if fill == "blur":
            kernel = blur_kernel(seen.shape[1])
            values = cv2.sepFilter2D(seen, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
        else:
            values = np.full_like(seen, seen.mean() if fill == "mean" else self.black[channel])
        return np.rint(values) if np.issubdtype(self.tensor.dtype, np.integer) else values


def blur_kernel(width: int) -> np.ndarray:
    """[n], the sum 1: what blurs down and across a picture so wide.

    As in the code that Petsiuk et al. published with RISE (arXiv 1806.07421): a one among zeros, blurred within the kernel's own
    length, whose ends reflect; so it is flatter than a Gaussian that is cut off.
    """
    width = max(width, _NARROW)
    one = np.zeros((1, round(_KERNEL * width / _WIDE) | 1), np.float32)
    one[0, one.size // 2] = 1
    sigma = _SIGMA * width / _WIDE
    return cv2.GaussianBlur(one, (2 * round(4 * sigma) + 1, 1), sigma, borderType=cv2.BORDER_REFLECT)[0]


def ranks(heat: np.ndarray, seed: int = 0) -> np.ndarray:
    """[h, w] -> the place of each pixel, i32, 0 the strongest. Equal pixels come in an order drawn by `seed`.

    Row by row, a flat map would uncover the picture from above and be better or worse than chance.
    """
    flat = np.asarray(heat, np.float32).reshape(-1)
    shuffled = np.random.default_rng(seed).permutation(flat.size)
    order = shuffled[np.argsort(-flat[shuffled], kind="stable")]
    places = np.empty(flat.size, np.int32)
    places[order] = np.arange(flat.size, dtype=np.int32)
    return places.reshape(heat.shape)


@dataclass(frozen=True)
class Curve:
    """Scores [steps + 1] at even shares of changed pixels from 0 to 1, and the area below by trapezes, 0..1."""

    scores: np.ndarray

    @property
    def area(self) -> float:
        return float((self.scores[:-1] + self.scores[1:]).sum(dtype=np.float64) / (2 * max(1, len(self.scores) - 1)))


def insertion(sight: Sight, heat: np.ndarray, score: Score, fill: str = "blur", steps: int = STEPS, seed: int = 0) -> Curve:
    """The score while pixels appear on an empty picture, the strongest first; a larger area is better.

    heat: [h', w'] over the content. fill: of the empty picture. Petsiuk et al., RISE (arXiv 1806.07421), where it is blurred.
    """
    return _curve(sight, sight.filled(fill), heat, score, steps, seed, shown=True)


def deletion(sight: Sight, heat: np.ndarray, score: Score, fill: str = "mean", steps: int = STEPS, seed: int = 0) -> Curve:
    """The score while pixels are taken away, the strongest first; a smaller area is better.

    heat: [h', w'] over the content. fill: what is left. Petsiuk et al., RISE (arXiv 1806.07421), where it is grey.
    """
    return _curve(sight, sight.filled(fill), heat, score, steps, seed, shown=False)


def _curve(sight: Sight, empty: np.ndarray, heat: np.ndarray, score: Score, steps: int, seed: int, *, shown: bool) -> Curve:
    places = ranks(heat, seed)

    def pictures() -> Iterator[np.ndarray]:
        for step in range(steps + 1):
            strongest = places < round(step * places.size / steps)
            yield sight.mixed(empty, strongest if shown else ~strongest)

    return Curve(np.nan_to_num(np.asarray(score(pictures()), np.float64)))


def masked_picture(sight: Sight, heat: np.ndarray, fill: str = "mean") -> np.ndarray:
    """The tensor of the picture times the map: where the map is 0 stands the fill, where it is 1 the picture."""
    return sight.mixed(sight.filled(fill), unit_map(heat))


def average_drop(before: float, after: float) -> float:
    """By which share the score falls when only what the map names is shown, 0..1; less is better.

    before, after: the score of the picture and of `masked_picture`. Chattopadhay et al., Grad-CAM++ (arXiv 1710.11063).
    """
    return max(0.0, before - after) / before if before > 0 else 0.0


def increased(before: float, after: float) -> float:
    """1 where the score rises when only what the map names is shown, else 0; its mean is the increase in confidence.

    Chattopadhay et al., Grad-CAM++ (arXiv 1710.11063).
    """
    return float(after > before)


def max_sensitivity(heat: np.ndarray, others: Iterable[np.ndarray]) -> float:
    """How far a map moves when the picture hardly does: the largest |other - heat| / |heat| (Euclidean); less is better.

    heat, others: [H, W], scaled to 0..1 here; others are maps of the same class for the picture with a little noise. Of a
    flat map 0 where the others are flat as well, else 1.

    Yeh et al., "On the (In)fidelity and Sensitivity of Explanations" (arXiv 1901.09392), normalised as Quantus does.
    """
    own = unit_map(heat).astype(np.float64)
    size = float(np.linalg.norm(own))
    moved = max((float(np.linalg.norm(unit_map(other) - own)) for other in others), default=0.0)
    return moved / size if size > 0 else float(moved > 0)
