"""The branch against its definition, computed in NumPy and OpenCV from the class logits of the plain model."""

from __future__ import annotations

import cv2
import numpy as np
import openvino as ov
import pytest

import ovxai
from helpers import detectors as toys
from helpers.requests import request
from ovxai.find.detector.assemble import size_level
from ovxai.find.detector.search import find_detection
from ovxai.graph.surgery import attach_outputs
from ovxai.methods import class_probability_map

F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def explain(toy, **options):
    """(all outputs by name, branch, picture) of the explained model."""
    asked = request(toy, feature_vector=True, **options)
    site = find_detection(asked)
    assert site, site
    branch = class_probability_map.build(asked.graph, site, asked.options)
    extra = {"saliency_map": branch.saliency, "feature_map": branch.feature_map, "feature_vector": branch.feature_vector}
    if branch.index is not None:
        extra["saliency_index"] = branch.index
    attach_outputs(toy, extra)
    return branch


def run(toy, batch=1, size=(32, 48)):
    picture = np.random.default_rng(1).normal(0, 1, (batch, 3, *size)).astype(np.float32)
    found = ov.compile_model(toy, "CPU", F32)(picture)
    return picture, {name: found[name] for name in ("saliency_map", "feature_map", "feature_vector")}, found


def layer_values(toy, names, picture):
    nodes = {node.get_friendly_name(): node for node in toy.get_ordered_ops()}
    probe = ov.Model([ov.opset13.result(nodes[name].output(0)) for name in names], toy.get_parameters(), "probe")
    return list(ov.compile_model(probe, "CPU", F32)(picture).values())


def definition(logits, anchors, classes, size, activation="softmax", levels="mean", class_major=False):
    """OTX's definition for one picture; logits: [A * K, h, w] a level."""
    maps = []
    for values, a in zip(logits, anchors):
        split = values.reshape(*((classes, a) if class_major else (a, classes)), *values.shape[1:])
        best = split.max(1 if class_major else 0)
        maps.append(np.stack([cv2.resize(m, size[::-1], interpolation=cv2.INTER_LINEAR) for m in best]))
    total = np.max(maps, 0) if levels == "max" else np.mean(maps, 0)
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-total))
    if activation == "none" or classes == 1:
        return total
    power = np.exp(total - total.max(0))
    return power / power.sum(0)


CASES = {
    "retinanet": (lambda: toys.anchored(), (2, 2, 2), 5, {}),
    "class-major": (lambda: toys.anchored(class_major=True), (2, 2, 2), 5, {"class_major": True}),
    "ssd": (lambda: toys.anchored(5, (4, 6, 6), "softmax"), (4, 6, 6), 5, {}),
    "nms": (lambda: toys.with_nms(), (1, 1, 1), 4, {}),
    "yolo-v8": (lambda: toys.yolo_v8(), (1, 1, 1), 3, {}),
    "one-class": (lambda: toys.single_class(), (1, 1, 1), 1, {}),
    "one-class-anchors": (lambda: toys.single_class(3), (3, 3, 3), 1, {}),
    "raw": (lambda: toys.raw_levels(), (1, 1, 1), 6, {}),
}


@pytest.mark.parametrize("activation, levels", [(None, "mean"), ("sigmoid", "max"), ("none", "mean"), ("softmax", "max")])
@pytest.mark.parametrize("family", CASES)
def test_is_the_definition(family, activation, levels):
    build, anchors, classes, order = CASES[family]
    toy = build()
    branch = explain(toy, class_activation=activation, levels=levels)
    picture, extra, _ = run(toy)
    logits = [values[0] for values in layer_values(toy, ["cls0", "cls1", "cls2"], picture)]
    want = definition(logits, anchors, classes, (4, 6), activation or "softmax", levels, **order)
    np.testing.assert_allclose(extra["saliency_map"][0], want, rtol=1e-4, atol=1e-5)
    assert branch.info.target_layers == ("cls0", "cls1", "cls2")
    assert branch.info.map_size == "4x6" and branch.info.num_classes == classes
    assert extra["feature_map"].shape == (1, 8, 4, 6) and extra["feature_vector"].shape == (1, 24)


def test_yolo_v5_takes_classes_without_box_and_objectness():
    toy = toys.yolo_v5(classes=3, anchors=2)
    explain(toy)
    picture, extra, _ = run(toy)
    logits = [
        v[0].reshape(2, 8, *v.shape[2:])[:, 5:].reshape(6, *v.shape[2:])
        for v in layer_values(toy, ["head0", "head1", "head2"], picture)
    ]
    np.testing.assert_allclose(extra["saliency_map"][0], definition(logits, (2, 2, 2), 3, (4, 6)), rtol=1e-4, atol=1e-5)


