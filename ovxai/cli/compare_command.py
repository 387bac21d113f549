"""`ovxai compare`: two models, methods or precisions on the same pictures, side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ovxai.cli.common import Document, Say, asked, command_options, complain, examples, note
from ovxai.cli.options import DEVICE, FEEDING, LABELS, LABELS_OFFSET, TRUST, with_options
from ovxai.errors import OutputError, UsageError
from ovxai.options import METHODS
from ovxai.runtime.config import COLORMAPS, MOST_PIXELS

if TYPE_CHECKING:
    from ovxai.evaluation.compare import Comparison
    from ovxai.explainer import Explainer
    from ovxai.runtime.feed.sources import Broken, Source

JSON, PAGE = "compare.json", "compare.html"
SCHEMA_VERSION = 1
#: Maps listed on the screen.
_LISTED = 10
_PRECISIONS = click.Choice(["f32", "f16", "bf16"])
_METHODS = click.Choice([name for name in METHODS if name != "auto"])

_DIFFERENT = (
    click.option("--method-a", type=_METHODS, help="Insert this method into A.  [default: what A holds, else the usual one]"),
    click.option("--method-b", type=_METHODS, help="Insert this method into B."),
    click.option("--precision-a", type=_PRECISIONS, help="What the device computes A in.  [default: as it likes]"),
    click.option("--precision-b", type=_PRECISIONS, help="What it computes B in."),
    click.option("--class", "classes", multiple=True, metavar="NAME|INDEX",
                 help="Compare the maps of this class of A; repeatable.  [default: the class that A puts first]"),
    click.option("--threshold", type=click.FloatRange(0, 1), help="Score over which a class counts as predicted."),
    click.option("--recursive", is_flag=True, help="Look into the folders of a folder."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Stop after N pictures or frames."),
    click.option("--every", type=click.IntRange(1), default=1, metavar="N", help="Of videos, only each N-th frame."),
    click.option("--colormap", type=click.Choice(COLORMAPS), default="jet", show_default=True, help="Colours of the map."),
    click.option("--opacity", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Share of the maps."),
    click.option("--force", is_flag=True, help=f"Overwrite {JSON} and {PAGE} in DIR."),
)  # fmt: skip


@dataclass(frozen=True)
class _One:
    """One of the two: its file, and what is done with it. letter: A or B."""

    letter: str
    path: Path
    method: str | None
    precision: str | None

    @property
    def title(self) -> str:
        return ", ".join(filter(None, (self.path.stem, self.method, self.precision)))


@click.command(epilog=examples(
    "ovxai compare float_xai.xml int8_xai.xml photos -o out",
    "ovxai compare model.xml model.xml photos -o out --method-b gradient",
))  # fmt: skip
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("-o", "--output-dir", "--output", "out", type=click.Path(path_type=Path), required=True, metavar="DIR",
              help=f"Folder for {JSON} and {PAGE}.")  # fmt: skip
@with_options(_DIFFERENT, (LABELS, LABELS_OFFSET, DEVICE, TRUST), FEEDING)
@command_options
def compare(a: Path, b: Path, sources: tuple[str, ...], out: Path, say: Say, **values: Any) -> Document:
    """Explain every SOURCE by A and by B, and say where their maps differ, the most different pictures first.

    A, B: two models (float and INT8, say); or one model twice with --method-b or --precision-b. Both are explained in
    memory where they are plain.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    from ovxai.files import check_folder
    from ovxai.runtime.feed.sources import Broken, find_sources

    ones = [_One(letter, path, values[f"method_{letter.lower()}"], values[f"precision_{letter.lower()}"])
            for letter, path in (("A", a), ("B", b))]  # fmt: skip
    if (ones[0].path, ones[0].method, ones[0].precision) == (ones[1].path, ones[1].method, ones[1].precision):
        raise UsageError(f"{a}: A and B are the same; give two models, or --method-b or --precision-b")
    check_folder(out)
    for name in (JSON, PAGE):
        if os.path.lexists(out / name) and not values["force"]:
            raise OutputError(f"{out / name} exists; give another folder, or --force to overwrite it")
    found = find_sources(sources, recursive=values["recursive"], stdin=sys.stdin)
    broken = [source for source in found if isinstance(source, Broken)]
    if len(broken) == len(found):
        complain([source.reason for source in broken] or ["standard input names no sources"], "--json")
        return {"ok": False, "pictures": 0, "failed": [{"source": item.source, "error": item.reason} for item in broken]}
    return _compare(ones, found, out, values, say)


