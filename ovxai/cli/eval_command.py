"""`ovxai eval`: how good the maps are, in figures, and better than what."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ovxai.cli.common import Document, Say, asked, color_allowed, command_options, complain, examples, note
from ovxai.cli.options import DEVICE, FEEDING, LABELS, LABELS_OFFSET, MASK_COUNT, SEED, TRUST, preprocess_options, with_options
from ovxai.errors import UsageError
from ovxai.options import AUTO, METHODS

if TYPE_CHECKING:
    from ovxai.annotations import AnnotatedPicture, AnnotationSet
    from ovxai.evaluation.advice import Advice
    from ovxai.evaluation.session import Match, Outcome, Request

#: As `ovxai.evaluation.columns.BASELINE_NAMES` has them; spelt out so that --help needs no OpenVINO.
BASELINES = ("rise", "occlusion", "aise", "d-rise", "random", "centre", "box", "box-gaussian", "activation-map")
#: Steps of insertion and deletion.
STEPS, ADVISED_STEPS = 30, 10
#: Seconds between lines of progress where no terminal shows a bar.
_PAUSE = 20.0
#: Names of classes that a note lists.
_MOST_NAMES = 12

_WHAT = (
    click.option("--data", type=click.Path(path_type=Path), required=True, metavar="DATA",
                 help="Annotations, or a folder with pictures and annotations: COCO json, Pascal VOC, YOLO, text, masks, "
                      "folders named after classes."),
    click.option("--images", type=click.Path(path_type=Path), metavar="DIR",
                 help="Where the pictures are, if not beside the annotations."),
    click.option("--names", type=click.Path(path_type=Path), metavar="FILE",
                 help="Lines `class of the annotations = class of the model`, where they differ; - leaves one out."),
    click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), help="Of plain models; repeatable."),
    click.option("--target-layer", "layers", multiple=True, metavar="NAME", help="Of plain models, one column each; repeatable."),
    click.option("--precision", "precisions", multiple=True, type=click.Choice(["default", "f32", "f16", "bf16"]),
                 help="What the maps are computed in, one column each; repeatable.  [default: as the device likes]"),
    click.option("--baseline", "baselines", multiple=True, type=click.Choice([*BASELINES, "all"]),
                 help="Also maps of this way; repeatable."),
    click.option("--metrics", multiple=True, default=("default",), show_default=True, metavar="NAMES",
                 help="all, default, or names with commas; repeatable."),
    click.option("--advise", is_flag=True,
                 help="Try methods, layers, masks and precisions on a few pictures, and say which to insert."),
)  # fmt: skip

_HOW = (
    click.option("--target", type=click.Choice(["predicted", "annotated"]),
                 help="Which classes are explained.  [default: annotated ones of detectors and multi-label models, else "
                      "predicted ones]"),
    click.option("--per", type=click.Choice(["class", "box"]), default="class", show_default=True,
                 help="Of detectors: one map per class, or per predicted box that is right."),
    click.option("--threshold", type=click.FloatRange(0, 1), default=0.3, show_default=True, help="Of predictions."),
    click.option("--steps", type=click.IntRange(1), help="Of insertion and deletion.  [default: 30; 10 with --advise]"),
    click.option("--fill", type=click.Choice(["published", "blur", "mean", "zero"]), default="published", show_default=True,
                 help="What stands where the picture is hidden; published: blurred for insertion, mean colour for deletion."),
    MASK_COUNT,
    click.option("--least-area", type=click.FloatRange(0, 1), default=0.01, show_default=True,
                 help="Objects that cover less of their picture are left out."),
    click.option("--most-area", type=click.FloatRange(0, 1), default=0.8, show_default=True, help="And those that cover more."),
    click.option("--limit", type=click.IntRange(1), metavar="N",
                 help="Only N pictures, drawn by --seed.  [default: all; 8 with --advise]"),
    SEED,
    click.option("--resume", is_flag=True, help="Go on with what is in DIR."),
    click.option("--force", is_flag=True, help="Take the place of an earlier evaluation in DIR."),
    LABELS,
    LABELS_OFFSET,
    DEVICE,
    TRUST,
)  # fmt: skip


@click.command(name="eval", epilog=examples(
    "ovxai eval model.xml --data dataset -o figures",
    "ovxai eval model.xml --data truth.json --images photos -o figures --baseline rise",
    "ovxai eval detector.xml --data truth.json -o figures --per box --method gradient --baseline box-gaussian",
    "ovxai eval model.xml --data dataset -o advice --advise",
))  # fmt: skip
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL...")
@click.option("-o", "--output-dir", "--output", "out", type=click.Path(path_type=Path), required=True, metavar="DIR",
              help="For the figures.")  # fmt: skip
@with_options(_WHAT, _HOW, FEEDING)
@command_options
def evaluate(models: tuple[Path, ...], out: Path, say: Say, **values: Any) -> Document:
    """Hold the maps of each MODEL against annotated pictures and against other ways to make maps.

    MODEL: an explained model, or a plain one, which is explained in memory by each --method. DIR gets metrics.json,
    metrics.csv and report.html; with --advise also advice.json.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy and OpenCV load; its threads wait by spinning
    from ovxai.annotations import read_annotations
    from ovxai.evaluation.advice import check_advice, run_advice
    from ovxai.evaluation.rows import as_table
    from ovxai.evaluation.session import JSON, PAGE, Ledger, run_evaluation
    from ovxai.files import check_folder
    from ovxai.runtime.run import stop_on_interrupt

    advise = _advising(values)
    check_folder(out)
    data = read_annotations(values["data"], values["images"])
    request = _request(models, data, values)
    if advise:
        check_advice(request)
    ledger = Ledger.begin(out, request.settings(), resume=values["resume"], force=values["force"])
    with stop_on_interrupt() as stop, _progress() as tick:
        if advise:
            outcome, advice = run_advice(request, ledger, stop=stop, progress=tick)
        else:
            outcome, advice = run_evaluation(request, ledger, stop=stop, progress=tick), None
    for line in [*data.notes, *outcome.notes]:
        note(line)
    complain([f"{picture}: {reason}" for picture, reason in outcome.failed], JSON)
    for line in as_table(outcome.rows, request.measuring.metrics) if advice is None else advice.lines:
        say(line)
    if outcome.interrupted:
        say("interrupted; --resume goes on")
    document = _document(out, outcome, data)
    if advise:
        document |= _advice(models[0], out, advice, values, say)
    say(f"report: {out / PAGE}")
    return document


