"""A quantised candidate beside the float model on the same pictures: top class, its map, latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import openvino as ov

from ovxai.bench import Timed, alternate
from ovxai.evaluation import Fidelity, fidelity
from ovxai.insertion import insert_with_report
from ovxai.metadata import CLASSIFICATION, SALIENCY_MAP
from ovxai.options import InsertOptions
from ovxai.quantization.nncf_ptq import Recipe, post_training
from ovxai.quantization.pictures import Pictures, calibration_feeds, known_class
from ovxai.runtime.feed.engine import DeviceOptions, Engine
from ovxai.runtime.feed.geometry import Geometry
from ovxai.runtime.predict.facts import ModelFacts, read_facts
from ovxai.runtime.predict.formats import class_scores, decodable, objects

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
        right = None if known is None or facts.explained.task != CLASSIFICATION else top == known
        found.append(Seen(top, right, outputs[SALIENCY_MAP].astype(np.float32)))
    return found


def _top(outputs: dict[str, np.ndarray], facts: ModelFacts, geometry: Geometry) -> int | None:
    if not decodable(facts):  # the class with the strongest cell: all that can be told
        maps = outputs[SALIENCY_MAP]
        return int(maps.reshape(len(maps), -1).max(axis=1).argmax())
    if facts.explained.task == CLASSIFICATION:
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
