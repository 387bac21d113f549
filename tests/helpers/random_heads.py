"""Heads put together from a table of pieces: steps position by position, one where positions meet, and what comes after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from openvino import opset13 as op

from helpers.heads import decomposed_attention, heads_apart, heads_joined, layer_norm, linear, shape, width
from helpers.oracle import Case, Outcome, case, outcome
from helpers.values import numbers

GRID = (2, 3)
POSITIONS = 6


@dataclass(frozen=True)
class Place:
    """Where a tensor's axes are: axes of the grid, axis of the channels."""

    axes: tuple[int, ...]
    channel: int

    @property
    def rank(self) -> int:
        return 2 + len(self.axes)


LAYOUTS = {"NCHW": Place((2, 3), 1), "NHWC": Place((1, 2), 3), "NPC": Place((1,), 2), "NCP": Place((2,), 1)}


def along(place: Place, axis: int, count: int, seed: int) -> np.ndarray:
    table = [1] * place.rank
    table[axis] = count
    return numbers(*table, seed=seed)


def channels_of(x, place):
    return shape(x)[place.channel].get_length()


def moved(x, place, layout):
    """Transposed into another layout of the same rank, or with h and w merged."""
    target = LAYOUTS[layout]
    if target.rank == place.rank:
        if place.channel == target.channel:
            return x, place
        order = {(1, 4): [0, 2, 3, 1], (3, 4): [0, 3, 1, 2]}.get((place.channel, place.rank), [0, 2, 1])
        return op.transpose(x, order), target
    if place.rank == 4:
        dims = [0, 0, -1] if place.channel == 1 else [0, POSITIONS, channels_of(x, place)]
        merged = op.reshape(x, np.array(dims), True)
        return moved(merged, LAYOUTS["NCP" if place.channel == 1 else "NPC"], layout)
    dims = [0, channels_of(x, place), *GRID] if place.channel == 1 else [0, *GRID, channels_of(x, place)]
    apart = op.reshape(x, np.array(dims), True)
    return moved(apart, LAYOUTS["NCHW" if place.channel == 1 else "NHWC"], layout)


def dense_layer(x, place, seed, outs=5):
    if place.channel == place.rank - 1:
        return linear(x, outs, seed=seed)
    if place.rank == 4:
        weight = numbers(outs, channels_of(x, place), 1, 1, seed=seed, size=0.5)
        return op.convolution(x, weight, [1, 1], [0, 0], [0, 0], [1, 1])
    return op.matmul(op.constant(numbers(outs, channels_of(x, place), seed=seed, size=0.5)), x, False, False)


#: (x, place, seed) -> x: position by position.
WISE = {
    "relu": lambda x, p, s: op.relu(x),
    "gelu": lambda x, p, s: op.gelu(x, "erf"),
    "tanh": lambda x, p, s: op.tanh(x),
    "clamp": lambda x, p, s: op.clamp(x, -0.7, 0.9),
    "bias": lambda x, p, s: op.add(x, along(p, p.channel, channels_of(x, p), s)),
    "scale first": lambda x, p, s: op.multiply(along(p, p.channel, channels_of(x, p), s), x),
    "one minus": lambda x, p, s: op.subtract(np.float32(1), x),
    "table": lambda x, p, s: op.add(x, numbers(*[d.get_length() if i else 1 for i, d in enumerate(shape(x))], seed=s)),
    "row": lambda x, p, s: op.multiply(x, along(p, p.axes[0], shape(x)[p.axes[0]].get_length(), s)),
    "norm": lambda x, p, s: layer_norm(x, p.channel, s),
    "softmax": lambda x, p, s: op.multiply(op.softmax(x, p.channel), np.float32(3)),
    "layer": lambda x, p, s: dense_layer(x, p, s),
    "skip": lambda x, p, s: op.add(x, op.sigmoid(dense_layer(x, p, s, channels_of(x, p)))),
    "gated": lambda x, p, s: op.multiply(op.sigmoid(x), x),
    "mean of channels": lambda x, p, s: op.subtract(x, op.reduce_mean(x, np.array([p.channel]), True)),
    "maximum of channels": lambda x, p, s: op.add(x, op.reduce_max(x, np.array([p.channel - p.rank]), True)),
    "channels joined": lambda x, p, s: op.concat([op.relu(x), x], p.channel),
    "channels cut": lambda x, p, s: op.slice(x, np.array([0]), np.array([4]), np.array([1]), np.array([p.channel])),
    "channels picked": lambda x, p, s: op.gather(x, np.array([1, 0, 2, 1]), np.int64(p.channel)),
    "quantised": lambda x, p, s: op.fake_quantize(x, *[np.float32(v) for v in (-2.03, 1.97, -2.03, 1.97)], 256),
    "squeeze and excite": lambda x, p, s: op.multiply(op.sigmoid(op.reduce_mean(x, np.array(p.axes), True)), x),
    "shift": lambda x, p, s: op.roll(x, np.array([1]), np.array([p.axes[-1]])),
}


def reduced(reduce, keep):
    def meet(x, p, s):
        y = reduce(x, np.array(p.axes), keep)
        return op.reshape(y, np.array([0, -1]), True)

    return meet


