"""`ovxai run`."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path

import click

from ovxai.cli.common import color_allowed, command_options
from ovxai.cli.options import FEEDING, with_options

#: Lines about broken pictures on the screen; manifest.json has them all.
_MOST_LINES = 20
COLORMAP_NAMES = ["jet", "viridis", "inferno", "magma", "plasma", "cividis", "turbo", "hot", "bone", "parula", "grey"]

_what = [
    click.option("--target", type=click.Choice(["image", "all", "predictions"], case_sensitive=False), default="predictions",
                 show_default=True, help="One map for the picture, one a class, or one a predicted class."),
    click.option("--class", "classes", multiple=True, metavar="NAME|INDEX",
                 help="Explain this class whatever is predicted; repeatable; instead of --target."),
    click.option("--threshold", type=click.FloatRange(0, 1),
                 help="Score from which a class counts as predicted.  [default: rt_info confidence_threshold of multi-label "
                      "models and detectors, else 0.3]"),
    click.option("--labels", type=click.Path(path_type=Path), help="Text file with a class name a line, instead of rt_info's."),
    click.option("--recursive", is_flag=True, help="Look into the folders of a folder."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Stop after N pictures or frames."),
    click.option("--every", type=click.IntRange(1), default=1, metavar="N", help="Of videos, only each N-th frame."),
]  # fmt: skip

_look = [
    click.option("--postprocess/--no-postprocess", default=True, show_default=True,
                 help="Map at the picture's size, in colour, with an overlay; or the low-resolution grey map."),
    click.option("--opacity", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Share of the map in overlays."),
    click.option("--colormap", type=click.Choice(COLORMAP_NAMES), default="jet", show_default=True, help="Colours of the map."),
    click.option("--interpolation", type=click.Choice(["linear", "cubic"]), default="linear", show_default=True,
                 help="How the map is brought to the picture's size."),
    click.option("--style", type=click.Choice(["heat", "contour"]), default="heat", show_default=True,
                 help="Overlays as colour, or as lines of equal evidence."),
    click.option("--grid", type=click.IntRange(0), default=0, metavar="N", help="Also put the best N classes side by side."),
    click.option("--format", "form", type=click.Choice(["png", "jpeg", "webp"]), default="png", show_default=True),
    click.option("--npy", is_flag=True, help="Also store the raw arrays."),
    click.option("--report/--no-report", default=True, show_default=True,
                 help="Also write report.html, a page to look through the pictures; videos are not in it."),
    click.option("--force", is_flag=True, help="Overwrite files of an earlier run in DIR."),
]  # fmt: skip

_where = [
    click.option("--device", default="CPU", show_default=True, help="OpenVINO device, such as CPU, GPU, NPU, AUTO."),
    click.option("--hint", type=click.Choice(["latency", "throughput"]),
                 help="What the device is set up for.  [default: latency for one picture, else throughput]"),
    click.option("--precision", type=click.Choice(["f32", "f16", "bf16"]), help="Inference precision.  [default: the device's own]"),
    click.option("--batch", type=click.IntRange(1), metavar="N", help="Pictures an inference.  [default: the model's, else 1]"),
    click.option("--cache-dir", type=click.Path(path_type=Path), help="Keep compiled models here for a faster next start."),
]  # fmt: skip


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder for the maps.")
@with_options(_what, _look, _where, FEEDING)
@command_options
def command(model: Path, sources: tuple[str, ...], out: Path, say, **options) -> dict:
    """Explain every SOURCE with MODEL and write the maps into DIR.

    SOURCE: pictures, folders, globs, video files, a camera's number, a stream's URL, or - for names
    from standard input. MODEL: an explained model; a plain one is explained in memory first.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # broken files are reported once, by us
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy and OpenCV load; its threads wait by spinning
    from ovxai.runtime.feed.sources import Source, find_sources
    from ovxai.runtime.write.files import check_folder
    from ovxai.runtime.write.maps import own_folders

    check_folder(out)
    found = find_sources(sources, recursive=options["recursive"], stdin=sys.stdin, own=own_folders(out))
    if not any(isinstance(source, Source) for source in found):
        _complain([source.reason for source in found] or ["standard input names no sources"], "--json")
        return {"ok": False, "explained": 0, "failed": [_failure(item) for item in found]}
    return _run(model, found, out, say, **options)


