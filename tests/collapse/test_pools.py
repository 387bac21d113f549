"""Pools by windows that share no position: each mask still lights one window, and what follows knows how many there are."""

from collections.abc import Callable
from functools import partial

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.heads import conv1x1, linear, mean, pooled
from helpers.oracle import Case, case, collapsed, compare, exact, numbers, outcome, refused

SPATIAL = np.array([2, 3], np.int64)
KERNELS = {"2x2": (2, 2), "1x2": (1, 2), "2x1": (2, 1), "3x3": (3, 3)}


def max_pool(x, kernel, strides=None, pads=(0, 0), rounding="floor", dilations=(1, 1), auto_pad="explicit"):
    pads = list(pads)
    return op.max_pool(
        x, list(strides or kernel), list(dilations), pads, pads, list(kernel), rounding, auto_pad, "i64"
    ).output(0)  # fmt: skip


def avg_pool(x, kernel, strides=None, pads=(0, 0), rounding="floor", auto_pad="explicit"):
    return op.avg_pool(x, list(strides or kernel), list(pads), list(pads), list(kernel), True, rounding, auto_pad).output(0)


POOLS: dict[str, Callable[..., ov.Output]] = {"MaxPool": max_pool, "AvgPool": avg_pool}


def largest(x):
    return op.reduce_max(x, SPATIAL, False)


def norm(x):
    return op.mvn(x, np.array([1], np.int64), True, 1e-3, "inside_sqrt")


def channels_last(x):
    return op.transpose(x, np.array([0, 2, 3, 1]))


def quantised(x):
    low, high = numbers(1, 5, 1, 1, seed=4) - np.float32(2), numbers(1, 5, 1, 1, seed=5) + np.float32(2)
    return op.fake_quantize(x, low, high, low, high, 256)


BEHIND = {
    "mean": pooled,
    "global pool": lambda x: linear(op.reshape(op.adaptive_avg_pool(x, np.array([1, 1])), np.array([0, -1]), True)),
    "sum": lambda x: linear(op.reduce_sum(x, SPATIAL, False)),
    "maximum": lambda x: linear(largest(x)),
    "minimum": lambda x: linear(op.reduce_min(conv1x1(x), SPATIAL, False)),
    "relu": lambda x: pooled(op.relu(x)),
    "1x1 convolution": lambda x: pooled(op.relu(conv1x1(x))),
    "two of them": lambda x: pooled(conv1x1(op.sigmoid(conv1x1(op.relu(x))), 5, 6)),
    "bias and slope per channel": lambda x: pooled(op.prelu(op.add(x, numbers(1, 5, 1, 1)), numbers(5, seed=3))),
    "norm over channels": lambda x: pooled(norm(x)),
    "softmax over channels": lambda x: pooled(op.softmax(x, 1)),
    "product with a mean over channels": lambda x: pooled(op.multiply(op.reduce_mean(x, np.array([1]), True), op.relu(x))),
    "channels last": lambda x: linear(mean(op.gelu(linear(channels_last(x), 6), "erf"), (1, 2))),
    "quantiser": lambda x: pooled(quantised(x)),
    "condition": lambda x: pooled(op.select(op.greater(x, np.float32(0.2)), op.tanh(x), op.abs(x))),
}


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("kind", POOLS)
def test_what_follows_the_pool(kind, behind):
    exact(case(lambda x: BEHIND[behind](POOLS[kind](op.tanh(conv1x1(x, 5)), (2, 2))), grid=(4, 6), batch=2))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("kind", POOLS)
def test_windows_of_every_form(kind, kernel):
    found = exact(case(lambda x: pooled(conv1x1(op.relu(POOLS[kind](x, KERNELS[kernel])))), grid=(6, 6), batch=2))
    assert found.maps.shape[-1] == 36


def of_tokens(x):
    """A pool along the one axis that holds all positions in raster order."""
    pairs = op.max_pool(op.relu(x), [2], [1], [0], [0], [2], "floor", "explicit", "i64").output(0)
    return linear(op.reduce_mean(op.sigmoid(pairs), np.array([2]), False))


