"""Axes on the move: Reshape, Transpose, Squeeze, Unsqueeze, Broadcast, Concat, Pad, Tile."""

import numpy as np
import pytest
from openvino import opset13 as op

from helpers.heads import conv1x1, linear, mean, pooled
from helpers.oracle import case, exact, numbers, refused

MASKS = ("point", "gaussian")


def tokens(x, count=12, channels=5):
    """[N, C, h, w] -> [N, h*w, C]."""
    return op.transpose(op.reshape(x, np.array([0, channels, count]), True), [0, 2, 1])


APPLIES = {
    "h, w merged": lambda x: pooled(op.relu(op.reshape(x, np.array([0, 0, -1]), True)), [2]),
    "merged, with -1 for the batch": lambda x: pooled(op.relu(op.reshape(x, np.array([-1, 5, 12]), False)), [2]),
    "to tokens": lambda x: pooled(op.relu(linear(tokens(x), 6)), [1]),
    "to tokens and back": lambda x: pooled(op.relu(op.reshape(op.transpose(tokens(x), [0, 2, 1]), np.array([0, 5, 3, 4]), True))),
    "nhwc": lambda x: pooled(op.relu(linear(op.transpose(x, [0, 2, 3, 1]), 6)), [1, 2]),
    "nhwc and back": lambda x: pooled(conv1x1(op.transpose(linear(op.transpose(x, [0, 2, 3, 1]), 5), [0, 3, 1, 2]))),
    "h and w swapped": lambda x: pooled(op.relu(op.add(op.transpose(x, [0, 1, 3, 2]), numbers(1, 1, 4, 3)))),
    "an axis of one": lambda x: pooled(
        op.relu(op.squeeze(op.add(op.unsqueeze(x, np.array([1])), numbers(5, 1, 1)), np.array([1])))
    ),
    "an axis at the end": lambda x: pooled(op.squeeze(op.unsqueeze(op.relu(x), np.array([-1])), np.array([4]))),
    "channels taken apart": lambda x: pooled(op.relu(op.reshape(x, np.array([0, 1, 5, 3, 4]), True)), [3, 4]),
    "broadcast": lambda x: pooled(op.broadcast(op.relu(x), np.array([2, 5, 3, 4]), broadcast_spec="BIDIRECTIONAL")),
    "channels side by side": lambda x: pooled(op.concat([op.relu(x), op.negative(x)], 1)),
    "channels beside constants": lambda x: pooled(op.relu(op.concat([x, op.constant(numbers(2, 2, 3, 4))], 1))),
    "constants first": lambda x: pooled(op.relu(op.concat([op.constant(numbers(2, 2, 3, 4)), x], 1))),
    "channels sliced": lambda x: pooled(op.slice(op.relu(x), np.array([1]), np.array([4]), np.array([1]), np.array([1]))),
    "channels split": lambda x: pooled(
        op.multiply(*op.split(op.tanh(op.concat([x, op.add(x, np.float32(0.4))], 1)), np.int64(1), 2).outputs())
    ),
    "channels gathered": lambda x: pooled(op.gather(op.relu(x), np.array([3, 0, 3]), np.int64(1))),
    "channels padded": lambda x: pooled(op.pad(op.relu(x), [0, 1, 0, 0], [0, 2, 0, 0], "constant", np.float32(0.3))),
    "channels tiled": lambda x: pooled(op.tile(op.relu(x), np.array([1, 2, 1, 1]))),
    "channels strided": lambda x: pooled(op.slice(op.relu(x), np.array([0]), np.array([5]), np.array([2]), np.array([1]))),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", APPLIES)
def test_positions_are_carried(name, mask):
    exact(case(APPLIES[name], mask=mask, batch=2))


@pytest.mark.parametrize("name", ["to tokens and back", "h and w swapped", "nhwc and back", "channels taken apart"])
def test_with_a_position_table_on_the_way(name):
    """Level 0 differs by position from there on."""
    exact(case(lambda x: APPLIES[name](op.add(x, numbers(1, 5, 3, 4))), mask="gaussian", batch=2))


@pytest.mark.parametrize("name", ["to tokens", "nhwc and back", "h, w merged", "channels beside constants"])
def test_batch_of_one(name):
    if name == "channels beside constants":
        exact(case(lambda x: pooled(op.relu(op.concat([x, op.constant(numbers(1, 2, 3, 4))], 1)))))
    else:
        exact(case(APPLIES[name]))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", ["to tokens", "nhwc and back", "h, w merged", "channels split", "channels taken apart"])
def test_dynamic_batch(name, batch):
    exact(case(APPLIES[name], batch=batch, dynamic=(0,)))


REFUSES = {
    "windows": (lambda x: pooled(op.reshape(op.relu(x), np.array([0, 5, 3, 2, 2]), True), [2, 3, 4]), "Reshape", "apart"),
    "h taken apart": (lambda x: pooled(op.relu(op.reshape(x, np.array([0, 5, 4, 3]), True))), "Reshape", "apart"),
    "flipped": (
        lambda x: linear(
            op.reshape(op.slice(x, np.array([3]), np.array([-5]), np.array([-1]), np.array([3])), np.array([0, -1]), True)
        ),
        "Slice",
        "mixes",
    ),
    "cropped": (
        lambda x: pooled(op.slice(op.relu(x), np.array([1]), np.array([3]), np.array([1]), np.array([3]))),
        "Slice",
        "mixes",
    ),
    "resized": (
        lambda x: pooled(op.interpolate(x, np.array([6, 8]), "nearest", "sizes", axes=np.array([2, 3]))),
        "Interpolate",
        "mixes",
    ),
    "padded around": (
        lambda x: pooled(op.relu(op.pad(x, [0, 0, 1, 1], [0, 0, 1, 1], "constant", np.float32(0.5)))),
        "Pad",
        "mixes",
    ),
    "merged with channels, then a nonlinearity per place": (
        lambda x: linear(op.add(op.relu(op.add(op.reshape(x, np.array([0, -1]), True), numbers(60))), numbers(60, seed=4))),
        "Add",
        "position and channel",
    ),
    "merged and taken apart": (
        lambda x: pooled(op.reshape(op.reshape(x, np.array([0, 60]), True), np.array([0, 5, 3, 4]), True)),
        "Reshape",
        "taken apart",
    ),
    "unknown": (lambda x: pooled(op.cum_sum(x, np.int64(3))), "CumSum", "mixes"),
    "positions gated along two axes": (
        lambda x: pooled(
            op.add(
                op.transpose(op.slice(x, np.array([0]), np.array([5]), np.array([1]), np.array([1])), [0, 1, 3, 2]),
                op.reshape(x, np.array([0, 5, 4, 3]), True),
            )
        ),
        "Reshape",
        "apart",
    ),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", REFUSES)
def test_positions_are_mixed(name, mask):
    head, kind, word = REFUSES[name]
    refused(case(head, mask=mask, batch=2), kind, word)


def test_square_grid_transposed_meets_itself():
    """x + x^T on a square grid: the shapes agree, the positions do not."""
    refused(case(lambda x: pooled(op.relu(op.add(x, op.transpose(x, [0, 1, 3, 2])))), grid=(3, 3)), "Add", "different axes")


def test_pool_then_shapes():
    """Behind the pool everything carries the masks in front: plain axes count from the back or the front."""

    def head(x):
        x = mean(op.relu(x), keep=True)  # [N, 5, 1, 1]
        x = op.squeeze(op.transpose(x, [0, 2, 3, 1]), np.array([1, 2]))
        x = op.unsqueeze(x, np.array([-1]))
        x = op.concat([x, op.negative(x)], -1)  # [N, 5, 2]
        x = op.multiply(x, numbers(2))
        x = op.softmax(x, -2)
        x = op.concat([op.gather(x, np.int64(i), np.int64(-1)) for i in (1, 0)], -1)
        x = op.slice(x, np.array([0]), np.array([-1]), np.array([2]), np.array([-1]))
        return linear(op.reshape(x, np.array([0, -1]), True))

    exact(case(head, batch=2))


def test_pool_then_selections_and_splits():
    def head(x):
        x = mean(op.relu(op.concat([x, op.negative(x)], 1)))  # [N, 10]
        first, second = op.split(x, np.int64(-1), 2).outputs()
        a, b = op.variadic_split(first, np.int64(1), np.array([2, -1])).outputs()
        c = op.strided_slice(second, np.array([0, 1]), np.array([0, 4]), np.array([1, 1]), [1, 0], [1, 0])
        d = op.strided_slice(second, np.array([0, 2]), np.array([0, 3]), np.array([1, 1]), [1, 0], [1, 0], [], [0, 1], [])
        joined = op.concat([b, a, c, op.unsqueeze(d, np.array([1]))], 1)
        joined = op.pad(joined, [0, 1], [0, 1], "constant", np.float32(1))
        return linear(op.tile(joined, np.array([1, 2])))

    exact(case(head, batch=2))
