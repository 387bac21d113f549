"""Quantised graphs are ordinary graphs: FakeQuantize and compressed weights, made by hand, explained and verified."""

from __future__ import annotations

from functools import partial

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.values import numbers
from ovxai.graph.emit import settled
from ovxai.insertion import insert, insert_with_report
from ovxai.metadata import SALIENCY_MAP
from ovxai.verification import verify

CLASSES = 4


def quantised(tensor, low: float = 0.0, high: float = 4.0, levels: int = 256):
    """FakeQuantize, one range for the whole tensor."""
    ends = [op.constant(np.float32(value)) for value in (low, high, low, high)]
    return op.fake_quantize(tensor, *ends, levels)


def quantised_weights(weights: np.ndarray):
    """FakeQuantize on a stored table, a range an output channel."""
    top = np.abs(weights).reshape(len(weights), -1).max(1).reshape(-1, *[1] * (weights.ndim - 1))
    ends = [op.constant(value.astype(np.float32)) for value in (-top, top, -top, top)]
    return op.fake_quantize(op.constant(weights), *ends, 255)


def compressed_weights(weights: np.ndarray, kind: str):
    """Whole numbers, Convert, Subtract for the unsigned ones, Multiply, as NNCF stores them."""
    rows = weights.reshape(len(weights), -1)
    bits = 4 if kind.endswith("4") else 8
    column = (-1, *[1] * (weights.ndim - 1))
    if kind.startswith("u"):
        scale = np.ptp(rows, axis=1) / (2**bits - 1)
        zero = np.clip(np.round(-rows.min(1) / scale), 0, 2**bits - 1).reshape(column)
        table = np.clip(np.round(weights / scale.reshape(column)) + zero, 0, 2**bits - 1)
        centred = op.subtract(_whole(table, kind), _whole(zero, kind))
    else:
        scale = np.abs(rows).max(1) / (2 ** (bits - 1) - 1)
        centred = _whole(np.round(weights / scale.reshape(column)), kind)
    return op.multiply(centred, op.constant(scale.reshape(column).astype(np.float32)))


def _whole(table: np.ndarray, kind: str):
    constant = op.constant(table.astype(np.int8 if kind.startswith("i") else np.uint8), dtype=ov.Type(np.int8))
    if kind in ("u8", "i8", "u4", "i4"):
        types = {"u8": ov.Type.u8, "i8": ov.Type.i8, "u4": ov.Type.u4, "i4": ov.Type.i4}
        constant = op.constant(table.astype(np.int32), dtype=types[kind])
    return op.convert(constant, "f32")


WEIGHTS = {
    "per channel": quantised_weights,
    **{kind: partial(compressed_weights, kind=kind) for kind in ("u8", "i8", "u4", "i4")},
}


def convolution(tensor, weights, step: int = 1):
    return op.convolution(tensor, weights, [step, step], [1, 1], [1, 1], [1, 1])


def cnn(make) -> ov.Model:
    """Pool, then a quantised 1x1 convolution, HSwish and a quantised classifier, as in MobileNetV3."""
    image = op.parameter([1, 3, 12, 16], np.float32, name="image")
    x = quantised(op.relu(convolution(image, make(numbers(8, 3, 3, 3, size=0.4)), 2)))
    x = op.reduce_mean(x, [2, 3], True)
    x = op.convolution(quantised(x, high=1.7), make(numbers(10, 8, 1, 1, seed=1)), [1, 1], [0, 0], [0, 0], [1, 1])
    x = quantised(op.hswish(op.add(x, numbers(1, 10, 1, 1, seed=2))), -0.37, 1.9)
    x = op.matmul(op.reshape(x, [1, 10], False), make(numbers(CLASSES, 10, seed=3)), False, True)
    return named(op.add(x, numbers(1, CLASSES, seed=4)), image)


def norm(x, width: int, seed: int):
    x = op.mvn(x, [2], True, 1e-6, "INSIDE_SQRT")
    return op.add(op.multiply(x, 1 + 0.3 * numbers(1, 1, width, seed=seed)), 0.3 * numbers(1, 1, width, seed=seed + 1))


def dense(x, make, outs: int, ins: int, seed: int):
    return op.add(
        op.matmul(x, make(numbers(outs, ins, seed=seed, size=ins**-0.5)), False, True), 0.3 * numbers(1, 1, outs, seed=seed + 1)
    )


