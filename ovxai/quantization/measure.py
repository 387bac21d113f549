"""Before and after on the same pictures: top class, its map, latency."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov

from ovxai.bench import Timed, alternate
from ovxai.errors import OptionError, SourceError
from ovxai.graph.picture import PictureInput, find_picture_input
from ovxai.metadata import CLASSIFICATION, SALIENCY_MAP, ModelInfo
from ovxai.quantization.report import Fidelity
from ovxai.runtime.facts import ModelFacts, read_facts
from ovxai.runtime.feed.engine import DeviceOptions, Engine, Prepared
from ovxai.runtime.feed.images import read_image
from ovxai.runtime.feed.preprocess import PreprocessOptions, Preprocessor, make_preprocessor
from ovxai.runtime.feed.sources import Source, find_sources
from ovxai.runtime.predict.labels import find_class
from ovxai.runtime.predict.predictions import class_scores, decodable, objects

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Seen:
    """What one model says of one picture. top: its best class, None where it finds nothing. right: None if unknown."""

    top: int | None
    right: bool | None
    maps: np.ndarray  # [C, h, w]


def look(model: ov.Model, pictures: Pictures, paths: tuple[str, ...], tick: Tick = lambda done, total: None) -> list[Seen]:
    """What the explained `model` (all classes, raw maps) says of every picture, in f32."""
    facts = read_facts(model)
    engine = Engine(model, facts, pictures.target, DeviceOptions(precision="f32"))
    found = []
    for number, path in enumerate(paths, 1):
        ready = pictures.load(path)
        outputs = engine.finish(engine.start([ready]))[0]
        top = _top(outputs, facts, ready.geometry)
        known = known_class(path, facts.names, facts.explained.num_classes or len(facts.names))
        right = None if known is None or facts.explained.task != CLASSIFICATION else top == known
        found.append(Seen(top, right, outputs[SALIENCY_MAP].astype(np.float32)))
        tick(number, len(paths))
    return found


def _top(outputs, facts: ModelFacts, geometry) -> int | None:
    if not decodable(facts):  # the class with the strongest cell: all that can be told
        maps = outputs[SALIENCY_MAP]
        return int(maps.reshape(len(maps), -1).max(axis=1).argmax())
    if facts.explained.task == CLASSIFICATION:
        return int(class_scores(outputs, facts).argmax())
    found = objects(outputs, facts, geometry)
    return found[0].class_index if found else None


def fidelity(before: list[Seen], after: list[Seen], paths: tuple[str, ...]) -> Fidelity | None:
    """How well the maps of the float model's top classes were kept."""
    rows = []
    for path, own, ours in zip(paths, before, after, strict=True):
        seen = own.top is not None and own.top < len(own.maps)
        value = correlation(own.maps[own.top], ours.maps[own.top]) if seen else None
        rows.append((path, value, own.top == ours.top))
    return Fidelity.of(rows)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's over the cells; of two flat maps 1, of one flat map 0."""
    a, b = (values.astype(np.float64).reshape(-1) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    flat = [np.abs(values).max() <= 1e-6 * max(np.abs(own).max(), 1e-30) for values, own in ((a, first), (b, second))]
    if any(flat):
        return 1.0 if all(flat) else 0.0
    return float((a @ b) / np.sqrt((a @ a) * (b @ b)))


def accuracy(seen: list[Seen]) -> float | None:
    """Share of right top classes among the pictures whose class is known."""
    known = [one.right for one in seen if one.right is not None]
    return float(np.mean(known)) if known else None


def timed(before: ov.Model, after: ov.Model, pictures: Pictures, path: str, seconds: float) -> Timed:
    """Alternating calls of both, as the device likes to compute."""
    arrays = next(iter(calibration_feeds(pictures, (path,), before)))
    return alternate([before, after], dict(enumerate(arrays)), "CPU", {}, 200, seconds)


# The pictures of a folder as a model's input tensors, by the code with which `ovxai run` feeds them.


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
