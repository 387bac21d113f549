"""Grey levels: 255 * (s - min) / (max - min), truncated; zeros where a map says nothing."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from ovxai.methods.outputs import EVIDENCE, to_grey


def grey(maps):
    entry = op.parameter(list(maps.shape), np.float32)
    model = ov.Model([op.result(to_grey(entry.output(0)))], [entry], "grey")
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(maps)[0]


@pytest.mark.parametrize("shift", [0, 5, -300])
def test_levels(shift):
    maps = (np.random.default_rng(0).standard_normal((2, 3, 4, 5)) * 7 + shift).astype(np.float32)
    found = grey(maps)
    low, high = (f(maps.astype(np.float64), axis=(2, 3), keepdims=True) for f in (np.min, np.max))
    truth = 255 * (maps - low) / (high - low)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(float) - np.floor(truth)).max() <= 1  # on the edge of two levels
    assert np.mean(found == np.floor(truth)) > 0.95


def test_each_map_by_itself():
    maps = np.stack([np.arange(6).reshape(2, 3) * factor for factor in (2**-12, 1, 2**13)])[None].astype(np.float32)
    found = grey(maps)
    assert (found == found[:, :1]).all() and np.abs(found[0, 0, 0].astype(int) - [0, 51, 102]).max() <= 1


@pytest.mark.parametrize("value", [0.0, 3.0, -1e6, 1e-30])
def test_constant_maps_are_zeros(value):
    assert not grey(np.full((1, 2, 3, 3), value, np.float32)).any()


@pytest.mark.parametrize("share, seen", [(0.2 * EVIDENCE, False), (20 * EVIDENCE, True)])
def test_rounding_noise_is_no_evidence(share, seen):
    maps = np.full((1, 1, 3, 3), 1000.0, np.float32)
    maps[0, 0, 1, 1] += np.float32(1000 * share)
    found = grey(maps)
    assert bool(found.any()) is seen


def test_small_maps_are_not_lost():
    """No epsilon is added that would swallow them."""
    maps = (np.random.default_rng(0).random((1, 1, 3, 3)) * 1e-20).astype(np.float32)
    assert grey(maps).max() >= 254


def test_one_empty_map_beside_others():
    maps = np.random.default_rng(0).standard_normal((1, 3, 3, 3)).astype(np.float32)
    maps[0, 1] = 7
    found = grey(maps)
    assert not found[0, 1].any() and found[0, 0].any() and found[0, 2].any()


def test_no_step_is_beyond_f16_whatever_the_spread():
    """GPUs and ARM compute in it: 255 / spread would be infinite there, and every map all 255."""
    entry = op.parameter([1, 1, 2, 3], np.float32)
    grey = to_grey(entry.output(0))
    model = ov.Model([op.result(grey)], [entry], "grey")
    steps = [
        node.output(0) for node in model.get_ordered_ops() if node.get_output_size() and node.get_output_element_type(0).is_real()
    ]
    model.add_results([op.result(step) for step in steps if step.get_node().get_type_name() != "Result"])
    values = np.linspace(0, 1e-4, 6, dtype=np.float32).reshape(1, 1, 2, 3)
    found = list(ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([values]).values())
    assert found[0].max() == 255
    assert max(np.abs(step).max() for step in found[1:]) <= np.finfo(np.float16).max