def attended(x, p, s, read):
    """Self-attention; the first token, or the mean, goes on."""
    x, p = moved(x, p, "NPC")
    x = linear(x, 4, seed=s)
    q, k, v = (heads_apart(linear(x, 4, seed=s + i), 2) for i in (1, 2, 3))
    y = op.add(x, heads_joined(decomposed_attention(q, k, v), 4))
    return op.gather(y, np.int64(0), np.int64(1)) if read == "first" else op.reduce_mean(y, np.array([1]), False)


def asked(x, p, s):
    """Attention pool with a learned query."""
    x, p = moved(x, p, "NPC")
    x = linear(x, 4, seed=s)
    q = heads_apart(op.constant(np.repeat(numbers(1, 1, 4, seed=s), shape(x)[0].get_length(), 0)), 2, 1)
    k, v = (heads_apart(linear(x, 4, seed=s + i), 2) for i in (1, 2))
    return op.reshape(heads_joined(decomposed_attention(q, k, v), 4, 1), np.array([0, -1]), True)


def with_class_token(x, p, s):
    x, p = moved(x, p, "NPC")
    count, channels = shape(x)[0].get_length(), width(x)
    joined = op.concat([op.constant(np.repeat(numbers(1, 1, channels, seed=s), count, 0)), x], 1)
    return attended(layer_norm(joined), LAYOUTS["NPC"], s, "first")


def gram(x, p, s):
    tokens, _ = moved(x, p, "NPC")
    return op.reshape(op.matmul(tokens, tokens, True, False), np.array([0, -1]), True)


#: (x, place, seed) -> [N, C]: positions meet.
MEET: dict[str, Callable[[ov.Node, Place, int], ov.Node]] = {
    "mean": reduced(op.reduce_mean, False),
    "sum": reduced(op.reduce_sum, True),
    "max": reduced(op.reduce_max, False),
    "min": reduced(op.reduce_min, True),
    "L2": reduced(op.reduce_l2, False),
    "mean and max": lambda x, p, s: op.concat([MEET["mean"](x, p, s), MEET["max"](x, p, s)], 1),
    "GeM": lambda x, p, s: op.sqrt(MEET["mean"](op.power(op.clamp(x, 0.01, 9.0), np.float32(2)), p, s)),
    "flatten": lambda x, p, s: linear(op.reshape(x, np.array([0, -1]), True), 5, seed=s),
    "flatten late": lambda x, p, s: linear(op.relu(op.reshape(x, np.array([0, -1]), True)), 5, seed=s),
    "rows, then columns": lambda x, p, s: op.reshape(
        op.reduce_max(op.reduce_mean(x, np.array([p.axes[0]]), True), np.array(p.axes), False), np.array([0, -1]), True
    ),
    "softmax pool": lambda x, p, s: MEET["sum"](op.multiply(op.softmax(x, p.axes[0]), x), p, s),
    "attention, first": lambda x, p, s: attended(x, p, s, "first"),
    "attention, mean": lambda x, p, s: attended(x, p, s, "mean"),
    "learned query": asked,
    "class token": with_class_token,
    "gram": gram,
}

#: (x, seed) -> x for [N, C].
AFTER = {
    "layer": lambda x, s: linear(x, 5, seed=s),
    "relu": lambda x, s: op.relu(x),
    "norm": lambda x, s: layer_norm(x, seed=s),
    "softmax": lambda x, s: op.softmax(x, -1),
    "prelu": lambda x, s: op.prelu(x, numbers(width(x), seed=s, size=0.3)),
    "as a map": lambda x, s: op.reshape(
        op.relu(dense_layer(op.unsqueeze(x, np.array([2, 3])), LAYOUTS["NCHW"], s)), np.array([0, -1]), True
    ),
    "two heads": lambda x, s: op.concat([linear(x, 2, seed=s), linear(op.tanh(x), 3, seed=s + 1)], 1),
    "halves": lambda x, s: op.add(*op.split(op.concat([x, op.relu(x)], 1), np.int64(1), 2).outputs()),
    "outer": lambda x, s: op.reshape(
        op.multiply(op.unsqueeze(x, np.array([1])), numbers(1, 2, 1, seed=s)), np.array([0, -1]), True
    ),
}


@dataclass(frozen=True)
class Recipe:
    """wise: names in `WISE`, or "to LAYOUT". meet: one of `MEET`. after: names in `AFTER`."""

    layout: str
    mask: str
    batch: int
    wise: Sequence[str]
    meet: str
    after: Sequence[str]

    def case(self) -> Case:
        return case(self._head, layout=self.layout, grid=GRID, mask=self.mask, batch=self.batch)

    def _head(self, x: ov.Node) -> ov.Node:
        place = LAYOUTS[self.layout]
        for seed, name in enumerate(self.wise):
            if name.startswith("to "):
                x, place = moved(x, place, name[3:])
            else:
                x = WISE[name](x, place, 100 + seed)
        x = MEET[self.meet](x, place, 200)
        for seed, name in enumerate(self.after):
            x = AFTER[name](x, 300 + seed)
        return linear(x, 3, seed=400)

    def outcome(self, chunk: int | None = None) -> Outcome:
        return outcome(self.case(), chunk)

    def allowed(self, found: Outcome) -> float:
        """By how much maps may be off."""
        # Heads that saturate leave maps with next to no spread: rounding is then measured against the values.
        rounding = found.tolerance + 2e-6 * float(np.abs(found.truth).max())
        # A value on the edge of two levels may round to either.
        jumps = 0.05 * float(np.ptp(found.truth)) if "quantised" in self.wise else 0.0
        return max(rounding, jumps)
