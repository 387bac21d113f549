"""Heads that can be read in more than one way: the only reading is taken, two are asked, what is said is held against all."""

from __future__ import annotations

import numpy as np
import pytest
from openvino import opset13 as op

import ovxai
from helpers.detectors import anchored, const, conv, model, pyramid, rows, single_class, site_of, yolo_v8
from ovxai.errors import TargetLayerError, UnsupportedModelError
from ovxai.find.site import No
from ovxai.verification import verify


def in_rows(widths, anchors=(2, 6)):
    """No activation: of every level A * width channels, joined as rows [N, P, width], an output for every width."""
    x, features = pyramid(levels=len(anchors))
    return model(x, [
        op.concat([rows(conv(f, a * w, name=f"{w}-{i}-{number}"), w, a) for i, (f, a) in enumerate(zip(features, anchors))], 1)
        for number, w in enumerate(widths)
    ])  # fmt: skip


def in_maps(widths, anchors=1, levels=2):
    """No activation and no rows: an output for every width and level."""
    x, features = pyramid(levels=levels)
    heads = [(number, w, i, f) for number, w in enumerate(widths) for i, f in enumerate(features)]
    return model(x, [conv(f, anchors * w, name=f"{w}-{i}-{number}") for number, w, i, f in heads])


def names(site):
    return [level.port.get_node().get_friendly_name() for level in site.levels]


@pytest.mark.parametrize("columns", [16, 14, 18, 5, 8, 10])
@pytest.mark.parametrize("classes", [1, 2, 3])
@pytest.mark.parametrize("anchors", [(2, 6), (1, 1), (1, 3)])
def test_boxes_of_other_than_four_columns(columns, classes, anchors):
    site = site_of(in_rows((columns, classes), anchors))
    assert site, site
    assert site.classes == classes and [level.anchors for level in site.levels] == list(anchors)
    assert names(site) == [f"{classes}-{i}-1" for i in range(2)]


@pytest.mark.parametrize("columns", [16, 5, 8, 14, 18])
def test_four_classes_or_four_sides(columns):
    """Four columns are a box as well, and so are those of other boxes."""
    site = site_of(in_rows((4, columns)))
    assert isinstance(site, No), site
    assert f"--num-classes 4 or {columns}" in site.reason or f"--num-classes {columns} or 4" in site.reason, site
    for count, where in ((4, 0), (columns, 1)):
        site = site_of(in_rows((4, columns)), num_classes=count)
        assert site and names(site) == [f"{count}-{i}-{where}" for i in range(2)], site


@pytest.mark.parametrize("build", [in_rows, lambda widths: in_maps(widths)])
@pytest.mark.parametrize("widths", [(1, 4, 10), (2, 4, 1), (80, 4, 1), (2, 4, 34)])
def test_further_values_beside_classes_are_asked_about(build, widths):
    site = site_of(build(widths))
    assert isinstance(site, No) and "--num-classes" in site.reason and "can't be told" in site.reason, site
    counts = [width for width in widths if width != 4]
    assert all(f"{count} class" in site.reason for count in counts), site
    for count in counts:
        site = site_of(build(widths), num_classes=count)
        assert site and site.classes == count, site
        assert all(name.startswith(f"{count}-") for name in names(site))


@pytest.mark.parametrize("build", [in_rows, lambda widths: in_maps(widths)])
def test_two_tensors_alike_are_told_apart_by_their_output(build):
    toy = build((4, 4, 1))
    site = site_of(toy, num_classes=4)
    assert isinstance(site, No) and "--output" in site.reason, site
    joined = len(toy.outputs) == 3
    for where in (0, 1):
        site = site_of(toy, num_classes=4, output=where if joined else 2 * where)
        assert site and names(site) == [f"4-{i}-{where}" for i in range(2)], site


@pytest.mark.parametrize("count, fits", [(1, True), (12, True), (11, True), (3, False), (16, False)])
def test_the_number_of_classes_is_held_against_every_reading(count, fits):
    """One class beside 16 columns, or 4 + 12, or 5 + 11; never another number."""
    site = site_of(in_rows((16, 1)), num_classes=count)
    assert bool(site) == fits, site
    if fits:
        assert site.classes == count
    else:
        assert str(count) in site.reason


def test_classes_of_several_anchors_as_maps():
    site = site_of(in_maps((7, 4), anchors=3), num_classes=7)
    assert site and site.levels[0].channels == tuple(tuple(range(7 * a, 7 * a + 7)) for a in range(3)), site
    assert isinstance(site_of(in_maps((7, 4), anchors=3)), No)


