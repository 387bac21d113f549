"""Boxes, labels, scores and masks out of every output format that the runner knows."""

import ast
from pathlib import Path

import numpy as np
import pytest

import ovxai
from helpers.runtime_graphs import detector, f32, i64
from ovxai.errors import UnsupportedModelError
from ovxai.runtime.feed.geometry import fit
from ovxai.runtime.predict.dense import suppress
from ovxai.runtime.predict.facts import read_facts
from ovxai.runtime.predict.formats import FORMATS, decodable, objects

GEOMETRY = fit((64, 128), (32, 32), "standard")  # x * 4, y * 2
BOXES = f32([[4, 8, 8, 16], [0, 0, 32, 32], [1, 1, 2, 2]])
SCORES = f32([0.5, 0.9, 0.0])
WITH_SCORES = np.concatenate([BOXES, SCORES[:, None]], axis=1)
LABELS = i64([2, 1, -1])


def found(outputs, model):
    return objects(outputs, read_facts(model), GEOMETRY)


def test_otx_boxes_and_labels():
    model = detector(WITH_SCORES[None], LABELS[None])
    facts = read_facts(model)
    assert {"boxes", "labels", "saliency_map"} <= facts.batched
    got = found({"boxes": WITH_SCORES, "labels": LABELS}, model)
    assert [(p.class_index, p.label, round(p.score, 3)) for p in got] == [(1, "green", 0.9), (2, "blue", 0.5)]
    assert got[1].box == (16, 16, 32, 32)


def test_lists_without_a_batch_axis():
    facts = read_facts(detector(WITH_SCORES, LABELS))
    assert facts.batched == {"saliency_map"}


def test_torchvision_scores_apart():
    model = detector(BOXES, LABELS, scores=SCORES, form="boxes-labels-scores")
    got = found({"boxes": BOXES, "labels": LABELS, "scores": SCORES}, model)
    assert [p.class_index for p in got] == [1, 2]


def test_boxes_from_zero_to_one():
    outputs = {"boxes": WITH_SCORES / f32([32, 32, 32, 32, 1]), "labels": LABELS}
    assert found(outputs, detector(WITH_SCORES, LABELS))[1].box == pytest.approx((16, 16, 32, 32))


def test_box_masks_are_pasted_into_their_boxes():
    masks = np.ones((3, 28, 28), np.float32)
    masks[0, :, 14:] = 0
    model = detector(WITH_SCORES, LABELS, masks=masks, form="boxes-labels-masks", task="instance-segmentation")
    half, whole = reversed(found({"boxes": WITH_SCORES, "labels": LABELS, "masks": masks}, model))
    assert whole.mask is not None and half.mask is not None
    assert whole.mask.all()
    assert half.mask.shape == (64, 128)
    assert half.mask[16:32, 16:23].all() and not half.mask[:, 25:].any() and not half.mask[:, :16].any()


def test_masks_of_the_whole_input():
    boxes = f32([[0, 0, 400, 400, 0.8]])
    masks = np.zeros((1, 1, 100, 100), np.float32)
    masks[..., :50, :] = 1
    model = detector(boxes, i64([0]), masks=masks, form="boxes-labels-masks", task="instance-segmentation")
    geometry = fit((200, 200), (400, 400), "standard")
    outputs = {"boxes": boxes, "labels": i64([0]), "masks": masks}
    mask = objects(outputs, read_facts(model), geometry)[0].mask
    assert mask is not None
    assert mask[:98].all() and not mask[102:].any()


def test_outputs_that_do_not_hold_what_rt_info_says():
    model = detector(WITH_SCORES, LABELS)
    with pytest.raises(UnsupportedModelError, match="no output holds boxes"):
        found({"boxes": BOXES[:, :2], "labels": LABELS}, model)


def one_output(array, form):
    """Decode a single raw output."""
    model = detector(array[None], LABELS[None], form=form)
    facts = read_facts(model)
    return objects({"boxes": array, "labels": LABELS}, facts, fit((64, 64), (64, 64), "standard"))


def test_yolox_grid():
    rows = np.zeros((64 + 16 + 4, 8), np.float32)
    cell = 64 + 1 * 4 + 2  # stride 16, row 1, column 2
    rows[cell] = [0.5, 0.5, np.log(2), np.log(1), 0.9, 0, 1, 0]
    got = one_output(rows, "yolox")
    assert len(got) == 1 and got[0].class_index == 1 and got[0].score == pytest.approx(0.9)
    assert got[0].box == pytest.approx((40 - 16, 24 - 8, 40 + 16, 24 + 8), abs=1e-3)


