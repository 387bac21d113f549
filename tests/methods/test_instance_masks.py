"""The branch against its definition: instance by instance and cell by cell in NumPy."""

from __future__ import annotations

import cv2
import numpy as np
import openvino as ov
import pytest

from helpers import instances as toys
from helpers.requests import request
from ovxai.find.instances.search import find_instances
from ovxai.graph.surgery import attach_outputs
from ovxai.methods import instance_masks

F32 = {"INFERENCE_PRECISION_HINT": "f32"}
H, W = toys.SIDES


def explain(toy, **options):
    asked = request(toy, **options)
    site = find_instances(asked)
    assert site, site
    branch = instance_masks.build(asked.graph, site, asked.options)
    extra = {"saliency_map": branch.saliency}
    for name in ("feature_map", "feature_vector", "index"):
        if getattr(branch, name) is not None:
            extra[name] = getattr(branch, name)
    attach_outputs(toy, extra)
    return branch, ov.compile_model(toy, "CPU", F32)


def hat(places, count):
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(count)))


def definition(boxes, labels, scores, masks, classes, grid):
    """One picture: box masks [I, mh, mw] -> [K, gh, gw]."""
    total, count = np.zeros((classes, *grid)), np.zeros(classes)
    ys, xs = ((np.arange(n) + 0.5) * side / n for n, side in zip(grid, (H, W)))
    for (x1, y1, x2, y2), label, score, mask in zip(boxes, labels, scores, masks):
        if not (x2 > x1 and y2 > y1 and score > 0 and label >= 0):
            continue
        rows = hat((ys - y1) / (y2 - y1) * mask.shape[0] - 0.5, mask.shape[0])
        columns = hat((xs - x1) / (x2 - x1) * mask.shape[1] - 0.5, mask.shape[1])
        total[label] += (rows @ mask @ columns.T > 0.5) * score
        count[label] += 1
    return total / np.maximum(count, 1)[:, None, None]


def some_instances(count, classes, mask=(7, 7), seed=0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, [W - 30, H - 30], (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(8, 30, (count, 2))], 1).astype(np.float32)
    soft = (
        np.stack([cv2.resize(rng.uniform(0, 1, (3, 3)).astype(np.float32), mask[::-1]) for _ in range(count)])
        if count
        else np.zeros((0, *mask), np.float32)
    )
    return boxes, rng.integers(0, classes, count), rng.uniform(0.1, 1, count).astype(np.float32), soft


def fed(parts, batched=True, singleton=False):
    boxes, labels, scores, masks = parts
    masks = masks[:, None] if singleton else masks
    lead = [part[None] if batched else part for part in (boxes, labels.astype(np.int64), scores, masks)]
    return [np.zeros((1, 3, H, W), np.float32), *lead]


