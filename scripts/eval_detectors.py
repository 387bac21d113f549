"""How well detector maps sit on their objects, by activation and by how levels are merged.

    python scripts/eval_detectors.py [--shared ../shared] [--json]
    python scripts/eval_detectors.py --model detector.xml --boxes FOLDER [--json]

For three trained COCO detectors and 85 photographs with boxes, over all pairs of picture and class: the share of the
class map's energy that lies inside that class's boxes over the share of the picture they cover (1 = no better than a
flat map), and how often the map's peak lies in a box. Boxes below 1 % or above 80 % of the picture are left out.

--model: a detector of your own, plain, with labels and preprocessing in its `model_info`. --boxes: a folder with
`images/NAME.jpg` (or another picture) and `boxes/NAME.txt`, one line `class x1 y1 x2 y2` in pixels per object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ovxai.annotations import match_names  # noqa: E402
from ovxai.errors import OvxaiError  # noqa: E402
from ovxai.evaluation import energy, energy_over_area, pointing  # noqa: E402
from ovxai.explainer import Explainer  # noqa: E402
from ovxai.graph.read import read_model  # noqa: E402
from ovxai.insertion import insert  # noqa: E402
from ovxai.metadata import ModelInfo  # noqa: E402
from ovxai.runtime.config import ExplainConfig  # noqa: E402
from ovxai.runtime.feed.images import read_image  # noqa: E402

CHOICES = [(activation, levels) for activation in ("softmax", "sigmoid") for levels in ("mean", "max")]
#: Parts of the picture that a box may cover: smaller ones are less than a cell, larger ones prove nothing.
SMALLEST, LARGEST = 0.01, 0.8


@dataclass(frozen=True)
class Detector:
    """A plain detector, and what it does not say itself.

    file: the model. labels: class names, in order; None: as `model_info` says. mean, scale: per channel in the
    order that it wants. letterbox: keep the aspect, pad right and below with 114. bgr: whether it wants BGR.
    """

    name: str
    file: Path
    labels: tuple[str, ...] | None = None
    mean: tuple[float, float, float] | None = None
    scale: tuple[float, float, float] | None = None
    letterbox: bool = False
    bgr: bool | None = None

    def explainer(self, activation: str, levels: str) -> tuple[Explainer, tuple[str, ...]]:
        """The detector with its maps, all of them on the grid, in f32; and its class names."""
        plain = read_model(self.file)
        labels = self.labels or ModelInfo.read(plain).labels
        if not labels:
            raise SystemExit(f"{self.file}: no labels in its model_info; boxes name classes by them")
        explained = insert(plain, task="detection", class_activation=activation, levels=levels, probe=False)
        made = Explainer(
            explained, ExplainConfig(target="all"), precision="f32", labels=labels, mean=self.mean, scale_values=self.scale,
            resize_type="fit_to_window" if self.letterbox else None, pad_value=114 if self.letterbox else None,
            reverse_input_channels=self.bgr,
        )  # fmt: skip
        return made, labels


def coco_detectors(models: Path) -> list[Detector]:
    """The trained ones of the shared folder; none of them carries a word about itself."""

    def names(folder: str) -> tuple[str, ...]:
        return tuple((models / folder / "coco_names.txt").read_text(encoding="utf-8").splitlines())

    yolox, nanodet, fastestdet = "yolox_nano_coco", "nanodet_m_coco", "fastestdet_coco"
    return [
        Detector("YOLOX-Nano", models / yolox / "yolox_nano.onnx", names(yolox), letterbox=True, bgr=True),
        Detector("NanoDet-m", models / nanodet / "nanodet_m.onnx", names(nanodet),
                 (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), bgr=True),
        Detector("FastestDet", models / fastestdet / "FastestDet.onnx", names(fastestdet), scale=(255, 255, 255), bgr=True),
    ]  # fmt: skip


def annotated(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """(picture, lines of its annotation) of every annotation that has a picture."""
    for annotation in sorted((folder / "boxes").glob("*.txt")):
        picture = next((folder / "images").glob(f"{annotation.stem}.*"), None)
        if picture is not None:
            yield picture, annotation.read_text(encoding="utf-8").splitlines()


def regions(lines: list[str], labels: tuple[str, ...], shape: tuple[int, int]) -> dict[int, np.ndarray]:
    """Class index -> [H, W] bool, the part of the picture of size `shape` that its boxes cover."""
    found: dict[int, np.ndarray] = {}
    index = match_names([line.rsplit(maxsplit=4)[0] for line in lines if line.split()], labels).index
    for line in filter(None, map(str.strip, lines)):
        name, left, top, right, bottom = line.rsplit(maxsplit=4)
        x1, y1, x2, y2 = (int(float(corner)) for corner in (left, top, right, bottom))
        share = (x2 - x1) * (y2 - y1) / (shape[0] * shape[1])
        if name in index and SMALLEST <= share <= LARGEST:
            region = found.setdefault(index[name], np.zeros(shape, bool))
            region[max(0, y1) : y2, max(0, x1) : x2] = True
    return found


def scores(detector: Detector, folder: Path, activation: str, levels: str) -> dict[str, float]:
    """Energy over area and pointing over all pairs of picture and class, and how many pairs there are."""
    explainer, labels = detector.explainer(activation, levels)
    inside, covered, hits = [], [], []
    for path, lines in annotated(folder):
        picture = read_image(path)
        found = regions(lines, labels, picture.shape[:2])
        if not found:
            continue
        explanation = explainer(picture)
        for index, region in found.items():
            heat = explanation.geometry.map_to_source(explanation.raw_maps[index])
            inside.append(energy(heat, region))
            covered.append(float(region.mean()))
            hits.append(pointing(heat, region))
    if not hits:
        raise SystemExit(f"{folder}: no picture with a box of {detector.name}'s classes, 1 to 80 % of the picture large")
    return {"energy": energy_over_area(inside, covered), "pointing": float(np.mean(hits)), "pairs": len(hits)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("OVXAI_SHARED") or ROOT.parent / "shared"))
    parser.add_argument("--model", type=Path, help="a detector of your own, instead of the three")
    parser.add_argument("--boxes", type=Path, help="its pictures and boxes (default: data/boxes of the shared folder)")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    given = parser.parse_args()
    folder = given.boxes or given.shared / "data" / "boxes"
    if not (folder / "boxes").is_dir():
        raise SystemExit(f"{folder}: no folder boxes in it; point --boxes, --shared or OVXAI_SHARED elsewhere")
    detectors = [Detector(given.model.stem, given.model)] if given.model else coco_detectors(given.shared / "data" / "models")
    rows = []
    for detector in detectors:
        for activation, levels in CHOICES:
            found = scores(detector, folder, activation, levels)
            rows.append({"detector": detector.name, "activation": activation, "levels": levels, **found})
            if not given.json:
                figures = f"energy {found['energy']:.2f} pointing {found['pointing']:.2f} ({found['pairs']} pairs)"
                print(f"{detector.name:11s} {activation:8s} {levels:5s} {figures}", flush=True)
    if given.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    try:
        main()
    except OvxaiError as error:
        raise SystemExit(f"Error: {error}") from error
