"""The pictures of a folder as a model's input tensors, by the code with which `ovxai run` feeds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov

from ovxai.errors import OptionError, SourceError
from ovxai.graph.picture import PictureInput, find_picture_input
from ovxai.metadata import ModelInfo
from ovxai.runtime.feed.engine import Prepared, input_arrays, side_inputs
from ovxai.runtime.feed.images import read_image, to_display
from ovxai.runtime.feed.preprocess import PreprocessOptions, Preprocessor, make_preprocessor
from ovxai.runtime.feed.sources import Source, find_sources
from ovxai.runtime.predict.labels import find_class


@dataclass(frozen=True)
class Pictures:
    """The pictures below a folder, for one model.

    paths: of all that could be decoded. broken: one line for each that could not. target: the input that takes
    them. prepare: picture -> tensor. notes: what a person should know of the preprocessing.
    """

    paths: tuple[str, ...]
    broken: tuple[str, ...]
    target: PictureInput
    prepare: Preprocessor
    notes: tuple[str, ...] = ()

    def load(self, path: str) -> Prepared:
        """[H, W, 3] u8 RGB and its tensor, as the runner makes them.

        Raises:
            SourceError: the file can't be read.
        """
        pixels = read_image(path, self.prepare.channels)
        tensor, geometry = self.prepare(pixels)
        return Prepared(to_display(pixels), tensor, geometry, path)

    def without(self, taken: tuple[str, ...]) -> tuple[str, ...]:
        """The paths that are not among `taken`."""
        known = set(taken)
        return tuple(path for path in self.paths if path not in known)


def find_pictures(folder: str | Path, model: ov.Model, options: PreprocessOptions) -> Pictures:
    """All pictures below `folder`, each decoded once to see that it can be.

    Raises:
        SourceError: no such folder, no picture in it, or all of them broken.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder; --data wants one with pictures")
    target = find_picture_input(model)
    prepare, notes = make_preprocessor(model, target, ModelInfo.read(model), options)
    sources = find_sources([str(folder)], recursive=True)
    names = [source.name for source in sources if isinstance(source, Source) and source.kind == "image"]
    if not names:
        raise SourceError(f"{folder}: no pictures in this folder or below it")
    good, broken = [], []
    for name in names:
        try:
            read_image(name, prepare.channels)
            good.append(name)
        except SourceError as error:
            broken.append(" ".join(str(error).split()))
    if not good:
        raise SourceError(f"{folder}: none of the {len(broken)} pictures can be read; the first: {broken[0]}")
    return Pictures(tuple(good), tuple(broken), target, prepare, notes)


def spread(paths: tuple[str, ...], count: int) -> tuple[str, ...]:
    """At most `count` of the paths, evenly spread over the sorted list, and so over folders of classes."""
    return tuple(paths[i * len(paths) // count] for i in range(count)) if len(paths) > count else paths


def known_class(path: str, names: tuple[str, ...], count: int) -> int | None:
    """The class that the picture's folder is named after; None where it is no class. names, count: of the classes."""
    folder = Path(path).parent.name
    try:
        return find_class(folder, names, count) if folder and not folder.startswith("-") else None
    except OptionError:
        return None


def calibration_feeds(pictures: Pictures, paths: tuple[str, ...], model: ov.Model) -> Iterator[tuple[np.ndarray, ...]]:
    """For every path the arrays of all inputs of `model`, in order; a static batch is filled with the one picture."""
    sides = side_inputs(model, pictures.target)
    for path in paths:
        ready = pictures.load(path)
        batch = pictures.target.batch or 1
        arrays = input_arrays(pictures.target, sides, [ready.tensor] * batch, ready.geometry.canvas)
        yield tuple(arrays[index] for index in range(len(model.inputs)))
