"""Before and after on the same pictures: top class, its map, latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import openvino as ov

from ovxai.bench import Timed, alternate
from ovxai.metadata import CLASSIFICATION, SALIENCY_MAP
from ovxai.quantization.pictures import Pictures, calibration_feeds, known_class
from ovxai.quantization.report import Fidelity
from ovxai.runtime.engine import DeviceOptions, Engine
from ovxai.runtime.facts import ModelFacts, read_facts
from ovxai.runtime.predictions import class_scores, decodable, objects

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


