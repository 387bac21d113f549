"""Heads convolved over the map: where that applies, where it must not, and the definition either way."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers as toys
from helpers.oracle import Case, definition
from ovxai.collapse.head import class_maps as class_rows

PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}
FEED = np.random.default_rng(3).standard_normal((2, 3, *toys.SIZE)).astype(np.float32)
EDGES = [np.float32(edge) for edge in (-3, 3 * 127 / 128, -3, 3 * 127 / 128)]  # zero is one of the levels


def quantised_linear(x):
    table = op.constant(np.random.default_rng(0).integers(-127, 127, (5, 6)).astype(np.int8))
    weight = op.multiply(op.convert(table, "f32"), np.linspace(0.004, 0.01, 5, dtype=np.float32)[:, None])
    return op.matmul(op.fake_quantize(toys.mean(x), *EDGES, 256), weight, False, True)


def compressed_linear(x):
    table = op.constant(np.random.default_rng(0).integers(-127, 127, (5, 6)).astype(np.int8))
    return op.matmul(toys.mean(x), op.multiply(op.convert(table, "f32"), np.float32(0.01)), False, True)


def hidden(x):
    rows = op.swish(op.multiply(toys.linear(toys.mean(x), 8), toys.numbers(1, 8)), op.constant(np.float32(1.5)))
    rows = op.hard_sigmoid(rows, np.float32(0.3), np.float32(0.5))
    return toys.linear(op.multiply(rows, op.sigmoid(rows)), 5, seed=4)


def centred(x):
    scores = toys.linear(toys.mean(x), 5)
    return op.subtract(scores, op.reduce_mean(scores, np.array([1]), True))


def side_by_side(x):
    return op.matmul(op.concat([toys.mean(x), op.relu(toys.mean(x))], 1), toys.numbers(12, 5), False, False)


def normalised_rows(x):
    return op.matmul(op.normalize_l2(toys.mean(x), np.array([1]), 1e-6, "max"), toys.numbers(6, 5), False, False)


HEADS = {  # name: (head, whether it is convolved)
    "linear": (lambda x: toys.linear(toys.mean(x), 5), True),
    "weights [I, O]": (lambda x: op.matmul(toys.mean(x), toys.numbers(6, 5), False, False), True),
    "hidden layer": (hidden, True),
    "side by side": (side_by_side, True),
    "PReLU": (lambda x: toys.linear(op.prelu(toys.linear(toys.mean(x), 8), toys.numbers(8)), 5, seed=4), True),
    "quantised": (quantised_linear, True),
    "compressed weights": (compressed_linear, False),
    "normalised rows": (normalised_rows, False),
    "centred scores": (centred, False),
    "flatten": (lambda x: toys.linear(toys.flat(x), 5), True),  # what each position adds to the scores is a map itself
    "flatten, then normalised": (lambda x: op.normalize_l2(toys.linear(toys.flat(x), 5), np.array([1]), 1e-6, "max"), False),
}  # fmt: skip


LINEAR = ("linear", "weights [I, O]", "flatten")


@pytest.fixture
def convolved(monkeypatch):
    """Whether the last insertion left its rows on the map."""
    seen = []
    inner = class_rows.over_the_map

    def spied(*words):
        seen.append(False)
        found = inner(*words)
        seen[-1] = True
        return found

    monkeypatch.setattr(class_rows, "over_the_map", spied)
    return seen


@pytest.mark.parametrize("batch", [1, 2, -1])
@pytest.mark.parametrize("name", HEADS)
def test_same_maps_where_it_applies_and_where_not(name, batch, convolved):
    head, expected = HEADS[name]
    image = toys.picture(batch)
    features = toys.trunk(image)
    features.set_friendly_name("features")
    model = toys.finished(head(features), image)
    feed = FEED[: 1 if batch == 1 else 2]
    classes = model.outputs[0].get_partial_shape()[1].get_length()  # named: an end of unit length may be an embedding
    explained = ovxai.insert(model, num_classes=classes, scale=False, probe=False)
    # What a nonlinearity starts from is a row whose extent a dynamic batch leaves open.
    assert convolved == [expected and (batch != -1 or name in LINEAR)]
    truth = definition(Case(model, (feed,), taps=("features",)))
    found = np.array(ov.Core().compile_model(explained, "CPU", PRECISE)(feed)["saliency_map"]).reshape(truth.shape)
    assert truth.std(2).max() > 1e-4
    np.testing.assert_allclose(found, truth, atol=1e-3 * truth.std(2).mean() + 2e-6 * np.abs(truth).max(), rtol=0)
