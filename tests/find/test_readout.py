"""Where the scores leave the graph: logits behind activations and what is wrapped around them."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers import classifiers as toys
from helpers.requests import request
from ovxai.find.classifier.readout import Readout, find_readout, logits_of
from ovxai.find.site import No
from ovxai.graph.graph import Graph
from ovxai.graph.picture import picture_inputs


def read(model):
    return find_readout(request(model))


def classes_of(model, **options):
    one = find_readout(request(model, **options))
    assert isinstance(one, Readout), one.reason
    return one.classes


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


def scores(classes=toys.CLASSES):
    image = toys.picture()
    return image, toys.linear(toys.mean(toys.trunk(image)), classes)


@pytest.mark.parametrize("ports", [(0, 1), (1, 0), (1,), (0,)])
def test_a_list_of_the_best_is_read_where_it_is_taken_from(ports):
    image, logits = scores()
    best = op.topk(op.softmax(logits, 1), 2, 1, "max", "value", index_element_type="i64")
    one = read(ov.Model([op.result(best.output(port)) for port in ports], [image], "best"))
    assert one.logits.get_node().get_name() == logits.get_name() and one.classes == toys.CLASSES
    assert one.activation == "softmax"
    assert one.index == (ports.index(0) if 0 in ports else 0)
    assert one.number == (ports.index(1) if 1 in ports else None)


def test_the_best_class_alone_is_read_too():
    image, logits = scores()
    best = op.topk(logits, 1, 1, "max", "value", index_element_type="i64")
    one = read(ov.Model([op.result(op.squeeze(best.output(1), np.array([1])))], [image], "best"))
    assert one.classes == toys.CLASSES and one.number == 0


def test_an_embedding_that_the_classifier_reads():
    image = toys.picture()
    pooled = toys.mean(toys.trunk(image))
    one = read(ov.Model([op.result(pooled), op.result(toys.linear(pooled))], [image], "embedding first"))
    assert one.index == 1 and one.classes == toys.CLASSES


def test_boxes_before_exclusive_classes():
    image = toys.picture()
    pooled = toys.mean(toys.trunk(image))
    boxes = op.sigmoid(toys.linear(pooled, 4, seed=3))
    one = read(ov.Model([op.result(boxes), op.result(op.softmax(toys.linear(pooled), 1))], [image], "boxes first"))
    assert one.index == 1 and one.activation == "softmax"


def test_auxiliary_scores_leave_early():
    image = toys.picture()
    trunk = toys.trunk(image)
    early, pooled = toys.linear(toys.mean(trunk), seed=3), toys.mean(trunk)
    late = toys.linear(op.relu(toys.linear(pooled, 6, seed=4)), seed=5)
    one = read(ov.Model([op.result(early), op.result(late)], [image], "auxiliary first"))
    assert one.index == 1


def test_a_single_number_only_where_it_is_asked_for():
    image, value = scores(1)
    model = toys.finished(value, image)
    verdict = read(model)
    assert isinstance(verdict, No) and "--task regression" in verdict.reason
    assert classes_of(model, task="regression") == 1
    assert classes_of(model, output=0) == 1


@pytest.mark.parametrize("by", ["normalize", "length", "squares"])
def test_an_embedding_is_no_list_of_classes(by):
    image, raw = scores()
    axes = np.array([1])
    length = {
        "normalize": lambda: op.normalize_l2(raw, axes, 1e-6, "add"),
        "length": lambda: op.divide(raw, op.maximum(op.reduce_l2(raw, axes, True), np.float32(1e-6))),
        "squares": lambda: op.divide(raw, op.sqrt(op.reduce_sum(op.power(raw, np.float32(2)), axes, True))),
    }[by]()
    model = toys.finished(length, image)
    verdict = read(model)
    assert isinstance(verdict, No) and "an embedding" in verdict.reason
    assert classes_of(model, classes="2") == toys.CLASSES
    assert classes_of(model, num_classes=toys.CLASSES) == toys.CLASSES


def test_scores_over_their_sum_are_no_embedding():
    image, raw = scores()
    positive = op.exp(raw)
    assert read(toys.finished(op.divide(positive, op.reduce_sum(positive, np.array([1]), True)), image)).classes == toys.CLASSES


def test_the_picture_among_inputs():
    assert picture_inputs(toys.several_inputs())[0].name == "image"
    model = toys.two_pictures()
    assert [one.name for one in picture_inputs(model)] == ["reference", "image"]  # the larger, where nothing else decides
    above = Graph(model).ancestors([model.get_results()[0]])
    assert [one.name for one in picture_inputs(model, among=above)] == ["image"]
