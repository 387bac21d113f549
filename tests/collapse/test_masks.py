"""Gates from ranges: the same numbers as written out, whole or in chunks, and never stored."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.oracle import gates
from ovxai.collapse.masks import Masks
from ovxai.graph.dims import Dim, ints

GRIDS = [(3, 4), (1, 5), (4, 1), (1, 1), (2, 2), (5, 3)]


def values(*outputs):
    model = ov.Model([op.result(output) for output in outputs], [], "masks")
    found = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([])
    return [np.array(found[index]) for index in range(len(outputs))]


@pytest.mark.parametrize("kind", ["point", "gaussian"])
@pytest.mark.parametrize("grid", GRIDS)
def test_gates_and_windows(grid, kind):
    height, width = grid
    count = height * width
    masks = Masks(Dim(height), Dim(width), kind)
    gate, index, weight, presence, many = values(
        masks.gate(), masks.window_index, masks.window_weight, masks.presence, masks.multiplicity
    )
    truth = gates(grid, kind)
    np.testing.assert_array_equal(gate, truth)
    by_window = np.zeros((count, count), np.float32)
    for mask in range(count):
        np.add.at(by_window[mask], index[mask], weight[0] * presence[mask])
    np.testing.assert_array_equal(by_window.reshape(truth.shape), truth)
    assert many.shape == (count, masks.window + 1)
    np.testing.assert_array_equal(many.sum(1), count)
    for level in masks.levels:
        np.testing.assert_array_equal(values(masks.indicator(level))[0], truth == np.float32(level))


@pytest.mark.parametrize("kind", ["point", "gaussian"])
def test_a_chunk_is_a_run_of_the_masks(kind):
    part = Masks(Dim(3), Dim(4), kind, 5, 9)
    gate, index, many = values(part.gate(), part.window_index, part.multiplicity)
    whole = Masks(Dim(3), Dim(4), kind)
    all_gates, all_index, all_many = values(whole.gate(), whole.window_index, whole.multiplicity)
    np.testing.assert_array_equal(gate, all_gates[5:9])
    np.testing.assert_array_equal(index, all_index[5:9])
    np.testing.assert_array_equal(many, all_many[5:9])


def test_nothing_as_large_as_masks_by_positions_is_stored():
    masks = Masks(Dim(30), Dim(20), "gaussian")
    outputs = [masks.gate(), masks.window_index, masks.log_multiplicity, masks.band(masks.h, "blur")]
    model = ov.Model([op.result(output) for output in outputs], [], "masks")
    stored = [node.get_data().size for node in model.get_ops() if node.get_type_name() == "Constant"]
    assert max(stored) <= 16


def test_sides_that_only_the_running_model_knows():
    entry = op.parameter([-1, 2, -1, -1], np.float32)
    shape = op.shape_of(entry, "i64")

    def side(axis: int) -> Dim:
        return Dim(7, lambda: op.gather(shape, ints([axis]), np.int64(0)).output(0))

    masks = Masks(side(2), side(3), "gaussian")
    model = ov.Model([op.result(masks.gate()), op.result(masks.multiplicity)], [entry], "masks")
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for grid in [(2, 3), (4, 2)]:
        found = compiled([np.zeros((1, 2, *grid), np.float32)])
        np.testing.assert_array_equal(found[0], gates(grid, "gaussian"))
        assert (found[1].sum(1) == grid[0] * grid[1]).all()
