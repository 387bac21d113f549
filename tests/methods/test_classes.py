"""--classes: rows of the classifier instead of maps, and the same numbers either way."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers as toys

PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}
PICTURES = np.random.default_rng(1).standard_normal((2, 3, *toys.SIZE)).astype(np.float32) * 3
PICTURES[1] += np.array([-6, -2, 2], np.float32)[:, None, None]


def run(model, feed):
    outputs = ov.Core().compile_model(model, "CPU", PRECISE)(feed)
    return {
        name: np.array(outputs[name])
        for name in ("saliency_map", "saliency_index")
        if any(name in o.get_names() for o in model.outputs)
    } | {"scores": np.array(outputs[0])}


def build(head, batch):
    image = toys.picture(batch)
    return toys.finished(head(toys.trunk(image)), image)


def compressed(x):
    table = op.constant(np.random.default_rng(0).integers(0, 255, (5, 6)).astype(np.uint8))
    weight = op.multiply(op.subtract(op.convert(table, "f32"), op.constant(np.full((5, 1), 127, np.float32))), np.float32(0.01))
    return op.add(op.matmul(toys.mean(x), weight, False, True), toys.numbers(1, 5))


def scaled_cosines(x):
    cosines = op.matmul(op.normalize_l2(toys.mean(x), np.array([1]), 1e-6, "max"), toys.numbers(6, 5), False, False)
    return op.multiply(op.divide(cosines, np.float32(0.1)), toys.numbers(1, 5, seed=3))


def classes_by_convolution(x):
    return op.convolution(toys.mean(x, keep=True), toys.numbers(5, 6, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])


HEADS = {
    "linear": lambda x: toys.linear(toys.mean(x), 5),
    "weights as they are": lambda x: op.add(op.matmul(toys.mean(x), toys.numbers(6, 5), False, False), toys.numbers(1, 5)),
    "without bias": lambda x: op.matmul(toys.mean(x), toys.numbers(6, 5), False, False),
    "bias first": lambda x: op.add(toys.numbers(1, 5), op.matmul(toys.mean(x), toys.numbers(6, 5), False, False)),
    "scaled cosines": scaled_cosines,
    "1x1 convolution": lambda x: toys.flat(classes_by_convolution(x)),
    "convolution, squeezed": lambda x: op.squeeze(op.add(classes_by_convolution(x), toys.numbers(1, 5, 1, 1)), np.array([2, 3])),
    "two heads added": lambda x: op.add(toys.linear(toys.mean(x), 5), toys.linear(op.relu(toys.mean(x)), 5, seed=4)),
    "heads side by side": lambda x: op.concat([toys.linear(toys.mean(x), 3), toys.linear(toys.mean(x), 2, seed=4)], 1),
    "nonlinear end": lambda x: op.tanh(toys.linear(toys.mean(x), 5)),
    "softmax end": lambda x: op.softmax(toys.linear(toys.mean(x), 5), 1),
    "flatten": lambda x: toys.linear(toys.flat(x), 5),
    "compressed weights": compressed,
}  # fmt: skip


@pytest.mark.parametrize("batch", [1, 2, -1])
@pytest.mark.parametrize("name", HEADS)
def test_top_k_for_each_picture(name, batch):
    """Batch 2: every picture has classes of its own."""
    feed = PICTURES[: 1 if batch == 1 else 2]
    full = run(ovxai.insert(build(HEADS[name], batch), scale=False, probe=False), feed)
    some = run(ovxai.insert(build(HEADS[name], batch), scale=False, probe=False, classes="top:3"), feed)
    best = np.argsort(-full["scores"], axis=1)[:, :3]
    assert some["saliency_index"].dtype == np.int64 and some["saliency_index"].shape == (len(feed), 1, 3)
    np.testing.assert_array_equal(some["saliency_index"][:, 0], best)
    truth = np.take_along_axis(full["saliency_map"], best[:, :, None, None], 1)
    np.testing.assert_allclose(some["saliency_map"], truth, rtol=1e-4, atol=1e-5)


def test_the_pictures_of_that_batch_differ():
    scores = run(ovxai.insert(build(HEADS["linear"], 2), scale=False, probe=False), PICTURES)["scores"]
    best = np.argsort(-scores, axis=1)[:, :3]
    assert (best[0] != best[1]).any()


@pytest.mark.parametrize("batch", [1, 2, -1])
@pytest.mark.parametrize("name", ["linear", "1x1 convolution", "heads side by side", "two heads added", "compressed weights"])
def test_a_list(name, batch):
    feed = PICTURES[: 1 if batch == 1 else 2]
    full = run(ovxai.insert(build(HEADS[name], batch), scale=False, probe=False), feed)
    some = run(ovxai.insert(build(HEADS[name], batch), scale=False, probe=False, classes="4,0,1"), feed)
    np.testing.assert_array_equal(some["saliency_index"], np.broadcast_to([[[4, 0, 1]]], (len(feed), 1, 3)))
    np.testing.assert_allclose(some["saliency_map"], full["saliency_map"][:, [4, 0, 1]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("classes", ["top:2", "3,1"])
@pytest.mark.parametrize("family", [toys.vit, toys.clip, toys.class_attention, toys.mean_pooled_vit])
def test_transformers(family, classes):
    feed = PICTURES[:1]
    full = run(ovxai.insert(family(), probe=False), feed)
    some = run(ovxai.insert(family(), probe=False, classes=classes), feed)
    index = some["saliency_index"][0, 0]
    assert index.tolist() == ([3, 1] if classes == "3,1" else np.argsort(-full["scores"][0])[:2].tolist())
    assert np.abs(some["saliency_map"].astype(int) - full["saliency_map"][:, index]).max() <= 1


def test_only_the_rows_asked_for_are_multiplied():
    model = ovxai.insert(build(HEADS["linear"], 1), probe=False, classes="0,3")
    widths = [
        list(node.output(0).get_partial_shape())[-1].get_length() for node in model.get_ops() if node.get_type_name() == "MatMul"
    ]
    assert min(widths) == 2