def _run(model: Path, found: list, out: Path, say, **options) -> dict:
    import cv2

    from ovxai.runtime.feed.sources import count_pictures
    from ovxai.runtime.run import Run, stop_on_interrupt
    from ovxai.runtime.write.manifest import model_facts, write_manifest
    from ovxai.runtime.write.maps import Writer
    from ovxai.runtime.write.report import start_report

    cv2.setNumThreads(1)  # pictures run beside each other already
    explainer = _explainer(model, found, options)
    _remark(explainer.notes)
    writer = Writer(
        out, names=explainer.facts.names, postprocess=options["postprocess"], form=options["form"],
        npy=options["npy"], grid=options["grid"], force=options["force"],
    )  # fmt: skip
    report = start_report(out, found, options["limit"], options["force"]) if options["report"] else None
    run = Run(explainer, writer, limit=options["limit"], every=options["every"], report=report)
    total = count_pictures(found, limit=options["limit"], every=options["every"])
    with stop_on_interrupt() as stop, _progress(total) as tick:
        result = run(found, stop=stop, progress=tick)
    _complain([item.reason for item in result.broken], "manifest.json" if result.explained else "--json")
    _remark(result.notes)
    facts = model_facts(str(model), explainer.facts)
    manifest = page = None
    if result.explained:
        failed = [(item.source, item.reason) for item in result.broken]
        manifest = write_manifest(out, facts, result.written, failed, _settings(options))
        if report is not None:
            page = report.write(explainer.facts, model=str(model), settings=_settings(options), failed=failed)
    _summary(result, out, say)
    return {
        "ok": not result.broken and not result.interrupted,
        "model": facts,
        "explained": result.explained,
        "without_prediction": result.without,
        "interrupted": result.interrupted,
        "failed": [_failure(item) for item in result.broken],
        # Of a long run a long list: made only for those who asked.
        "files": [str(out / item.path) for item in result.written] if _asked("as_json") else [],
        "manifest": str(manifest) if manifest else None,
        "report": str(page) if page else None,
        "notes": [*explainer.notes, *result.notes],
    }


def _explainer(model: Path, found: list, options: dict):
    from ovxai.explainer import Explainer
    from ovxai.runtime.config import ExplainConfig

    one = len(found) == 1 and found[0].kind == "image"
    config = ExplainConfig(
        target=options["target"], classes=options["classes"], postprocess=options["postprocess"],
        threshold=options["threshold"], opacity=options["opacity"], colormap=options["colormap"],
        interpolation=options["interpolation"], style=options["style"],
    )  # fmt: skip
    names = ("device", "precision", "batch", "cache_dir", "labels", "mean", "scale_values", "resize_type", "pad_value",
             "reverse_input_channels", "input_size")  # fmt: skip
    hint = options["hint"] or ("latency" if one else "throughput")
    return Explainer(model, config, hint=hint, **{name: options[name] for name in names})


def _settings(options: dict) -> dict:
    """What made the maps look as they do, as plain JSON values."""
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    return {name: value for name, value in plain.items() if value not in (None, ()) and name not in ("recursive", "force")}


def _failure(item) -> dict:
    return {"source": item.source, "error": item.reason}


def _asked(option: str) -> bool:
    """Whether one of the options that every command has was given."""
    return bool(click.get_current_context().params.get(option))


def _remark(notes) -> None:
    for note in () if _asked("quiet") else notes:
        click.echo(f"note: {note}", err=True)


def _complain(reasons: list[str], listed: str) -> None:
    for reason in reasons[:_MOST_LINES]:
        click.echo(f"Error: {' '.join(reason.split())}", err=True)
    if len(reasons) > _MOST_LINES:
        click.echo(f"Error: and {len(reasons) - _MOST_LINES} more; {listed} lists them", err=True)


def _summary(result, out: Path, say) -> None:
    words = [f"{result.explained} explained", f"{len(result.written)} files in {out}"]
    if result.without:
        words.append(f"{result.without} without a prediction over the threshold")
    if result.broken:
        words.append(f"{len(result.broken)} failed")
    if result.interrupted:
        words.append("interrupted")
    say(", ".join(words))


@contextmanager
def _progress(total: int | None):
    """A bar on a terminal, nothing elsewhere; without a known end it counts."""
    if not sys.stderr.isatty() or total == 1 or _asked("quiet"):
        yield lambda broken: None
        return
    color = color_allowed(sys.stderr)
    if total is None:
        count = iter(range(1, sys.maxsize))
        yield lambda broken: click.echo(f"\r{next(count)} pictures", nl=False, err=True)
        click.echo(err=True)
        return
    with click.progressbar(length=total, label="explaining", file=sys.stderr, color=color) as bar:
        yield lambda broken: bar.update(1)
