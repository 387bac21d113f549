"""Instance maps against the NumPy definition; what the explained model should give is counted out cell by cell here."""

from __future__ import annotations

import math

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.tiny_models import explain, scaled
from helpers.values import named, numbers
from ovxai.verification import verify
from ovxai.verification.instances import suppress

HEIGHT, WIDTH, CLASSES = 32, 48, 3
BOXES = np.array([[4, 3, 30, 25], [20.5, 1.2, 44.9, 30], [2, 2, 9, 9], [5, 5, 5, 20], [10, 10, 40, 28], [0, 0, 9, 9]], np.float32)
LABELS = np.array([0, 1, 1, 0, 1, -1])
SCORES = np.array([0.9, 0.8, 0.4, 0.7, 0.3, 0.5], np.float32)
#: The fourth has no width, the last no label.
REAL = [0, 1, 2, 4]


def smooth(count: int, height: int, width: int) -> np.ndarray:
    down, across = np.mgrid[0:height, 0:width]
    waves = [np.sin(down / (2 + i) + i) + np.cos(across / (3 + i) - i) for i in range(count)]
    return np.stack(waves).astype(np.float32) + 0.013


def tied(image: ov.Node, value: np.ndarray) -> ov.Node:
    """`value` as something that hangs on the picture, as a real head's outputs do."""
    if value.dtype == np.int64:
        return op.add(op.convert(op.multiply(op.reduce_mean(image, [0, 1, 2, 3], False), np.float32(0)), "i64"), value)
    return op.add(op.multiply(op.reduce_mean(image, [0, 1, 2, 3], False), np.float32(0)), value)


def instance_model(masks: np.ndarray, prototypes: np.ndarray | None = None) -> ov.Model:
    image = named(op.parameter([1, 3, HEIGHT, WIDTH], np.float32), "image")
    table = np.concatenate([BOXES, SCORES[:, None]], 1)
    values = {"boxes": table, "labels": LABELS, "masks": masks}
    if prototypes is not None:
        values["prototypes"] = prototypes
    nodes = [named(tied(image, value[None]), name) for name, value in values.items()]
    results = [op.result(node) for node in nodes]
    return ov.Model(results, [image], "instances")


def box_value(mask: np.ndarray, index: int, y: float, x: float) -> float:
    """The pasted mask at one point: a hat around each of its cells."""
    x1, y1, x2, y2 = (float(side) for side in BOXES[index])
    row = (y - y1) / (y2 - y1) * mask.shape[0] - 0.5
    column = (x - x1) / (x2 - x1) * mask.shape[1] - 0.5
    total = 0.0
    for i in range(math.floor(row), math.floor(row) + 2):
        for j in range(math.floor(column), math.floor(column) + 2):
            if 0 <= i < mask.shape[0] and 0 <= j < mask.shape[1]:
                total += mask[i, j] * max(0, 1 - abs(row - i)) * max(0, 1 - abs(column - j))
    return total


def box_maps(masks: np.ndarray, grid: tuple[int, int] = (8, 12), threshold: float = 0.5, shift: float = 0.5) -> np.ndarray:
    total, count = np.zeros((1, CLASSES, *grid), np.float32), np.zeros(CLASSES)
    for index in REAL:
        label = LABELS[index]
        count[label] += 1
        for i in range(grid[0]):
            for j in range(grid[1]):
                y, x = (i + shift) * HEIGHT / grid[0], (j + shift) * WIDTH / grid[1]
                total[0, label, i, j] += SCORES[index] * (box_value(masks[index], index, y, x) > threshold)
    return total / np.maximum(count, 1)[None, :, None, None].astype(np.float32)


def explained(model: ov.Model, maps: np.ndarray, grey: bool = False, **facts) -> ov.Model:
    image = model.get_parameters()[0]
    saliency = tied(image, maps)
    names = ("boxes", "labels", "masks", "prototypes")[: len(model.outputs)]
    given = {
        "task": "instance-segmentation", "method": "inst-seg", "mask": "", "layout": "NCHW", "target_layers": names,
        "num_classes": CLASSES, "map_size": "8x12", "scaled": grey,
    }  # fmt: skip
    return explain(model, {"saliency_map": scaled(saliency) if grey else saliency}, **{**given, **facts})


def masks_of_boxes() -> np.ndarray:
    return 1 / (1 + np.exp(-2 * smooth(len(BOXES), 7, 7)))


@pytest.mark.parametrize("grey", [False, True])
def test_box_masks_pass(grey):
    masks = masks_of_boxes()
    report = verify(explained(instance_model(masks), box_maps(masks), grey))
    assert report.ok, report
    assert any("instances found: 4" in note for note in report.notes)


def test_mask_logits_pass():
    logits = 2 * smooth(len(BOXES), 7, 7)
    assert verify(explained(instance_model(logits), box_maps(masks_of_boxes()))).ok


@pytest.mark.parametrize("wrong", [{"threshold": 0.4}, {"shift": 0.0}])
def test_other_threshold_or_grid_fails(wrong):
    masks = masks_of_boxes()
    assert not verify(explained(instance_model(masks), box_maps(masks, **wrong))).ok


def test_sum_instead_of_mean_fails():
    masks = masks_of_boxes()
    maps = box_maps(masks)
    maps[:, 1] *= 3
    assert not verify(explained(instance_model(masks), maps)).ok


def test_class_without_instances_must_be_empty():
    masks = masks_of_boxes()
    maps = box_maps(masks)
    maps[:, 2, 0, 0] = 1e-3
    assert not verify(explained(instance_model(masks), maps)).ok


def test_full_masks_pass():
    logits = smooth(len(BOXES), HEIGHT, WIDTH)
    maps = np.zeros((1, CLASSES, HEIGHT, WIDTH), np.float32)
    for label in (0, 1):
        own = [index for index in REAL if LABELS[index] == label]
        maps[0, label] = np.mean([(logits[index] > 0) * SCORES[index] for index in own], axis=0)
    assert verify(explained(instance_model(logits), maps, map_size=f"{HEIGHT}x{WIDTH}")).ok


def test_prototypes_pass():
    coefficients, prototypes = numbers(len(BOXES), 5), smooth(5, 8, 12)
    maps = np.zeros((1, CLASSES, 8, 12), np.float32)
    y, x = (np.arange(8) + 0.5)[:, None] * 4, (np.arange(12) + 0.5)[None] * 4
    for label in (0, 1):
        own = [index for index in REAL if LABELS[index] == label]
        for index in own:
            x1, y1, x2, y2 = BOXES[index]
            inside = (y >= y1) & (y < y2) & (x >= x1) & (x < x2)
            value = np.tensordot(coefficients[index], prototypes, 1)
            maps[0, label] += ((value > 0) & inside) * SCORES[index] / len(own)
    assert verify(explained(instance_model(coefficients, prototypes), maps)).ok


def test_suppression():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 10]], np.float32)
    scores = np.array([[0.9, 0.1], [0.8, 0.6], [0.3, 0.9], [0.2, 0.1]], np.float32)
    kept = suppress(boxes, scores, iou=0.5, score=0.25)
    assert kept.tolist() == [[0, 0], [2, 1], [1, 1], [2, 0]]
