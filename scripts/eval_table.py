"""Every method against every figure and what it costs: the tables of docs/evaluation.md.

    python scripts/eval_table.py [--shared ../shared] [--limit N] [--masks M] [--steps S] [--only WORD] [--metrics NAME ...]
                                 [--sure P]

For EfficientNet-Lite0 (shipped), YOLOX-Nano and NanoDet-m on the photographs with boxes of the shared folder, and the models of
the shapes world on its test pictures: in f32, in the precision that the device chooses, and as INT8 (NNCF, calibrated with
pictures of the same data); of detectors also one predicted box at a time. An INT8 model is its own judge.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import openvino as ov

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from eval_detectors import coco_detectors  # noqa: E402
from ovxai import Explainer  # noqa: E402
from ovxai.annotations import AnnotatedPicture, AnnotationSet, TrueObject, match_names, read_annotations  # noqa: E402
from ovxai.errors import OvxaiError  # noqa: E402
from ovxai.evaluation.baselines import BASELINES, Effort  # noqa: E402
from ovxai.evaluation.cases import Choice  # noqa: E402
from ovxai.evaluation.columns import ACTIVATION, Subject, Wishes  # noqa: E402
from ovxai.evaluation.figures import Measuring, chosen_metrics  # noqa: E402
from ovxai.evaluation.rows import Row, shown  # noqa: E402
from ovxai.evaluation.session import Ledger, Request, run_evaluation  # noqa: E402
from ovxai.graph.read import read_model  # noqa: E402
from ovxai.graph.save import save_model  # noqa: E402
from ovxai.graph.surgery import strip_model  # noqa: E402
from ovxai.quantization.quantize import QuantizeOptions, quantize  # noqa: E402
from ovxai.runtime.feed.engine import DeviceOptions  # noqa: E402
from ovxai.runtime.feed.preprocess import PreprocessOptions  # noqa: E402
from ovxai.runtime.predict.facts import ModelFacts  # noqa: E402

METRICS = ("pointing", "pointing_15", "energy", "insertion", "deletion", "drop", "increase", "complexity", "sparseness")


@dataclass(frozen=True)
class Case:
    """A table. per: class or box. methods: of insertion. boxes: whether the model is a detector. data: what it is looked at with.
    int8: whether it is quantised before; then without baselines."""

    title: str
    subject: Subject
    feeding: PreprocessOptions
    data: AnnotationSet
    per: str = "class"
    methods: tuple[str, ...] = ("auto", "gradient")
    boxes: bool = False
    int8: bool = False


def cases(shared: Path) -> list[Case]:
    photos, plain = read_annotations(shared / "data" / "boxes"), PreprocessOptions()
    shipped = Subject(ROOT / "fixtures" / "imagenet" / "efficientnet_lite0.xml")
    found = [Case("EfficientNet-Lite0", shipped, plain, photos)]
    for one in coco_detectors(shared / "data" / "models")[:2]:
        feeding = PreprocessOptions(
            one.mean, one.scale, "fit_to_window" if one.letterbox else None, 114 if one.letterbox else None, one.bgr
        )  # fmt: skip
        found.append(Case(one.name, Subject(one.file, one.labels), feeding, photos, methods=("auto",), boxes=True))
    shapes = ROOT / "fixtures" / "shapes"
    drawn = {kind: _shapes(shapes / "test", kind) for kind in ("cls", "det")}
    found += [Case(f"Shapes, {name}", Subject(shapes / f"{name}.xml"), plain, drawn["cls"]) for name in ("cnn", "vit")]
    detector = Subject(shapes / "detector.xml")
    found.append(Case("Shapes, detector", detector, plain, drawn["det"], methods=("auto",), boxes=True))
    per_box = [
        replace(case, title=f"{case.title}, per box", per="box", methods=("auto", "gradient")) for case in found if case.boxes
    ]
    every = [*found, *per_box]
    return [*every, *(replace(case, title=f"{case.title}, INT8", int8=True) for case in every)]


def _shapes(folder: Path, kind: str) -> AnnotationSet:
    """The test pictures of the shapes world whose names begin with `kind`."""
    found = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    pictures = tuple(
        AnnotatedPicture(folder / entry["file"], tuple(TrueObject(one["class"], tuple(one["box"])) for one in entry["objects"]))
        for entry in found["pictures"]
        if entry["file"].startswith(kind)
    )
    return AnnotationSet(tuple(found["classes"]), pictures)


def quantised(case: Case, folder: Path, count: int) -> Case:
    """The same with the model in INT8, plain again."""
    made = folder / f"{case.subject.file.stem}_int8_xai.xml"
    pictures = folder / "calibration"
    pictures.mkdir()
    for picture in case.data.pictures:
        shutil.copy(picture.path, pictures)
    quantize(case.subject.file, pictures, made, QuantizeOptions(count, measured=1, seconds=0.1, preprocessing=case.feeding))
    plain = save_model(strip_model(read_model(made)), folder / f"{case.subject.file.stem}_int8.xml")
    return replace(case, subject=replace(case.subject, file=plain))


def precisions() -> tuple[str | None, ...]:
    """f32, and the device's own choice where that is another."""
    lower = {"BF16", "FP16"} & set(ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return ("f32", None) if lower else ("f32",)


def request(case: Case, given: argparse.Namespace) -> Request:
    def match(facts: ModelFacts) -> tuple[dict[str, int], list[str]]:
        return match_names(case.data.classes, facts.names).index, []

    usual = [
        name for name, one in BASELINES.items() if (case.boxes or not one.boxes) and not (case.boxes and name == "occlusion")
    ]
    # Occlusion asks as often as RISE-800, of inputs that are four times as large.
    names = () if case.int8 else tuple(usual if given.baselines is None else given.baselines)
    wishes = Wishes(case.methods, (), (None,) if case.int8 else precisions(), (*names, ACTIVATION))
    return Request(
        [case.subject], case.data.pictures[: given.limit], match, wishes, Choice(per=case.per),
        Measuring(chosen_metrics(given.metrics), given.steps, None, 0), Effort(masks=given.masks),
        DeviceOptions(hint="throughput"), case.feeding,
    )  # fmt: skip


def table(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    names = shown(metrics)
    lines = [f"| method | {' | '.join(names)} | maps | s per picture | forward passes |", "| --- " * (len(names) + 4) + "|"]
    for row in rows:
        cells = ["–" if (value := row.figures.get(name)) is None else f"{value:.3f}" for name in names]
        title = row.method if row.host else f"{row.method}, {row.precision or 'default'}"
        cost = "–" if row.seconds_per_picture is None else f"{row.seconds_per_picture:.3f}"
        lines.append(f"| {title} | {' | '.join(cells)} | {row.maps} | {cost} | {row.forwards_per_picture:.0f} |")
    return lines


def where_sure(case: Case, least: float) -> Case:
    """With those pictures alone of whose best class or object the model says at least `least`."""
    feeding = {name: value for name, value in vars(case.feeding).items() if value is not None}
    explain = Explainer(case.subject.file, precision="f32", labels=case.subject.labels, **feeding)

    def best(picture: AnnotatedPicture) -> float:
        return max((found.score for found in explain(picture.path).predictions), default=0.0)

    kept = tuple(one for one in case.data.pictures if best(one) >= least)
    return replace(case, data=replace(case.data, pictures=kept))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("OVXAI_SHARED") or ROOT.parent / "shared"))
    parser.add_argument("--limit", type=int, help="the first N pictures alone")
    parser.add_argument("--sure", type=float, help="only pictures of whose best class the model says at least so much")
    parser.add_argument("--masks", type=int, default=600, help="of RISE and D-RISE")
    parser.add_argument("--steps", type=int, default=30, help="of insertion and deletion")
    parser.add_argument("--baselines", nargs="*", help="only these")
    parser.add_argument("--only", nargs="*", help="only tables in whose title one of these words stands")
    parser.add_argument("--calibrated", type=int, default=64, help="pictures that INT8 is calibrated with")
    parser.add_argument("--metrics", nargs="+", default=METRICS, help="which figures (those that cost little)")
    given = parser.parse_args()
    for case in cases(given.shared):
        if given.only and not any(word.lower() in case.title.lower() for word in given.only):
            continue
        if given.sure is not None:
            case = where_sure(case, given.sure)
        with tempfile.TemporaryDirectory() as folder:
            wanted = request(quantised(case, Path(folder), given.calibrated) if case.int8 else case, given)
            ledger = Ledger.begin(Path(folder), wanted.settings(), resume=False, force=True)
            outcome = run_evaluation(wanted, ledger)
        more = f", calibrated with {given.calibrated}" if case.int8 else f", {given.masks} masks"
        print(f"### {case.title}\n\n{len(wanted.pictures)} pictures, {given.steps} steps{more}.\n")
        print("\n".join(table(outcome.rows, given.metrics)) + "\n")
        left = [note for note in outcome.notes if "left out: " in note and ": method " in note]
        print("".join(f"{note}\n\n" for note in left), end="", flush=True)


if __name__ == "__main__":
    try:
        main()
    except OvxaiError as error:
        raise SystemExit(f"Error: {error}") from error
