"""Operations that work position by position: per level, whatever they are."""

from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.heads import CLASSES, linear, mean, pooled
from helpers.oracle import case, compare, exact, numbers, refused

MASKS = ("point", "gaussian")
#: Zero is a level of its own, as NNCF lays it; halfway between two it would round as each kernel likes.
LOW = np.float32(128 / 127)

UNARY = {
    "relu": op.relu,
    "sigmoid": op.sigmoid,
    "tanh": op.tanh,
    "gelu": lambda x: op.gelu(x, "erf"),
    "gelu tanh": lambda x: op.gelu(x, "tanh"),
    "hswish": op.hswish,
    "swish": op.swish,
    "elu": lambda x: op.elu(x, 0.7),
    "clamp": lambda x: op.clamp(x, -0.5, 0.8),
    "exp": op.exp,
    "abs": op.abs,
    "negative": op.negative,
    "softplus": op.softplus,
    "erf": op.erf,
    "sqrt of abs": lambda x: op.sqrt(op.abs(x)),
    "prelu one slope": lambda x: op.prelu(x, np.array([0.2], np.float32)),
    "prelu a channel": lambda x: op.prelu(x, numbers(5, size=0.5)),
    "hsigmoid": op.hsigmoid,
    "mish": op.mish,
    "logical": lambda x: op.convert(op.greater(x, np.float32(0.1)), "f32"),
    "to f16 and back": lambda x: op.convert(
        op.convert(op.multiply(op.round(op.multiply(x, np.float32(4)), "half_to_even"), np.float32(0.25)), "f16"), "f32"
    ),
}


@pytest.mark.parametrize("name", UNARY)
def test_unary_under_point(name):
    exact(case(lambda x: pooled(UNARY[name](x))))


@pytest.mark.parametrize("name", ["relu", "gelu", "prelu a channel", "negative", "clamp"])
def test_unary_under_gaussian(name):
    exact(case(lambda x: pooled(UNARY[name](x)), mask="gaussian", batch=2))


BINARY = {
    "add a channel": lambda x: op.add(x, numbers(1, 5, 1, 1)),
    "add, constant first": lambda x: op.add(numbers(5, 1, 1), x),
    "constant minus": lambda x: op.subtract(numbers(1, 5, 1, 1), x),
    "constant over": lambda x: op.divide(np.float32(2), op.add(op.abs(x), np.float32(1))),
    "over constant": lambda x: op.divide(x, numbers(1, 5, 1, 1) + np.float32(3)),
    "maximum": lambda x: op.maximum(x, np.float32(0.1)),
    "minimum, constant first": lambda x: op.minimum(np.float32(0.3), x),
    "power": lambda x: op.power(op.abs(x), np.float32(1.5)),
    "squared difference": lambda x: op.squared_difference(x, np.float32(0.4)),
    "select": lambda x: op.select(op.greater(x, np.float32(0)), x, np.float32(0.2)),
    "itself": lambda x: op.multiply(x, x),
    "swish by hand": lambda x: op.multiply(op.sigmoid(x), x),
    "a term of the position": lambda x: op.add(x, numbers(1, 5, 3, 4)),
    "a factor of the position": lambda x: op.relu(op.multiply(numbers(1, 1, 3, 4), x)),
    "a row's term": lambda x: op.relu(op.add(x, numbers(1, 1, 3, 1))),
    "a term of lower rank": lambda x: op.relu(op.add(numbers(4), x)),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, mask):
    exact(case(lambda x: pooled(BINARY[name](x)), mask=mask, batch=2))


@pytest.mark.parametrize("gate_first", [True, False])
def test_squeeze_and_excite_after_the_gate_is_mapped_and_laid_out(gate_first):
    """The gate of an SE block is a pool: positions meet, and what it multiplies is still gated."""

    def head(x):
        gate = op.sigmoid(op.matmul(mean(x), numbers(5, 5), False, False))
        gate = op.reshape(gate, np.array([-1, 5, 1, 1]), False)
        return pooled(op.multiply(gate, x) if gate_first else op.multiply(x, gate))

    refused(case(head, batch=2), "Multiply", "gated", "mapped")


@pytest.mark.parametrize("gate_first", [True, False])
def test_a_gate_of_the_plain_picture_is_shared(gate_first):
    """What no mask reaches, per picture: Multiply(gate, feature) as well as Multiply(feature, gate)."""
    entry = op.parameter([2, 5, 3, 4], np.float32)
    gate = op.sigmoid(op.reduce_mean(entry, [2, 3], True))
    x = op.multiply(entry, np.float32(1.5))
    x.set_friendly_name("features")
    product = op.multiply(gate, x) if gate_first else op.multiply(x, gate)
    one = case(pooled, batch=2)
    model = ov.Model([op.result(pooled(product))], [entry], "gate")
    exact(replace(one, model=model, tapped=None))


