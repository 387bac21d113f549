"""A whole evaluation: models and annotated pictures in, metrics.json, metrics.csv and report.html out; broken off, it goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

from ovxai.errors import OptionError, OutputError
from ovxai.evaluation.baselines import Effort
from ovxai.evaluation.basis import Basis, of_classes, of_device, of_model, of_picture
from ovxai.evaluation.cases import Annotated, Choice
from ovxai.evaluation.columns import MOST_GRADIENTS, Bench, Column, Subject, Wishes, open_bench, shuffled_columns
from ovxai.evaluation.evaluate import Done, Plan, Record, evaluate
from ovxai.evaluation.figures import Measuring
from ovxai.evaluation.page import make_page
from ovxai.evaluation.rows import SCHEMA_VERSION, Row, as_csv, row_of
from ovxai.files import make_folder, whole_file
from ovxai.runtime.feed.engine import DeviceOptions
from ovxai.runtime.feed.preprocess import PreprocessOptions
from ovxai.runtime.predict.facts import ModelFacts
from ovxai.runtime.write.manifest import versions
from ovxai.text import to_json

RECORDS, JSON, CSV, PAGE = "records.jsonl", "metrics.json", "metrics.csv", "report.html"
#: Names of the data set that fit a model, and what to say of the rest: class names of the model -> (name -> index, notes).
Match = Callable[[ModelFacts], tuple[Mapping[str, int], Sequence[str]]]


@dataclass(frozen=True)
class Request:
    """What is evaluated and how. pictures: annotated, in order. match: see `Match`."""

    subjects: Sequence[Subject]
    pictures: Sequence[Annotated]
    match: Match
    wishes: Wishes
    choice: Choice
    measuring: Measuring
    effort: Effort
    device: DeviceOptions
    feeding: PreprocessOptions

    def settings(self) -> dict[str, str]:
        """What the figures depend on, besides the pictures; a run goes on only under the same."""
        kept = {"choice": self.choice, "measuring": self.measuring, "effort": self.effort, "feeding": self.feeding}
        return {name: repr(value) for name, value in kept.items()}

    def titles(self) -> list[str]:
        """A name per model: its file's, the whole path where two are alike."""
        stems = Counter(subject.file.stem for subject in self.subjects)
        return [one.file.stem if stems[one.file.stem] == 1 else str(one.file) for one in self.subjects]


@dataclass
class Ledger:
    """The records of a run, line by line in a file as they come. done: by (column, picture). notes: of what was there and is
    measured anew. head: the first line of a file that is begun with its first record, so that a run that fails leaves none."""

    path: Path
    done: dict[tuple[str, str], Done] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    head: str | None = None

    @classmethod
    def begin(cls, folder: Path, settings: Mapping[str, str], *, resume: bool, force: bool) -> Ledger:
        """In `folder`. resume: go on with what is there. force: begin anew in its place.

        Raises:
            OutputError: there is an evaluation already, or it can't be written.
            OptionError: with resume, it was made under other settings, or the file is none of records.
        """
        ledger = cls(folder / RECORDS)
        if resume and ledger.path.exists():
            ledger._read(settings)
            return ledger
        taken = [name for name in (RECORDS, JSON, CSV, PAGE) if (folder / name).exists()]
        if taken and not (force or resume):
            raise OutputError(f"{folder / taken[0]}: is there already; go on with --resume, or take its place with --force")
        make_folder(folder)
        ledger.head = to_json({"settings": dict(settings)}, compact=True) + "\n"
        return ledger

    def _read(self, settings: Mapping[str, str]) -> None:
        try:
            lines = self.path.read_bytes().decode("utf-8", "replace").split("\n")
        except OSError as error:
            raise OptionError(f"{self.path}: can't be read: {error.strerror or error}") from error
        head = _json(lines[0])
        before = head.get("settings") if isinstance(head, dict) else None
        if not isinstance(before, dict):
            raise OptionError(
                f"{self.path}: no records of an evaluation, or damaged; begin anew with --force in place of --resume"
            )
        other = [name for name in settings if before.get(name) != settings[name]]
        if other:
            raise OptionError(f"{self.path}: made with another {other[0]}; go on with the options of then, or choose another DIR")
        whole, damaged = {("", ""): lines[0]}, 0  # of lines of one picture the last counts
        for line in filter(None, lines[1:-1]):  # behind the last end of a line stands where the run was broken off
            try:
                done = Done.from_dict(_json(line))
            except (ValueError, TypeError, OverflowError):
                damaged += 1
                continue
            if not done.error:
                self.done[done.column, done.picture] = done
                whole[done.column, done.picture] = line
        if damaged:
            self.notes.append(f"{self.path}: damaged lines, left out and measured anew: {damaged}")
        with whole_file(self.path) as file:
            file.writelines(f"{line}\n" for line in whole.values())

    def forget(self, title: str, columns: Sequence[str], bases: Mapping[str, Basis]) -> None:
        """Leave out what does not hold any longer, and note it. title: of the model. bases: by picture, those of now."""
        gone: Counter[str] = Counter()
        for column, (picture, basis) in product(columns, bases.items()):
            done = self.done.get((column, picture))
            changed = basis.other(done.basis) if done is not None else ()
            if done is not None and changed:
                del self.done[column, picture]
                gone[f"other {', '.join(changed)}" if done.basis is not None else "they do not say what they hold for"] += 1
        self.notes += [f"{title}: records measured anew, {reason}: {count}" for reason, count in sorted(gone.items())]

    def add(self, done: Done) -> None:
        self.done[done.column, done.picture] = done
        if self.head is not None:
            with whole_file(self.path) as file:
                file.write(self.head)
            self.head = None
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(to_json(done.to_dict(), compact=True) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path}: can't be written: {error.strerror or error}") from error


