"""An activation map of anything that has features: models whose outputs nobody explains, and layers that are asked for."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers as toys
from helpers import detectors
from helpers.values import named, numbers
from ovxai import ExplainConfig, Explainer
from ovxai.errors import TargetLayerError, UnsupportedModelError
from ovxai.insertion import insert_with_report
from ovxai.metadata import FEATURES
from ovxai.options import InsertOptions
from ovxai.verification import verify


def embedding():
    """Two vectors that are no classes and a distance between pictures."""
    image = toys.picture()
    x = toys.trunk(image)
    return toys.finished(toys.linear(toys.mean(x), 9), image, more=(op.reduce_l2(x, np.array([1, 2, 3]), False),))


def segmentation():
    """Class scores per pixel: features are what the last convolution reads."""
    image = toys.picture()
    x = op.interpolate(
        toys.conv(toys.trunk(image), 4, 1, seed=8), np.array(toys.SIZE, np.int64), "linear_onnx", "sizes", axes=np.array([2, 3])
    )
    return toys.finished(x, image)


def depth():
    image = toys.picture()
    x = op.relu(toys.conv(toys.trunk(image), 4, 3, seed=8))
    x = named(op.interpolate(x, np.array([6, 8], np.int64), "nearest", "sizes", axes=np.array([2, 3])), "enlarged")
    return toys.finished(toys.conv(x, 1, 3, seed=9), image)


@pytest.mark.parametrize(("build", "name", "grid"), [(segmentation, "features", (3, 4)), (depth, "enlarged", (6, 8))])
def test_a_model_without_classes(build, name, grid):
    with pytest.raises(UnsupportedModelError, match=r'feature maps, for target_layer= or method="activation-map"'):
        ovxai.insert(build())
    done = insert_with_report(build(), InsertOptions(method="activation-map", scale=False))
    assert (done.info.task, done.info.target_layers, done.info.feature_layer) == (FEATURES, (name,), name)
    assert tuple(done.model.output("saliency_map").shape) == (1, 1, *grid) and not done.warnings
    assert any("belongs to no class" in note for note in done.notes)
    assert verify(done.model).ok
    explanation = Explainer(done.model, ExplainConfig(), precision="f32")(np.zeros((*toys.SIZE, 3), np.uint8))
    assert list(explanation.maps) == ["image"] and not explanation.predictions


def test_a_layer_that_is_asked_for():
    """Also where the model is a detector, whose --target-layer otherwise takes class scores."""
    model = detectors.anchored()
    layer = next(node for node in model.get_ordered_ops() if node.get_type_name() == "Relu").get_friendly_name()
    done = insert_with_report(model, InsertOptions(method="activation-map", target_layer=(layer,), scale=False))
    assert done.info.target_layers == (layer,) and done.info.task == FEATURES
    assert verify(done.model).ok
    other = embedding()
    vector = other.get_results()[0].input_value(0).get_node().get_friendly_name()
    with pytest.raises(TargetLayerError, match=r"has no positions of the picture; feature maps, for target_layer: features"):
        ovxai.insert(other, method="activation-map", task="features", target_layer=vector)


def test_a_detector_keeps_its_own():
    done = insert_with_report(detectors.anchored(), InsertOptions(method="activation-map"))
    assert done.info.task == "detection" and done.model.output("saliency_map").shape[1] == 1


def test_positions_alone():
    """One side of the picture is left: a map all the same."""
    image = toys.picture()
    x = toys.mean(op.relu(toys.conv(image, 6, 3)), (2,))
    rows = op.matmul(op.transpose(x, [0, 2, 1]), numbers(6, 5), False, False)
    done = insert_with_report(
        toys.finished(rows, image),
        InsertOptions(method="activation-map", task="features", target_layer=(rows.get_friendly_name(),)),
    )
    assert tuple(done.model.output("saliency_map").shape) == (1, 1, 1, toys.SIZE[1])


def test_nothing_to_show():
    image = toys.picture()
    scores = op.matmul(toys.flat(image), numbers(3 * toys.SIZE[0] * toys.SIZE[1], 4), False, False)
    with pytest.raises(UnsupportedModelError, match="no tensor of the model holds features"):
        ovxai.insert(toys.finished(scores, image), method="activation-map", task="features")


REFUSED = {
    "regression": toys.regression,
    "segmentation": segmentation,
    "two branches of a segmentation": toys.segmentation,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_every_refusal_names_what_could_be_looked_at(kind):
    with pytest.raises(
        UnsupportedModelError, match=r'feature maps, for target_layer= or method="activation-map": \w+ \(\d+x\d+\)'
    ):
        ovxai.insert(REFUSED[kind]())
    assert isinstance(REFUSED[kind](), ov.Model)
