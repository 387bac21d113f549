"""How maps come out in a low precision, and how much of a deviation is the definition's own rounding in f32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers.tiny_models import Tokens
from ovxai.errors import UnsupportedModelError
from ovxai.metadata import SALIENCY_MAP
from ovxai.verification import PrecisionReport, measure_precision, verify
from ovxai.verification.classification import rounding
from ovxai.verification.judgement import _compare
from ovxai.verification.maps import Definition, Noise, tolerance_of

RNG = np.random.default_rng(5)


def explained(scale: bool = False) -> ov.Model:
    return ovxai.insert(Tokens().model, scale=scale, probe=False)


def feed(model: ov.Model) -> dict[int, np.ndarray]:
    shape = [dim.get_length() if dim.is_static else 2 for dim in model.inputs[0].get_partial_shape()]
    return {0: RNG.random(shape).astype(np.float32)}


def measured(model: ov.Model, precision: str) -> PrecisionReport:
    try:
        return measure_precision(model, [feed(model)], precision)
    except UnsupportedModelError as error:
        pytest.skip(str(error))


def rounded_away(model: ov.Model) -> ov.Model:
    """The same maps by way of sums that a low precision can't hold."""
    place = next(i for i, port in enumerate(model.outputs) if SALIENCY_MAP in port.get_names())
    result = model.get_results()[place]
    maps = result.input_value(0)
    shape = maps.get_partial_shape()
    big = op.reshape(op.add(maps, np.full([1, 1, 1, 1], 4096, np.float32)), np.array([1, -1]), False)
    stored = op.reshape(op.matmul(big, np.array([[1.0]], np.float32), True, False), shape.to_shape(), False)
    maps.get_tensor().set_names(set())
    again = op.subtract(stored, np.float32(4096)).output(0)
    again.get_tensor().set_names({SALIENCY_MAP})
    result.input(0).replace_source_output(again)
    model.validate_nodes_and_infer_types()
    return model


def test_exact_arithmetic_against_itself():
    report = measured(explained(), "f32")
    assert report.rows and report.worst == pytest.approx(1.0, abs=1e-9) and report.ok


def test_a_low_precision_keeps_the_maps_of_a_class_token():
    report = measured(explained(), "bf16")
    assert report.precision == "bf16" and report.worst > 0.999


def test_maps_that_are_rounded_away_do_not_hold():
    report = measured(rounded_away(explained()), "bf16")
    assert not report.ok and report.worst < 0.99


def test_what_is_no_precision_of_the_device_is_said(monkeypatch):
    monkeypatch.setattr(ov.CompiledModel, "get_property", lambda *_: ov.Type.f32)
    with pytest.raises(UnsupportedModelError, match="precision bf16: CPU does not compute in it here, it took f32"):
        measure_precision(explained(), [{}], "bf16")


def test_verify_has_a_check_for_it():
    model = explained(scale=True)
    measured(model, "bf16")  # or skipped
    check = next(check for check in verify(model, precision="bf16").checks if check.name == "precision")
    assert check.ok and check.detail.startswith("bf16: correlation with exact arithmetic")


def test_rounding_is_the_deviation_of_one_definition():
    """Two definitions that are each off by sigma differ by sqrt(2) of it; what all cells share stands apart."""
    sigma, shape = 0.01, (2, 5, 20, 20)
    truth = RNG.standard_normal(shape)

    def rows(_gated):
        return truth + sigma * RNG.standard_normal(shape) + 3.0 * RNG.standard_normal((2, 5, 1, 1))

    noise = rounding(rows([]), rows, [np.ones((2, 4), np.float32)])
    assert [one.cell for one in noise] == pytest.approx([sigma, sigma], rel=0.1)
    assert [one.level for one in noise] == pytest.approx([3.0, 3.0], rel=0.6)


@pytest.fixture
def noisy() -> Definition:
    """A definition that f32 moves by half a per cent of its spread, five times what maps may be off by."""
    truth = RNG.standard_normal((1, 3, 8, 8))
    return Definition(maps=truth + 0.005 * RNG.standard_normal(truth.shape), noise=lambda: [Noise(cell=0.005, level=0.01)])


def test_a_map_nearer_to_the_truth_than_the_definition_holds(noisy):
    maps = noisy.maps[0] - 0.005 * RNG.standard_normal((3, 8, 8))
    assert _compare(maps.astype(np.float32), replace(noisy, noise=None), 0, np.arange(3), scaled=False).units > 1
    row = _compare(maps.astype(np.float32), noisy, 0, np.arange(3), scaled=False)
    assert row.units <= 1 and row.noise == pytest.approx(0.005, rel=0.2)
    assert row.tolerance == pytest.approx(tolerance_of(noisy.maps[0]) + 0.025)


def test_a_level_within_the_definitions_own_moves_no_map(noisy):
    moved = noisy.maps[0] + np.array([0.04, -0.04, 0.0])[:, None, None]
    assert _compare(moved.astype(np.float32), noisy, 0, np.arange(3), scaled=False).units <= 1
    assert _compare((moved + 0.2).astype(np.float32), noisy, 0, np.arange(3), scaled=False).units > 1


def planted(maps: np.ndarray, fault: str) -> np.ndarray:
    spread = np.ptp(maps[1])
    one_cell = maps.copy()
    one_cell[1, 3, 4] += 3 / 255 * spread * 2
    return {
        "a cell shifted": np.roll(maps, 1, axis=2),
        "transposed": maps.transpose(0, 2, 1),
        "scaled twice": 2 * maps,
        "classes swapped": maps[::-1],
        "one cell off": one_cell,
    }[fault]


@pytest.mark.parametrize("fault", ["a cell shifted", "transposed", "scaled twice", "classes swapped", "one cell off"])
def test_noise_excuses_no_fault(noisy, fault):
    maps = planted(noisy.maps[0], fault).astype(np.float32)
    assert _compare(maps, noisy, 0, np.arange(3), scaled=False).units > 1
