"""Energy and pointing game, on arrays whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from ovxai.annotations import TrueObject
from ovxai.errors import OptionError
from ovxai.evaluation import energy, energy_over_area, pointing
from ovxai.evaluation.cases import _best_match
from ovxai.evaluation.columns import _of_box
from ovxai.evaluation.metrics import SAME_OBJECT, common_areas, overlaps
from ovxai.evaluation.truth import _overlap
from ovxai.runtime.explanation import BoxMap
from ovxai.runtime.predict.formats import Prediction

HEAT = np.array([[0, 1, 2], [1, 8, 4]])
LEFT = np.array([[True, False, False], [True, False, False]])
PEAK = np.array([[False, False, False], [False, True, False]])


@pytest.mark.parametrize("inside, expected", [
    (LEFT, 1 / 16), (PEAK, 8 / 16), (~PEAK, 8 / 16), (np.ones((2, 3), bool), 1.0), (np.zeros((2, 3), bool), 0.0),
])  # fmt: skip
def test_energy_is_the_share_inside(inside, expected):
    assert energy(HEAT, inside) == expected
    assert energy(HEAT * 1e-3, inside) == pytest.approx(expected)


def test_energy_of_grey_maps_does_not_overflow():
    heat = np.full((20, 20), 255, np.uint8)
    half = np.arange(20) < 10
    assert energy(heat, np.broadcast_to(half, (20, 20))) == 0.5


def test_a_map_of_zeros_has_no_energy():
    assert energy(np.zeros((2, 3)), LEFT) == 0.0


def test_a_flat_map_has_the_energy_of_the_area():
    shares = [energy(np.ones((2, 3)), inside) for inside in (LEFT, PEAK)]
    assert energy_over_area(shares, [LEFT.mean(), PEAK.mean()]) == pytest.approx(1.0)


def test_energy_over_area_is_mean_over_mean():
    assert energy_over_area([0.5, 0.7], [0.1, 0.3]) == pytest.approx(3.0)


@pytest.mark.parametrize("inside, hit", [(PEAK, 1.0), (LEFT, 0.0), (~PEAK, 0.0)])
def test_pointing_asks_for_the_peak(inside, hit):
    assert pointing(HEAT, inside) == hit


def test_of_equal_peaks_the_share_counts():
    heat = np.array([[0, 5, 0], [5, 0, 5]])
    assert pointing(heat, heat * np.array([[1], [0]]) > 0) == pytest.approx(1 / 3)
    assert pointing(heat, heat * np.array([[0], [1]]) > 0) == pytest.approx(2 / 3)
    assert pointing(heat, heat > 0) == 1.0


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.5, 15.0])
def test_the_tolerance_is_a_distance_in_pixels(tolerance):
    """Against every pair of peak and pixel of the region."""
    random = np.random.default_rng(3)
    for _ in range(20):
        heat, inside = random.integers(0, 4, (17, 23)), random.random((17, 23)) > 0.97
        spots, peaks = np.argwhere(inside), np.argwhere(heat == heat.max())
        near = [len(spots) > 0 and np.hypot(*(spots - peak).T).min() <= tolerance for peak in peaks]
        assert pointing(heat, inside, tolerance) == pytest.approx(np.mean(near))


def test_a_flat_map_points_nowhere():
    assert not pointing(np.ones((2, 3)), np.ones((2, 3), bool))
    assert not pointing(np.ones((2, 3)), np.ones((2, 3), bool), 15)


@pytest.mark.parametrize("call", [
    lambda: energy(HEAT, LEFT.T), lambda: pointing(HEAT, LEFT.T), lambda: energy(-HEAT, LEFT),
    lambda: energy_over_area([], []), lambda: energy_over_area([0.5], [0.0]), lambda: pointing(HEAT[None], LEFT[None]),
])  # fmt: skip
def test_what_has_no_meaning_is_refused(call):
    with pytest.raises(OptionError):
        call()


def test_boxes_that_share_half_of_their_union_show_the_same_object():
    """At the threshold itself as well, wherever it is asked: for a map per box, a box that is right, and a verdict."""
    half, less = (0.0, 0.0, 10.0, 20.0), (0.0, 0.0, 10.0, 19.0)
    whole = (0.0, 0.0, 20.0, 20.0)
    assert overlaps([half, less], whole).tolist() == [0.5, 0.475] and common_areas([half], whole).tolist() == [200.0]
    for box, same in ((half, True), (less, False)):
        region = np.zeros((30, 30), bool)
        region[:20, :20] = True
        assert (_best_match(Prediction(0, "red", 0.9, box), [region]) is not None) is same
        assert (_of_box([BoxMap(0, whole, np.zeros((2, 2)))], 0, box) is not None) is same
        assert (_overlap(Prediction(0, "red", 0.9, box), TrueObject("red", whole)) >= SAME_OBJECT) is same
    assert _best_match(Prediction(0, "red", 0.9, whole), [np.zeros((30, 30), bool)]) is None
    assert _of_box([], 0, whole) is None