def test_yolox_over_another_input_size():
    with pytest.raises(UnsupportedModelError, match="no pyramid"):
        one_output(np.zeros((77, 8), np.float32), "yolox")


@pytest.mark.parametrize("turned", [False, True])
def test_yolo_v8_columns(turned):
    table = np.zeros((7, 84), np.float32)
    table[:, 3] = [20, 30, 10, 4, 0.1, 0.2, 0.8]
    table[:, 4] = [21, 30, 10, 4, 0.1, 0.2, 0.7]  # suppressed by the one before
    got = one_output(table.T if turned else table, "yolo-v8")
    assert [(p.class_index, round(p.score, 2), p.box) for p in got] == [(2, 0.8, (15, 28, 25, 32))]


def test_suppression_is_by_class():
    boxes = f32([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 10], [50, 50, 60, 60]])
    kept = suppress(boxes, i64([0, 0, 1, 0]), f32([0.9, 0.8, 0.7, 0.01]), 0.05, 0.5)
    assert sorted(kept.tolist()) == [0, 2]
    assert suppress(boxes, i64([0] * 4), np.zeros(4, np.float32), 0.05, 0.5).size == 0


def test_yolo_v5_rows():
    rows = np.zeros((84, 8), np.float32)
    rows[3] = [20, 30, 10, 4, 0.5, 0.1, 0.2, 0.8]
    assert [(p.class_index, round(p.score, 2), p.box) for p in one_output(rows, "yolo-v5")] == [(2, 0.4, (15, 28, 25, 32))]


@pytest.mark.parametrize("form", ["yolo-v8-seg", "yolo-v5-seg"])
def test_masks_mixed_of_prototypes(form):
    head = [32, 32, 40, 40] + ([] if form == "yolo-v8-seg" else [1])
    rows = np.zeros((84, len(head) + 3 + 2), np.float32)
    rows[7] = [*head, 0, 0.9, 0, 1, -1]
    table = rows.T if form == "yolo-v8-seg" else rows
    prototypes = np.zeros((2, 16, 16), np.float32)
    prototypes[0, :, :8], prototypes[1, :, 8:] = 1, 1  # the left half votes for, the right half against
    model = detector(table[None], LABELS[None], masks=prototypes[None], form=form, task="instance-segmentation")
    outputs = {"boxes": table, "labels": LABELS, "masks": prototypes}
    found = objects(outputs, read_facts(model), fit((64, 64), (64, 64), "standard"))
    assert [(p.class_index, p.box) for p in found] == [(1, (12, 12, 52, 52))]
    assert found[0].mask is not None
    assert found[0].mask[13:51, 13:30].all() and not found[0].mask[:, 34:].any() and not found[0].mask[:12].any()


def test_a_heat_map_tells_classes_without_boxes():
    table = np.zeros((3, 8, 8), np.float32)
    table[1, 4, 4] = 0.7
    model = detector(table[None], LABELS[None], form="heatmap")
    found = objects({"boxes": table, "labels": LABELS}, read_facts(model), GEOMETRY)
    assert [(p.class_index, p.box) for p in found] == [(1, None)]


def test_masks_that_are_logits():
    masks = np.full((3, 28, 28), -4, np.float32)
    masks[1, :14] = 0.3
    model = detector(WITH_SCORES, LABELS, masks=masks, form="boxes-labels-masks", task="instance-segmentation")
    best = found({"boxes": WITH_SCORES, "labels": LABELS, "masks": masks}, model)[0]
    assert best.mask is not None
    assert best.mask[:30].all() and not best.mask[34:].any()


def test_yolo_v5_columns_behind_the_classes_are_no_classes():
    rows = np.zeros((84, 10), np.float32)
    rows[3] = [20, 30, 10, 4, 0.5, 0.1, 0.2, 0.8, 9, 9]
    assert [(p.class_index, round(p.score, 2)) for p in one_output(rows, "yolo-v5")] == [(2, 0.4)]


