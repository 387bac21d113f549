"""IMAGE, ALL and PREDICTIONS as OTX means them, on models of every kind that is explained; names from rt_info."""

import json
from pathlib import Path

import numpy as np
import pytest

import ovxai
from helpers.runtime_graphs import LABELS, classifier, detector, picture
from ovxai.explainer import Explainer
from ovxai.runtime.config import ExplainConfig

SHAPES = Path(__file__).resolve().parents[2] / "fixtures" / "shapes"
#: Red over green, or neither; below, blue for itself: a label of every level.
TREE = {
    "cls_heads_info": {
        "num_multiclass_heads": 1,
        "head_idx_to_logits_range": {"0": [0, 2]},
        "num_single_label_classes": 2,
        "num_multilabel_classes": 1,
        "all_groups": [["warm", "cold"], ["bright"]],
        "class_to_group_idx": {"warm": [0, 0], "cold": [0, 1], "bright": [1, 0]},
        "label_to_idx": {"bright": 0, "warm": 1, "cold": 2},
    },
    "label_tree_edges": [],
}
MULTI = {"multilabel": "True", "confidence_threshold": "0.5"}


def single():
    return classifier()


def multi():
    return classifier(activation="sigmoid", model_info=MULTI)


def hierarchical():
    return classifier(
        model_info={
            "hierarchical": "True",
            "hierarchical_config": json.dumps(TREE),
            "labels": "bright warm cold",
            "confidence_threshold": "0.6",
        }
    )


def found(model, target, image=None) -> list:
    explanation = Explainer(model, ExplainConfig(target=target), precision="f32")(picture() if image is None else image)
    assert explanation.target == target
    return [explanation.label(key) or key for key in explanation.raw_maps]


def filled(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((40, 60, 3), (red, green, blue), np.uint8)


@pytest.mark.parametrize("make", [single, multi, hierarchical])
def test_one_map_for_the_picture_of_a_classifier(make):
    assert found(make(), "image") == ["image"]


def test_all_has_a_map_of_every_class():
    assert found(single(), "all") == list(LABELS) == found(multi(), "all")
    assert found(hierarchical(), "all") == ["warm", "cold", "bright"]  # in the order of the logits


def test_predictions_of_a_single_label_classifier():
    assert found(single(), "predictions", filled(200, 10, 10)) == ["red"]
    assert found(single(), "predictions", filled(200, 190, 10)) == ["red", "green"]  # both over 0.3
    assert found(single(), "predictions", filled(10, 10, 10)) == ["red", "green", "blue"]  # a third each is over 0.3 too


def test_predictions_of_a_multi_label_classifier():
    # Logits are 0 to 10, so that a sigmoid of nothing is just not over its threshold.
    assert found(multi(), "predictions", filled(200, 0, 90)) == ["red", "blue"]
    assert found(multi(), "predictions", filled(0, 0, 0)) == []


def test_predictions_of_a_hierarchy_are_a_label_of_every_level():
    assert found(hierarchical(), "predictions", filled(200, 0, 90)) == ["warm", "bright"]
    assert found(hierarchical(), "predictions", filled(0, 90, 0)) == ["cold"]


BOXES = np.array([[[2, 2, 12, 12, 0.9], [10, 10, 30, 30, 0.6], [4, 4, 9, 9, 0.8], [0, 0, 5, 5, 0.1]]], np.float32)


@pytest.fixture(params=["detection", "instance-segmentation"])
def objects(request):
    labels = np.array([[2, 0, 2, 1]])
    if request.param == "detection":
        return detector(BOXES, labels)
    masks = np.full((1, 4, 28, 28), 0.9, np.float32)
    return detector(BOXES, labels, masks=masks, form="boxes-labels-masks", task="instance-segmentation")


def test_predictions_of_objects_are_their_classes_once_best_first(objects):
    assert found(objects, "predictions") == [LABELS[2], LABELS[0]]


def test_all_classes_of_objects(objects):
    assert found(objects, "all") == list(LABELS)


def test_real_models_of_every_task():
    """The shipped ones, plain, as a user has them: the explanation is inserted in memory."""
    names = ["circle", "square", "triangle", "star", "cross"]
    for file in ("cnn", "vit", "detector", "instances"):
        model = ovxai.insert(SHAPES / f"{file}.xml", feature_map=True)
        image = SHAPES / "test" / ("cls_00.png" if file in ("cnn", "vit") else "det_00.png")
        assert found(model, "all", image) == names
        assert found(model, "image", image) == ["image"]
        predicted = found(model, "predictions", image)
        assert predicted and set(predicted) <= set(names)


def test_instances_have_a_map_of_the_picture_only_with_the_feature_map():
    model = ovxai.insert(SHAPES / "instances.xml")
    with pytest.raises(ovxai.OvxaiError, match="feature_map=True"):
        Explainer(model, ExplainConfig(target="image"))
