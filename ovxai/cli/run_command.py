"""`ovxai run`: maps of many pictures into a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ovxai.cli.annotated import TRUTH, ground_truth, tell_truth, with_annotations
from ovxai.cli.common import Document, Say, asked, color_allowed, command_options, complain, examples, note, warn
from ovxai.cli.options import FEEDING, MODEL, with_options
from ovxai.cli.run_options import LOOK, WHAT, WHERE, RunOptions
from ovxai.errors import UsageError

if TYPE_CHECKING:
    from ovxai.annotations import AnnotationSet
    from ovxai.evaluation.host import HostExplainer
    from ovxai.evaluation.truth import GroundTruth
    from ovxai.explainer import Explainer
    from ovxai.runtime.config import ExplainConfig
    from ovxai.runtime.feed.sources import Broken, Source
    from ovxai.runtime.run import RunResult
    from ovxai.runtime.show.said import Said
    from ovxai.runtime.write.report import Report

#: More files than anybody looks at one by one; before more than these a run warns.
_MANY_FILES = 1000


@click.command(epilog=examples(
    "ovxai run model_xai.xml photos -o explained",
    "ovxai run model_xai.xml photo.jpg -o explained --class tabby --class 285",
    "ovxai run model_xai.xml photos -o checked --annotations truth.json",
    "ovxai run model_xai.xml video.mp4 -o film --every 5",
    "ovxai run model.xml photo.jpg -o asked --method rise",
))  # fmt: skip
@MODEL
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-o",
    "--output-dir",
    "--output",
    "out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder for the maps.",
)
@with_options(WHAT, TRUTH, LOOK, WHERE, FEEDING)
@command_options
def run(model: Path, sources: tuple[str, ...], out: Path, say: Say, **values: Any) -> Document:
    """Explain every SOURCE with MODEL and write the maps into DIR.

    SOURCE: pictures, folders, data roots (pictures and annotations in their usual places), globs, video
    files, a camera's number, a stream's URL, or - for names from standard input. MODEL: an explained model;
    a plain one is explained in memory first.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # broken files are reported once, by us
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy and OpenCV load; its threads wait by spinning
    options = RunOptions(**values)
    # OpenCV's own limit, read when it loads: for formats whose size only it can tell.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(options.max_pixels or 1 << 40))
    from ovxai.files import check_folder
    from ovxai.runtime.feed.sources import Broken, find_sources
    from ovxai.runtime.write.maps import own_folders

    if options.top is not None and (options.classes or options.target != "predictions"):
        raise UsageError("--top says which classes count as predicted: it goes with --target predictions and without --class")
    for name, given in (("--input", options.inputs), ("--batch", options.batch)):
        if options.method is not None and given:
            raise UsageError(f"{name} is for the model's own maps: it does not go with --method {options.method}; leave one out")
    check_folder(out)
    sources, sets = with_annotations(sources, options.annotations, recursive=options.recursive)
    found = find_sources(sources, recursive=options.recursive, stdin=sys.stdin, own=own_folders(out))
    broken = [source for source in found if isinstance(source, Broken)]
    if len(broken) == len(found):
        complain([source.reason for source in broken] or ["standard input names no sources"], "--json")
        return {"ok": False, "explained": 0, "failed": _failures(broken)}
    return _explain(model, found, sets, out, options, say)