def test_rows_that_are_finished():
    rows = f32([[4, 8, 8, 16, 0.5, 2], [0, 0, 32, 32, 0.9, 1]])
    got = found({"boxes": rows, "labels": LABELS}, detector(rows, LABELS, form="boxes-table"))
    assert [(p.class_index, p.box) for p in got] == [(1, (0, 0, 128, 64)), (2, (16, 16, 32, 32))]


def test_rows_with_further_columns():
    rows = np.concatenate([f32([[4, 8, 8, 16, 0.5, 2], [0, 0, 32, 32, 0.9, 1]]), np.full((2, 51), 7, np.float32)], axis=1)
    got = found({"boxes": rows, "labels": LABELS}, detector(rows, LABELS, form="boxes-table"))
    assert [(p.class_index, p.box) for p in got] == [(1, (0, 0, 128, 64)), (2, (16, 16, 32, 32))]


@pytest.mark.parametrize("angle, box", [(0, (12, 14, 20, 18)), (np.pi / 2, (14, 12, 18, 20)), (-np.pi / 2, (14, 12, 18, 20))])
def test_rows_with_an_angle_give_the_upright_box_around(angle, box):
    rows = f32([[16, 16, 8, 4, 0.9, 1, angle]])
    model = detector(rows, LABELS, form="boxes-angle-table")
    got = objects({"boxes": rows, "labels": LABELS}, read_facts(model), fit((32, 32), (32, 32), "standard"))
    assert got[0].class_index == 1 and got[0].box == pytest.approx(box, abs=1e-4)


def test_rows_with_mask_coefficients():
    rows = f32([[12, 12, 52, 52, 0.9, 1, 1, -1]])
    prototypes = np.zeros((2, 16, 16), np.float32)
    prototypes[0, :, :8], prototypes[1, :, 8:] = 1, 1
    model = detector(rows, LABELS, masks=prototypes, form="boxes-table-masks", task="instance-segmentation")
    outputs = {"boxes": rows, "labels": LABELS, "masks": prototypes}
    got = objects(outputs, read_facts(model), fit((64, 64), (64, 64), "standard"))
    assert [(p.class_index, p.box) for p in got] == [(1, (12, 12, 52, 52))] and got[0].mask is not None
    assert got[0].mask[13:51, 13:30].all() and not got[0].mask[:, 34:].any() and not got[0].mask[:12].any()


def test_mask_coefficients_apart():
    prototypes = np.zeros((2, 16, 16), np.float32)
    prototypes[0, :, :8], prototypes[1, :, 8:] = 1, 1
    boxes, labels, scores = f32([[12, 12, 52, 52, 0.9]]), i64([1]), f32([[1, -1]])
    model = detector(boxes, labels, scores=scores, masks=prototypes, form="boxes-labels-prototypes", task="instance-segmentation")
    outputs = {"boxes": boxes, "labels": labels, "scores": scores, "masks": prototypes}
    got = objects(outputs, read_facts(model), fit((64, 64), (64, 64), "standard"))
    assert [(p.class_index, p.box) for p in got] == [(1, (12, 12, 52, 52))] and got[0].mask is not None
    assert got[0].mask[13:51, 13:30].all() and not got[0].mask[:, 34:].any()


@pytest.mark.parametrize("due", ["sigmoid", "none"])
def test_queries_are_not_suppressed(due):
    """Two boxes in one place are two answers; boxes are shares of the input."""
    boxes = f32([[0.5, 0.5, 0.5, 0.25], [0.5, 0.5, 0.5, 0.25], [0.1, 0.1, 0.1, 0.1]])
    scores = f32([[0, 0, 9], [0, 3, 0], [-9, -9, -9]])
    scores = scores if due == "sigmoid" else 1 / (1 + np.exp(-scores))
    model = detector(boxes, LABELS, scores=scores, form="queries")
    for key, value in (("score_output", "scores"), ("score_activation", due)):
        model.set_rt_info(value, ["ovxai", key])
    got = objects({"boxes": boxes, "labels": LABELS, "scores": scores}, read_facts(model), GEOMETRY, 0.3)
    assert [(p.class_index, p.box) for p in got] == [(2, (32, 24, 96, 40)), (1, (32, 24, 96, 40))]


