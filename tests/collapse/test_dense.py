"""What no rule can say is laid out densely, all masks at once or in chunks, and says so."""

import math
from itertools import pairwise

import numpy as np
import pytest
from openvino import opset13 as op

from helpers.heads import block, layer_norm, linear, mean, pooled, token
from helpers.oracle import case, collapsed, compare, definition, numbers, outcome
from ovxai.collapse.masks import Masks
from ovxai.collapse.values import Dense
from ovxai.graph.dims import Dim
from ovxai.methods.recipro_cam import _chunks, dense_bytes

DENSE = {
    "3x3": lambda x: pooled(op.relu(op.convolution(x, numbers(6, 5, 3, 3, size=0.3), [1, 1], [1, 1], [1, 1], [1, 1]))),
    "two in a row": lambda x: pooled(
        op.relu(
            op.group_convolution(
                op.relu(op.convolution(x, numbers(6, 5, 3, 3, size=0.3), [1, 1], [1, 1], [1, 1], [1, 1])),
                numbers(6, 1, 1, 3, 3, size=0.4),
                [2, 2],
                [1, 1],
                [1, 1],
                [1, 1],
            )
        )
    ),
    "3x3, then flatten": lambda x: linear(
        op.reshape(op.convolution(x, numbers(3, 5, 3, 3, size=0.3), [1, 1], [1, 1], [1, 1], [1, 1]), np.array([0, -1]), True)
    ),
    "resize": lambda x: pooled(op.relu(op.interpolate(x, np.array([6, 8]), "linear_onnx", "sizes", axes=np.array([2, 3])))),
    "no operation to fold": lambda x: linear(
        op.reduce_max(op.cum_sum(op.cum_sum(x, np.int64(2)), np.int64(3)), np.array([2, 3]), False)
    ),
    "reverse a row": lambda x: pooled(op.relu(op.multiply(op.reverse_sequence(x, np.array([4, 2]), 0, 3), x))),
    "max under gaussian": lambda x: linear(op.reduce_max(x, np.array([2, 3]), False)),
}


@pytest.mark.parametrize("chunk", [None, 5])
@pytest.mark.parametrize("name", DENSE)
def test_in_chunks_and_at_once(name, chunk):
    found = compare(case(lambda x: DENSE[name](x), mask="gaussian", batch=2), chunk)
    assert found.dense


@pytest.mark.parametrize("mask", ["point", "gaussian"])
@pytest.mark.parametrize("chunk", [1, 5])
def test_what_is_exact_comes_in_chunks_too(chunk, mask):
    """Where one part of a head is dense, the rest is walked once a chunk."""

    def exactly(n, r):
        x = layer_norm(block(n, r, "gather"))
        return op.concat(
            [
                linear(token(x)),
                linear(mean(op.slice(x, np.array([1]), np.array([99]), np.array([1]), np.array([1])), [1]), seed=3),
            ],
            1,
        )

    one = case(exactly, layout="NPC", prefix=1, channels=6, taps=2, mask=mask, batch=2)
    assert compare(one, chunk).dense == ()
    pools = case(lambda x: op.concat([pooled(op.relu(x)), linear(op.reshape(x, np.array([0, -1]), True))], 1), mask=mask, batch=2)
    assert compare(pools, chunk).dense == ()


def test_dynamic_batch_in_chunks():
    compare(case(lambda x: DENSE["3x3"](x), batch=2, dynamic=(0,)), 5)


def test_dynamic_sides_all_at_once():
    found = compare(case(lambda x: DENSE["3x3"](x), batch=2, dynamic=(0, 2, 3)))
    assert found.dense


def test_after_the_dense_part_ordinary_tensors():
    """Laid out once: what follows adds no notes."""
    found = outcome(case(lambda x: DENSE["two in a row"](x)))
    assert [kind for kind, _ in found.dense] == ["Convolution"]


def test_what_two_branches_lay_out_is_noted_twice():
    def head(x):
        a = op.convolution(x, numbers(5, 5, 3, 3, size=0.3), [1, 1], [1, 1], [1, 1], [1, 1])
        return pooled(
            op.relu(op.add(op.group_convolution(x, numbers(5, 1, 1, 3, 3, size=0.3), [1, 1], [1, 1], [1, 1], [1, 1]), a))
        )

    found = compare(case(head))
    assert sorted(kind for kind, _ in found.dense) == ["Convolution", "GroupConvolution"]


def test_notes_survive_on_the_way_to_a_run():
    """A dense branch added to class token | patches: the class token that is read knows it."""

    def head(x):
        mixed = op.roll(layer_norm(x), np.array([1]), np.array([1]))
        return linear(token(layer_norm(op.add(x, mixed))))

    found = compare(case(head, layout="NPC", prefix=1, channels=6, batch=2))
    assert found.dense


def test_what_nobody_reads_is_not_dense():
    """A gate from the mean on all tokens would lay out the patches, but only the class token is read."""

    def head(x):
        x = layer_norm(x)
        return linear(token(op.relu(op.multiply(x, op.reduce_mean(x, np.array([1]), True)))))

    found = compare(case(head, layout="NPC", prefix=1, channels=6, batch=2))
    assert found.dense == ()


def test_memory_budget_cuts_the_masks_into_chunks():
    whole = Masks(Dim(30), Dim(20), "gaussian")
    notes = (Dense("c", "Convolution", "", 1 << 18), Dense("d", "MatMul", "", 7))
    assert dense_bytes(notes) == 3 << 20
    for budget in (1, 3, 30, 100_000):
        pieces = _chunks(whole, notes, budget)
        bounds = [(piece.start, 600 if piece.stop is None else piece.stop) for piece in pieces]
        assert bounds[0][0] == 0 and bounds[-1][1] == 600
        assert all(one[1] == two[0] for one, two in pairwise(bounds))
        assert max(stop - start for start, stop in bounds) <= max(1, budget // 3)
        assert len(pieces) == math.ceil(600 / max(stop - start for start, stop in bounds))
    assert _chunks(whole, (), 1) == [whole]


def test_a_chunk_holds_no_more_masks_than_it_should():
    model, _ = collapsed(case(lambda x: DENSE["3x3"](x)), 5)
    leads = {
        int(node.output(0).get_partial_shape()[0].get_length())
        for node in model.get_ops()
        if node.get_type_name() == "Convolution"
    }
    assert leads <= {5, 2, 1}


def test_the_oracle_itself():
    """Of a mean and a product with known numbers."""
    one = case(pooled)
    truth = definition(one)
    assert one.tapped is not None
    features = one.tapped[0]
    for position in (0, 7, 11):
        row = np.zeros_like(features)
        row[:, :, position // 4, position % 4] = features[:, :, position // 4, position % 4]
        weight = numbers(4, 5, seed=1) / np.float32(np.sqrt(5))
        np.testing.assert_allclose(truth[0, :, position], weight @ row.mean((2, 3))[0] + numbers(4, seed=51, size=0.3), rtol=1e-5)