def _explain(
    model: Path, found: list[Source | Broken], sets: list[AnnotationSet], out: Path, options: RunOptions, say: Say
) -> Document:  # fmt: skip
    import cv2

    cv2.setNumThreads(1)  # pictures run beside each other already
    with ThreadPoolExecutor(1, "open") as aside:  # the device compiles while the rest is imported
        opened = aside.submit(_explainer, model, found, options)
        from ovxai.runtime.feed.sources import Source, count_pictures
        from ovxai.runtime.run import Run, stop_on_interrupt
        from ovxai.runtime.write.manifest import model_facts
        from ovxai.runtime.write.maps import Writer
        from ovxai.runtime.write.report import start_report

        explainer = opened.result()
    known = explainer.notes
    for line in known:
        note(line)
    writer = Writer(
        out, names=explainer.facts.names, postprocess=options.postprocess, form=options.form,
        npy=options.npy, grid=options.grid, video=options.video_format, force=options.force,
    )  # fmt: skip
    report = start_report(out, found, options.limit, options.force) if options.report else None
    truth = ground_truth(sets, explainer.facts, options.names)
    work = Run(
        explainer, writer, limit=options.limit, every=options.every, most_pixels=options.max_pixels or None, report=report,
        judge=truth,
    )  # fmt: skip
    total = count_pictures(found, limit=options.limit, every=options.every)
    _warn_of_many(found, explainer, options)
    manifest = page = None
    told: list[Said] = []
    silent = any(isinstance(one, Source) and one.kind != "image" for one in found)
    try:
        with stop_on_interrupt() as stop, _progress(total, silent=silent) as tick:
            result = work(found, stop=stop, progress=tick, tell=lambda said: _tell(said, told, say))
    finally:  # whatever ended the run, what it has written is listed
        manifest, page = _listed(work.result, model, explainer, out, options, report, truth)
    complain([item.reason for item in result.broken], "manifest.json" if result.explained else "--json")
    for line in [*explainer.notes[len(known) :], *result.notes]:
        note(line)
    told_truth = tell_truth(truth, say)
    _tell_files(result, out, manifest, page, say)
    return {
        "ok": not result.broken and not result.interrupted,
        "model": model_facts(str(model), explainer.facts),
        "explained": result.explained,
        "without_prediction": result.without,
        "interrupted": result.interrupted,
        "failed": _failures(result.broken),
        # Of a long run a long list: made only for those who asked.
        "predictions": [said.document() for said in told],
        "files": [str(out / item.path) for item in result.written] if asked("as_json") else [],
        **({"truth": told_truth} if told_truth is not None else {}),
        "manifest": str(manifest) if manifest else None,
        "report": str(page) if page else None,
        "notes": [*explainer.notes, *result.notes],
    }


def _listed(
    result: RunResult, model: Path, explainer: Explainer | HostExplainer, out: Path, options: RunOptions,
    report: Report | None, truth: GroundTruth | None,
) -> tuple[Path | None, Path | None]:  # fmt: skip
    """Write report and manifest of what was done; None for what there is nothing to say in.

    Raises:
        OutputError: the disk refused one of them; the other is tried all the same.
    """
    from ovxai.runtime.write.manifest import model_facts, write_manifest

    if not result.explained and not len(result.written):
        return None, None
    failed = [(item.source, item.reason) for item in result.broken]
    page = None
    try:
        if report is not None:
            page = report.write(explainer.facts, model=str(model), settings=options.settings(), failed=failed)
    finally:
        facts = model_facts(str(model), explainer.facts)
        manifest = write_manifest(
            out, facts, result.written, failed, options.settings(), page=page,
            truth=truth.document() if truth else None, force=options.force,
        )  # fmt: skip
    return manifest, page


def _explainer(model: Path, found: list[Source | Broken], options: RunOptions) -> Explainer | HostExplainer:
    from ovxai.explainer import Explainer
    from ovxai.runtime.config import ExplainConfig
    from ovxai.runtime.feed.beside import parse_given
    from ovxai.runtime.feed.sources import Source

    config = ExplainConfig(
        target=options.target, classes=options.classes, postprocess=options.postprocess, threshold=options.threshold,
        opacity=options.opacity, colormap=options.colormap, interpolation=options.interpolation, style=options.style,
        top=options.top, grid=options.grid, captions=options.captions,
    )  # fmt: skip
    if options.method is not None:
        return _host_explainer(model, options.method, config, options)
    alone = len(found) == 1 and isinstance(found[0], Source) and found[0].kind == "image"
    return Explainer(
        model, config, options.device, hint=options.hint or ("latency" if alone else "throughput"),
        precision=options.precision, batch=options.batch, cache_dir=options.cache_dir,
        self_check=options.self_check, trust=options.trust, labels=options.labels,
        labels_offset=options.labels_offset,
        mean=options.mean, scale_values=options.scale_values, resize_type=options.resize_type, pad_value=options.pad_value,
        reverse_input_channels=options.reverse_input_channels, input_size=options.input_size,
        inputs=parse_given(options.inputs),
    )  # fmt: skip


def _host_explainer(model: Path, method: str, config: ExplainConfig, options: RunOptions) -> HostExplainer:
    from ovxai.evaluation.baselines import Effort
    from ovxai.evaluation.columns import Subject
    from ovxai.evaluation.host import HostExplainer
    from ovxai.labels import given_labels
    from ovxai.runtime.feed.engine import DeviceOptions
    from ovxai.runtime.feed.preprocess import PreprocessOptions

    feeding = PreprocessOptions(
        options.mean, options.scale_values, options.resize_type, options.pad_value, options.reverse_input_channels,
        options.input_size,
    )  # fmt: skip
    return HostExplainer(
        Subject(model, given_labels(options.labels), options.labels_offset, options.trust), method, config,
        DeviceOptions(options.device, options.hint or "throughput", options.precision, cache_dir=options.cache_dir),
        feeding, Effort(options.masks, options.seed),
    )  # fmt: skip