@pytest.mark.parametrize("due", ["softmax", "none"])
def test_what_says_that_there_is_nothing_is_no_class(due):
    """A fourth score behind those of three classes; where it is the largest, a class may still be over the threshold."""
    boxes = f32([[0.5, 0.5, 0.5, 0.25], [0.1, 0.1, 0.1, 0.1]])
    logits = np.log(f32([[0.1, 0.1, 0.5, 0.3], [0.35, 0.05, 0.05, 0.55]]))
    scores = logits + 2 if due == "softmax" else np.exp(logits)
    model = detector(boxes, LABELS, scores=scores, form="queries")
    for key, value in (("score_output", "scores"), ("score_activation", due), ("num_classes", "3")):
        model.set_rt_info(value, ["ovxai", key])
    got = objects({"boxes": boxes, "labels": LABELS, "scores": scores}, read_facts(model), GEOMETRY, 0.3)
    assert [(p.class_index, round(p.score, 3)) for p in got] == [(2, 0.5), (0, 0.35)]


def test_east():
    """A box of 12 x 6 around the cell in row 4, column 3: distances to its top, right, bottom and left side, and no angle."""
    scores, sides = np.zeros((1, 8, 8), np.float32), np.zeros((5, 8, 8), np.float32)
    scores[0, 4, 3], sides[:, 4, 3] = 0.9, (2, 9, 4, 3, 0)
    model = detector(scores[None], LABELS[None], masks=sides[None], form="east")
    got = objects({"boxes": scores, "labels": LABELS, "masks": sides}, read_facts(model), fit((32, 32), (32, 32), "standard"))
    assert [(p.class_index, p.box) for p in got] == [(0, (9, 14, 21, 20))]


@pytest.mark.parametrize("form, turned", [("yolo-v8", False), ("yolo-v8", True), ("yolo-v5", True)])
def test_candidates_as_shares_of_the_input(form, turned):
    """One of them is far out, as candidates may be."""
    random = np.random.default_rng(0)
    front = 5 if form == "yolo-v5" else 4
    table = np.zeros((front + 3, 84), np.float32)
    table[:4] = random.uniform(0.1, 0.9, (4, 84))
    table[:4, 3], table[front:, 3] = [20 / 64, 30 / 64, 10 / 64, 4 / 64], [0.1, 0.2, 0.8]
    table[:4, 7] = 40
    table[4:front] = 1
    got = one_output(table.T if turned else table, form)
    assert [(p.class_index, round(p.score, 2)) for p in got] == [(2, 0.8)]
    assert got[0].box == pytest.approx((15, 28, 25, 32), abs=1e-4)


def test_rows_of_detection_output_end_at_the_first_empty_one():
    rows = f32([[[0, 2, 0.5, 0.125, 0.25, 0.25, 0.5], [-1, 0, 0, 0, 0, 0, 0], [0, 1, 0.9, 0, 0, 1, 1]]])
    got = found({"boxes": rows, "labels": LABELS}, detector(rows, LABELS, form="detection-output"))
    assert [(p.class_index, p.box) for p in got] == [(2, (16, 16, 32, 32))]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_boxes_and_scores_apart(corners, turned):
    boxes = np.zeros((20, 4), np.float32) + f32([2, 2, 4, 4] if corners else [3, 3, 2, 2])
    boxes[5] = [4, 8, 8, 16] if corners else [6, 12, 4, 8]
    scores = np.zeros((20, 3), np.float32)
    scores[5, 1] = 0.8
    table = scores.T if turned else scores
    model = detector(boxes, LABELS, scores=table, form="boxes-scores")
    model.set_rt_info("scores", ["ovxai", "score_output"])
    got = found({"boxes": boxes, "labels": LABELS, "scores": table}, model)
    assert [(p.class_index, p.box) for p in got] == [(1, (16, 16, 32, 32))]


def test_every_format_is_written_by_some_insertion():
    """A decoder that no model asks for is dead."""
    package = Path(ovxai.__file__).parent
    files = [path for room in ("find", "methods") for path in (package / room).rglob("*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    written = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert set(FORMATS) <= written


def test_a_format_that_nobody_knows_is_not_decoded():
    model = detector(WITH_SCORES, LABELS, form="per-level")
    assert not decodable(read_facts(model))


def test_outputs_of_another_form_are_named_with_what_they_should_hold():
    with pytest.raises(UnsupportedModelError, match=r"no output has the form yolox: rows \[P, 5 \+ K\]"):
        one_output(np.zeros((77, 4), np.float32), "yolox")
