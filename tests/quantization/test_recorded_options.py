"""The options of an insertion, read back from what the explained model says of itself."""

from __future__ import annotations

import json

import pytest

from helpers import classifiers, detectors, instances
from helpers.explained import info_of
from helpers.segmenters import segmenter
from ovxai.anew import recorded_options
from ovxai.graph.surgery import strip_model
from ovxai.insertion import insert_with_report
from ovxai.metadata import ModelInfo, is_explained
from ovxai.options import InsertOptions
from ovxai.quantization.quantize import _plain_of

MODELS = {
    "cnn": (classifiers.cnn, InsertOptions(mask="gaussian", classes="0,3", scale=False)),
    "vit": (classifiers.vit, InsertOptions(blocks=2, feature_vector=True)),
    "second output": (classifiers.two_outputs, InsertOptions(output="fine")),
    "activation map": (classifiers.cnn, InsertOptions(method="activation-map")),
    "gradient": (classifiers.cnn, InsertOptions(method="gradient", combine="layercam", classes="top:2")),
    "gradient of named layers": (classifiers.cnn, InsertOptions(method="gradient", target_layer=("features",))),
    "gradient toward a vector": (classifiers.cnn, InsertOptions(method="gradient", toward=(1.0, -2.0, 0.5, 3.0))),
    "a pixel": (segmenter, InsertOptions(method="gradient", pixel="0,7")),
    "detector": (detectors.anchored, InsertOptions(levels="max", class_activation="sigmoid", map_size="6x6")),
    "detector's activation map": (detectors.anchored, InsertOptions(method="activation-map")),
    "instances": (instances.yolo_seg, InsertOptions(map_size="8x12", feature_map=True)),
}


@pytest.mark.parametrize("name", MODELS)
def test_they_make_the_same_explanation_of_the_plain_model(name: str) -> None:
    build, options = MODELS[name]
    explained = insert_with_report(build(), options)
    plain = strip_model(explained.model)
    again = insert_with_report(plain, recorded_options(plain, explained.info, explained.model))
    assert info_of(again.model) == info_of(explained.model)


def test_calibration_feeds_what_stands_beside_the_model(tmp_path) -> None:
    told = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told))
    said: list[str] = []
    plain, _options = _plain_of(classifiers.cnn(), tmp_path / "model.xml", said.append)
    info = ModelInfo.read(plain)
    assert info.mean == (127.5, 102.0, 76.5) and info.scale == (51.0, 51.0, 51.0)
    assert "preprocessor_config.json" in " ".join(said) and not is_explained(plain)
