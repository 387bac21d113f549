"""Gradient maps verified: right ones hold, tampered ones do not, and derivatives are held against differences."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers as toys
from helpers.explained import info_of
from ovxai.graph.names import port_named
from ovxai.verification import verify
from ovxai.verification.differences import Layer, along_directions
from ovxai.verification.report import Check

MODELS = {
    "cnn": toys.cnn, "open batch": lambda: toys.cnn(-1), "nhwc": toys.nhwc, "vit": toys.vit,
    "softmax": toys.cnn_with_softmax_and_wrapping, "log-softmax": lambda: toys.cnn_with_softmax_and_wrapping("log"),
    "sigmoid": lambda: toys.cnn_with_softmax_and_wrapping("sigmoid"), "pooled vit": toys.mean_pooled_vit,
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("combine", ["product", "hirescam", "layercam", "gradcam"])
@pytest.mark.parametrize("scale", [True, False])
def test_right_maps_hold(name: str, combine: str, scale: bool) -> None:
    report = verify(ovxai.insert(MODELS[name](), method="gradient", combine=combine, scale=scale))
    assert report.ok, report
    assert any(check.name.startswith("derivative by") and check.ok for check in report.checks)


def test_several_classes_of_one_picture_hold() -> None:
    """Their adjoints stay folded into one axis on the way."""
    report = verify(ovxai.insert(toys.cnn(), method="gradient", classes="all"))
    assert report.ok, report


@pytest.mark.parametrize("classes", ["top:3", "2,0", "all"])
def test_several_classes_hold(classes: str) -> None:
    report = verify(ovxai.insert(toys.cnn(-1), method="gradient", classes=classes), samples=2)
    assert report.ok, report


def test_values_as_they_are_hold() -> None:
    for task, classes in (("regression", None), ("classification", "0")):
        report = verify(ovxai.insert(toys.regression(), task=task, output=0, method="gradient", classes=classes))
        assert report.ok, report


@pytest.mark.parametrize(("make", "width"), [(toys.cnn, -1), (toys.cnn, 96), (toys.nhwc, 96)])
def test_open_sides_hold(make, width: int) -> None:
    """Where a side is open, the blur over levels is counted in cells."""
    model = make()
    model.reshape([1, 3, -1, width])
    report = verify(ovxai.insert(model, method="gradient"), size=(48, 96))
    assert report.ok, report


@pytest.mark.parametrize("batch", [1, -1])
def test_the_similarity_of_an_embedding_holds(batch: int) -> None:
    explained = ovxai.insert(toys.cnn(batch), method="gradient", toward=[1.0, -2.0, 0.5, 3.0], embed="overlay")
    assert info_of(explained).target == "cosine"
    report = verify(explained, samples=2)
    assert report.ok, report
    assert any(check.name.startswith("derivative by") and check.ok for check in report.checks)


def tampered(place: str) -> ov.Model:
    """A model whose derivative, or whose map, is not what it was."""
    model = ovxai.insert(toys.cnn(), method="gradient", combine="hirescam")
    port = port_named(model, info_of(model).derivatives[0] if place == "derivative" else "features")
    if place == "derivative":
        node, feed = port.get_node(), port.get_node().input(0).get_source_output()
        node.input(0).replace_source_output(op.multiply(feed, np.linspace(0, 2, 4, dtype=np.float32)).output(0))
    else:
        for reader in port_named(model, info_of(model).derivatives[0]).get_target_inputs():
            product = reader.get_node()
            other = product.input(1 - reader.get_index())
            other.replace_source_output(op.multiply(other.get_source_output(), np.linspace(0, 2, 4, dtype=np.float32)).output(0))
    model.validate_nodes_and_infer_types()
    return model


def test_a_wrong_derivative_is_seen_by_differences() -> None:
    report = verify(tampered("derivative"))
    assert not report.ok
    assert [check.ok for check in report.checks if check.name == "derivative by features"] == [False]


@pytest.mark.parametrize("factor", [0.0, 1e-6])
def test_a_derivative_of_nothing_is_seen_where_scores_change(factor: float) -> None:
    model = ovxai.insert(toys.cnn(), method="gradient", combine="hirescam")
    node = port_named(model, info_of(model).derivatives[0]).get_node()
    node.input(0).replace_source_output(op.multiply(node.input_value(0), np.float32(factor)).output(0))
    model.validate_nodes_and_infer_types()
    assert [check.ok for check in verify(model).checks if check.name == "derivative by features"] == [False]


def test_a_wrong_map_is_seen() -> None:
    report = verify(tampered("map"))
    assert not report.ok and not all(row.ok for row in report.rows)


def bent(layer: Layer, size: float) -> Check:
    """A target that is linear near the features and bends a little way off; the derivative times `size`."""
    slope, across = layer.derivative[0], np.random.default_rng(1).standard_normal(layer.features.shape)
    across /= np.linalg.norm(across)

    def at(change: np.ndarray) -> tuple[np.ndarray, float]:
        bend = max(0.0, float((change * across).sum()) - 2.0**-11)
        return np.array([[float((slope * change).sum()) + 40 * bend]]), 0.1

    return along_directions("bent", at, Layer(layer.name, layer.features, size * layer.derivative))


def test_bends_close_to_the_features_are_stepped_over() -> None:
    random = np.random.default_rng(0)
    features = random.standard_normal((1, 3, 4, 4))
    layer = Layer("layer", features, random.standard_normal((1, *features.shape)))
    assert bent(layer, 1.0).ok
    assert bent(layer, 1.5).ok is False


def test_a_pool_of_zeros_is_stepped_over() -> None:
    """Behind a ReLU a MaxPool of nothing but zeros has no derivative to compare with."""
    image = toys.picture()
    x = op.relu(op.subtract(toys.conv(image, 6, 4, 4), np.float32(0.8)))
    x.set_friendly_name("cut")
    pooled = op.abs(op.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0))
    model = toys.finished(toys.linear(toys.flat(op.sigmoid(toys.conv(pooled, 6, 3, 1, seed=4)))), image)
    report = verify(ovxai.insert(model, method="gradient", combine="hirescam", target_layer="cut"))
    assert report.ok, report
