"""Multiply-adds of operations counted by hand, and the share of them that an explanation adds."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from ovxai.graph.graph import Graph
from ovxai.graph.surgery import attach_outputs, branch_share, multiply_adds


def ones(*shape):
    return op.constant(np.ones(shape, np.float32))


def cost(node, *parameters):
    model = ov.Model([op.result(node)], list(parameters), "cost")
    return multiply_adds(Graph(model), node)


def test_products_and_convolutions():
    image = op.parameter([1, 3, 8, 10], np.float32)
    assert cost(op.convolution(image, ones(5, 3, 2, 2), [2, 2], [0, 0], [0, 0], [1, 1]), image) == 5 * 4 * 5 * 12
    assert cost(op.group_convolution(image, ones(3, 1, 1, 2, 2), [2, 2], [0, 0], [0, 0], [1, 1]), image) == 3 * 4 * 5 * 4
    rows = op.parameter([2, 7], np.float32)
    assert cost(op.matmul(rows, ones(7, 3), False, False), rows) == 2 * 3 * 7
    columns = op.parameter([7, 2], np.float32)
    assert cost(op.matmul(columns, ones(7, 3), True, False), columns) == 2 * 3 * 7
    assert cost(op.relu(image), image) == 0


def test_attention_counts_both_of_its_products():
    q, k, v = (op.parameter([1, 2, tokens, width], np.float32) for tokens, width in ((5, 4), (6, 4), (6, 3)))
    assert cost(op.scaled_dot_product_attention(q, k, v), q, k, v) == 2 * 5 * 6 * 4 + 2 * 5 * 6 * 3


@pytest.mark.parametrize("batch", [1, -1])
def test_the_share_of_an_explanation(batch):
    image = op.parameter(ov.PartialShape([batch, 3, 8, 8]), np.float32)
    features = op.convolution(image, ones(4, 3, 2, 2), [2, 2], [0, 0], [0, 0], [1, 1])
    logits = op.matmul(op.reduce_mean(features, [2, 3], False), ones(4, 5), False, False)
    model = ov.Model([op.result(logits)], [image], "plain")
    assert branch_share(model) == 0
    maps = op.convolution(features, ones(5, 4, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
    attach_outputs(model, {"saliency_map": maps.output(0)})
    assert branch_share(model) == pytest.approx((5 * 16 * 4) / (4 * 16 * 12 + 4 * 5))


def test_sizes_that_depend_on_data_have_no_share():
    values = op.parameter([1, 6], np.float32)
    places = op.convert(op.non_zero(values, "i64"), "f32")
    model = ov.Model([op.result(op.matmul(places, places, False, True))], [values], "data")
    assert branch_share(model) is None


def test_transposed_convolutions_cost_what_the_straight_ones_do():
    image = op.parameter([1, 5, 4, 5], np.float32)
    straight = op.parameter([1, 3, 8, 10], np.float32)
    wanted = cost(op.convolution(straight, ones(5, 3, 2, 2), [2, 2], [0, 0], [0, 0], [1, 1]), straight)
    assert cost(op.convolution_backprop_data(image, ones(5, 3, 2, 2), [2, 2]), image) == wanted == 5 * 4 * 5 * 12
    assert cost(op.group_convolution_backprop_data(image, ones(5, 1, 1, 2, 2), [2, 2]), image) == 5 * 4 * 5 * 4