def _warn_of_many(found: list[Source | Broken], explainer: Explainer | HostExplainer, options: RunOptions) -> None:
    from ovxai.runtime.feed.sources import Source

    pictures = sum(isinstance(source, Source) and source.kind == "image" for source in found)
    pictures = min(pictures, options.limit or pictures)
    known = explainer.facts.explained.num_classes
    classes = len(options.classes) or min(options.top or 1, known or options.top or 1)
    if options.target == "all" and not explainer.facts.classless:
        channels = explainer.facts.channels
        classes = len(channels) if channels is not None else explainer.facts.explained.num_classes or 1
    count = pictures * (classes * (1 + options.postprocess + options.npy) + bool(options.grid))
    if count > _MANY_FILES:
        least = "at least " if options.target == "predictions" and not options.classes else ""
        each = "1 map" if classes == 1 else f"{classes} maps"
        what = f"{pictures} pictures, {each} of each"
        warn(f"this run writes {least}{count} files: {what}; --class, --top and --limit make it fewer")


def _tell(said: Said, told: list[Said], say: Say) -> None:
    say(said.line)
    if asked("as_json"):  # of a long run a long list
        told.append(said)


def _tell_files(result: RunResult, out: Path, manifest: Path | None, page: Path | None, say: Say) -> None:
    """What was written, and where."""
    for path, usual in ((manifest, "manifest.json"), (page, "report.html")):
        if path is not None and path.name != usual:
            note(f"{out / usual} is not of this run and stays; see {path}")
    for source, name in result.videos:
        say(f"{source}: {out / name}")
    say(_summary(result, out))
    if page is not None:
        say(f"report: {page}")


def _failures(broken: Sequence[Broken]) -> list[dict[str, str]]:
    return [{"source": item.source, "error": item.reason} for item in broken]


def _summary(result: RunResult, out: Path) -> str:
    words = [f"{result.explained} explained", f"{len(result.written)} {'file' if len(result.written) == 1 else 'files'} in {out}"]
    if result.without:
        words.append(f"{result.without} without a prediction over the threshold")
    if result.broken:
        words.append(f"{len(result.broken)} failed")
    if result.interrupted:
        words.append("interrupted")
    return ", ".join(words)


@contextmanager
def _progress(total: int | None, *, silent: bool = False) -> Iterator[Callable[[], None]]:
    """A bar on a terminal where no lines say how far the run is, nothing elsewhere; without a known end it counts.

    silent: whether some pictures, the frames of videos, have no line.
    """
    lines = sys.stdout.isatty() and not asked("as_json") and not silent
    if not sys.stderr.isatty() or total == 1 or asked("quiet") or lines:
        yield lambda: None
        return
    color = color_allowed(sys.stderr)
    if total is None:
        count = iter(range(1, sys.maxsize))
        yield lambda: click.echo(f"\r{next(count)} pictures", nl=False, err=True)
        click.echo(err=True)
        return
    with click.progressbar(length=total, label="explaining", file=sys.stderr, color=color) as bar:
        yield lambda: bar.update(1)


# `ovxai demo`: the whole way on what ships with the package.


@click.command()
@click.option("-o", "--output-dir", "--output", "out", type=click.Path(path_type=Path), default="demo-output", show_default=True,
              metavar="DIR", help="Folder for the explained model and the pictures.")  # fmt: skip
@command_options
def demo(out: Path, say: Say) -> Document:
    """Insert into the shipped ImageNet classifier and explain the shipped photographs."""
    from ovxai.demo import run_demo

    result = run_demo(out)
    say(f"explained model: {result.model}")
    for photo, (label, score) in result.predictions.items():
        say(f"{photo}: {label} {score:.2f}")
    say("pictures:")
    for path in result.pictures:
        say(f"  {path}")
    say(f"all on one page: {result.page}")
    return {
        "ok": True,
        "model": str(result.model),
        "predictions": {photo: {"label": label, "score": score} for photo, (label, score) in result.predictions.items()},
        "pictures": [str(path) for path in result.pictures],
        "report": str(result.page),
    }
