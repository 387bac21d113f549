"""The whole way on the model and photographs that ship with the package: insert, run, pictures on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ovxai.errors import SourceError

MODEL = "imagenet/efficientnet_lite0.xml"
#: Photographs whose maps show what they are to show: the model looks at the thing that it names.
PHOTOS = ("photos/chelsea.png", "photos/coffee.png")
_SIDE_BY_SIDE = 3


@dataclass(frozen=True)
class DemoResult:
    """What the demo wrote.

    model: the explained IR. pictures: the explained pictures. predictions: photo -> label and score.
    page: report.html, to open in a browser; None where there was no picture to show.
    """

    model: Path
    pictures: tuple[Path, ...]
    predictions: dict[str, tuple[str, float]]
    page: Path | None


def fixtures() -> Path:
    """The folder that holds the shipped model and photographs: in the package, or in a checkout beside it.

    Raises:
        SourceError: neither is there.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "fixtures", package.parent / "fixtures"):
        if (folder / MODEL).is_file():
            return folder
    raise SourceError(f"{package / 'fixtures'}: the demo's model is missing; install ovxai again, or use a full checkout")


def run_demo(folder: str | Path) -> DemoResult:
    """Insert into the shipped classifier, explain the shipped photographs, write all of it into `folder`.

    May be called again and again: what it wrote before is overwritten.

    Raises:
        OutputError: `folder` can't be written.
        SourceError: the shipped files are missing or damaged.
    """
    from ovxai.explainer import Explainer
    from ovxai.files import check_folder, make_folder
    from ovxai.graph.read import read_model
    from ovxai.graph.save import save_model
    from ovxai.insertion import insert
    from ovxai.runtime.config import ExplainConfig
    from ovxai.runtime.feed.sources import find_sources
    from ovxai.runtime.run import Run
    from ovxai.runtime.write.manifest import model_facts, write_manifest
    from ovxai.runtime.write.maps import Writer
    from ovxai.runtime.write.report import Report

    shipped = fixtures()
    folder = make_folder(check_folder(Path(folder)))
    source = shipped / MODEL
    model = save_model(insert(read_model(source)), folder / f"{source.stem}_xai.xml", force=True)
    explainer = Explainer(model, ExplainConfig(postprocess=True, grid=_SIDE_BY_SIDE))
    writer = Writer(folder, names=explainer.facts.names, grid=_SIDE_BY_SIDE, force=True)
    sources = find_sources([str(shipped / photo) for photo in PHOTOS])
    report = Report(folder, len(sources), force=True)
    result = Run(explainer, writer, report=report)(sources)
    if result.broken:
        raise SourceError(result.broken[0].reason)
    write_manifest(folder, model_facts(str(model), explainer.facts), result.written, [], {})
    page = report.write(explainer.facts, model=str(model), settings={})
    shown = [item for item in result.written if item.kind in ("overlay", "grid")]
    # Of each photograph the best class is written first.
    best = {
        Path(item.source).name: (item.label, item.score)
        for item in reversed(shown)
        if item.kind == "overlay" and item.label is not None and item.score is not None
    }
    return DemoResult(model, tuple(folder / item.path for item in shown), dict(sorted(best.items())), page)
