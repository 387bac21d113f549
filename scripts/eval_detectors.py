"""How well detector maps sit on their objects, by activation and by how levels are merged.

    python scripts/eval_detectors.py [--shared ../shared] [--json]

For three trained COCO detectors and 85 photographs with boxes, over all pairs of picture and class: the share of the
class map's energy that lies inside that class's boxes over the share of the picture they cover (1 = no better than a
flat map), and how often the map's peak lies in a box. Boxes below 1 % or above 80 % of the picture are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openvino as ov

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from ovxai.find.detector.search import find_detection  # noqa: E402
from ovxai.find.site import No, Request  # noqa: E402
from ovxai.graph.graph import Graph  # noqa: E402
from ovxai.graph.surgery import attach_outputs  # noqa: E402
from ovxai.metadata import ModelInfo  # noqa: E402
from ovxai.methods import class_probability_map  # noqa: E402
from ovxai.options import InsertOptions  # noqa: E402

#: Names of the annotation files that COCO calls otherwise.
COCO_NAME = {
    "diningtable": "dining table", "pottedplant": "potted plant", "sofa": "couch",
    "tvmonitor": "tv", "aeroplane": "airplane", "motorbike": "motorcycle",
}  # fmt: skip
CHOICES = [(activation, levels) for activation in ("softmax", "sigmoid") for levels in ("mean", "max")]


@dataclass(frozen=True)
class Detector:
    """mean, scale: per channel, BGR, as fed. letterbox: keep the aspect, pad right and below with 114."""

    name: str
    file: str
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    letterbox: bool


DETECTORS = (
    Detector("YOLOX-Nano", "yolox_nano_coco/yolox_nano.onnx", (0, 0, 0), (1, 1, 1), True),
    Detector("NanoDet-m", "nanodet_m_coco/nanodet_m.onnx", (103.53, 116.28, 123.675), (57.375, 57.12, 58.395), False),
    Detector("FastestDet", "fastestdet_coco/FastestDet.onnx", (0, 0, 0), (255, 255, 255), False),
)


def prepared(picture: np.ndarray, detector: Detector, size: tuple[int, int]) -> tuple[np.ndarray, tuple[float, float]]:
    """BGR picture -> input [1, 3, H, W], and which part of H and W the picture fills."""
    height, width = size
    filled = (1.0, 1.0)
    if detector.letterbox:
        ratio = min(height / picture.shape[0], width / picture.shape[1])
        small = cv2.resize(picture, (int(picture.shape[1] * ratio), int(picture.shape[0] * ratio)))
        canvas = np.full((height, width, 3), 114, np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        picture, filled = canvas, (small.shape[0] / height, small.shape[1] / width)
    else:
        picture = cv2.resize(picture, (width, height))
    fed = (picture.astype(np.float32) - np.float32(detector.mean)) / np.float32(detector.scale)
    return fed.transpose(2, 0, 1)[None], filled


def on_picture(grid: np.ndarray, filled: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    """A map of the input as it is delivered (0..255), at the picture's size and without the padding."""
    spread = grid.max() - grid.min()
    grey = np.trunc(255 * (grid - grid.min()) / spread) if spread > 0 else np.zeros_like(grid)
    full = cv2.resize(grey, (round(shape[1] / filled[1]), round(shape[0] / filled[0])), interpolation=cv2.INTER_LINEAR)
    return full[: shape[0], : shape[1]].astype(np.float64)


def boxes_by_class(path: Path, names: list[str], shape: tuple[int, int]) -> dict[int, np.ndarray]:
    """Class index -> bool mask of the picture that its boxes cover."""
    masks: dict[int, np.ndarray] = {}
    for line in path.read_text().splitlines():
        name, *corners = line.split()
        name = COCO_NAME.get(name, name)
        x1, y1, x2, y2 = (int(float(corner)) for corner in corners)
        share = (x2 - x1) * (y2 - y1) / (shape[0] * shape[1])
        if name in names and 0.01 <= share <= 0.8:
            mask = masks.setdefault(names.index(name), np.zeros(shape, bool))
            mask[max(0, y1) : y2, max(0, x1) : x2] = True
    return masks


def explained(path: Path, activation: str, levels: str) -> ov.CompiledModel:
    model = ov.convert_model(path)
    options = InsertOptions(class_activation=activation, levels=levels)
    graph = Graph(model)
    site = find_detection(Request.of(graph, options, ModelInfo.read(model)))
    if isinstance(site, No):
        raise SystemExit(f"{path.name}: {site.reason}")
    branch = class_probability_map.build(graph, site, options)
    attach_outputs(model, {"saliency_map": branch.saliency})
    return ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def scores(detector: Detector, shared: Path, activation: str, levels: str) -> dict[str, float]:
    """Energy ratio and pointing over all pairs of picture and class."""
    folder = shared / "data"
    names = (folder / "models" / detector.file).parent.joinpath("coco_names.txt").read_text().splitlines()
    model = explained(folder / "models" / detector.file, activation, levels)
    size = tuple(model.input(0).shape[2:])
    inside, covered, hits = [], [], []
    for annotation in sorted((folder / "boxes" / "boxes").glob("*.txt")):
        picture = cv2.imread(str(folder / "boxes" / "images" / f"{annotation.stem}.jpg"))
        fed, filled = prepared(picture, detector, size)
        masks = boxes_by_class(annotation, names, picture.shape[:2])
        if not masks:
            continue
        maps = model(fed)["saliency_map"][0]
        for index, mask in masks.items():
            heat = on_picture(maps[index], filled, picture.shape[:2])
            inside.append(heat[mask].sum() / max(heat.sum(), 1e-12))
            covered.append(mask.mean())
            hits.append(bool(mask.flat[heat.argmax()]))
    return dict(energy=float(np.mean(inside) / np.mean(covered)), pointing=float(np.mean(hits)), pairs=len(hits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("OVXAI_SHARED") or ROOT.parent / "shared"))
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    given = parser.parse_args()
    if not (given.shared / "data" / "boxes").exists():
        raise SystemExit(f"{given.shared}: no data/boxes there; point --shared or OVXAI_SHARED at the shared folder")
    rows = []
    for detector in DETECTORS:
        for activation, levels in CHOICES:
            row = dict(detector=detector.name, activation=activation, levels=levels)
            rows.append(row | scores(detector, given.shared, activation, levels))
            if not given.json:
                print(
                    "{detector:11s} {activation:8s} {levels:5s} energy {energy:.2f} pointing {pointing:.2f} ({pairs} pairs)".format(
                        **rows[-1]
                    )
                )
    if given.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
