"""Every column on every picture: maps, figures, and a record of each that a broken-off run goes on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from ovxai.evaluation.basis import Basis
from ovxai.evaluation.cases import Annotated, Case, Choice, Tally, cases_of, ground
from ovxai.evaluation.columns import Bench, Column
from ovxai.evaluation.figures import Again, Measuring, measure
from ovxai.evaluation.judge import Judge, Target, View
from ovxai.runtime.feed.images import read_image
from ovxai.runtime.feed.sources import Broken

#: Longer side of the map that a record keeps for the page.
_KEPT_SIDE = 40


@dataclass(frozen=True)
class Record:
    """One map of one column, as one line of JSON.

    score: of the target in the picture as it is. true: whether the class is there by the annotation. figures, curves: see
    `Figures`. heat: the map, small, [rows of grey levels]. box: the one that is explained.
    """

    column: str
    picture: str
    class_index: int
    label: str
    score: float
    true: bool | None
    figures: Mapping[str, float]
    curves: Mapping[str, Sequence[float]]
    heat: Sequence[Sequence[int]]
    box: Sequence[float] | None = None

    @classmethod
    def from_dict(cls, values: object) -> Record:
        """Raises: ValueError: not what `asdict` makes of one."""
        one = cls(**_keywords(values))
        good = (
            all(isinstance(text, str) for text in (one.column, one.picture, one.label))
            and isinstance(one.class_index, int)
            and (one.true is None or isinstance(one.true, bool))
            and _are_numbers([one.score])
            and isinstance(one.figures, dict)
            and _are_numbers(list(one.figures.values()))
            and isinstance(one.curves, dict)
            and all(_are_numbers(curve) for curve in one.curves.values())
            and _is_grey(one.heat)
            and (one.box is None or (_are_numbers(one.box) and len(one.box) == 4))
        )
        if not good:
            raise ValueError("no record")
        return one


@dataclass(frozen=True)
class Done:
    """What came of one picture in one column. seconds: to make its maps. forwards: pictures that went through the judge for
    them. missing: targets of which the column has no map. error: why the picture failed; then there is nothing else.
    notes: what was left out of the picture, counted, with the first column alone. basis: what all of this holds for."""

    column: str
    picture: str
    records: tuple[Record, ...] = ()
    seconds: float = 0.0
    forwards: int = 0
    missing: int = 0
    error: str = ""
    notes: Mapping[str, int] = field(default_factory=dict)
    basis: Basis | None = None

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> Done:
        """Raises: ValueError: not what `to_dict` makes of one."""
        known = _keywords(values)
        records, basis = known.get("records"), known.get("basis")
        if not isinstance(records, list):
            raise ValueError("no records")
        known |= {"records": tuple(map(Record.from_dict, records)), "basis": None if basis is None else Basis.from_dict(basis)}
        one = cls(**known)
        good = (
            all(isinstance(text, str) for text in (one.column, one.picture, one.error))
            and isinstance(one.notes, dict)
            and all(isinstance(number, int) for number in (one.forwards, one.missing, *one.notes.values()))
            and _are_numbers([one.seconds])
        )
        if not good:
            raise ValueError("no record")
        return one


def _keywords(values: object) -> dict[str, Any]:
    """Of one of the classes above, whose names are all keywords of it."""
    if not isinstance(values, dict):
        raise ValueError("no record")
    return dict(values)


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) for value in values
    )


def _is_grey(rows: object) -> bool:
    """Rows of one length, of levels as bytes hold them."""
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        return False
    levels = [level for row in rows for level in row]
    return (
        len({len(row) for row in rows}) == 1 and bool(levels) and all(isinstance(one, int) and 0 <= one <= 255 for one in levels)
    )


@dataclass(frozen=True)
class Plan:
    """What is measured and of what. index_of: annotated name -> class of the model. shuffled: by column name, the same column
    of the model with shuffled weights."""

    bench: Bench
    index_of: Mapping[str, int]
    choice: Choice
    measuring: Measuring
    shuffled: Mapping[str, Column]


def evaluate(
    plan: Plan, pictures: Sequence[Annotated], have: Callable[[str, str], bool] = lambda _column, _picture: False
) -> Iterator[Done]:
    """Every picture through every column; those that `have` knows (column, picture) are left out.

    A picture that can't be read, or whose annotation can't, is `Done` with its error in every column, and one that a column can't
    explain in that column; the work goes on.
    """
    for item in pictures:
        names = [str(column.name) for column in plan.bench.columns]
        wanted = [column for column, name in zip(plan.bench.columns, names) if not have(name, str(item.path))]
        tally = Tally()
        try:
            for done in _columns(plan, item, wanted, tally) if wanted else ():
                first = len(wanted) == len(names) and done.column == names[0]
                yield replace(done, notes=dict(tally.counts)) if first else done
        except Exception as error:
            reason = Broken.of(str(item.path), error).reason
            yield from (Done(str(column.name), str(item.path), error=reason) for column in wanted)


def _columns(plan: Plan, item: Annotated, wanted: Sequence[Column], tally: Tally) -> Iterator[Done]:
    judge = plan.bench.judge
    view = judge.view(read_image(item.path, judge.channels), str(item.path))
    size = (view.pixels.shape[0], view.pixels.shape[1])
    items = item.at(*size)
    if items is None:
        tally.add("pictures of another size than their annotation says, taken for not annotated")
    truth = ground(items or (), plan.index_of, size, plan.choice, tally)
    cases = cases_of(judge, view, truth, frozenset(plan.index_of.values()), plan.choice, tally)
    scores = judge.scores_now(view, [case.target for case in cases]) if cases else np.zeros(0)
    for column in wanted:
        try:
            done = _measured(plan, column, view, cases, scores)
        except Exception as error:
            done = Done(str(column.name), str(item.path), error=Broken.of(str(item.path), error).reason)
        yield done


def _measured(plan: Plan, column: Column, view: View, cases: Sequence[Case], scores: np.ndarray) -> Done:
    judge, name, source = plan.bench.judge, str(column.name), view.source or ""
    forwards, begin = judge.forwards, time.perf_counter()
    maps = column.maps(view, [case.target for case in cases]) if cases else []
    seconds, forwards = time.perf_counter() - begin, judge.forwards - forwards
    records = []
    for case, heat, score in zip(cases, maps, scores):
        if heat is None:
            continue
        found = measure(
            case, heat, view, judge.score_of(view, case.target), float(score), plan.measuring,
            _again(judge, column, case.target), _again(judge, plan.shuffled.get(name), case.target),
        )  # fmt: skip
        records.append(Record(
            name, source, case.target.class_index, case.label, float(score), case.true, found.values,
            {key: [round(value, 5) for value in curve] for key, curve in found.curves.items()}, _small(heat), case.target.box,
        ))  # fmt: skip
    return Done(name, source, tuple(records), seconds, forwards, sum(heat is None for heat in maps))


def _again(judge: Judge, column: Column | None, target: Target) -> Again:
    def again(pixels: np.ndarray) -> np.ndarray | None:
        return column.maps(judge.view(pixels), [target])[0] if column is not None else None

    return again


def _small(heat: np.ndarray) -> list[list[int]]:
    """The map as grey levels, made small."""
    height, width = heat.shape
    factor = min(1.0, _KEPT_SIDE / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(heat, size, interpolation=cv2.INTER_AREA)
    top = float(small.max())
    levels = np.rint(small * (255 / top)) if top > 0 else np.zeros_like(small)
    return [[int(level) for level in row] for row in np.clip(levels, 0, 255)]
