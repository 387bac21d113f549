"""The options of an insertion, read back from what the explained model says of itself."""

from __future__ import annotations

import pytest

from helpers import classifiers, detectors, instances
from helpers.explained import info_of
from ovxai.anew import recorded_options
from ovxai.graph.surgery import strip_model
from ovxai.insertion import insert_with_report
from ovxai.options import InsertOptions

MODELS = {
    "cnn": (classifiers.cnn, InsertOptions(mask="gaussian", classes="0,3", scale=False)),
    "vit": (classifiers.vit, InsertOptions(blocks=2, feature_vector=True)),
    "second output": (classifiers.two_outputs, InsertOptions(output="fine")),
    "activation map": (classifiers.cnn, InsertOptions(method="activation-map")),
    "gradient": (classifiers.cnn, InsertOptions(method="gradient", combine="layercam", classes="top:2")),
    "gradient of named layers": (classifiers.cnn, InsertOptions(method="gradient", target_layer=("features",))),
    "detector": (detectors.anchored, InsertOptions(levels="max", class_activation="sigmoid", map_size="6x6")),
    "detector's activation map": (detectors.anchored, InsertOptions(method="activation-map")),
    "instances": (instances.yolo_seg, InsertOptions(map_size="8x12", feature_map=True)),
}


@pytest.mark.parametrize("name", MODELS)
def test_they_make_the_same_explanation_of_the_plain_model(name: str) -> None:
    build, options = MODELS[name]
    explained = insert_with_report(build(), options)
    plain = strip_model(explained.model)
    again = insert_with_report(plain, recorded_options(plain, explained.info))
    assert info_of(again.model) == info_of(explained.model)