# --- quantised graphs -----------------------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("per_channel", [False, True])
def test_fake_quantize(per_channel, mask):
    top = np.abs(numbers(1, 5, 1, 1)) + np.float32(1) if per_channel else np.float32(1.5)

    def head(x):
        return pooled(op.fake_quantize(x, -top * LOW, top, -top * LOW, top, 256))

    exact(case(head, mask=mask))


def test_fake_quantize_that_moves_zero():
    """Level 0 is not zero behind it."""

    def head(x):
        ends = [np.array(v, np.float32) for v in (-0.37, 1.21, -0.1, 2.3)]
        return pooled(op.fake_quantize(x, *ends, 16))

    exact(case(head))


def compressed(kind: str, outs: int, ins: int) -> ov.Node:
    """Convert - Subtract - Multiply over a stored table."""
    random = np.random.default_rng(3)
    if kind == "f16":
        return op.convert(op.constant(numbers(outs, ins).astype(np.float16)), "f32")
    low, high = (0, 255) if kind == "u8" else (-127, 127)
    table = random.integers(low, high, (outs, ins)).astype(kind)
    point = random.integers(100, 140, (outs, 1)).astype(kind) if kind == "u8" else np.full((outs, 1), 3, kind)
    real = op.convert(op.constant(table), "f32")
    centred = op.subtract(real, op.convert(op.constant(point), "f32"))
    return op.multiply(centred, np.abs(numbers(outs, 1, size=0.01)) + np.float32(0.004))


@pytest.mark.parametrize("kind", ["u8", "int8", "f16"])
def test_compressed_weights(kind):
    exact(case(lambda x: op.matmul(mean(op.relu(x)), compressed(kind, CLASSES, 5), False, True)))


@pytest.mark.parametrize("kind", ["u8", "int8"])
def test_compressed_weights_before_the_pool(kind):
    def head(x):
        weight = op.reshape(compressed(kind, 6, 5), np.array([6, 5, 1, 1]), False)
        return pooled(op.relu(op.convolution(x, weight, [1, 1], [0, 0], [0, 0], [1, 1])))

    exact(case(head, mask="gaussian"))


def test_quantised_head_all_through():
    """FakeQuantize on activations and weights, before and behind the pool. Of 15 positions: the mean of a step is no tie."""

    def quantised(x, top=2.0):
        return op.fake_quantize(x, np.float32(-top * LOW), np.float32(top), np.float32(-top * LOW), np.float32(top), 256)

    def head(x):
        pool = quantised(op.reduce_mean(quantised(op.relu(x)), [2, 3], True))
        weight = quantised(op.constant(numbers(CLASSES, 5, 1, 1)))
        return op.convolution(pool, weight, [1, 1], [0, 0], [0, 0], [1, 1])

    found = compare(case(head, grid=(3, 5)))
    assert found.dense == ()


# --- batch normalisation and friends --------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS)
def test_batch_norm(mask):
    def head(x):
        table = [np.abs(numbers(5, seed=i)) + np.float32(0.5) for i in range(4)]
        return pooled(op.relu(op.batch_norm_inference(x, *table, 1e-5)))

    exact(case(head, mask=mask, batch=2))


def test_batch_norm_behind_the_pool():
    """OTX's multi-label head: BatchNorm, PReLU, angular linear on rows."""

    def head(x):
        table = [np.abs(numbers(5, seed=i)) + np.float32(0.5) for i in range(4)]
        x = op.prelu(op.batch_norm_inference(mean(x), *table, 1e-5), np.array([0.1], np.float32))
        x = op.normalize_l2(x, np.array([1]), 1e-6, "max")
        return op.matmul(x, numbers(5, CLASSES), False, False)

    exact(case(head, batch=2))


@pytest.mark.parametrize("slope", [np.array([0.1], np.float32), numbers(5, size=0.4)])
def test_prelu_on_mapped_rows(slope):
    exact(case(lambda x: linear(op.prelu(mean(x), slope)), batch=2))


def test_prelu_on_mapped_maps():
    exact(case(lambda x: pooled(op.prelu(op.reduce_mean(x, [2, 3], True), numbers(5, size=0.4))), batch=2))


def test_group_norm_mixes_positions():
    def head(x):
        return pooled(op.group_normalization(x, np.ones(6, np.float32), numbers(6), 3, 1e-5))

    refused(case(head, channels=6, batch=2), "GroupNormalization", "mixes positions")
