"""Small instance segmenters of every family, how their outputs are told apart, and what is refused."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import detectors
from helpers.detectors import RNG, anchored, centre_points, conv, model, pyramid, yolo_v8
from helpers.instances import SIDES, end_to_end, listed, site_of, two_stage, yolo_seg
from ovxai.find.site import BOX, FULL, PROTOTYPES
from ovxai.verification import verify


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("singleton", [True, False])
@pytest.mark.parametrize("five", [True, False])
def test_boxes_labels_scores_masks(batched, singleton, five):
    site = site_of(listed(4, batched=batched, singleton=singleton, five=five))
    assert site, site
    assert (site.mask_kind, site.classes, site.instances.batched, site.instances.singleton) == (BOX, 4, batched, singleton)
    assert site.instances.score_column == (4 if five else None)
    assert site.prediction_format == "boxes-labels-masks" and not site.logits


def test_masks_of_the_pictures_sides_are_full():
    assert site_of(listed(4, mask=SIDES)).mask_kind == FULL
    assert site_of(listed(4, mask=(32, 48))).mask_kind == FULL
    assert site_of(listed(4, mask=(28, 28))).mask_kind == BOX


def test_two_stage():
    site = site_of(two_stage())
    assert site, site
    assert (site.mask_kind, site.classes, site.instances.batched, site.logits) == (BOX, 3, False, False)
    assert [tuple(port.get_shape()) for port in site.pyramid] == [(1, 8, 16, 24), (1, 8, 8, 12)]


def test_table_with_prototypes():
    site = site_of(end_to_end())
    assert site, site
    assert (site.mask_kind, site.classes, site.instances.label_column, site.instances.mask_columns) == (
        PROTOTYPES,
        3,
        5,
        (6, 14),
    )


def test_candidates_with_prototypes():
    site = site_of(yolo_seg())
    assert site, site
    assert (site.mask_kind, site.classes, site.instances.coefficients, site.instances.rows_last) == (PROTOTYPES, 3, 8, True)


def test_classes_come_from_labels_where_the_graph_is_silent():
    site = site_of(listed())
    assert not site and "--labels" in site.reason
    assert site_of(listed(), num_classes=6).classes == 6
    assert site_of(listed(), labels=("a", "b")).classes == 2
    toy = listed()
    toy.set_rt_info("otx_empty_lbl a b c", ["model_info", "labels"])
    assert site_of(toy).classes == 3


def test_labels_that_do_not_fit_are_refused():
    site = site_of(two_stage(3), num_classes=7)
    assert not site and "7 labels" in site.reason


def class_boxes_only():
    return anchored()


def segmentation():
    x, features = pyramid(SIDES, levels=1)
    return model(x, [op.softmax(conv(features[0], 5), 1)])


def without_scores():
    toy = listed(4, five=False)
    toy.remove_result(toy.get_results()[2])
    return toy


def without_masks():
    toy = listed(4)
    toy.remove_result(toy.get_results()[2])
    return toy


def vector():
    x = op.parameter([1, 10], np.float32)
    return model(x, [op.relu(x)])


@pytest.mark.parametrize(
    "build, word",
    [
        (class_boxes_only, "masks"), (segmentation, "masks"), (centre_points, "masks"), (yolo_v8, "masks"),
        (without_scores, "no score"), (without_masks, "no outputs with a mask"), (vector, "no input takes a picture"),
    ],
)  # fmt: skip
def test_refused_with_a_reason(build, word):
    site = site_of(build())
    assert not site and word in site.reason, site


def test_nothing_is_added_to_the_model():
    toy = two_stage()
    before = [node.get_name() for node in toy.get_ordered_ops()]
    site_of(toy)
    assert [node.get_name() for node in toy.get_ordered_ops()] == before
    assert RNG is not None


def test_boxes_as_shares_of_the_picture(monkeypatch):
    """The masks are those of the same boxes in pixels."""
    noise, maps = np.random.default_rng(5).uniform(size=(1, 3, *SIDES)).astype(np.float32), []
    for shares in (True, False):
        monkeypatch.setattr(detectors, "RNG", np.random.default_rng(2))
        toy = yolo_seg(shares=shares)
        assert site_of(toy).shares is shares
        explained = ovxai.insert(toy, probe=False)
        assert explained.get_rt_info(["ovxai", "box_unit"]).astype(str) == ("share" if shares else "pixel")
        assert verify(explained).ok
        maps.append(ov.compile_model(explained, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(noise)["saliency_map"].astype(int))
    assert maps[0].any() and (np.abs(maps[0] - maps[1]) > 1).mean() < 0.01
