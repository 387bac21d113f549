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

MODELS = {
    "cnn": toys.cnn, "open batch": lambda: toys.cnn(-1), "nhwc": toys.nhwc, "vit": toys.vit,
    "softmax": toys.cnn_with_softmax_and_wrapping,
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


def test_a_wrong_map_is_seen() -> None:
    report = verify(tampered("map"))
    assert not report.ok and not all(row.ok for row in report.rows)
