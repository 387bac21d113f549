"""Which pictures go through the model together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.errors import OvxaiError
from ovxai.metadata import ModelInfo
from ovxai.verification.engine import Engine
from ovxai.verification.inputs import PictureInput, feeds_for, fit, noise, prepare, sizes_to_try


@dataclass(frozen=True)
class Batch:
    """pictures: prepared, [N, ...]. ids: which picture each is. apart: whether each has a definition of its own."""

    pictures: np.ndarray
    ids: tuple[int, ...]
    apart: bool

    def feeds(self, model: ov.Model, place: PictureInput) -> dict[int, np.ndarray]:
        return feeds_for(model, place, self.pictures)

    def alone(self, row: int) -> Batch:
        """Only picture `row`, as a batch of one."""
        return Batch(self.pictures[row : row + 1], self.ids[row : row + 1], apart=True)


def make_batches(
    plain: ov.Model,
    place: PictureInput,
    image: np.ndarray | None,
    samples: int,
    seed: int,
    size: tuple[int, int] | None,
) -> tuple[list[Batch], list[str]]:
    """The batches to verify, and notes.

    A static batch is filled with different pictures. A dynamic one is tried alone and by two or more,
    because maps may leak from picture to picture only there.
    """
    if image is not None and image.ndim == 4:
        return [Batch(image, tuple(range(len(image))), apart=place.batch is None)], []
    info = ModelInfo.read(plain)
    total = max(samples, 2) if place.batch is None else -(-samples // place.batch) * place.batch
    batches, notes = [], []
    for height, width in _works(plain, place, info, size, seed):
        prepared = [_prepared(image, number, seed, place, info, height, width) for number in range(total)]
        stack = np.concatenate(prepared)
        if place.batch is None:
            batches = [Batch(stack[:1], (0,), apart=True), Batch(stack, tuple(range(total)), apart=True)]
        else:
            cuts = range(0, total, place.batch)
            batches = [Batch(stack[i : i + place.batch], tuple(range(i, i + place.batch)), apart=False) for i in cuts]
        if None in (place.height, place.width):
            notes.append(f"dynamic height and width: verified at {height} x {width}")
    if place.batch is None and not _runs(plain, batches[1], place):
        notes.append(f"the plain model itself does not take a batch of {total}; verified with single pictures")
        batches = [batches[1].alone(row) for row in range(total)]
    return batches, notes


def _prepared(
    image: np.ndarray | None,
    number: int,
    seed: int,
    place: PictureInput,
    info: ModelInfo,
    height: int,
    width: int,
) -> np.ndarray:
    if image is None:
        return prepare(noise(seed + number, height, width, place.channels), place, info)
    # The caller's picture first; then its mirror images, which are as realistic.
    turned = image[:: (-1 if number & 2 else 1), :: (-1 if number & 1 else 1)]
    picture = fit(np.ascontiguousarray(turned), place, height, width)
    return prepare(picture if number < 4 else 255 - picture, place, info)


def _works(
    plain: ov.Model, place: PictureInput, info: ModelInfo, asked: tuple[int, int] | None, seed: int
) -> list[tuple[int, int]]:
    """The first size the plain model runs at, as a list of one."""
    sizes = sizes_to_try(plain, place, asked)
    for height, width in sizes[:-1]:
        picture = prepare(noise(seed, height, width, place.channels), place, info)
        if _runs(plain, Batch(np.repeat(picture, place.batch or 1, axis=0), (0,), apart=True), place):
            return [(height, width)]
    return sizes[-1:]


def _runs(plain: ov.Model, batch: Batch, place: PictureInput) -> bool:
    try:
        Engine(plain)(batch.feeds(plain, place))
    except OvxaiError:
        return False
    return True