def vit(make, activations=lambda x, *_: x) -> ov.Model:
    """Two pre-norm blocks with a class token; every product with weights is quantised."""
    width, heads, grid = 10, 2, (3, 4)  # narrower than the grid has positions: which axis holds them is plain
    image = op.parameter([1, 3, 12, 16], np.float32, name="image")
    x = op.convolution(image, numbers(width, 3, 4, 4, size=0.3), [4, 4], [0, 0], [0, 0], [1, 1])
    x = op.transpose(op.reshape(x, [1, width, grid[0] * grid[1]], False), [0, 2, 1])
    x = op.concat([op.constant(numbers(1, 1, width)), x], 1)
    x = op.add(x, 0.2 * numbers(1, 13, width, seed=5))
    for block in (10, 40):
        y = activations(norm(x, width, block), -4.0, 4.0)
        y = op.reshape(dense(y, make, 3 * width, width, block + 2), [1, 13, 3, heads, width // heads], False)
        q, k, v = (op.squeeze(part, [0]) for part in op.split(op.transpose(y, [2, 0, 3, 1, 4]), 0, 3).outputs())
        y = op.scaled_dot_product_attention(q, k, v)
        y = op.reshape(op.transpose(y, [0, 2, 1, 3]), [1, 13, width], False)
        x = op.add(x, dense(y, make, width, width, block + 6))
        y = activations(norm(x, width, block + 8), -4.0, 4.0)
        y = op.gelu(dense(y, make, 2 * width, width, block + 12), "ERF")
        x = op.add(x, dense(y, make, width, 2 * width, block + 14))
    x = op.gather(norm(x, width, 70), np.int64(0), np.int64(1))
    return named(op.matmul(x, make(numbers(CLASSES, width, seed=80)), False, True), image)


def named(logits, image) -> ov.Model:
    logits.output(0).get_tensor().set_names({"logits"})
    return ov.Model([op.result(logits)], [image], "quantised")


@pytest.mark.parametrize("make", WEIGHTS.values(), ids=WEIGHTS)
def test_cnn(make):
    done = insert_with_report(cnn(make))
    assert done.info.collapse == "exact"
    assert verify(done.model).ok


@pytest.mark.parametrize("make", WEIGHTS.values(), ids=WEIGHTS)
def test_transformer(make):
    done = insert_with_report(vit(make))
    assert (done.info.method, done.info.collapse) == ("vit-reciprocam", "exact")
    assert verify(done.model).ok


def test_transformer_with_quantised_activations():
    done = insert_with_report(vit(WEIGHTS["i8"], quantised))
    assert (done.info.method, done.info.collapse) == ("vit-reciprocam", "exact")
    assert verify(done.model).ok


def test_the_gate_stands_behind_the_quantiser():
    """What the head reads is the quantised feature map: that is gated, and handed out."""
    done = insert_with_report(cnn(WEIGHTS["i8"]))
    node = next(one for one in done.model.get_ordered_ops() if one.get_friendly_name() == done.info.feature_layer)
    assert node.get_type_name() == "FakeQuantize"


def test_it_runs_with_int8_kernels_too():
    """The device's own low precision kernels take the explained graph, whatever they make of rounding."""
    model = insert(cnn(WEIGHTS["i8"]), probe=False)
    request = ov.Core().compile_model(model, "CPU")
    maps = request({0: numbers(1, 3, 12, 16)})[SALIENCY_MAP]
    assert maps.shape == (1, CLASSES, 6, 8) and maps.dtype == np.uint8


@pytest.mark.parametrize("kind", ["u8", "i8", "u4", "i4"])
def test_a_product_of_constants_is_worked_out(kind):
    """The CPU plugin can't compile a constant times compressed weights."""
    weights = compressed_weights(numbers(5, 6), kind)
    vector = numbers(1, 1, 6, seed=9)
    found = settled(op.matmul(op.constant(vector), weights, False, True))
    assert found.get_type_name() == "Constant"
    whole = ov.Model([op.result(weights)], [], "weights")
    stored = ov.Core().compile_model(whole, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({})[0]
    assert np.allclose(found.get_data(), vector @ stored.T, atol=1e-5)


def test_zeros_times_anything_are_zeros():
    zeros, weights = op.constant(np.zeros((1, 3, 1, 1), np.float32)), op.constant(numbers(5, 3, 1, 1))
    found = settled(op.convolution(zeros, weights, [1, 1], [0, 0], [0, 0], [1, 1]))
    assert found.get_type_name() == "Constant" and tuple(found.get_output_shape(0)) == (1, 5, 1, 1)
    assert not found.get_data().any()


def test_a_product_that_the_picture_reaches_stays():
    tensor = op.parameter([1, 1, 6], np.float32)
    assert settled(op.matmul(tensor, compressed_weights(numbers(5, 6), "i8"), False, True)).get_type_name() == "MatMul"
