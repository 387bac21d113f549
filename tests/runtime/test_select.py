"""Scores and predictions: what counts as predicted, for every kind of classifier."""

import json
from typing import Any

import numpy as np
import pytest

from helpers.runtime_graphs import HIERARCHICAL, HIERARCHY, classifier, detector, f32, u8
from ovxai.errors import NotExplainedError, OptionError
from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.predict.boxes import sigmoid, softmax
from ovxai.runtime.predict.facts import read_facts
from ovxai.runtime.predict.formats import class_scores
from ovxai.runtime.predict.select import predicted_classes, settle


def facts(**changes):
    return read_facts(classifier(**changes))


def predict(scores, threshold=0.3, **changes):
    return predicted_classes(f32(scores), facts(**changes), threshold)


def test_single_label_takes_the_top_class_whatever_its_score():
    assert predict([0.1, 0.2, 0.15]) == (1,)


def test_single_label_takes_every_other_over_the_threshold():
    assert predict([0.4, 0.1, 0.5]) == (2, 0)


def test_multi_label_takes_only_what_is_over_the_threshold():
    assert predict([0.4, 0.1, 0.5], model_info={"multilabel": "True"}) == (2, 0)
    assert predict([0.1, 0.1, 0.2], model_info={"multilabel": "True"}) == ()


TREE = {**HIERARCHICAL, "labels": "wet dog cat thing animal"}
HIER: dict[str, Any] = {"model_info": TREE, "num_classes": 5}


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ([0.9, 0.1, 0.2, 0.8, 0.0], ("animal", "dog")),
        ([0.9, 0.1, 0.2, 0.8, 0.7], ("animal", "dog", "wet")),
        ([0.2, 0.8, 0.2, 0.8, 0.0], ("thing",)),  # a dog must be an animal
    ],
)
def test_hierarchical_takes_one_a_level(scores, wanted):
    found = facts(**HIER)
    assert tuple(found.label(i) for i in predicted_classes(f32(scores), found, 0.5)) == wanted


def test_every_group_of_a_hierarchy_is_its_own_softmax():
    scores = class_scores({"logits": f32([2, 0, 0, 0, 0])}, facts(**HIER))
    assert scores[:2].sum() == pytest.approx(1) and scores[2:4].tolist() == [0.5, 0.5] and scores[4] == 0.5


def test_a_hierarchy_in_a_circle_ends():
    circle = {**HIERARCHY, "label_tree_edges": [["dog", "animal"], ["animal", "dog"]]}
    found = facts(model_info={**TREE, "hierarchical_config": json.dumps(circle)}, num_classes=5)
    assert predicted_classes(f32([1, 0, 0, 1, 0]), found, 0.5)


@pytest.mark.parametrize(("activation", "wanted"), [("none", [2, -1, 0]), ("softmax", None), ("sigmoid", None)])
def test_what_the_scores_still_need(activation, wanted):
    raw = f32([2, -1, 0])
    wanted = {"softmax": softmax(raw), "sigmoid": sigmoid(raw)}.get(activation, wanted)
    assert np.allclose(class_scores({"logits": raw}, facts(activation=activation)), wanted)


def test_a_quantised_softmax():
    assert class_scores({"logits": u8([255, 0, 51])}, facts(activation="none")).tolist() == pytest.approx([1, 0, 0.2])


def test_extreme_logits_stay_finite():
    assert np.isfinite(softmax(f32([1e4, -1e4]))).all() and np.isfinite(sigmoid(f32([1e4, -1e4]))).all()


@pytest.mark.parametrize(
    ("info", "asked", "wanted"),
    [
        ({}, None, 0.3),
        ({"confidence_threshold": "0.6"}, None, 0.3),  # says nothing for single-label models
        ({"confidence_threshold": "0.6", "multilabel": "True"}, None, 0.6),
        ({"multilabel": "True"}, None, 0.3),
        ({"confidence_threshold": "0.6", "multilabel": "True"}, 0.0, 0.0),
    ],
)
def test_the_threshold(info, asked, wanted):
    assert settle(ExplainConfig(threshold=asked), facts(model_info=info)).threshold == wanted


def test_a_detectors_threshold_is_its_own():
    model = detector(np.zeros((1, 1, 5)), np.zeros((1, 1)), model_info={"confidence_threshold": "0.45"})
    assert settle(ExplainConfig(), read_facts(model)).threshold == 0.45


def test_predictions_that_nobody_can_read():
    found = facts(prediction_format="")
    wanted = settle(ExplainConfig(), found)
    assert wanted.target == "image" and "can't be read" in wanted.notes[0]


def test_classes_that_the_model_does_not_map():
    found = facts(channels=(0, 2), classes="0,2")
    assert settle(ExplainConfig(classes=("blue",)), found).classes == (2,)
    with pytest.raises(OptionError, match="green is not among the 2 classes"):
        settle(ExplainConfig(classes=("green",)), found)


def test_a_map_without_class():
    found = facts(method="activation-map")
    assert settle(ExplainConfig(), found).target == "image"
    with pytest.raises(OptionError, match="stands for no class"):
        settle(ExplainConfig(classes=(0,)), found)


def test_image_needs_a_feature_map():
    found = read_facts(detector(np.zeros((1, 1, 5)), np.zeros((1, 1))))
    with pytest.raises(OptionError, match="feature_map=True"):
        settle(ExplainConfig(target="image"), found)


def test_a_plain_model_is_no_explained_one():
    import openvino as ov
    from openvino import opset13 as op

    node = op.parameter([1, 3, 4, 4], np.float32)
    with pytest.raises(NotExplainedError, match=r"ovxai\.insert"):
        read_facts(ov.Model([op.result(op.relu(node))], [node], "plain"))