def _advising(values: dict[str, Any]) -> bool:
    """Whether advice is asked for; fills in how much is looked at."""
    advise: bool = values["advise"]
    if advise:
        from ovxai.evaluation.advice import PICTURES

        for name, given in (("--method", "methods"), ("--target-layer", "layers"), ("--precision", "precisions")):
            if values[given]:
                raise UsageError(f"--advise tries methods, layers and precisions by itself; leave out {name}")
        values["limit"] = values["limit"] or PICTURES
    values["steps"] = values["steps"] or (ADVISED_STEPS if advise else STEPS)
    return advise


def _advice(model: Path, out: Path, advice: Advice | None, values: dict[str, Any], say: Say) -> dict[str, object]:
    """Says it, and what to type; for `--json` as well."""
    from ovxai.evaluation.advice import FILE

    if advice is None:
        note("no advice: no map of the default could be compared")
        return {"advice": None}
    words = ["ovxai", "insert", str(model), *advice.chosen.options, *_fed(values)]
    made = model.with_name(f"{model.stem}_xai.xml")  # where `ovxai insert` puts it by itself
    runs = ["ovxai", "run", str(made), "PICTURES", "-o", "DIR", "--precision", "f32"]
    commands = [shlex.join(words), *([shlex.join(runs)] if advice.precision == "f32" else [])]
    for command in commands:
        say(f"    {command}")
    return {"advice": advice.to_dict(), "commands": commands, "advice_file": str(out / FILE)}


def _fed(values: dict[str, Any]) -> list[str]:
    """How pictures are fed, as far as it was said, as options of `ovxai insert`."""
    words: list[str] = []
    for name in ("mean", "scale_values", "resize_type", "pad_value", "labels", "labels_offset"):
        value = values[name]
        if value is not None:
            text = ",".join(f"{one:g}" for one in value) if isinstance(value, tuple) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    reverse = values["reverse_input_channels"]
    return [*words, *([] if reverse is None else [f"--{'' if reverse else 'no-'}reverse-input-channels"])]


def _document(out: Path, outcome: Outcome, data: AnnotationSet) -> dict[str, object]:
    from ovxai.evaluation.rows import SCHEMA_VERSION
    from ovxai.evaluation.session import CSV, JSON, PAGE

    return {
        "ok": not outcome.failed and not outcome.interrupted,
        "schema_version": SCHEMA_VERSION,
        "rows": [row.to_dict() for row in outcome.rows],
        "notes": [*data.notes, *outcome.notes],
        "failed": [{"source": picture, "error": reason} for picture, reason in outcome.failed],
        "interrupted": outcome.interrupted,
        "files": [str(out / name) for name in (JSON, CSV, PAGE)],
    }


