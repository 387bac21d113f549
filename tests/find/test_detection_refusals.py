"""What is no detector, or not one that can be read without help, is refused with a sentence that says why."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.detectors import (
    anchored,
    const,
    conv,
    linear,
    model,
    pyramid,
    queries,
    raw_levels,
    single_class,
    site_of,
    yolo_v5,
)
from ovxai.errors import TargetLayerError
from ovxai.find.site import No


def classifier():
    x, features = pyramid()
    return model(x, [op.softmax(op.squeeze(conv(op.reduce_mean(features[-1], const(2, 3), True), 5), const(2, 3)), 1)])


def vector():
    x = op.parameter([1, 10], np.float32)
    return model(x, [op.relu(x)])


def segmentation(head):
    x, features = pyramid(levels=1)
    return model(x, [head(conv(features[0], 5))])


def class_agnostic():
    """Boxes and objectness out of one convolution, nothing else."""
    return yolo_v5(classes=0)


def two_scores_on_two_towers():
    """K = 1 and a centerness on a tower of its own: nothing in the graph says which is which."""
    x, features = pyramid(levels=1)
    towers = [op.relu(conv(features[0], 8, 3)) for _ in range(3)]
    return model(x, [op.sigmoid(conv(towers[0], 1)), op.sigmoid(conv(towers[1], 1)), conv(towers[2], 4)])


def two_stage():
    x, features = pyramid(levels=1)
    rois = op.constant(np.array([[0, 0, 16, 16], [4, 4, 20, 20]], np.float32))
    pooled = op.roi_align(features[0], rois, op.constant(np.zeros(2, np.int32)), 4, 4, 2, 0.25, "avg", "asymmetric")
    flat = op.unsqueeze(op.reshape(pooled, const(2, -1), False), const(0))
    return model(x, [op.softmax(linear(flat, 4), 2), linear(flat, 4)])


def plain_queries():
    """DETR: learnt queries, no score a position anywhere."""
    x, features = pyramid(levels=1)
    tokens = op.transpose(op.reshape(features[0], const(0, 8, -1), True), const(0, 2, 1))
    query = op.constant(np.ones((1, 7, 8), np.float32))
    attention = op.softmax(op.matmul(query, tokens, False, True), 2)
    picked = op.matmul(attention, tokens, False, False)
    return model(x, [op.sigmoid(linear(picked, 5)), linear(picked, 4)])


REFUSED = {
    "classifier": (classifier, "no detector"),
    "vector": (vector, "no detector"),
    "segmentation-logits": (lambda: segmentation(lambda y: y), "segmentation"),
    "segmentation-softmax": (lambda: segmentation(lambda y: op.softmax(y, 1)), "segmentation"),
    "segmentation-resized": (lambda: segmentation(lambda y: op.interpolate(
        y, const(32, 48), "linear_onnx", "sizes", axes=const(2, 3))), "--target-layer"),
    "class-agnostic": (class_agnostic, "objectness only"),
    "two-scores": (two_scores_on_two_towers, "objectness"),
    "two-stage": (two_stage, "two-stage"),
    "plain-queries": (plain_queries, "no detector"),
    "raw-unclear": (lambda: raw_levels(classes=8, boxes=16), "can't be told"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_reason(case):
    build, word = REFUSED[case]
    site = site_of(build())
    assert not site and word in site.reason, site
    assert "\n" not in site.reason


def test_number_of_labels_settles_what_is_unclear():
    site = site_of(raw_levels(classes=8, boxes=20), num_classes=8)
    assert site and site.classes == 8, site


def test_a_number_of_classes_that_fits_two_readings_settles_nothing():
    """8 classes of one anchor beside 16 columns of a box, or 16 channels of two anchors beside twice four sides."""
    site = site_of(raw_levels(classes=8, boxes=16), num_classes=8)
    assert not site and "8 classes of 2 anchors beside 4" in site.reason and "8 classes beside 16" in site.reason, site


@pytest.mark.parametrize("build", [anchored, queries])
def test_labels_that_do_not_fit_are_refused(build):
    site = site_of(build(5), labels=("a", "b", "c"))
    assert not site and "3 labels" in site.reason and "5 class scores" in site.reason


def test_one_score_and_several_labels():
    site = site_of(single_class(), num_classes=4)
    assert not site and "class-agnostic" in site.reason


def test_background_and_empty_label():
    assert site_of(anchored(5, activation="softmax"), num_classes=4)
    toy = anchored(5)
    toy.set_rt_info("otx_empty_lbl a b c d e", ["model_info", "labels"])
    assert site_of(toy)


def test_named_tensors_override():
    site = site_of(raw_levels(classes=8, boxes=16), target_layer=("cls2", "cls0", "cls1"))
    assert site, site
    assert [level.grid for level in site.levels] == [(8, 12), (4, 6), (2, 3)] and site.classes == 8
    site = site_of(anchored(5), target_layer=("cls0",))
    assert site and site.levels[0].anchors == 2 and site.classes == 5
    with pytest.raises(TargetLayerError, match="nowhere"):
        site_of(anchored(5), target_layer=("nowhere",))


def named(model, kind, place=-1):
    """The friendly name of one of the nodes of a kind."""
    return [node for node in model.get_ordered_ops() if node.get_type_name() == kind][place].get_friendly_name()


@pytest.mark.parametrize("kind", ["anchored", "raw"])
def test_a_layer_of_the_backbone_holds_no_class_scores(kind):
    """Its channels would be taken for classes; layers with weights come after it."""
    toy = {"anchored": anchored(5), "raw": raw_levels(classes=8, boxes=16)}[kind]
    site = site_of(toy, target_layer=(named(toy, "Relu", 0),))
    assert not site and site.error is TargetLayerError
    assert "no class scores" in site.reason and "weights come after it" in site.reason and "cls0" in site.reason


def test_a_layer_of_boxes_holds_no_class_scores():
    toy = anchored(5)
    boxes = next(feed.get_node() for feed in toy.get_results()[0].input_values())
    while boxes.get_type_name() != "Add":
        boxes = boxes.input_value(0).get_node()
    boxes.set_friendly_name("boxes of a level")
    site = site_of(toy, target_layer=("boxes of a level",))
    assert not site and "no class scores of this model; class scores: cls0, cls1, cls2" in site.reason


def test_nothing_is_added_to_the_model():
    toy = anchored()
    before = [node.get_name() for node in toy.get_ordered_ops()]
    site_of(toy)
    assert [node.get_name() for node in toy.get_ordered_ops()] == before
    assert isinstance(toy, ov.Model)


def turned_by_einsum(values):
    """[N, C, h, w] -> [N, h, w, C] by an operation that moves elements and has no rule."""
    return op.einsum([values], "abcd->acdb")


def einsum_head(classes=8, boxes=16):
    x, features = pyramid()
    outputs = [turned_by_einsum(conv(f, channels)) for channels in (classes, boxes) for f in features]
    return model(x, outputs)


def test_an_operation_without_a_rule_is_named():
    site = site_of(einsum_head())
    assert isinstance(site, No) and "no rule for Einsum" in site.reason, site
    site = site_of(raw_levels(classes=8, boxes=16))
    assert isinstance(site, No) and "no rule" not in site.reason, site


def test_an_operation_without_a_rule_is_not_missed_where_nothing_hangs_on_it():
    x, features = pyramid()
    outputs = [op.sigmoid(conv(f, 5)) for f in features] + [turned_by_einsum(conv(f, 4)) for f in features]
    site = site_of(model(x, outputs))
    assert site and site.classes == 5, site


def test_sizes_baked_for_another_picture_are_refused_in_words():
    """Grids of constants for 32 x 48 and open sides: no concrete size that is tried is the right one."""
    toy = yolo_v5()
    toy.get_parameters()[0].set_partial_shape(ov.PartialShape([-1, 3, -1, -1]))
    toy.validate_nodes_and_infer_types()
    assert isinstance(site_of(toy), No)