def _json(line: str) -> object:
    try:
        value: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value


@dataclass(frozen=True)
class Outcome:
    """What came of it. notes: what was left out, with counts. failed: (picture, reason). forms: the models' own notes."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    interrupted: bool


def run_evaluation(
    request: Request,
    ledger: Ledger,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Outcome:
    """Evaluate everything and write the three files into the ledger's folder.

    stop: asked after each picture and column. progress: told how many of how many are done of the model at hand, before its first
    and after each.

    Raises:
        OvxaiError: a model that can't be read or evaluated.
    """
    rows: list[Row] = []
    notes: list[str] = []
    records: dict[str, list[Record]] = {}
    ended: list[Done] = []
    names = [str(item.path) for item in request.pictures]
    prints = {str(item.path): of_picture(item) for item in request.pictures}
    device = of_device(request.device.device)
    for subject, title in zip(request.subjects, request.titles()):
        bench, index_of, own = _opened(request, subject, title)
        notes += [line if line.startswith(title) else f"{title}: {line}" for line in own]
        shuffled: dict[str, Column] = {}
        if "randomisation" in request.measuring.metrics:
            shuffled, more = shuffled_columns(subject, bench, request.device, request.feeding, request.measuring.seed)
            notes += more
        plan = Plan(bench, index_of, request.choice, request.measuring, shuffled)
        model, classes = of_model(subject.file), of_classes(bench.judge.facts, index_of)
        bases = {name: Basis(model, classes, device, *both) for name, both in prints.items()}
        ledger.forget(title, [str(column.name) for column in bench.columns], bases)
        _work(plan, request.pictures, bases, ledger, stop, progress)
        counted: Counter[str] = Counter()
        for column in bench.columns:
            done = [ledger.done[str(column.name), name] for name in names if (str(column.name), name) in ledger.done]
            row = _row(column, done, request)
            rows.append(row)
            ended += done
            records[row.title] = [record for one in done for record in one.records]
            for one in done:
                counted.update(one.notes)
        notes += [f"{title}: {reason}: {count}" for reason, count in sorted(counted.items())]
    failed = tuple(dict.fromkeys((one.picture, one.error) for one in ended if one.error))
    outcome = Outcome(tuple(rows), tuple(dict.fromkeys([*ledger.notes, *notes])), failed, stop())
    _write(request, ledger.path.parent, outcome, records)
    return outcome


def _opened(request: Request, subject: Subject, title: str) -> tuple[Bench, Mapping[str, int], list[str]]:
    def classes(facts: ModelFacts) -> str | None:
        several = facts.info.multilabel or facts.info.hierarchical
        known = sorted(set(request.match(facts)[0].values()))
        if known and (request.choice.target == "annotated" or (several and request.choice.target is None)):
            return ",".join(map(str, known[:MOST_GRADIENTS]))
        return None

    bench = open_bench(
        subject, request.wishes, request.device, request.feeding, request.effort, title, classes, request.choice.per
    )  # fmt: skip
    index_of, more = request.match(bench.judge.facts)
    return bench, index_of, [*bench.notes, *more]


def _work(
    plan: Plan, pictures: Sequence[Annotated], bases: Mapping[str, Basis], ledger: Ledger, stop: Callable[[], bool],
    progress: Callable[[int, int], None],
) -> None:  # fmt: skip
    columns = [str(column.name) for column in plan.bench.columns]
    total = len(columns) * len(pictures)
    ready = sum((name, str(item.path)) in ledger.done for name in columns for item in pictures)
    progress(ready, total)
    work: Iterator[Done] = evaluate(plan, pictures, lambda column, picture: (column, picture) in ledger.done)
    while not stop():
        done = next(work, None)
        if done is None:
            return
        ledger.add(replace(done, basis=bases[done.picture]))
        ready += 1
        progress(ready, total)


def _row(column: Column, done: Sequence[Done], request: Request) -> Row:
    name = column.name
    names = (name.model, name.method, name.layer, name.setting, name.precision)
    return row_of(done, request.measuring.metrics, request.measuring.seed, names, column.host)


def _write(request: Request, folder: Path, outcome: Outcome, records: Mapping[str, Sequence[Record]]) -> None:
    metrics = request.measuring.metrics
    document = {
        "schema_version": SCHEMA_VERSION, "rows": [row.to_dict() for row in outcome.rows], "notes": list(outcome.notes),
        "failed": [{"picture": picture, "error": error} for picture, error in outcome.failed],
        "settings": request.settings(), "versions": versions(),
    }  # fmt: skip
    facts = {
        "Models": ", ".join(str(subject.file) for subject in request.subjects), "Pictures": str(len(request.pictures)),
        "Steps": str(request.measuring.steps), "Seed": str(request.measuring.seed), "Masks": str(request.effort.masks),
        "Explained": f"{request.choice.target or 'annotated or predicted'}, per {request.choice.per}",
        "Device": request.device.device, "Versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }  # fmt: skip
    lines = [*outcome.notes, *(f"{picture}: {error}" for picture, error in outcome.failed)]
    texts = {
        JSON: to_json(document, indent=1) + "\n",
        CSV: as_csv(outcome.rows, metrics),
        PAGE: make_page(outcome.rows, records, metrics, facts, lines),
    }
    for name, text in texts.items():
        with whole_file(folder / name) as file:
            file.write(text)