def one_convolution(scores, *, factor=False, squashed=False):
    """Of each level one convolution: a box, decoded without an activation unless `squashed`, and activated scores.

    factor: the first score is multiplied with the others.
    """
    x, features = pyramid()
    parts = []
    for i, f in enumerate(features):
        y = rows(conv(f, 4 + scores, name=f"head{i}"), 4 + scores)
        box, score = op.variadic_split(op.sigmoid(y) if squashed else y, const(2), const(4, scores)).outputs()
        cells = y.get_output_partial_shape(0)[1].get_length()
        table = op.constant(np.random.default_rng(i).uniform(0, 40, (1, cells, 4)).astype(np.float32))
        score = score if squashed else op.sigmoid(score)
        if factor:
            first, score = op.variadic_split(score, const(2), const(1, scores - 1)).outputs()
            score = op.multiply(first, score)
        parts.append(op.concat([op.add(op.multiply(box, op.constant(np.float32(4 * 2**i))), table), score], 2))
    return model(x, [op.concat(parts, 1)])


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_behind_a_box_are_classes_or_objectness_and_classes(classes):
    site = site_of(one_convolution(classes))
    assert isinstance(site, No) and f"--num-classes {classes} or {classes - 1}" in site.reason and site.final, site
    for count in (classes, classes - 1):
        site = site_of(one_convolution(classes), num_classes=count)
        assert site and site.levels[0].channels == (tuple(range(4 + classes - count, 4 + classes)),), site
    with pytest.raises(UnsupportedModelError):
        ovxai.insert(one_convolution(classes))


@pytest.mark.parametrize("how", ["factor", "squashed"])
def test_objectness_is_told_by_what_is_done_with_it(how):
    site = site_of(one_convolution(3, **{how: True}))
    assert site and site.levels[0].channels == ((5, 6),), site


@pytest.mark.parametrize("widths, anchors", [((16, 1), (2, 6)), ((4, 1, 10), (2, 2)), ((1, 1, 4), (1, 1))])
def test_no_detector_is_a_classifier_of_its_boxes(widths, anchors):
    """[N, P, 1] looks like P class scores of a picture."""
    toy = in_rows(widths, anchors)
    with pytest.raises(UnsupportedModelError):
        ovxai.insert(toy, task="classification", probe=False)
    try:
        done = ovxai.insert(toy, probe=False)
    except UnsupportedModelError:
        return
    assert done.output("saliency_map").get_partial_shape()[1].get_length() == 1


def test_scores_beside_many_columns_are_those_of_the_definition():
    report = verify(ovxai.insert(in_rows((16, 1)), probe=False))
    assert report.ok, report


def with_segmentation(classes=1):
    """A detector, and two segmentation heads at the picture's size."""
    plain = single_class() if classes == 1 else one_convolution(classes + 1, squashed=True)
    results = [result.input(0).get_source_output() for result in plain.get_results()]
    x = plain.get_parameters()[0]
    fine = next(node for node in plain.get_ordered_ops() if node.get_type_name() == "Relu")
    up = op.interpolate(fine, const(32, 48), "linear_onnx", "sizes", axes=const(2, 3))
    return model(x, [*results, *(op.sigmoid(conv(up, 2)) for _ in range(2))])


@pytest.mark.parametrize("classes", [1, 2])
def test_a_model_that_segments_too_is_a_detector(classes):
    site = site_of(with_segmentation(classes))
    assert site and site.classes == classes and len(site.levels) == 3, site
    last = len(with_segmentation(classes).outputs) - 1
    site = site_of(with_segmentation(classes), output=last)
    assert isinstance(site, No) and "segmentation" in site.reason, site
    site = site_of(with_segmentation(classes), output=last - 2)
    assert site and site.output == last - 2 and site.classes == classes


def test_a_trail_without_a_rule_is_noted():
    x, features = pyramid()
    outputs = [op.sigmoid(conv(f, 5)) for f in features] + [op.einsum([conv(f, 4)], "abcd->acdb") for f in features]
    site = site_of(model(x, outputs))
    assert site and any("no rule for Einsum" in note for note in site.notes), site


@pytest.mark.parametrize("build", [lambda: yolo_v8(), lambda: in_maps((7, 4), levels=3), lambda: anchored()])
def test_a_layer_of_features_or_boxes_is_no_target(build):
    toy = build()
    relu = next(node for node in toy.get_ordered_ops() if node.get_type_name() == "Relu").get_friendly_name()
    found = site_of(build())
    ports = {level.port.get_node().get_friendly_name() for level in found.levels}
    site = site_of(toy, target_layer=(relu,))
    assert isinstance(site, No) and "weights" in site.reason and all(name in site.reason for name in ports), site
    with pytest.raises(TargetLayerError, match="layers with weights"):
        ovxai.insert(toy, target_layer=relu, probe=False)
    maps = [node for node in toy.get_ordered_ops() if node.get_type_name() == "Add" and len(node.get_output_shape(0)) == 4]
    boxes = [node.get_friendly_name() for node in maps if node.get_friendly_name() not in ports]
    site = site_of(toy, target_layer=(boxes[0],))
    assert isinstance(site, No) and any(name in site.reason for name in ports), site
    assert site_of(toy, target_layer=tuple(sorted(ports)))


def test_layers_that_nothing_speaks_against_are_taken():
    site = site_of(in_maps((4, 4, 1)), target_layer=("4-0-1", "4-1-1"))
    assert site and names(site) == ["4-0-1", "4-1-1"] and site.classes == 4, site
