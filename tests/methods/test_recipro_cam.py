"""Recipro-CAM as inserted: [N, C, h, w] in raster order, equal to the definition on the cut head."""

from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers as toys
from helpers.oracle import Case, definition
from helpers.requests import request
from ovxai.find.classifier.search import find_classifier
from ovxai.find.site import ClassifierSite
from ovxai.methods import recipro_cam

PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}
FEED = np.random.default_rng(3).standard_normal((2, 3, *toys.SIZE)).astype(np.float32)


def maps_of(model, feed):
    return np.array(ov.Core().compile_model(model, "CPU", PRECISE)(feed)["saliency_map"])


def close(found, truth, grid=toys.GRID):
    truth = truth.reshape(*truth.shape[:2], *grid)
    assert found.shape == truth.shape
    allowed = 1e-3 * truth.std((2, 3)).mean() + 2e-6 * np.abs(truth).max()
    assert truth.std((2, 3)).max() > 1e-4 and np.abs(found - truth).max() <= allowed


FAMILIES = {
    "cnn": (toys.cnn, Case(None, (), taps=("features",))),
    "nhwc": (toys.nhwc, Case(None, (), "NHWC", taps=("last_norm",))),
    "vgg": (toys.vgg, Case(None, (), taps=("features",))),
    "vgg of timm": (toys.vgg_of_timm, Case(None, (), taps=("features",))),
    "vit": (toys.vit, Case(None, (), "NPC", prefix=1, mask="gaussian", taps=("block1_norm", "block1_input"))),
    "distilled": (
        lambda: toys.vit(prefix=2),
        Case(None, (), "NPC", prefix=2, mask="gaussian", taps=("block1_norm", "block1_input")),
    ),
    "clip": (toys.clip, Case(None, (), "NPC", prefix=1, mask="gaussian", taps=("block1_norm", "block1_input"))),
    "mean pooled": (toys.mean_pooled_vit, Case(None, (), "NPC", taps=("last",))),
    "class attention": (toys.class_attention, Case(None, (), "NPC", taps=("trunk_end",))),
    "attention pool": (toys.attention_pool, Case(None, (), "NPC", taps=("trunk_end",))),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_against_the_definition(family):
    build, case = FAMILIES[family]
    model = build()
    found = maps_of(ovxai.insert(model, scale=False, probe=False), FEED[:1])
    close(found, definition(replace(case, model=model, feed=(FEED[:1],))))


@pytest.mark.parametrize("batch", [2, -1])
@pytest.mark.parametrize("build, family", [(toys.cnn, "cnn"), (toys.vit, "vit")])
def test_batches(build, family, batch):
    model = build(batch)
    found = maps_of(ovxai.insert(model, scale=False, probe=False), FEED)
    close(found, definition(replace(FAMILIES[family][1], model=model, feed=(FEED,))))


@pytest.mark.parametrize("options, changes", [
    ({"mask": "point"}, {"mask": "point"}),
    ({"blocks": 2}, {"taps": ("block0_norm", "block0_input")}),
    ({"target_layer": "block1_input", "mask": "gaussian"}, {"taps": ("block1_input",)}),
    ({"target_layer": ("block0_norm", "block0_input")}, {"taps": ("block0_norm", "block0_input")}),
])  # fmt: skip
def test_what_is_asked_for(options, changes):
    model = toys.vit()
    found = maps_of(ovxai.insert(model, scale=False, probe=False, **options), FEED[:1])
    close(found, definition(replace(FAMILIES["vit"][1], model=model, feed=(FEED[:1],), **changes)))


def test_gaussian_on_a_cnn():
    model = toys.cnn()
    found = maps_of(ovxai.insert(model, scale=False, probe=False, mask="gaussian"), FEED[:1])
    close(found, definition(replace(FAMILIES["cnn"][1], model=model, feed=(FEED[:1],), mask="gaussian")))


@pytest.mark.parametrize("blocks", [1, 2])
def test_vit_method_on_a_mean_pooled_transformer(blocks):
    model = toys.mean_pooled_vit()
    done = ovxai.insert(model, method="vit-reciprocam", blocks=blocks, scale=False, probe=False)
    assert done.get_rt_info(["ovxai", "collapse"]).astype(str) == "exact"
    taps = (f"block{2 - blocks}_norm", f"block{2 - blocks}_input")
    close(
        maps_of(done, FEED[:1]),
        definition(replace(FAMILIES["mean pooled"][1], model=model, feed=(FEED[:1],), taps=taps, mask="gaussian")),
    )


def test_raster_order_on_a_map_that_is_not_square():
    """Only one place of the picture is bright: only there is a map that says anything."""
    image = toys.picture()
    x = toys.named(op.avg_pool(image, [8, 8], [0, 0], [0, 0], [8, 8], True), "features")
    model = ovxai.insert(toys.finished(toys.linear(toys.mean(x)), image), scale=False, probe=False)
    compiled = ov.Core().compile_model(model, "CPU", PRECISE)
    dark = compiled(np.zeros((1, 3, *toys.SIZE), np.float32))["saliency_map"].copy()
    for row in range(3):
        for column in range(4):
            picture = np.zeros((1, 3, *toys.SIZE), np.float32)
            picture[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 9
            changed = np.abs(compiled(picture)["saliency_map"] - dark).sum((0, 1))
            assert np.argwhere(changed > 1e-6).tolist() == [[row, column]]


def dense_head():
    image = toys.picture()
    x = toys.named(toys.trunk(image), "asked")
    return toys.finished(toys.linear(toys.mean(op.relu(toys.conv(x, 5, seed=9)))), image)


@pytest.mark.parametrize("copies", [1, 5, 100])
def test_chunks_under_the_memory_budget(copies, monkeypatch):
    """A budget of so many masked copies: the same maps, whatever fits."""
    monkeypatch.setattr(recipro_cam, "dense_bytes", lambda _dense: (1 << 20) // copies)
    model = dense_head()
    done = ovxai.insert(model, target_layer="asked", memory_budget=1, scale=False, probe=False)
    rows = [
        node.output(0).get_partial_shape()[0].get_length() for node in done.get_ops() if node.get_type_name() == "Convolution"
    ]
    assert max(rows) <= copies
    close(maps_of(done, FEED[:1]), definition(Case(model, (FEED[:1],), taps=("asked",))))


def test_the_bias_is_left_out_of_scaled_maps_only():
    """Scaling does not see it; without --raw it would only eat precision."""
    image = toys.picture()
    logits = op.add(op.matmul(toys.mean(toys.trunk(image)), toys.numbers(4, 6), False, True), np.full(4, 1e6, np.float32))
    model = toys.finished(logits, image)
    scaled = maps_of(ovxai.insert(model, probe=False), FEED[:1])
    assert len(np.unique(scaled)) > 8
    raw = maps_of(ovxai.insert(model, scale=False, probe=False), FEED[:1])
    assert raw.min() > 9e5


def test_a_layer_that_the_scores_do_not_read_by_position():
    with pytest.raises(ovxai.TargetLayerError):
        ovxai.insert(toys.several_inputs(), target_layer="extra")


def test_collapse_word():
    from ovxai.collapse.values import Dense

    site = find_classifier(request(toys.cnn()))
    assert isinstance(site, ClassifierSite)
    consumer = next(iter(site.taps[0].port.get_target_inputs())).get_node().get_friendly_name()
    assert recipro_cam.collapse_word(site, ()) == "exact"
    assert recipro_cam.collapse_word(site, (Dense(consumer, "ReduceMean", "", 1),)) == "dense"
    assert recipro_cam.collapse_word(site, (Dense("something_later", "MatMul", "", 1),)) == "partial"


@pytest.mark.parametrize("term, products", [((1, 6, 1, 1), 2), ((1, 1, *toys.GRID), 4)])
@pytest.mark.parametrize("batch", [1, 2, -1])
def test_levels_pass_an_operation_together_unless_it_tells_positions_apart(term, products, batch):
    """Behind a nonlinear step the gaussian has levels 0, 1/16, 1/8, 1/4: one product for 0 and one for the rest, or one each."""
    image = toys.picture(batch)
    features = toys.trunk(image)
    mixed = op.convolution(
        op.add(op.tanh(features), toys.numbers(*term)), toys.numbers(6, 6, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1]
    )
    model = toys.finished(toys.linear(toys.mean(op.tanh(mixed)), 5), image)
    explained = ovxai.insert(model, scale=False, probe=False, mask="gaussian", target_layer="features")
    count = [
        sum(node.get_type_name() == "Convolution" and node.get_output_partial_shape(0)[1] == 6 for node in one.get_ops())
        for one in (model, explained)
    ]
    assert count[1] - count[0] == products
    feed = FEED[: 1 if batch == 1 else 2]
    close(maps_of(explained, feed), definition(Case(model, (feed,), taps=("features",), mask="gaussian")))