def _compare(ones: Sequence[_One], found: list[Source | Broken], out: Path, values: dict[str, Any], say: Say) -> Document:
    import cv2

    from ovxai.cli.run_command import _progress
    from ovxai.evaluation.compare import compare as compared
    from ovxai.evaluation.compare import names_of
    from ovxai.evaluation.compare_page import make_card
    from ovxai.runtime.feed.sources import count_pictures, pictures
    from ovxai.runtime.run import stop_on_interrupt

    cv2.setNumThreads(1)
    explainers = [_explainer(one, values, image=False) for one in ones]
    if any(one.facts.classless for one in explainers):  # maps of no class on one side: on both
        explainers = [_explainer(one, values, image=True) for one in ones]
    for one, explainer in zip(ones, explainers):
        for line in explainer.notes:
            note(f"{one.letter}: {line}")
    total = count_pictures(found, limit=values["limit"], every=values["every"])
    with stop_on_interrupt() as stop, _progress(total) as tick:
        result = compared(
            explainers[0], explainers[1],
            lambda: pictures(found, limit=values["limit"], every=values["every"], stop=stop, most_pixels=MOST_PIXELS),
            classes=values["classes"], name=names_of(found), card=make_card, stop=stop, progress=tick,
        )  # fmt: skip
    complain([item.reason for item in result.broken], JSON)
    if result.unmatched:
        shown = ", ".join(result.unmatched[:5]) + (", ..." if len(result.unmatched) > 5 else "")
        note(f"{len(result.unmatched)} classes of A are unknown to B: {shown}")
    document = _document(ones, explainers, result)
    if result.pictures:
        _write(out, document, ones, result, values)
        _tell(ones, result, out, say)
    return {"ok": not result.broken and not result.interrupted, **document}


def _explainer(one: _One, values: dict[str, Any], *, image: bool) -> Explainer:
    from ovxai.explainer import Explainer
    from ovxai.graph.read import read_model
    from ovxai.graph.surgery import strip_model
    from ovxai.insertion import insert
    from ovxai.metadata import is_explained
    from ovxai.runtime.config import ExplainConfig

    model: Any = one.path
    if one.method is not None:
        plain = read_model(one.path, trust=values["trust"])
        plain = strip_model(plain) if is_explained(plain) else plain
        if not plain.get_friendly_name():
            plain.set_friendly_name(one.path.stem)
        model = insert(plain, method=one.method)
    config = ExplainConfig(target="image" if image else "all", threshold=values["threshold"])
    return Explainer(
        model, config, values["device"], hint="throughput", precision=one.precision, trust=values["trust"],
        labels=values["labels"], labels_offset=values["labels_offset"], mean=values["mean"], scale_values=values["scale_values"],
        resize_type=values["resize_type"], pad_value=values["pad_value"],
        reverse_input_channels=values["reverse_input_channels"], input_size=values["input_size"],
    )  # fmt: skip


def _document(ones: Sequence[_One], explainers: Sequence[Explainer], result: Comparison) -> dict[str, object]:
    from ovxai.runtime.write.manifest import model_facts, versions

    sides = {
        one.letter.lower(): {**model_facts(str(one.path), explainer.facts), "precision": one.precision}
        for one, explainer in zip(ones, explainers)
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        **sides,
        "summary": result.summary(),
        "maps": [item.record() for item in result.most_different_first()],
        "failed": [{"source": item.source, "error": item.reason} for item in result.broken],
        "interrupted": result.interrupted,
    }


def _write(out: Path, document: dict[str, object], ones: Sequence[_One], result: Comparison, values: dict[str, Any]) -> None:
    from ovxai.evaluation.compare_page import make_page
    from ovxai.files import make_folder, whole_file
    from ovxai.text import to_json

    facts = {one.letter: f"{one.title} ({document[one.letter.lower()]['method']})" for one in ones}  # type: ignore[index]
    facts |= {"Maps": _figures(result), "Best class": _same(result)}
    page = make_page(
        f"{ones[0].title} and {ones[1].title}: maps side by side", facts, result.shown, count=len(result.maps),
        colormap=values["colormap"], opacity=values["opacity"],
    )  # fmt: skip
    make_folder(out)
    with whole_file(out / JSON, force=values["force"]) as file:
        file.write(to_json(document, indent=1))
    with whole_file(out / PAGE, force=values["force"]) as file:
        file.write(page)


def _figures(result: Comparison) -> str:
    figures = result.summary()
    if figures["mean"] is None:
        return "none could be compared"
    return (
        f"{figures['compared']} compared, correlation {figures['mean']:.3f} on average, "
        f"{figures['median']:.3f} in the middle, {figures['fifth']:.3f} at the 5th percentile"
    )


def _same(result: Comparison) -> str:
    figures = result.summary()
    share, both = figures["same_top"], figures["both_predict"]
    if not isinstance(share, float):
        return "no picture in which both predict something"
    if both == 1:
        return f"{'the same' if share else 'another'} in the one picture in which both predict something"
    return f"the same in {100 * share:.0f} % of the {both} pictures in which both predict something"


def _tell(ones: Sequence[_One], result: Comparison, out: Path, say: Say) -> None:
    for one in ones:
        say(f"{one.letter}: {one.title}")
    rows = result.most_different_first()[:_LISTED]
    width = max((len(item.image) for item in rows), default=0)
    if rows:
        say(f"{'picture':{width}s}  correlation  map of, A says, B says")
    for item in rows:
        value = "  no such map" if item.correlation is None else f"{item.correlation:13.3f}"
        says = ", ".join(f"{side.top} {side.score:.2f}" if side.top is not None else "nothing" for side in (item.a, item.b))
        say(f"{item.image:{width}s}{value}  {item.label or 'whole picture'}, {says}")
    if len(result.maps) > _LISTED:
        say(f"... and {len(result.maps) - _LISTED} more in {JSON}")
    say(f"maps: {_figures(result)}")
    say(f"best class: {_same(result)}")
    if not asked("as_json"):
        say(f"page: {out / PAGE}")