def tiny(head, grid=(4, 6), **more):
    """A case to be made when it is asked for."""
    return partial(case, head, grid=grid, **more)


FORMS: dict[str, Callable[[], Case]] = {
    "dynamic batch": tiny(lambda x: pooled(conv1x1(max_pool(x, (2, 2)))), batch=2, dynamic=(0,)),
    "dynamic sides": tiny(lambda x: pooled(op.tanh(max_pool(op.relu(x), (2, 2)))), dynamic=(0, 2, 3)),
    "dynamic sides, mean": tiny(lambda x: pooled(op.tanh(avg_pool(x, (2, 3)))), dynamic=(2, 3)),
    "dynamic sides, some left over": tiny(lambda x: pooled(op.tanh(avg_pool(x, (2, 4)))), grid=(5, 7), dynamic=(2, 3)),
    "a row left over": tiny(lambda x: pooled(conv1x1(max_pool(x, (2, 2)))), grid=(5, 6), batch=2),
    "a row and columns left over": tiny(lambda x: pooled(conv1x1(avg_pool(x, (2, 3)))), grid=(5, 8), batch=2),
    "one window and what is left over": tiny(lambda x: pooled(op.relu(max_pool(x, (3, 3)))), grid=(4, 5)),
    "a pool of a pool": tiny(lambda x: pooled(op.tanh(avg_pool(conv1x1(max_pool(x, (2, 1))), (1, 3)))), grid=(4, 6)),
    "a pool of a pool, some left over": tiny(lambda x: pooled(op.tanh(max_pool(avg_pool(x, (2, 2)), (2, 2)))), grid=(7, 10)),
    "windows of one row": tiny(lambda x: pooled(op.relu(max_pool(x, (2, 2)))), grid=(2, 8)),
    "ends rounded up, none left over": tiny(lambda x: pooled(op.relu(max_pool(x, (2, 2), rounding="ceil")))),
    "as large as before, none left over": tiny(lambda x: pooled(op.relu(avg_pool(x, (2, 2), auto_pad="same_upper")))),
    "a pool of single positions": tiny(lambda x: pooled(op.relu(max_pool(conv1x1(x), (1, 1))))),
    "two pools side by side": tiny(lambda x: pooled(op.subtract(max_pool(x, (2, 2)), op.relu(avg_pool(x, (2, 2)))))),
    "gated channels last": tiny(
        lambda x: pooled(op.relu(max_pool(op.transpose(x, np.array([0, 3, 1, 2])), (2, 3)))), layout="NHWC"
    ),
    "rows and columns the other way": tiny(
        lambda x: pooled(op.relu(max_pool(op.transpose(x, np.array([0, 1, 3, 2])), (3, 2)))), grid=(5, 6)
    ),
    "tokens": tiny(of_tokens, layout="NCP"),
    "tokens, one left over": tiny(of_tokens, layout="NCP", grid=(3, 5)),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    exact(FORMS[form]())


def test_some_masks_at_a_time():
    some = case(lambda x: pooled(op.relu(conv1x1(max_pool(x, (2, 2))))), grid=(4, 6), batch=2)
    found = compare(some, chunk=5)
    assert found.dense == ()
    np.testing.assert_allclose(found.maps, outcome(some).maps, atol=1e-6)


def flattened(x):
    return linear(op.reshape(x, np.array([0, -1]), True))


def excited(x):
    """Scaled by what all positions say together."""
    return pooled(op.multiply(x, op.sigmoid(op.reduce_mean(x, SPATIAL, True))))


def places_read(x):
    both = op.max_pool(op.relu(x), [2, 2], [1, 1], [0, 0], [0, 0], [2, 2], "floor", "explicit", "i64")
    return pooled(op.add(both.output(0), op.multiply(op.convert(both.output(1), "f32"), np.float32(0.01))))


LAID_OUT: dict[str, tuple[Callable[..., ov.Node], str, str]] = {
    "windows that share a row": (lambda x: pooled(max_pool(op.relu(x), (3, 2), (2, 2))), "MaxPool", "mixes"),
    "windows that share a column": (lambda x: pooled(avg_pool(op.relu(x), (2, 2), (2, 1))), "AvgPool", "mixes"),
    "windows apart": (lambda x: pooled(max_pool(op.relu(x), (1, 1), (2, 2))), "MaxPool", "mixes"),
    "a padded border": (lambda x: pooled(max_pool(op.relu(x), (2, 2), pads=(1, 1))), "MaxPool", "mixes"),
    "windows with gaps": (lambda x: pooled(max_pool(op.relu(x), (2, 2), dilations=(2, 2))), "MaxPool", "mixes"),
    "where the largest is": (places_read, "MaxPool", "mixes"),
    "a table of positions before": (
        lambda x: pooled(max_pool(op.relu(op.add(x, numbers(1, 5, 4, 6))), (2, 2))), "MaxPool", "differ when dark"
    ),
    "a table of windows behind": (
        lambda x: pooled(op.relu(op.add(max_pool(x, (2, 2)), numbers(1, 5, 2, 3)))), "Add", "windows of positions"
    ),
    "a row of windows behind": (
        lambda x: pooled(op.relu(op.add(max_pool(x, (2, 2)), numbers(3)))), "Add", "windows of positions"
    ),
    "a mean that scales": (lambda x: excited(max_pool(conv1x1(x), (2, 2))), "Multiply", "pooled by windows"),
    "flattened": (lambda x: flattened(max_pool(op.relu(x), (2, 2))), "Reshape", "mixes"),
    "a kernel as large as what is left": (
        lambda x: flattened(op.convolution(max_pool(x, (2, 2)), numbers(6, 5, 2, 3), [1, 1], [0, 0], [0, 0], [1, 1])),
        "Convolution", "mixes",
    ),
    "a softmax over windows": (lambda x: pooled(op.multiply(op.softmax(max_pool(x, (2, 2)), 3), numbers(3))), "Softmax", "mixes"),
    "one row of windows": (lambda x: linear(op.gather(max_pool(x, (2, 2)), np.array(1), np.array(2))), "Gather", "mixes"),
    "channels beside": (
        lambda x: pooled(op.concat([max_pool(x, (2, 2)), op.broadcast(numbers(1, 2, 2, 3), np.array([2, 2, 2, 3]))], 1)),
        "Concat", "mixes",
    ),
    "a mean over columns": (lambda x: linear(mean(op.relu(mean(max_pool(x, (2, 2)), (3,))), (2,))), "ReduceMean", "axes"),
    "a condition laid out": (
        lambda x: flattened(op.convert(op.greater(max_pool(conv1x1(x), (2, 2)), np.float32(0.5)), "f32")), "Reshape", "mixes"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAID_OUT)
def test_what_must_be_laid_out(name):
    head, kind, word = LAID_OUT[name]
    refused(case(head, grid=(4, 6), batch=2), kind, word)


@pytest.mark.parametrize("rounding", ["ceil", "floor"])
def test_windows_that_end_behind_the_map(rounding):
    """Rounded up, the last window of a row has fewer positions than the others."""
    head = tiny(lambda x: pooled(op.relu(avg_pool(x, (2, 2), rounding=rounding))), grid=(4, 5))()
    if rounding == "ceil":
        refused(head, "AvgPool", "mixes")
    else:
        exact(head)


@pytest.mark.parametrize("kind", POOLS)
def test_gaussian_masks_light_several_windows(kind):
    refused(case(lambda x: pooled(POOLS[kind](op.relu(x), (2, 2))), grid=(4, 6), mask="gaussian"), kind, "gated differently")


def test_no_copies_are_made():
    """Nothing on the way has the masks in front but what stands behind the sum."""
    model, dense = collapsed(case(lambda x: linear(mean(op.relu(max_pool(x, (2, 2))))), grid=(8, 8)))
    assert not dense
    assert max(int(np.prod(output.get_shape())) for node in model.get_ops() for output in node.outputs()) <= 5 * 64