def _request(models: tuple[Path, ...], data: AnnotationSet, values: dict[str, Any]) -> Request:
    from ovxai.evaluation.baselines import Effort
    from ovxai.evaluation.cases import Choice
    from ovxai.evaluation.columns import Subject, Wishes
    from ovxai.evaluation.figures import Measuring, chosen_metrics
    from ovxai.evaluation.session import Request
    from ovxai.labels import given_labels
    from ovxai.runtime.feed.engine import DeviceOptions

    fill = None if values["fill"] == "published" else values["fill"]
    words = [word for word in " ".join(values["metrics"]).replace(",", " ").split() if word]
    labels = given_labels(values["labels"])
    names = BASELINES if "all" in values["baselines"] else values["baselines"]
    feeding = {name: values[name] for name in (
        "mean", "scale_values", "resize_type", "pad_value", "reverse_input_channels", "input_size")}  # fmt: skip
    return Request(
        subjects=[Subject(model, labels, values["labels_offset"], values["trust"]) for model in models],
        pictures=_drawn(data, values["limit"], values["seed"]),
        match=_match(data, values["names"]),
        wishes=Wishes(
            methods=tuple(dict.fromkeys(values["methods"])) or (AUTO,),
            layers=tuple(dict.fromkeys(values["layers"])),
            precisions=tuple(None if one == "default" else one for one in dict.fromkeys(values["precisions"])) or (None,),
            baselines=tuple(dict.fromkeys(names)),
        ),
        choice=Choice(values["target"], values["per"], values["threshold"], values["least_area"], values["most_area"]),
        measuring=Measuring(chosen_metrics(words), values["steps"], fill, values["seed"]),
        effort=Effort(values["masks"], values["seed"], values["threshold"]),
        device=DeviceOptions(values["device"], hint="throughput"),
        feeding=preprocess_options(feeding),
    )


def _drawn(data: AnnotationSet, limit: int | None, seed: int) -> list[AnnotatedPicture]:
    """The pictures, or so many of them that the seed draws, in the data's order."""
    import numpy as np

    if limit is None or limit >= len(data.pictures):
        return list(data.pictures)
    chosen = np.random.default_rng(seed).permutation(len(data.pictures))[:limit]
    return [data.pictures[i] for i in sorted(chosen)]


def _match(data: AnnotationSet, names: Path | None) -> Match:
    from ovxai.annotations import match_names
    from ovxai.runtime.predict.facts import ModelFacts

    def match(facts: ModelFacts) -> tuple[dict[str, int], list[str]]:
        found = match_names(data.classes, facts.names, names)
        notes = list(found.notes)
        if found.unmatched:
            shown = ", ".join(found.unmatched[:_MOST_NAMES])
            more = f" and {len(found.unmatched) - _MOST_NAMES} more" if len(found.unmatched) > _MOST_NAMES else ""
            notes.append(
                f"{len(found.unmatched)} classes of the data are unknown to the model (--names matches them): {shown}{more}"
            )
        return found.index, notes

    return match


class TimeLeft:
    """Seconds until the model at hand is through, by the time that its own pictures have taken."""

    def __init__(self) -> None:
        self._from, self._last, self._total, self._begin = 0, 0, -1, 0.0

    def __call__(self, done: int, total: int, now: float) -> float | None:
        """None where a model begins: it is told of before its first picture, and again of no more than is done."""
        if total != self._total or done <= self._last:
            self._from, self._total, self._begin = done, total, now
        self._last = done
        measured = done - self._from
        return (now - self._begin) / measured * (total - done) if measured else None


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left on a terminal; elsewhere a line now and then, on stderr as well."""
    if asked("quiet"):
        yield lambda _done, _total: None
        return
    last, time_left = time.monotonic(), TimeLeft()
    wide = sys.stderr.isatty()

    def tick(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        left = time_left(done, total, now)
        if left is None or (not wide and now - last < _PAUSE and done < total):
            return
        last = now
        line = f"evaluated {done} of {total}, {int(left) // 60}:{int(left) % 60:02d} left"
        click.echo(f"\r{line}  " if wide else line, nl=not wide or done == total, err=True, color=color_allowed(sys.stderr))

    yield tick
