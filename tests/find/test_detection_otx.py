"""OTX's own exports: the map inserted into the plain IR against OTX's explain export of the same weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from ovxai.find.detector.search import find_detection
from ovxai.find.site import Request
from ovxai.graph.graph import Graph
from ovxai.graph.surgery import attach_outputs
from ovxai.metadata import ModelInfo
from ovxai.methods import class_probability_map
from ovxai.options import InsertOptions

SHARED = Path(os.environ.get("OVXAI_SHARED") or Path(__file__).resolve().parents[3] / "shared")
FAMILIES = ("det_atss_mobilenetv2", "det_yolox_tiny")


def scaled(maps: np.ndarray) -> np.ndarray:
    low, high = maps.min((2, 3), keepdims=True), maps.max((2, 3), keepdims=True)
    return (255 * (maps - low) / (high - low)).astype(np.uint8)


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_otx_within_one_grey_level(family):
    folder = SHARED / "data" / "otx" / family
    if not folder.exists():
        pytest.skip(f"{family}: the shared data is not beside this checkout (set OVXAI_SHARED)")
    model = ov.Core().read_model(folder / "plain.xml")
    options = InsertOptions(feature_vector=True)
    graph = Graph(model)
    site = find_detection(Request.of(graph, options, ModelInfo.read(model)))
    assert site, site
    branch = class_probability_map.build(graph, site, options)
    attach_outputs(model, {"saliency_map": branch.saliency, "feature_vector": branch.feature_vector})
    with np.load(folder / "io.npz") as expected:
        found = ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(expected["input"])
        off = np.abs(scaled(found["saliency_map"]).astype(int) - expected["saliency_map"])
        assert off.max() <= 1
        np.testing.assert_allclose(found["feature_vector"], expected["feature_vector"], rtol=1e-4, atol=1e-5)
    assert branch.info.prediction_format == "boxes-labels"
