"""Where positions meet in convolutional heads: pools, flatten + FC, kernels as large as the map."""

import numpy as np
import pytest
from openvino import opset13 as op

from helpers.heads import CLASSES, conv1x1, decomposed_norm, layer_norm, linear, mean, mlp, pooled
from helpers.oracle import case, collapsed, compare, exact, numbers, refused

MASKS = ("point", "gaussian")
SPATIAL = np.array([2, 3], np.int64)


def adaptive_avg(x):
    return op.adaptive_avg_pool(x, np.array([1, 1]))


def max_pool(x, kernel=(3, 4)):
    return op.max_pool(x, [1, 1], [1, 1], [0, 0], [0, 0], list(kernel), "floor", "explicit", "i64").output(0)


def avg_pool(x, kernel=(3, 4), pads=(0, 0), strides=(1, 1)):
    return op.avg_pool(x, list(strides), list(pads), list(pads), list(kernel), True)


def gem(x, keep=False):
    """Generalised mean."""
    return op.power(op.reduce_mean(op.power(op.clamp(x, 1e-3, 1e3), np.float32(3)), SPATIAL, keep), np.float32(1 / 3))


def flat(x):
    return op.reshape(x, np.array([0, -1], np.int64), True)


AVERAGES = {
    "mean": mean,
    "mean of the activation": lambda x: mean(op.relu(x)),
    "mean, dims kept": lambda x: flat(mean(op.relu(x), keep=True)),
    "sum": lambda x: op.reduce_sum(op.sigmoid(x), SPATIAL, False),
    "sum, dims kept": lambda x: flat(op.reduce_sum(op.sigmoid(x), SPATIAL, True)),
    "mean, axes the other way": lambda x: op.reduce_mean(op.relu(x), np.array([-1, -2]), False),
    "AvgPool": lambda x: flat(avg_pool(op.relu(x))),
    "AdaptiveAvgPool": lambda x: flat(adaptive_avg(op.relu(x))),
    "GeM": gem,
    "GeM of 4-D": lambda x: flat(gem(x, True)),
    "mean of a norm": lambda x: mean(layer_norm(x, 1)),
    "mean of a decomposed norm": lambda x: mean(decomposed_norm(x, 1)),
    "mean of a softmax": lambda x: mean(op.softmax(x, 1)),
    "mean of a mean over channels": lambda x: mean(op.multiply(op.reduce_mean(x, np.array([1]), True), op.relu(x))),
    "mean of a maximum over channels": lambda x: mean(op.subtract(x, op.reduce_max(x, np.array([1]), True))),
    "norm over channels": lambda x: mean(op.normalize_l2(x, np.array([1]), 1e-3, "add")),
    "twice the map": lambda x: mean(op.concat([op.relu(x), op.tanh(x)], 1)),
    "rows, then columns as one": lambda x: op.reduce_mean(
        op.reshape(op.relu(x), np.array([0, 0, -1]), True), np.array([2]), False
    ),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", AVERAGES)
def test_averages(name, mask):
    exact(case(lambda x: linear(AVERAGES[name](x)), mask=mask, batch=2))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("layout", ["NHWC", "NPC", "NCP"])
def test_averages_in_other_layouts(layout, mask):
    axes = {"NHWC": (1, 2), "NPC": (1,), "NCP": (2,)}[layout]
    channel = {"NHWC": 3, "NPC": 2, "NCP": 1}[layout]
    exact(case(lambda x: mlp(mean(layer_norm(op.relu(x), channel), axes)), layout=layout, mask=mask, batch=2))


@pytest.mark.parametrize("layout", ["NPC", "NHWC"])
def test_norm_over_channels_with_a_table(layout):
    """A norm behind a position table: level 0 differs by position."""
    axes = (1,) if layout == "NPC" else (1, 2)
    table = numbers(1, 12, 5) if layout == "NPC" else numbers(1, 3, 4, 5)
    exact(case(lambda x: linear(mean(layer_norm(op.add(x, table)), axes)), layout=layout, mask="gaussian", batch=2))


EXTREMES = {
    "max": lambda x: op.reduce_max(x, SPATIAL, False),
    "min": lambda x: op.reduce_min(x, SPATIAL, False),
    "max, dims kept": lambda x: flat(op.reduce_max(op.sigmoid(x), SPATIAL, True)),
    "MaxPool": lambda x: flat(max_pool(x)),
    "AdaptiveMaxPool": lambda x: flat(op.adaptive_max_pool(x, np.array([1, 1])).output(0)),
    "average beside maximum": lambda x: op.concat([mean(x), op.reduce_max(x, SPATIAL, False)], 1),
    "average plus maximum": lambda x: op.multiply(op.add(mean(x), op.reduce_max(x, SPATIAL, False)), np.float32(0.5)),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_under_point(name):
    exact(case(lambda x: linear(EXTREMES[name](x)), batch=2))


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_under_gaussian_are_dense(name):
    kind = {"min": "ReduceMin"}.get(name, "ReduceMax")
    refused(case(lambda x: linear(EXTREMES[name](x)), mask="gaussian", batch=2), kind, "maximum", "neighbours")


def test_maximum_over_positions_that_differ_when_dark():
    compare(case(lambda x: linear(op.reduce_max(op.add(x, numbers(1, 5, 3, 4)), SPATIAL, False)), batch=2))


def test_maximum_over_a_single_position():
    """No other position is there whose darkness could win."""
    found = compare(case(lambda x: linear(op.reduce_max(op.add(x, np.float32(-9)), SPATIAL, False)), grid=(1, 2)))
    assert found.maps.shape[-1] == 2


POOLS_REFUSED = {
    "product": (lambda x: linear(op.reduce_prod(op.add(x, np.float32(2)), SPATIAL, False)), "ReduceProd", "no rule"),
    "L2": (lambda x: linear(op.reduce_l2(x, SPATIAL, False)), "ReduceL2", "no rule"),
    "L1": (lambda x: linear(op.reduce_l1(x, SPATIAL, False)), "ReduceL1", "no rule"),
    "one of the two axes": (
        lambda x: linear(op.reduce_mean(op.relu(op.reduce_mean(op.relu(x), np.array([2]), False)), np.array([2]), False)),
        "ReduceMean",
        "other axes",
    ),
    "channels too": (
        lambda x: linear(
            op.reshape(
                op.reduce_mean(op.reshape(op.relu(x), np.array([0, 2, 3, 3, 4]), True), np.array([2, 3, 4]), False),
                np.array([0, 2]),
                True,
            )
        ),
        "ReduceMean",
        "other axes",
    ),
    "a pool of 2x2": (lambda x: pooled(avg_pool(op.relu(x), (2, 2))), "AvgPool", "mixes"),
    "a maximum of 2x2": (lambda x: pooled(max_pool(op.relu(x), (2, 2))), "MaxPool", "mixes"),
    "to a map of 2x2": (lambda x: pooled(op.adaptive_avg_pool(op.relu(x), np.array([2, 2]))), "AdaptiveAvgPool", "mixes"),
    "padded pool": (lambda x: pooled(avg_pool(op.relu(x), (3, 4), (1, 1))), "AvgPool", "mixes"),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", POOLS_REFUSED)
def test_pools_without_a_rule(name, mask):
    head, kind, word = POOLS_REFUSED[name]
    refused(case(head, channels=6, mask=mask, batch=2), kind, word)


def test_an_adaptive_pool_to_the_maps_own_size_does_nothing():
    exact(case(lambda x: pooled(op.relu(op.adaptive_avg_pool(x, np.array([3, 4])))), batch=2))


# --- heads behind the pool ------------------------------------------------------------------------

HEADS = {
    "MLP": lambda x: mlp(mean(x)),
    "conv MLP": lambda x: flat(conv1x1(op.hswish(conv1x1(mean(x, keep=True), 7)), CLASSES, seed=6)),
    "norm and linear": lambda x: linear(layer_norm(mean(x))),
    "decomposed norm": lambda x: linear(decomposed_norm(mean(x))),
    "norm of [N, C, 1, 1]": lambda x: linear(flat(layer_norm(mean(x, keep=True), 1))),
    "weights not transposed": lambda x: linear(mean(x), transposed=False),
    "weights first": lambda x: op.transpose(op.matmul(op.constant(numbers(CLASSES, 5)), mean(x), False, True), [1, 0]),
    "softmax at the end": lambda x: op.softmax(linear(mean(x)), -1),
    "log softmax": lambda x: op.log_softmax(linear(mean(x)), 1),
    "convolution on rows": lambda x: flat(conv1x1(op.unsqueeze(mean(x), np.array([2, 3])), CLASSES)),
    "grouped 1x1": lambda x: linear(
        flat(op.group_convolution(mean(x, keep=True), numbers(5, 1, 1, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1]))
    ),
    "kernel over a padded 1x1": lambda x: flat(
        op.convolution(mean(x, keep=True), numbers(CLASSES, 5, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1])
    ),
    "power": lambda x: linear(op.power(op.abs(mean(x)), np.float32(0.5))),
    "itself, squared": lambda x: linear(op.multiply(mean(x), mean(op.relu(x)))),
    "outer product": lambda x: linear(
        flat(op.matmul(op.unsqueeze(mean(x), np.array([2])), op.unsqueeze(mean(op.relu(x)), np.array([1])), False, False))
    ),
    "hierarchical": lambda x: op.concat([linear(mean(x), 3, seed=1), mlp(mean(x), 6, 2)], 1),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_behind_the_pool(name):
    exact(case(lambda x: HEADS[name](op.relu(x)), batch=2))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", ["MLP", "conv MLP", "norm of [N, C, 1, 1]", "hierarchical", "outer product"])
def test_heads_with_dynamic_batch(name, batch):
    exact(case(lambda x: HEADS[name](op.relu(x)), batch=batch, dynamic=(0,)))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("head", ["mean", "gem", "max and mean", "mlp"])
def test_dynamic_height_and_width(layout, head, mask):
    axes, channel = ((2, 3), 1) if layout == "NCHW" else ((1, 2), 3)
    built = {
        "mean": lambda x: linear(mean(op.relu(x), axes)),
        "gem": lambda x: linear(
            op.power(op.reduce_mean(op.power(op.clamp(x, 1e-3, 9.0), np.float32(3)), np.array(axes), False), np.float32(1 / 3))
        ),
        "max and mean": lambda x: linear(op.concat([op.reduce_max(x, np.array(axes), False), mean(x, axes)], 1)),
        "mlp": lambda x: mlp(mean(layer_norm(x, channel), axes)),
    }[head]
    one = case(built, layout=layout, mask=mask, batch=2, dynamic=(0, *axes))
    if mask == "gaussian" and head == "max and mean":
        refused(one, "ReduceMax", "neighbours")
    else:
        exact(one)


# --- flatten + FC ---------------------------------------------------------------------------------

FLATTENED = {
    "flatten and FC": lambda x: linear(flat(x)),
    "flatten, FC, ReLU, FC": lambda x: mlp(flat(op.relu(x))),
    "weights not transposed": lambda x: linear(flat(op.relu(x)), transposed=False),
    "nonlinear before": lambda x: linear(flat(op.tanh(op.add(x, numbers(1, 5, 3, 4))))),
    "merged, then ReLU": lambda x: linear(op.relu(flat(x))),
    "merged, then a scalar and an activation": lambda x: linear(
        op.hswish(op.multiply(np.float32(1.3), flat(op.add(x, np.float32(0.2)))))
    ),
    "constant minus the merged": lambda x: linear(op.sigmoid(op.subtract(np.float32(0.2), flat(x)))),
    "nhwc order": lambda x: linear(flat(op.transpose(op.relu(x), [0, 2, 3, 1]))),
    "kernel as large as the map": lambda x: flat(
        op.convolution(op.relu(x), numbers(CLASSES, 5, 3, 4), [1, 1], [0, 0], [0, 0], [1, 1])
    ),
    "kernel, ReLU, 1x1 (timm VGG)": lambda x: flat(
        conv1x1(op.relu(op.convolution(x, numbers(6, 5, 3, 4, size=0.3), [1, 1], [0, 0], [0, 0], [1, 1])), CLASSES)
    ),
    "depthwise kernel": lambda x: linear(
        flat(op.group_convolution(op.relu(x), numbers(5, 1, 1, 3, 4), [1, 1], [0, 0], [0, 0], [1, 1]))
    ),
    "h*w and channels of tokens": lambda x: linear(flat(op.reshape(op.relu(x), np.array([0, 0, -1]), True))),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", FLATTENED)
def test_flattened(name, mask):
    exact(case(lambda x: FLATTENED[name](x), mask=mask, batch=2))


def test_a_pool_of_a_single_entry_is_left_out():
    """timm's VGG pools after the kernel that took the whole map: nothing is left to pool, nothing is copied."""
    kernel = numbers(6, 5, 3, 4, size=0.3)
    last = case(lambda x: linear(mean(op.relu(op.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1])))))
    exact(last)
    branch = {node.get_friendly_name() for node in last.model.get_ops()}
    added = [node for node in collapsed(last)[0].get_ordered_ops() if node.get_friendly_name() not in branch]
    assert "MatMul" in {node.get_type_name() for node in added}
    assert "ReduceMean" not in {node.get_type_name() for node in added}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", ["flatten, FC, ReLU, FC", "kernel, ReLU, 1x1 (timm VGG)", "depthwise kernel"])
def test_flattened_with_dynamic_batch(name, batch):
    exact(case(lambda x: FLATTENED[name](x), batch=batch, dynamic=(0,)))


FLATTENED_REFUSED = {
    "softmax over all": (lambda x: linear(op.softmax(flat(x), 1)), "Softmax", ""),
    "norm over all": (lambda x: linear(op.mvn(flat(x), np.array([1]), True, 1e-3, "inside_sqrt")), "MVN", ""),
    "FC on the left": (
        lambda x: op.transpose(op.matmul(op.constant(numbers(CLASSES, 60)), flat(x), False, True), [1, 0]),
        "MatMul",
        "second operand",
    ),
    "a smaller kernel": (
        lambda x: pooled(op.relu(op.convolution(x, numbers(6, 5, 3, 3, size=0.2), [1, 1], [1, 1], [1, 1], [1, 1]))),
        "Convolution",
        "neighbouring",
    ),
    "a padded kernel": (
        lambda x: pooled(op.relu(op.convolution(x, numbers(6, 5, 3, 4, size=0.2), [1, 1], [1, 1], [1, 1], [1, 1]))),
        "Convolution",
        "neighbouring",
    ),
    "a strided 1x1": (
        lambda x: pooled(op.relu(op.convolution(x, numbers(6, 5, 1, 1), [2, 2], [0, 0], [0, 0], [1, 1]))),
        "Convolution",
        "neighbouring",
    ),
    "a depthwise 3x3": (
        lambda x: pooled(op.relu(op.group_convolution(x, numbers(5, 1, 1, 3, 3, size=0.3), [1, 1], [1, 1], [1, 1], [1, 1]))),
        "GroupConvolution",
        "mixes",
    ),
    "a row and its channels": (
        lambda x: linear(flat(op.relu(linear(op.reshape(op.transpose(x, [0, 2, 1, 3]), np.array([0, 3, 20]), True), 3)))),
        "Reshape",
        "apart",
    ),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", FLATTENED_REFUSED)
def test_what_is_not_flatten_and_fc(name, mask):
    head, kind, word = FLATTENED_REFUSED[name]
    refused(case(head, mask=mask, batch=2), kind, word)


# --- products and 1x1 convolutions before the pool ------------------------------------------------

PRODUCTS = {
    "1x1": lambda x: pooled(op.relu(conv1x1(x))),
    "1x1, auto pad": lambda x: pooled(
        op.relu(op.convolution(x, numbers(6, 5, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1], "same_upper"))
    ),
    "grouped 1x1": lambda x: pooled(
        op.relu(op.group_convolution(op.concat([x, op.negative(x)], 1), numbers(2, 3, 5, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1]))
    ),
    "W @ x": lambda x: pooled(
        op.relu(op.matmul(op.constant(numbers(6, 5)), op.reshape(x, np.array([0, 5, 12]), True), False, False)), [2]
    ),
    "W^T @ x": lambda x: pooled(
        op.relu(op.matmul(op.constant(numbers(5, 6)), op.reshape(x, np.array([0, 5, 12]), True), True, False)), [2]
    ),
    "x^T @ W": lambda x: linear(
        mean(op.relu(op.matmul(op.reshape(x, np.array([0, 5, 12]), True), op.constant(numbers(5, 6)), True, False)), [1])
    ),
    "W @ (x^T)^T": lambda x: linear(
        op.reduce_mean(
            op.relu(
                op.matmul(
                    op.constant(numbers(6, 5)), op.transpose(op.reshape(x, np.array([0, 5, 12]), True), [0, 2, 1]), False, True
                )
            ),
            np.array([2]),
            False,
        )
    ),
    "gated unit": lambda x: pooled(op.multiply(op.sigmoid(conv1x1(x, 6, 4)), conv1x1(x, 6, 5))),
    "bottleneck with a skip": lambda x: pooled(op.add(x, conv1x1(op.relu(conv1x1(x, 3)), 5, 7))),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_over_channels(name, mask):
    exact(case(lambda x: PRODUCTS[name](x), mask=mask, batch=2))


def test_a_product_over_positions_with_constant_weights_is_dense():
    """A mixer's token MLP."""

    def head(x):
        return linear(
            op.reduce_mean(
                op.relu(op.matmul(op.reshape(x, np.array([0, 5, 12]), True), op.constant(numbers(12, 12)), False, False)),
                np.array([2]),
                False,
            )
        )

    refused(case(head, batch=2), "MatMul", "positions")


def test_a_gram_matrix_over_positions():
    """Factorised attention: channels look at channels through all positions."""

    def head(x):
        rows = op.reshape(x, np.array([0, 5, 12]), True)
        return linear(flat(op.matmul(rows, op.relu(rows), False, True)))

    compare(case(head, batch=2))
