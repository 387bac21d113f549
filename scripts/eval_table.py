"""Every method against every figure and what it costs: the tables of docs/evaluation.md.

    python scripts/eval_table.py [--shared ../shared] [--limit N] [--masks M]

For EfficientNet-Lite0 (shipped), YOLOX-Nano and NanoDet-m on the photographs with boxes of the shared folder, in f32 and in the
precision that the device chooses; of detectors also one predicted box at a time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from eval_detectors import coco_detectors  # noqa: E402
from ovxai.annotations import AnnotatedPicture, match_names, read_annotations  # noqa: E402
from ovxai.errors import OvxaiError  # noqa: E402
from ovxai.evaluation.baselines import BASELINES, Effort  # noqa: E402
from ovxai.evaluation.cases import Choice  # noqa: E402
from ovxai.evaluation.columns import ACTIVATION, Subject, Wishes  # noqa: E402
from ovxai.evaluation.figures import Measuring, chosen_metrics  # noqa: E402
from ovxai.evaluation.rows import Row, shown  # noqa: E402
from ovxai.evaluation.session import Ledger, Request, run_evaluation  # noqa: E402
from ovxai.runtime.feed.engine import DeviceOptions  # noqa: E402
from ovxai.runtime.feed.preprocess import PreprocessOptions  # noqa: E402
from ovxai.runtime.predict.facts import ModelFacts  # noqa: E402

METRICS = ("pointing", "pointing_15", "energy", "insertion", "deletion", "drop", "increase", "complexity", "sparseness")


@dataclass(frozen=True)
class Case:
    """A table. per: class or box. methods: of insertion."""

    title: str
    subject: Subject
    feeding: PreprocessOptions
    per: str
    methods: tuple[str, ...]


def cases(shared: Path) -> list[Case]:
    shipped = Subject(ROOT / "fixtures" / "imagenet" / "efficientnet_lite0.xml")
    found = [Case("EfficientNet-Lite0", shipped, PreprocessOptions(), "class", ("auto", "gradient"))]
    for one in coco_detectors(shared / "data" / "models")[:2]:
        feeding = PreprocessOptions(
            one.mean, one.scale, "fit_to_window" if one.letterbox else None, 114 if one.letterbox else None, one.bgr
        )  # fmt: skip
        for per in ("class", "box"):
            methods = ("auto", "gradient") if per == "box" else ("auto",)
            found.append(Case(f"{one.name}, per {per}", Subject(one.file, one.labels), feeding, per, methods))
    return found


def request(case: Case, pictures: Sequence[AnnotatedPicture], classes: Sequence[str], given: argparse.Namespace) -> Request:
    def match(facts: ModelFacts) -> tuple[dict[str, int], list[str]]:
        return match_names(classes, facts.names).index, []

    boxes = case.title != "EfficientNet-Lite0"
    usual = [name for name, one in BASELINES.items() if (boxes or not one.boxes) and not (boxes and name == "occlusion")]
    names = tuple(given.baselines or usual)  # occlusion asks as often as RISE-800, of inputs that are four times as large
    return Request(
        [case.subject], pictures, match, Wishes(case.methods, (), ("f32", None), (*names, ACTIVATION)), Choice(per=case.per),
        Measuring(chosen_metrics(METRICS), given.steps, None, 0), Effort(masks=given.masks), DeviceOptions(hint="throughput"),
        case.feeding,
    )  # fmt: skip


def table(rows: Sequence[Row]) -> list[str]:
    names = shown(METRICS)
    lines = [f"| method | {' | '.join(names)} | maps | s per picture | forward passes |", "| --- " * (len(names) + 4) + "|"]
    for row in rows:
        cells = ["–" if (value := row.figures.get(name)) is None else f"{value:.3f}" for name in names]
        title = row.method if row.host else f"{row.method}, {row.precision or 'default'}"
        cost = "–" if row.seconds_per_picture is None else f"{row.seconds_per_picture:.3f}"
        lines.append(f"| {title} | {' | '.join(cells)} | {row.maps} | {cost} | {row.forwards_per_picture:.0f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("OVXAI_SHARED") or ROOT.parent / "shared"))
    parser.add_argument("--limit", type=int, help="the first N pictures alone")
    parser.add_argument("--masks", type=int, default=600, help="of RISE and D-RISE")
    parser.add_argument("--steps", type=int, default=30, help="of insertion and deletion")
    parser.add_argument("--baselines", nargs="*", help="only these")
    given = parser.parse_args()
    data = read_annotations(given.shared / "data" / "boxes")
    pictures = data.pictures[: given.limit]
    for case in cases(given.shared):
        wanted = request(case, pictures, data.classes, given)
        with tempfile.TemporaryDirectory() as folder:
            ledger = Ledger.begin(Path(folder), wanted.settings(), resume=False, force=True)
            outcome = run_evaluation(wanted, ledger)
        print(f"### {case.title}\n\n{len(pictures)} pictures, {given.steps} steps, {given.masks} masks.\n")
        print("\n".join(table(outcome.rows)) + "\n", flush=True)


if __name__ == "__main__":
    try:
        main()
    except OvxaiError as error:
        raise SystemExit(f"Error: {error}") from error
