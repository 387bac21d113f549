"""In which form finished rows and the answers of queries leave a model: read off how the graph joins them."""

from __future__ import annotations

import numpy as np
import pytest
from openvino import opset13 as op

import ovxai
from helpers.detectors import anchored, const, conv, model, pyramid, queries, site_of, yolo_v8
from helpers.instances import site_of as instances_of
from ovxai.runtime.predict.facts import read_facts
from ovxai.runtime.predict.formats import decodable

BEST = 20


def end_to_end(further=0, classes=3, rotated=False, order=(0, 1, 2, 3), joined=False):
    """The best rows of the boxes, their scores, their labels and `further` values, as ultralytics joins them.

    order: of these four in the rows. joined: the raw columns are handed out, too.
    """
    x, features = pyramid()
    flat = [op.reshape(conv(f, 4 + classes + further), const(0, 4 + classes + further, -1), True) for f in features]
    whole = op.transpose(op.concat(flat, 2), const(0, 2, 1))
    box, score, rest = op.variadic_split(whole, const(2), const(4, classes, further)).outputs() if further else (
        *op.variadic_split(whole, const(2), const(4, classes)).outputs(), None)  # fmt: skip
    cells = whole.get_output_partial_shape(0)[1].get_length()
    box = op.add(box, op.constant(np.random.default_rng(0).uniform(0, 40, (1, cells, 4)).astype(np.float32)))
    if rotated:
        box = op.add(box, op.concat([op.cos(rest), op.sin(rest), op.cos(rest), op.sin(rest)], 2))
    score = op.sigmoid(score)
    first = op.topk(op.reduce_max(score, const(2), False), op.constant(np.int64(BEST)), 1, "max", "value")

    def picked(values, width):
        where = op.broadcast(op.unsqueeze(first.output(1), const(2)), const(1, 1, width), broadcast_spec="BIDIRECTIONAL")
        return op.gather_elements(values, where, 1)

    second = op.topk(
        op.reshape(picked(score, classes), const(0, -1), True), op.constant(np.int64(BEST)), 1, "max", "value", "i64"
    )
    row = op.unsqueeze(op.divide(second.output(1), op.constant(np.int64(classes))), const(2))
    label = op.convert(op.unsqueeze(op.mod(second.output(1), op.constant(np.int64(classes))), const(2)), "f32")

    def again(values, width):
        return op.gather_elements(picked(values, width), op.broadcast(row, const(1, 1, width), broadcast_spec="BIDIRECTIONAL"), 1)

    parts = [again(box, 4), op.unsqueeze(second.output(0), const(2)), label, again(rest, further) if further else None]
    outputs = [op.concat([parts[i] for i in order if parts[i] is not None], 2)]
    return model(x, [*outputs, whole] if joined else outputs)


@pytest.mark.parametrize(
    "options, form",
    [
        ({}, "boxes-table"),
        ({"further": 51}, "boxes-table"),
        ({"further": 1, "rotated": True}, "boxes-angle-table"),
        ({"further": 1}, "boxes-table"),
        ({"joined": True}, "boxes-table"),
        ({"order": (0, 2, 1)}, ""),
        ({"further": 2, "order": (1, 2, 0, 3)}, ""),
    ],
)
def test_rows_are_read_by_what_their_columns_are(options, form):
    site = site_of(end_to_end(**options), num_classes=3)
    assert site, site
    assert (site.classes, site.prediction_format) == (3, form)


def with_prototypes(width=8):
    """[N, I, 6 + M] rows and prototypes."""
    plain = end_to_end(further=width)
    x, features = pyramid(levels=1)
    prototypes = conv(features[0], width)
    rows = plain.get_results()[0].input(0).get_source_output()
    touch = op.multiply(op.reduce_mean(x, const(0, 1, 2, 3), False), op.constant(np.float32(0)))
    return model([*plain.get_parameters(), x], [rows, op.add(prototypes, touch)])


def test_rows_with_coefficients_of_prototypes():
    site = instances_of(with_prototypes(), num_classes=3)
    assert site and site.prediction_format == "boxes-table-masks", site


def answers(classes=5, activated=False, squashed=True):
    """Query detectors as they are exported without their post-processing."""
    plain = queries(classes)
    scores, boxes = (result.input(0).get_source_output() for result in plain.get_results())
    logits = scores if activated else scores.get_node().input(0).get_source_output()
    return model(plain.get_parameters(), [logits, op.sigmoid(boxes) if squashed else boxes])


@pytest.mark.parametrize("classes", [1, 4, 5])
@pytest.mark.parametrize("activated", [False, True])
def test_answers_of_queries(classes, activated):
    site = site_of(answers(classes, activated))
    told = classes != 4 or not activated  # four scores and four sides, both behind a sigmoid, look alike
    assert site and site.prediction_format == ("queries" if told else ""), site
    if told:
        assert site.output == 0 and site.score_activation == ("none" if activated else "sigmoid")


def test_answers_whose_boxes_are_no_shares_of_the_picture():
    assert site_of(answers(squashed=False)).prediction_format == ""


def east():
    x, features = pyramid(levels=1)
    score = op.sigmoid(conv(features[0], 1))
    sides = op.multiply(op.sigmoid(conv(features[0], 4)), op.constant(np.float32(512)))
    angle = op.multiply(
        op.subtract(op.sigmoid(conv(features[0], 1)), op.constant(np.float32(0.5))), op.constant(np.float32(1.57))
    )
    return model(x, [score, op.concat([sides, angle], 1)])


def test_a_text_detector():
    site = site_of(east())
    assert site and (site.classes, site.prediction_format) == (1, "east"), site


@pytest.mark.parametrize("build", [lambda: end_to_end(51), lambda: end_to_end(1, rotated=True), answers, east, yolo_v8])
def test_what_is_told_is_read(build):
    explained = ovxai.insert(build(), num_classes=None if build in (answers, east) else 3, probe=False)
    assert decodable(read_facts(explained))


def test_a_form_that_nobody_knows_is_not_read():
    assert not decodable(read_facts(ovxai.insert(anchored(), probe=False)))


def test_what_is_picked_by_scores_misses_no_rule():
    assert not any("no rule" in note for note in site_of(end_to_end(), num_classes=3).notes)