@pytest.mark.parametrize("batched, singleton, five", [(True, False, True), (False, True, False), (True, True, True)])
def test_box_masks(batched, singleton, five):
    branch, model = explain(toys.listed(4, batched=batched, singleton=singleton, five=five))
    for count in (9, 1, 30):
        parts = some_instances(count, 4, seed=count)
        found = model(fed(parts, batched, singleton))["saliency_map"]
        assert found.shape == (1, 4, H // 4, W // 4)
        np.testing.assert_allclose(found[0], definition(*parts, classes=4, grid=(H // 4, W // 4)), atol=1e-5)
    assert branch.info.map_size == "16x24" and branch.info.num_classes == 4


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("mask", [(7, 7), toys.SIDES])
def test_no_instances_mean_zeros(batched, mask):
    _, model = explain(toys.listed(4, mask=mask, batched=batched))
    for count in (0, 3, 0):
        found = model(fed(some_instances(count, 4, mask), batched))["saliency_map"]
        assert np.isfinite(found).all() and (found.max() > 0) == (count > 0)


def test_padding_weighs_nothing_even_as_nan():
    _, model = explain(toys.listed(4))
    boxes, labels, scores, masks = some_instances(8, 4)
    want = model(fed((boxes, labels, scores, masks)))["saliency_map"].copy()
    bad = np.array([[5, 5, 5, 30], [0] * 4, [4, 4, 20, 20], [4, 4, 20, 20], [np.nan] * 4, [30, 30, 10, 10]], np.float32)
    padded = (
        np.concatenate([boxes, bad]),
        np.concatenate([labels, [0, 1, -1, 2, 3, 1]]),
        np.concatenate([scores, np.array([0.9, 0.5, 0.9, 0.0, np.nan, 0.7], np.float32)]),
        np.concatenate([masks, np.full((6, 7, 7), np.nan, np.float32)]),
    )
    np.testing.assert_allclose(model(fed(padded))["saliency_map"], want, atol=1e-6)


def test_map_size_and_classes():
    parts = some_instances(12, 4)
    whole = explain(toys.listed(4), map_size="64x96")[1](fed(parts))["saliency_map"]
    np.testing.assert_allclose(whole[0], definition(*parts, classes=4, grid=(64, 96)), atol=1e-5)
    two = explain(toys.listed(4), map_size="64x96", classes="2,0")[1](fed(parts))
    np.testing.assert_allclose(two["saliency_map"], whole[:, [2, 0]], atol=1e-6)
    np.testing.assert_array_equal(two["index"], [[[2, 0]]])
    top = explain(toys.listed(4), map_size="64x96", classes="top:1")[1](fed(parts))
    best = whole.max((2, 3)).argmax()
    np.testing.assert_array_equal(top["index"], [[[best]]])
    np.testing.assert_allclose(top["saliency_map"][0, 0], whole[0, best], atol=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_full_masks_are_resized(kind):
    _, model = explain(toys.listed(4, mask=toys.SIDES, kind=kind))
    boxes, labels, scores, _ = some_instances(6, 4)
    masks = np.zeros((6, H, W), kind)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int)):
        mask[y1:y2, x1:x2] = 1
    found = model(fed((boxes, labels, scores, masks)))["saliency_map"][0]
    want = np.zeros((4, H // 4, W // 4))
    for mask, label, score in zip(masks, labels, scores):
        small = cv2.resize(mask.astype(np.float32), (W // 4, H // 4), interpolation=cv2.INTER_LINEAR)
        want[label] += (small > 0.5) * score
    want /= np.maximum(np.bincount(labels, minlength=4), 1)[:, None, None]
    np.testing.assert_allclose(found, want, atol=1e-5)


def test_two_stage_model_with_its_neck():
    branch, model = explain(toys.two_stage(), feature_vector=True)
    picture = np.random.default_rng(3).normal(0, 1, (1, 3, H, W)).astype(np.float32)
    found = model(picture)
    own = list(found.values())[:3]
    want = definition(own[0][:, :4], own[1], own[0][:, 4], own[2][:, 0], 3, (H // 4, W // 4))
    assert len(own[1]) > 2
    np.testing.assert_allclose(found["saliency_map"][0], want, atol=1e-5)
    assert found["feature_map"].shape == (1, 8, 8, 12) and found["feature_vector"].shape == (1, 16)
    assert len(branch.info.target_layers) == 3


def prototype_definition(boxes, labels, scores, mixes, prototypes, classes, grid):
    total, count = np.zeros((classes, *grid)), np.zeros(classes)
    maps = np.stack([cv2.resize(p, grid[::-1], interpolation=cv2.INTER_LINEAR) for p in prototypes])
    ys, xs = ((np.arange(n) + 0.5) * side / n for n, side in zip(grid, (H, W)))
    for (x1, y1, x2, y2), label, score, mix in zip(boxes, labels, scores, mixes):
        inside = ((ys >= y1) & (ys < y2))[:, None] & ((xs >= x1) & (xs < x2))[None]
        total[label] += ((np.tensordot(mix, maps, 1) > 0) & inside) * score
        count[label] += 1
    return total / np.maximum(count, 1)[:, None, None]


@pytest.mark.parametrize("size", [None, "64x96"])
def test_table_with_prototypes(size):
    _, model = explain(toys.end_to_end(), map_size=size)
    boxes, labels, scores, _ = some_instances(7, 3)
    mixes = np.random.default_rng(2).normal(0, 1, (7, 8)).astype(np.float32)
    table = np.concatenate([boxes, scores[:, None], labels[:, None], mixes], 1).astype(np.float32)[None]
    picture = np.random.default_rng(3).normal(0, 1, (1, 3, H, W)).astype(np.float32)
    found = model([picture, table])
    grid = (H, W) if size else (H // 4, W // 4)
    want = prototype_definition(boxes, labels, scores, mixes, found[1][0], 3, grid)
    assert np.abs(found["saliency_map"][0] - want).max() < 1e-5 or (np.abs(found["saliency_map"][0] - want) > 1e-5).mean() < 1e-3


@pytest.mark.parametrize("batch", [1, 2])
def test_candidates_are_suppressed_inside(batch):
    _, model = explain(toys.yolo_seg(batch=batch), classes="all")
    picture = np.random.default_rng(3).normal(0, 1, (batch, 3, H, W)).astype(np.float32)
    found = model(picture)
    table, prototypes, maps = found[0], found[1], found["saliency_map"]
    for n in range(batch):
        centre, extent, scores, mixes = np.split(table[n], [2, 4, 7])
        corners = np.concatenate([centre - extent / 2, centre + extent / 2]).T
        chosen = []
        for k in range(3):
            chosen += [(scores[k, i], k, i) for i in greedy(corners, scores[k])]
        chosen = sorted(chosen, reverse=True)[:100]
        want = prototype_definition(
            [corners[i] for *_, i in chosen], [k for _, k, _ in chosen], [s for s, *_ in chosen],
            [mixes[:, i] for *_, i in chosen], prototypes[n], 3, (H // 4, W // 4),
        )  # fmt: skip
        assert len(chosen) > 3
        assert (np.abs(maps[n] - want) > 1e-4).mean() < 2e-3


def greedy(corners, scores, iou=0.5, score=0.25):
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] > score]
    kept: list[int] = []
    for i in order:
        if len(kept) < 100 and all(overlap(corners[i], corners[j]) <= iou for j in kept):
            kept.append(i)
    return kept


def overlap(a, b):
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = max(width, 0) * max(height, 0)
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def test_nothing_above_the_threshold():
    toy = toys.yolo_seg()
    toy.set_rt_info("0.9999", ["model_info", "confidence_threshold"])
    _, model = explain(toy)
    assert not model(np.zeros((1, 3, H, W), np.float32))["saliency_map"].any()


def test_open_sides():
    toy = toys.listed(4)
    toy.get_parameters()[0].set_partial_shape(ov.PartialShape([-1, 3, -1, -1]))
    toy.validate_nodes_and_infer_types()
    branch, model = explain(toy)
    parts = some_instances(5, 4)
    np.testing.assert_allclose(
        model(fed(parts))["saliency_map"][0], definition(*parts, classes=4, grid=(H // 4, W // 4)), atol=1e-5
    )
    assert branch.info.map_size == ""


def test_no_loops_and_few_constants():
    toy = toys.listed(4)
    before = {node.get_name() for node in toy.get_ordered_ops()}
    explain(toy)
    added = [node for node in toy.get_ordered_ops() if node.get_name() not in before]
    assert not {node.get_type_name() for node in added} & {"Loop", "If", "TensorIterator"}
    constants = [node for node in added if node.get_type_name() == "Constant"]
    assert sum(node.get_byte_size() for node in constants) < 4096