def test_queries_split_their_tokens_level_by_level():
    toy = toys.queries()
    branch = explain(toy)
    picture, extra, _ = run(toy)
    tokens = layer_values(toy, ["enc_scores"], picture)[0][0]
    pieces = np.split(tokens.T, [96, 120], axis=1)
    logits = [piece.reshape(5, *grid) for piece, grid in zip(pieces, toys.GRIDS)]
    np.testing.assert_allclose(extra["saliency_map"][0], definition(logits, (1, 1, 1), 5, (4, 6)), rtol=1e-4, atol=1e-5)
    assert branch.info.target_layers == ("enc_scores",)


def test_transposed_head_comes_out_upright():
    toy = toys.on_its_side()
    explain(toy)
    picture, extra, _ = run(toy)
    logits = layer_values(toy, ["cls0"], picture)[0][0].transpose(0, 2, 1)
    np.testing.assert_allclose(extra["saliency_map"][0], definition([logits], (1,), 3, (8, 12)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [toys.anchored, toys.queries])
@pytest.mark.parametrize("size", [(32, 48), (48, 32), (64, 64)])
def test_open_batch_and_size(build, size):
    toy = build(batch=-1, size=(-1, -1))
    explain(toy)
    picture, extra, _ = run(toy, batch=2, size=size)
    shape = (size[0] // 8, size[1] // 8)
    assert extra["saliency_map"].shape == (2, 5, *shape)
    names = ["cls0", "cls1", "cls2"] if build is toys.anchored else ["enc_scores"]
    values = layer_values(toy, names, picture)
    for n in range(2):
        if build is toys.anchored:
            logits, anchors = [v[n] for v in values], (2, 2, 2)
        else:
            grids = [(size[0] // s, size[1] // s) for s in (4, 8, 16)]
            cuts = np.cumsum([h * w for h, w in grids])[:-1]
            logits, anchors = (
                [p.reshape(5, *g) for p, g in zip(np.split(values[0][n].T, cuts, axis=1), grids)],
                (1, 1, 1),
            )
        np.testing.assert_allclose(extra["saliency_map"][n], definition(logits, anchors, 5, shape), rtol=1e-4, atol=1e-5)


def test_channel_order_and_token_grids_are_told():
    def told(toy, key):
        explained = ovxai.insert(toy, probe=False)
        return explained.get_rt_info(["ovxai", key]).astype(str)

    assert told(toys.anchored(), "channel_order") == "anchor-major"
    assert told(toys.anchored(class_major=True), "channel_order") == "class-major"
    assert told(toys.yolo_v5(), "channel_order") == "selected"
    assert told(toys.yolo_v5(), "class_channels") == "5,6,7;13,14,15;21,22,23"
    assert told(toys.queries(), "level_grids") == "8x12,4x6,2x3"


def test_map_size_and_classes():
    whole = toys.anchored()
    listed = whole.clone()
    top = whole.clone()
    explain(whole, map_size="10x7")
    branch = explain(listed, map_size="10x7", classes="3,0")
    explain(top, map_size="10x7", classes="top:2")
    full = run(whole)[1]["saliency_map"]
    assert full.shape == (1, 5, 10, 7)
    found = run(listed)[2]
    np.testing.assert_array_equal(found["saliency_index"], [[[3, 0]]])
    np.testing.assert_allclose(found["saliency_map"], full[:, [3, 0]], rtol=1e-6)
    found = run(top)[2]
    best = np.argsort(-full.max((2, 3)), axis=1)[:, :2]
    np.testing.assert_array_equal(found["saliency_index"][:, 0], best)
    np.testing.assert_allclose(found["saliency_map"], full[:, best[0]], rtol=1e-6)
    assert branch.info.classes == "3,0"


def test_ssd_takes_the_coarsest_level_with_eight_cells():
    ssd = [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)]
    assert size_level(ssd, open_size=False) == 2 and size_level(ssd, open_size=True) == 3
    assert size_level(ssd[:3], open_size=False) == 1
    assert size_level([(6, 6), (5, 5), (4, 4), (3, 3), (2, 2), (1, 1)], open_size=False) == 0
    assert size_level([(64, 64), (32, 32), (16, 16), (12, 9), (6, 5), (3, 3)], open_size=False) == 3
