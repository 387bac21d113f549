"""Where the scores leave the graph: logits behind activations and what is wrapped around them."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers import classifiers as toys
from helpers.requests import request
from ovxai.find.classifier.readout import find_readout, logits_of
from ovxai.find.site import No
from ovxai.graph.graph import Graph
from ovxai.graph.picture import picture_inputs


def read(model):
    return find_readout(request(model))


@pytest.mark.parametrize("activation, word", [("softmax", "softmax"), ("sigmoid", "sigmoid"), ("log", "log-softmax")])
def test_activation_with_convert_and_reshape_behind(activation, word):
    one = read(toys.cnn_with_softmax_and_wrapping(activation))
    assert one.logits.get_node().get_friendly_name() == "logits"
    assert (one.activation, one.classes, one.index) == (word, toys.CLASSES, 0)


def test_quantised_scores():
    image = toys.picture()
    logits = toys.named(toys.linear(toys.mean(toys.trunk(image))), "logits")
    scores = op.fake_quantize(op.softmax(logits, 1), *[np.float32(v) for v in (0, 1, 0, 1)], 256)
    one = read(toys.finished(scores, image))
    assert one.logits.get_node().get_friendly_name() == "logits" and one.activation == "softmax"


def test_logits_as_they_are():
    one = read(toys.cnn())
    assert one.logits.get_node().get_friendly_name() == "logits" and one.activation == ""


def test_what_wraps_raw_logits_is_kept():
    """Without an activation nothing is taken off: the output itself is what is explained."""
    image = toys.picture()
    scores = op.reshape(toys.linear(toys.mean(toys.trunk(image))), [-1, toys.CLASSES], False)
    found, activation = logits_of(scores.output(0))
    assert found.get_node().get_name() == scores.get_name() and activation == ""


def test_a_single_sigmoid_is_a_classifier():
    image = toys.picture()
    scores = op.sigmoid(toys.linear(toys.mean(toys.trunk(image)), 1))
    one = read(toys.finished(scores, image))
    assert one.classes == 1 and one.activation == "sigmoid"


def test_class_numbers_are_not_scores():
    image = toys.picture()
    best = op.topk(toys.linear(toys.mean(toys.trunk(image))), 1, 1, "max", "value", index_element_type="i64")
    model = ov.Model([op.result(best.output(1))], [image], "best")
    verdict = read(model)
    assert isinstance(verdict, No) and "not scores" in verdict.reason


def test_the_picture_among_inputs():
    assert picture_inputs(toys.several_inputs())[0].name == "image"
    model = toys.two_pictures()
    assert [one.name for one in picture_inputs(model)] == ["reference", "image"]  # the larger, where nothing else decides
    above = Graph(model).ancestors([model.get_results()[0]])
    assert [one.name for one in picture_inputs(model, among=above)] == ["image"]
