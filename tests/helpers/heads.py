"""Pieces of heads, pools, norms, attention and whole blocks, written as exporters write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openvino as ov
from openvino import opset13 as op

from helpers.values import numbers

CLASSES = 4


def shape(x: ov.Node | ov.Output) -> ov.PartialShape:
    return (x if isinstance(x, ov.Output) else x.output(0)).get_partial_shape()


def width(x: ov.Node | ov.Output) -> int:
    """Extent of the last axis."""
    return shape(x)[len(shape(x)) - 1].get_length()


def linear(x: ov.Node, outs: int = CLASSES, seed: int = 1, transposed: bool = True) -> ov.Node:
    """x @ W + b over the last axis."""
    ins = width(x)
    weight = numbers(outs, ins, seed=seed) / np.float32(np.sqrt(ins))
    product = op.matmul(x, weight if transposed else np.ascontiguousarray(weight.T), False, transposed)
    return op.add(product, numbers(outs, seed=seed + 50, size=0.3))


def mean(x: ov.Node, axes: Sequence[int] = (2, 3), keep: bool = False) -> ov.Node:
    return op.reduce_mean(x, np.array(axes, np.int64), keep)


def pooled(x: ov.Node, axes: Sequence[int] = (2, 3)) -> ov.Node:
    """mean -> FC."""
    return linear(mean(x, axes))


def conv1x1(x: ov.Node, outs: int = 6, seed: int = 2) -> ov.Node:
    ins = shape(x)[1].get_length()
    weight = numbers(outs, ins, 1, 1, seed=seed) / np.float32(np.sqrt(ins))
    return op.add(op.convolution(x, weight, [1, 1], [0, 0], [0, 0], [1, 1]), numbers(1, outs, 1, 1, seed=seed, size=0.3))


def layer_norm(x: ov.Node, axis: int = -1, seed: int = 3) -> ov.Node:
    """MVN, scale, shift."""
    channels = width(x) if axis == -1 else shape(x)[axis].get_length()
    table = [1] * len(shape(x))
    table[axis] = channels
    normed = op.mvn(x, np.array([axis], np.int64), True, 1e-3, "inside_sqrt")
    return op.add(op.multiply(normed, numbers(*table, seed=seed) + np.float32(1)), numbers(*table, seed=seed + 1, size=0.2))


def decomposed_norm(x: ov.Node, axis: int = -1) -> ov.Node:
    axes = np.array([axis], np.int64)
    centred = op.subtract(x, op.reduce_mean(x, axes, True))
    variance = op.reduce_mean(op.power(centred, np.float32(2)), axes, True)
    return op.divide(centred, op.sqrt(op.add(variance, np.float32(1e-3))))


def mlp(x: ov.Node, hidden: int = 7, outs: int = CLASSES) -> ov.Node:
    return linear(op.hswish(linear(x, hidden, seed=5)), outs, seed=6)


def token(x: ov.Node, index: int = 0) -> ov.Node:
    """x[:, index], as torch exports it."""
    return op.gather(x, np.int64(index), np.int64(1))


def heads_apart(x: ov.Node, heads: int, count: int = -1) -> ov.Node:
    """[N, T, C] -> [N, H, T, d]."""
    parts = op.reshape(x, np.array([0, count, heads, width(x) // heads], np.int64), True)
    return op.transpose(parts, [0, 2, 1, 3])


def heads_joined(x: ov.Node, channels: int, count: int = -1) -> ov.Node:
    return op.reshape(op.transpose(x, [0, 2, 1, 3]), np.array([0, count, channels], np.int64), True)


def decomposed_attention(q: ov.Node, k: ov.Node, v: ov.Node, bias: np.ndarray | None = None, size: float = 0.7) -> ov.Node:
    scores = op.multiply(op.matmul(q, k, False, True), np.float32(size))
    if bias is not None:
        scores = op.add(scores, bias)
    return op.matmul(op.softmax(scores, -1), v, False, False)


def qkv(x: ov.Node, heads: int = 2, form: str = "apart", seed: int = 20) -> list[ov.Node]:
    """Queries, keys and values [N, H, T, d] of one fused projection, or of three."""
    channels = width(x)
    if form == "apart":
        return [heads_apart(linear(x, channels, seed=seed + i), heads) for i in range(3)]
    joint = linear(x, 3 * channels, seed=seed)
    if form == "split":
        return [heads_apart(part, heads) for part in op.split(joint, np.int64(2), 3).outputs()]
    if form == "variadic":
        lengths = np.array([channels] * 3, np.int64)
        return [heads_apart(part, heads) for part in op.variadic_split(joint, np.int64(-1), lengths).outputs()]
    # timm: [N, T, 3, H, d] -> [3, N, H, T, d] -> x[i]
    apart = op.reshape(joint, np.array([0, -1, 3, heads, channels // heads], np.int64), True)
    front = op.transpose(apart, [2, 0, 3, 1, 4])
    if form == "gather":
        return [op.gather(front, np.int64(i), np.int64(0)) for i in range(3)]
    if form == "slice":
        return [
            op.squeeze(op.slice(front, np.array([i]), np.array([i + 1]), np.array([1]), np.array([0])), np.array([0]))
            for i in range(3)
        ]
    raise ValueError(form)


def block(
    normalised: ov.Node,
    residual: ov.Node,
    form: str = "apart",
    attention=decomposed_attention,
    heads: int = 2,
    mlp_too: bool = True,
) -> ov.Node:
    """A transformer block whose first norm is behind `normalised`."""
    channels = width(normalised)
    q, k, v = qkv(normalised, heads, form)
    out = linear(heads_joined(attention(q, k, v), channels), channels, seed=30)
    x = op.add(residual, out)
    if not mlp_too:
        return x
    return op.add(x, linear(op.gelu(linear(layer_norm(x), 7, seed=31), "erf"), channels, seed=32))
