"""The table of operations: every name is one of OpenVINO's, and what no other head of these tests meets is met here."""

import numpy as np
import pytest
from openvino import opset13 as op

from helpers.heads import linear, mean, pooled
from helpers.opsets import is_operation
from helpers.oracle import case, compare, exact, numbers, refused
from ovxai.collapse.ops import OPS


@pytest.mark.parametrize("kind", OPS)
def test_the_name_is_an_operation_of_openvino(kind):
    assert is_operation(kind)


def test_the_test_knows_what_there_is_not():
    assert is_operation("Selu") and not any(map(is_operation, ("SELU", "RMS", "GLU")))


def between(x, low: float, high: float):
    """Values squeezed into an interval, zero included only where the interval has it."""
    return op.add(op.multiply(op.sigmoid(x), np.float32(high - low)), np.float32(low))


SMOOTH = {
    "Acos": lambda x: op.acos(between(x, -0.8, 0.8)),
    "Acosh": lambda x: op.acosh(between(x, 1.2, 3.0)),
    "Asin": lambda x: op.asin(between(x, -0.8, 0.8)),
    "Asinh": op.asinh,
    "Atan": op.atan,
    "Atanh": lambda x: op.atanh(between(x, -0.8, 0.8)),
    "ConvertLike": lambda x: op.convert_like(x, np.float32(0)),
    "Cosh": op.cosh,
    "Sinh": op.sinh,
    "SoftSign": op.softsign,
    "Tan": lambda x: op.tan(between(x, -1.0, 1.0)),
    "FloorMod": lambda x: op.add(op.floor_mod(x, np.float32(0.7)), x),
    "Ceiling": lambda x: op.add(op.ceiling(op.multiply(x, np.float32(3.1))), x),
}


@pytest.mark.parametrize("mask", ["point", "gaussian"])
@pytest.mark.parametrize("kind", SMOOTH)
def test_functions_ahead_of_the_pool(kind, mask):
    exact(case(lambda x: pooled(SMOOTH[kind](x)), mask=mask))


@pytest.mark.parametrize("kind", [kind for kind in SMOOTH if kind not in ("FloorMod", "Ceiling")])
def test_functions_behind_the_pool(kind):
    exact(case(lambda x: linear(SMOOTH[kind](op.add(mean(x), numbers(5))))))


CONDITIONS = {
    "IsFinite": lambda x: op.is_finite(x),
    "IsInf": lambda x: op.logical_not(op.is_inf(x)),
    "IsNaN": lambda x: op.logical_not(op.is_nan(x)),
    "NotEqual": lambda x: op.not_equal(x, np.float32(0.25)),
    "GreaterEqual": lambda x: op.greater_equal(x, np.float32(0.1)),
    "LogicalAnd": lambda x: op.logical_and(op.greater(x, np.float32(-0.5)), op.less(x, np.float32(0.5))),
    "LogicalOr": lambda x: op.logical_or(op.less(x, np.float32(-0.5)), op.greater(x, np.float32(0.5))),
    "LogicalXor": lambda x: op.logical_xor(op.less(x, np.float32(0.5)), op.greater(x, np.float32(-0.5))),
}


@pytest.mark.parametrize("kind", CONDITIONS)
def test_conditions(kind):
    exact(case(lambda x: pooled(op.select(CONDITIONS[kind](x), op.tanh(x), op.multiply(x, np.float32(0.3))))))


MOVED = {
    "DepthToSpace": lambda x: op.depth_to_space(x, "blocks_first", 2),
    "SpaceToDepth": lambda x: op.space_to_depth(x, "blocks_first", 2),
    "ConvolutionBackpropData": lambda x: op.convolution_backprop_data(
        x, numbers(8, 6, 2, 2), [2, 2], pads_begin=[0, 0], pads_end=[0, 0], dilations=[1, 1]
    ),
}


@pytest.mark.parametrize("kind", MOVED)
def test_grids_that_change_their_sides_are_laid_out(kind):
    refused(case(lambda x: pooled(MOVED[kind](x)), channels=8, grid=(4, 4)), kind)


def test_an_operation_without_a_rule_is_called_one():
    """Not that it mixes positions, which nobody knows."""
    found = compare(case(lambda x: pooled(op.reverse_sequence(x, np.array([3], np.int32), 0, 1))))
    assert [reason for kind, reason in found.dense if kind == "ReverseSequence"] == ["there is no rule for ReverseSequence"]
