"""Each family of small detectors is found, with its levels, anchors, classes and channel order."""

from __future__ import annotations

import pytest

from helpers.detectors import (
    GRIDS,
    anchored,
    centre_points,
    channels_last,
    on_its_side,
    queries,
    raw_levels,
    region_yolo,
    single_class,
    site_of,
    summary,
    with_nms,
    yolo_v5,
    yolo_v8,
)

FOUND = {
    "retinanet": (lambda: anchored(), [2, 2, 2], 5, ""),
    "class-major": (lambda: anchored(class_major=True), [2, 2, 2], 5, ""),
    "ssd": (lambda: anchored(5, (4, 6, 6), "softmax"), [4, 6, 6], 5, ""),
    "one-anchor": (lambda: anchored(80, (1, 1, 1)), [1, 1, 1], 80, ""),
    "atss-nms": (lambda: with_nms(), [1, 1, 1], 4, ""),
    "yolo-v5": (lambda: yolo_v5(), [3, 3, 3], 3, "yolo-v5"),
    "region-yolo": (lambda: region_yolo(), [2, 2, 2], 3, ""),
    "yolo-v5-one-class": (lambda: yolo_v5(classes=1), [3, 3, 3], 1, "yolo-v5"),
    "yolo-v8": (lambda: yolo_v8(), [1, 1, 1], 3, "yolo-v8"),
    "yolo-v8-one-class": (lambda: yolo_v8(classes=1), [1, 1, 1], 1, "yolo-v8"),
    "queries": (lambda: queries(), [1, 1, 1], 5, ""),
    "queries-finished": (lambda: queries(finished=True), [1, 1, 1], 5, "boxes-labels-scores"),
    "one-class-centerness": (lambda: single_class(), [1, 1, 1], 1, ""),
    "one-class-anchors": (lambda: single_class(anchors=3), [3, 3, 3], 1, ""),
    "raw": (lambda: raw_levels(), [1, 1, 1], 6, ""),
}


@pytest.mark.parametrize("family", FOUND)
def test_levels_anchors_and_classes_are_read_off_the_graph(family):
    build, anchors, classes, form = FOUND[family]
    site = site_of(build())
    assert site, site
    assert summary(site) == (list(zip(anchors, GRIDS)), classes, form)
    assert site.candidates


def test_single_level_heatmap():
    for sigmoid in (True, False):
        site = site_of(centre_points(sigmoid=sigmoid))
        assert site, site
        assert summary(site) == ([(1, (8, 12))], 3, "heatmap")


def test_head_of_a_transposed_picture_is_put_upright():
    site = site_of(on_its_side())
    assert site, site
    assert site.levels[0].grid == (8, 12) and site.levels[0].axes == (0, 1, 3, 2)


def test_channels_last_head():
    site = site_of(channels_last())
    assert site, site
    assert summary(site) == ([(1, (8, 12)), (1, (4, 6))], 3, "")
    assert site.levels[0].axes == (0, 3, 1, 2)


@pytest.mark.parametrize("build", [anchored, queries, yolo_v8])
def test_open_dimensions(build):
    toy = build(batch=-1)
    toy_open = anchored(batch=-1, size=(-1, -1)) if build is anchored else toy
    site = site_of(toy_open)
    assert site, site
    assert site.classes in (5, 3)
    assert toy_open.inputs[0].get_partial_shape().is_dynamic  # the search left the model as it was


def test_class_order_of_class_major_channels():
    assert site_of(anchored(2, (3,), class_major=True)).levels[0].channels == ((0, 3), (1, 4), (2, 5))


def test_objectness_is_left_out():
    assert site_of(region_yolo(classes=2)).levels[0].channels == ((5, 6), (12, 13))
    channels = site_of(yolo_v5(classes=2, anchors=2)).levels[0].channels
    assert channels == ((5, 6), (12, 13))
