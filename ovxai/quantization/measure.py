"""A quantised candidate beside the float model on the same pictures: top class, its map, latency."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import openvino as ov

from ovxai.bench import Timed, alternate
from ovxai.errors import OptionError, SourceError
from ovxai.evaluation import Fidelity, fidelity
from ovxai.graph.picture import PictureInput, find_picture_input
from ovxai.insertion import insert_with_report
from ovxai.metadata import SALIENCY_MAP, VECTOR_TASKS, ModelInfo
from ovxai.options import InsertOptions
from ovxai.quantization.nncf_ptq import Recipe, post_training
from ovxai.runtime.feed.beside import input_arrays, side_inputs
from ovxai.runtime.feed.engine import DeviceOptions, Engine, Prepared
from ovxai.runtime.feed.geometry import Geometry
from ovxai.runtime.feed.images import read_image, to_display
from ovxai.runtime.feed.preprocess import PreprocessOptions, Preprocessor, make_preprocessor
from ovxai.runtime.feed.sources import Source, find_sources
from ovxai.runtime.predict.facts import ModelFacts, read_facts
from ovxai.runtime.predict.formats import class_scores, decodable, objects
from ovxai.runtime.predict.labels import find_class

#: Takes one line about the progress.
Say = Callable[[str], None]
#: Pairs of calls that a latency is the median of, if time allows.
_CALLS = 200


@dataclass(frozen=True)
class Seen:
    """What one model says of one picture.

    top: its best class, None where it finds nothing. right: whether that is the picture's class, None if unknown.
    maps: [C, h, w] f32, unscaled, of all classes.
    """

    top: int | None
    right: bool | None
    maps: np.ndarray


@dataclass(frozen=True)
class Work:
    """What every candidate is made of and judged by.

    plain: the float model. wanted: insert options of the result, without a probe. watched: those of the models
    that are compared (raw maps of all classes). pictures, calibration: where pictures to calibrate with come from, and
    which. proof, tests: the same for pictures to judge by. reference: what the float model says of the `tests`.
    say: gets lines about the progress. quiet: whether NNCF's own go nowhere.
    """

    plain: ov.Model
    wanted: InsertOptions
    watched: InsertOptions
    pictures: Pictures
    calibration: tuple[str, ...]
    proof: Pictures
    tests: tuple[str, ...]
    reference: list[Seen]
    say: Say
    quiet: bool = False

    def explained(self, model: ov.Model) -> ov.Model:
        """`model` with the explanation that the result will have."""
        return insert_with_report(model, self.wanted).model

    def seen(self, model: ov.Model, pictures: Pictures, paths: tuple[str, ...]) -> list[Seen]:
        """What the plain `model` says of every picture once it is explained with raw maps of all classes."""
        return look(insert_with_report(model, self.watched).model, pictures, paths)


@dataclass(frozen=True)
class Candidate:
    """A quantised model, how it was made, what it says of the test pictures and how well it keeps the maps."""

    recipe: Recipe
    model: ov.Model
    seen: list[Seen]
    fidelity: Fidelity | None

    @property
    def mean(self) -> float:
        """Mean correlation of its maps with the float model's; 0 where there is nothing to compare."""
        return self.fidelity.mean if self.fidelity else 0.0


def judged(work: Work, recipe: Recipe) -> Candidate:
    """Quantise by `recipe` and look at the result.

    Raises:
        NncfMissingError: not installed. UnsupportedModelError: NNCF or the insertion can't do it.
    """
    feeds = partial(calibration_feeds, work.pictures, work.calibration, work.plain)
    model = post_training(work.plain, feeds, len(work.calibration), recipe, work.quiet)
    seen = work.seen(model, work.proof, work.tests)
    return Candidate(recipe, model, seen, fidelity(work.tests, work.reference, seen))


def look(model: ov.Model, pictures: Pictures, paths: tuple[str, ...]) -> list[Seen]:
    """What the explained `model` (all classes, raw maps) says of every picture, in f32."""
    facts = read_facts(model)
    engine = Engine(model, pictures.target, facts.named_outputs(), DeviceOptions(precision="f32"))
    found = []
    for path in paths:
        ready = pictures.load(path)
        outputs = engine.finish(engine.start([ready]))[0]
        top = _top(outputs, facts, ready.geometry)
        known = known_class(path, facts.names, facts.explained.num_classes or len(facts.names))
        right = None if known is None or facts.explained.task not in VECTOR_TASKS else top == known
        found.append(Seen(top, right, outputs[SALIENCY_MAP].astype(np.float32)))
    return found


def _top(outputs: Mapping[str, np.ndarray], facts: ModelFacts, geometry: Geometry) -> int | None:
    if not decodable(facts):  # the class with the strongest cell: all that can be told
        maps = outputs[SALIENCY_MAP]
        return int(maps.reshape(len(maps), -1).max(axis=1).argmax())
    if facts.explained.task in VECTOR_TASKS:
        return int(class_scores(outputs, facts).argmax())
    found = objects(outputs, facts, geometry)
    return found[0].class_index if found else None


def timed(work: Work, before: ov.Model, after: ov.Model, seconds: float) -> Timed:
    """Alternating calls of two explained models on the first test picture, as the device likes to compute."""
    arrays = next(calibration_feeds(work.proof, work.tests[:1], work.plain))
    return alternate([before, after], dict(enumerate(arrays)), "CPU", {}, _CALLS, seconds)


def accuracy(seen: list[Seen]) -> float | None:
    """Share of right top classes among the pictures whose class is known, 0..1; None where none is."""
    known = [one.right for one in seen if one.right is not None]
    return float(np.mean(known)) if known else None


# The pictures of a folder as a model's input tensors, by the code with which `ovxai run` feeds them.


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


def find_pictures(folders: str | Path | Sequence[str | Path], model: ov.Model, options: PreprocessOptions) -> Pictures:
    """All pictures below a folder, or several, each decoded once to see that it can be.

    Raises:
        SourceError: no such folder, no picture in it, or all of them broken.
    """
    folders = [folders] if isinstance(folders, (str, Path)) else folders
    names: list[str] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise SourceError(f"{folder}: no such folder; --data wants one with pictures")
        sources = find_sources([str(folder)], recursive=True)
        found = [source.name for source in sources if isinstance(source, Source) and source.kind == "image"]
        if not found:
            raise SourceError(f"{folder}: no pictures in this folder or below it")
        names += found
    names = list(dict.fromkeys(names))
    target = find_picture_input(model)
    prepare, notes = make_preprocessor(model, target, ModelInfo.read(model), options)
    good, broken = [], []
    for name in names:
        try:
            read_image(name, prepare.channels)
            good.append(name)
        except SourceError as error:
            broken.append(" ".join(str(error).split()))
    if not good:
        places = ", ".join(map(str, folders))
        raise SourceError(f"{places}: none of the {len(broken)} pictures can be read; the first: {broken[0]}")
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
