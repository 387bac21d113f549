"""Annotations held against what a model says of each picture of a run: right, wrong, missed, and energy on the objects."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ovxai.annotations import AnnotatedPicture, AnnotationSet, NameMatch, TrueObject, match_names
from ovxai.evaluation.metrics import SAME_OBJECT, common_areas, energy, overlaps
from ovxai.metadata import VECTOR_TASKS
from ovxai.runtime.predict.facts import ModelFacts
from ovxai.runtime.predict.formats import Prediction
from ovxai.runtime.show.picture_maps import PictureMaps
from ovxai.runtime.show.render import to_grey
from ovxai.runtime.show.truth import MISSED, RIGHT, UNJUDGED, WRONG, TrueThing, Verdict

#: Part of a prediction that lies in a crowd region, from which it is neither right nor wrong (COCO's rule).
IN_CROWD = 0.5
_ORDER = (WRONG, MISSED, RIGHT, UNJUDGED)


class GroundTruth:
    """Judges the pictures of one run by their annotations; may be called from several threads.

    facts: of the model whose predictions are judged. names_file: see `match_names`.
    """

    def __init__(self, sets: Sequence[AnnotationSet], facts: ModelFacts, names_file: Path | None = None) -> None:
        self._facts = facts
        self._pictures: dict[Path, AnnotatedPicture] = {}
        self._by_name: dict[str, AnnotatedPicture | None] = {}
        for picture in (picture for one in sets for picture in one.pictures):
            self._pictures[picture.path.resolve()] = picture
            name = picture.path.name
            self._by_name[name] = None if name in self._by_name else picture  # two of one name: told apart by their paths only
        classes = [name for one in sets for name in one.classes]
        self.names: NameMatch = match_names(classes, facts.names, names_file)
        self.notes = tuple(note for one in sets for note in one.notes) + _about(self.names, classes)
        self._known = frozenset(self.names.index.values())
        self._lock = threading.Lock()
        self._records: list[tuple[int, str, dict[str, object]]] = []
        self._unannotated = 0
        self._other_size: list[str] = []

    def __call__(self, explanation: PictureMaps) -> Verdict | None:
        """What came of a picture; None where nothing is annotated of it."""
        picture = self._find(explanation.source)
        height, width = explanation.picture.shape[:2]
        objects = picture.at(height, width) if picture is not None else None
        if objects is None:
            with self._lock:
                self._unannotated += 1
                if picture is not None:
                    self._other_size.append(picture.path.name)
            return None
        verdict = self._judge(objects, explanation)
        with self._lock:
            rank = _ORDER.index(verdict.outcome)
            self._records.append((rank, explanation.source or "", verdict.record()))
        return verdict

    def document(self) -> dict[str, object]:
        """What came of all pictures so far, as plain JSON values, the wrong ones first."""
        with self._lock:
            ordered = sorted(self._records, key=lambda record: record[:2])
            counts = {outcome: sum(rank == i for rank, _, _ in ordered) for i, outcome in enumerate(_ORDER)}
            notes = [*self.notes]
            if self._other_size:
                notes.append(f"{len(self._other_size)} pictures have another shape than their annotation says, so they are not "
                             f"judged ({', '.join(sorted(self._other_size)[:3])})")  # fmt: skip
            return {
                **counts,
                "unannotated": self._unannotated,
                "classes": {name: self._facts.label(index) for name, index in self.names.index.items()},
                "unknown_classes": list(self.names.unmatched),
                "notes": notes,
                "pictures": [{"source": source, **record} for _, source, record in ordered],
            }

    def _find(self, source: str | None) -> AnnotatedPicture | None:
        if not source:
            return None
        path = Path(source)
        return self._pictures.get(path.resolve()) or self._by_name.get(path.name)

    def _judge(self, objects: Sequence[TrueObject], explanation: PictureMaps) -> Verdict:
        if self._facts.explained.task in VECTOR_TASKS:
            things, wrong = self._by_class(objects, explanation)
        else:
            things, wrong = self._by_box(objects, explanation)
        right, missed = _labels(things, RIGHT), _labels(things, MISSED)
        if self._facts.explained.task in VECTOR_TASKS:
            right, missed = tuple(dict.fromkeys(right)), tuple(dict.fromkeys(missed))
        return Verdict(
            outcome=WRONG if wrong else MISSED if missed else RIGHT if right or not things else UNJUDGED,
            things=tuple(things),
            right=right,
            wrong=tuple(wrong),
            missed=missed,
            energy=_energies(things, explanation),
        )

    def _by_class(self, objects: Sequence[TrueObject], explanation: PictureMaps) -> tuple[list[TrueThing], list[str]]:
        """Of several true classes a model that gives one class per picture has to name one."""
        single = not (self._facts.info.multilabel or self._facts.info.hierarchical)
        predictions = explanation.predictions[:1] if single else explanation.predictions
        predicted = {item.class_index for item in predictions}
        true = {self.names.index[item.name] for item in objects if item.name in self.names.index}
        otherwise = UNJUDGED if single and predicted & true else MISSED
        things = []
        for item in objects:
            index = self.names.index.get(item.name)
            outcome = UNJUDGED if index is None else RIGHT if index in predicted else otherwise
            things.append(self._thing(item, index, outcome, explanation))
        # A class that the data don't have may be there as well; but not as the one class of a picture that has another.
        judged = true | self._known if not (single and true) else predicted
        return things, [item.label for item in predictions if item.class_index in judged - true]

    def _by_box(self, objects: Sequence[TrueObject], explanation: PictureMaps) -> tuple[list[TrueThing], list[str]]:
        """Each prediction, the best first, takes the object of its class that it overlaps most."""
        predictions = [item for item in explanation.predictions if item.class_index in self._known]
        free = {i for i, item in enumerate(objects) if not item.crowd and item.name in self.names.index}
        found: set[int] = set()
        wrong = []
        for prediction in predictions:
            same = [i for i in free if self.names.index[objects[i].name] == prediction.class_index]
            best = max(same, key=lambda i: _overlap(prediction, objects[i]), default=None)
            if best is not None and _overlap(prediction, objects[best]) >= SAME_OBJECT:
                free.discard(best)
                found.add(best)
            elif not self._excused(prediction, objects):
                wrong.append(prediction.label)
        things = []
        for i, item in enumerate(objects):
            outcome = RIGHT if i in found else MISSED if i in free else UNJUDGED
            things.append(self._thing(item, self.names.index.get(item.name), outcome, explanation))
        return things, wrong

    def _excused(self, prediction: Prediction, objects: Sequence[TrueObject]) -> bool:
        """Whether it lies in a crowd of its class, or its class is there and nobody knows where."""
        same = [item for item in objects if self.names.index.get(item.name) == prediction.class_index]
        return any(item.box is None or (item.crowd and _inside(prediction, item) >= IN_CROWD) for item in same)

    def _thing(self, item: TrueObject, index: int | None, outcome: str, explanation: PictureMaps) -> TrueThing:
        label = item.name if index is None else self._facts.label(index)
        return TrueThing(label, index, item.box, item.mask_for(*explanation.picture.shape[:2]), outcome)


def _about(names: NameMatch, classes: Sequence[str]) -> tuple[str, ...]:
    notes = names.notes
    if names.unmatched:
        shown = ", ".join(names.unmatched[:8]) + (", ..." if len(names.unmatched) > 8 else "")
        count = f"{len(names.unmatched)} of {len(set(classes))} classes of the data are unknown to the model"
        notes = (*notes, f"{count}, their objects are not judged: {shown} (--names FILE says what they are called there)")
    return notes


def _labels(things: Sequence[TrueThing], outcome: str) -> tuple[str, ...]:
    return tuple(thing.label for thing in things if thing.outcome == outcome)


def _overlap(prediction: Prediction, item: TrueObject) -> float:
    """Share of the union of two boxes that both cover; 1 where either has no place, and only the class can be right."""
    if prediction.box is None or item.box is None:
        return 1.0
    return float(overlaps(item.box, prediction.box)[0])


def _inside(prediction: Prediction, item: TrueObject) -> float:
    if prediction.box is None or item.box is None:
        return 1.0
    x1, y1, x2, y2 = prediction.box
    area = max(0.0, x2 - x1) * max(0.0, y2 - y1)
    return float(common_areas(item.box, prediction.box)[0]) / area if area > 0 else 0.0


def _energies(things: Sequence[TrueThing], explanation: PictureMaps) -> dict[int, float]:
    """The share of each map's energy on the objects of its class; none where one of these has no place."""
    height, width = explanation.picture.shape[:2]
    shares = {}
    for key, values in explanation.raw_maps.items():
        regions = [_region(thing, height, width) for thing in things if thing.class_index == key]
        known = [region for region in regions if region is not None]
        if isinstance(key, int) and known and len(known) == len(regions):
            heat = np.maximum(explanation.geometry.map_to_source(to_grey(values)), 0)
            shares[key] = energy(heat, np.logical_or.reduce(known))
    return shares


def _region(thing: TrueThing, height: int, width: int) -> np.ndarray | None:
    mask = thing.mask
    return TrueObject(thing.label, thing.box, None if mask is None else lambda _height, _width: mask).inside(height, width)
