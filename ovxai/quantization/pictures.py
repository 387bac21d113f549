"""The pictures of a folder as a model's input tensors, by the code with which `ovxai run` feeds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov

from ovxai.errors import OptionError, SourceError
from ovxai.metadata import ModelInfo
from ovxai.runtime.engine import Prepared
from ovxai.runtime.images import read_image
from ovxai.runtime.labels import find_class
from ovxai.runtime.picture_input import PictureInput, find_picture_input
from ovxai.runtime.preprocess import Preprocessor, PreprocessOptions, make_preprocessor
from ovxai.runtime.sources import Source, find_sources


@dataclass(frozen=True)
class Pictures:
    """paths: of all that could be decoded. broken: a line for each that could not. prepare: picture -> tensor."""

    paths: tuple[str, ...]
    broken: tuple[str, ...]
    target: PictureInput
    prepare: Preprocessor
    notes: tuple[str, ...] = ()

    def load(self, path: str) -> Prepared:
        """[H, W, 3] u8 RGB and its tensor, as the runner makes them."""
        picture = read_image(path)
        tensor, geometry = self.prepare(picture)
        return Prepared(picture, tensor, geometry, path)

    def some(self, count: int) -> tuple[str, ...]:
        """At most `count` of the paths, evenly spread over the sorted list, and so over folders of classes."""
        total = len(self.paths)
        if count >= total:
            return self.paths
        return tuple(self.paths[i * total // count] for i in range(count))

    def without(self, taken: tuple[str, ...]) -> tuple[str, ...]:
        known = set(taken)
        return tuple(path for path in self.paths if path not in known)


def find_pictures(
    folder: str | Path, model: ov.Model, options: PreprocessOptions, tick: Callable[[int, int], None] = lambda done, total: None
) -> Pictures:
    """All pictures below `folder`, each decoded once to see that it can be.

    Raises:
        SourceError: no such folder, no picture in it, or all of them broken.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder; --data wants one with pictures")
    target = find_picture_input(model)
    prepare, notes = make_preprocessor(model, target, ModelInfo.read(model), options)
    found = [item for item in find_sources([str(folder)], recursive=True) if isinstance(item, Source) and item.kind == "image"]
    if not found:
        raise SourceError(f"{folder}: no pictures in this folder or below it")
    good, broken = [], []
    for number, item in enumerate(found, 1):
        try:
            read_image(item.name)
            good.append(item.name)
        except SourceError as error:
            broken.append(" ".join(str(error).split()))
        tick(number, len(found))
    if not good:
        raise SourceError(f"{folder}: none of the {len(broken)} pictures can be read; the first: {broken[0]}")
    return Pictures(tuple(good), tuple(broken), target, prepare, notes)


def calibration_feeds(pictures: Pictures, paths: tuple[str, ...], model: ov.Model) -> Iterator[tuple[np.ndarray, ...]]:
    """For every path the arrays of all inputs of `model`, in order; a static batch is filled with the one picture."""
    for path in paths:
        ready = pictures.load(path)
        batch = pictures.target.batch or 1
        tensor = np.stack([ready.tensor] * batch) if pictures.target.layout.startswith("N") else ready.tensor
        arrays: list = [None] * len(model.inputs)
        arrays[pictures.target.index] = tensor
        for index, length in pictures.target.tuples:
            height, width = ready.geometry.canvas
            row = (height, width, 1) if length == 3 else (width, height)
            arrays[index] = np.array([row] * batch, model.inputs[index].get_element_type().to_dtype())
        yield tuple(arrays)


def known_class(path: str, names: tuple[str, ...], count: int) -> int | None:
    """The class that the picture's folder is named after; None where it is no class."""
    folder = Path(path).parent.name
    try:
        return find_class(folder, names, count) if folder and not folder.startswith("-") else None
    except OptionError:
        return None
