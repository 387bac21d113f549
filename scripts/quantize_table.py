"""The table of INT8 models: quantise, explain, verify, time. Needs nncf; for timm's models torch and timm.

    python scripts/quantize_table.py cnn vit detector instances efficientnet_lite0
    python scripts/quantize_table.py --shared ../shared vit_cifar10 yolox_nano mobilenetv3_large_100 deit_tiny_patch16_224

A name is one of the repository's models, a trained one of the shared folder, or timm's (random
weights, jittered). Calibrated with 8 pictures: whether a graph is explained exactly does not depend on
it. --weights i8|u8|i4|u4 compresses weights only. One JSON line a model; `ratio` is explained / plain.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from ovxai.bench import alternate
from ovxai.errors import OvxaiError
from ovxai.graph.read import read_model
from ovxai.insertion import insert_with_report
from ovxai.options import InsertOptions
from ovxai.quantization.measure import calibration_feeds, find_pictures
from ovxai.quantization.nncf_ptq import Recipe, is_transformer, load_nncf, post_training
from ovxai.runtime.feed.preprocess import PreprocessOptions
from ovxai.verification import verify
from own_models import OWN, first_pictures, folder_of
from zoo_models import converted

ROOT = Path(__file__).resolve().parents[1]
SHARED = {
    "vit_cifar10": "data/models/vit_cifar10/vit_cifar10_prenorm.onnx",
    "yolox_nano": "data/models/yolox_nano_coco/yolox_nano.onnx",
}
_MODES = {"i8": "INT8_SYM", "u8": "INT8_ASYM", "i4": "INT4_SYM", "u4": "INT4_ASYM"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--weights", choices=_MODES, help="weight-only compression instead of quantisation")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each latency (default: 8)")
    options = parser.parse_args()
    for name in options.models:
        print(json.dumps(row(name, options)), flush=True)


def row(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What became of one model."""
    found: dict[str, Any] = {"model": name, "kind": options.weights or "INT8"}
    try:
        plain = _model(name, options.shared)
        pictures = find_pictures(folder_of(name), plain, PreprocessOptions())
        paths = first_pictures(pictures, 8)
        feeds = dict(enumerate(next(calibration_feeds(pictures, paths, plain))))
        quantised = _compressed(plain, options.weights) if options.weights else post_training(
            plain, lambda: calibration_feeds(pictures, paths, plain), len(paths), Recipe(), quiet=True
        )  # fmt: skip
        found["ratio float"] = _ratio(plain, insert_with_report(plain, InsertOptions(probe=False)).model, feeds, options.seconds)
        done = insert_with_report(quantised, InsertOptions(probe=False))
        found |= {"method": done.info.method, "collapse": done.info.collapse}
        found["ratio"] = _ratio(quantised, done.model, feeds, options.seconds)
        for scale in (True, False):
            model = insert_with_report(quantised, InsertOptions(probe=False, scale=scale)).model
            report = verify(model, pictures.load(paths[0]).picture)
            found["verified" if scale else "verified raw"] = report.ok
            found["of tolerance" if scale else "of tolerance raw"] = round(report.units, 3)
    except OvxaiError as error:
        found["error"] = str(error)
    return found


def _model(name: str, shared: Path) -> ov.Model:
    if name in OWN:
        return read_model(OWN[name])
    if name in SHARED:
        return read_model(shared / SHARED[name])
    return converted(name)


def _compressed(model: ov.Model, kind: str) -> ov.Model:
    nncf = load_nncf()
    nncf.set_log_level(logging.ERROR)
    words: dict[str, Any] = (
        {} if kind.endswith("8") else {"ratio": 1.0, "group_size": 16 if is_transformer(model) else -1, "all_layers": True}
    )
    return nncf.compress_weights(model.clone(), mode=nncf.CompressWeightsMode[_MODES[kind]], **words)


def _ratio(plain: ov.Model, explained: ov.Model, feeds: dict[int, np.ndarray], seconds: float) -> float:
    return round(alternate([plain, explained], feeds, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}, 200, seconds).ratio, 3)


if __name__ == "__main__":
    main()
