"""The array work of the verification, on arrays whose answers are known: gates, resizing, grey levels, deviations."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.values import numbers
from ovxai.errors import UnsupportedModelError
from ovxai.verification.beside import check_index, classes_of
from ovxai.verification.classification import Positions, gate
from ovxai.verification.keeping import difference
from ovxai.verification.maps import bilinear, compare_raw, compare_scaled, grey_levels, sampled

SQUARE = np.array([[0.0, 4.0], [8.0, 12.0]])


def test_a_gaussian_gate_is_cut_off_at_the_border():
    corner = gate("gaussian", (0, 0), 3, 4) * 16
    assert corner.tolist() == [[4, 2, 0, 0], [2, 1, 0, 0], [0, 0, 0, 0]]
    assert gate("point", (2, 3), 3, 4).sum() == 1 and gate("point", (2, 3), 3, 4)[2, 3] == 1
    with pytest.raises(UnsupportedModelError, match="mask"):
        gate("box", (0, 0), 3, 4)


@pytest.mark.parametrize(
    "layout, shape", [("NCHW", (2, 5, 3, 4)), ("NHWC", (2, 3, 4, 5)), ("NPC", (2, 14, 5)), ("NCP", (2, 5, 14))]
)
def test_a_gate_lets_one_place_of_any_layout_through(layout, shape):
    """Tokens in front of the grid and behind it pass ungated."""
    tensor, prefix = numbers(*shape), 1 if len(shape) == 3 else 0
    positions = Positions(layout, 3, 4, prefix)
    gated = positions.gated(tensor, gate("point", (1, 2), 3, 4))
    before, after = positions.to_nchw(tensor), positions.to_nchw(gated)
    assert np.array_equal(after[:, :, 1, 2], before[:, :, 1, 2])
    after[:, :, 1, 2] = 0
    assert not after.any()
    outside = {"NPC": np.s_[:, [0, 13]], "NCP": np.s_[:, :, [0, 13]]}.get(layout)
    assert outside is None or np.array_equal(gated[outside], tensor[outside])


def test_sampling_between_centres_and_beyond_the_edge():
    places = np.array([-1.0, 0.0, 0.25, 1.0, 2.0])
    assert sampled(SQUARE, np.array([0.5]), places).tolist() == [[4, 4, 5, 8, 8]]
    assert bilinear(SQUARE, 2, 4)[0].tolist() == [0, 1, 3, 4]
    assert bilinear(SQUARE, 2, 2) is SQUARE


def test_an_axis_that_stays_does_not_spread_what_is_infinite():
    maps = np.array([[-np.inf, -np.inf], [1.0, 2.0]])
    with np.errstate(invalid="ignore"):
        assert bilinear(maps, 2, 4)[1].tolist() == [1, 1.25, 1.75, 2]


def test_grey_levels_are_cut_off_to_whole_numbers():
    assert grey_levels(SQUARE).tolist() == [[0, 85], [170, 255]]
    assert grey_levels(SQUARE, 2 * SQUARE).tolist() == [[0, 42], [85, 127]]
    assert not grey_levels(np.full((2, 2), 3.0)).any()


def test_a_deviation_is_told_with_its_place():
    wanted = np.stack([SQUARE, -SQUARE])
    found = wanted.copy()
    found[1, 0, 1] += 1
    result = compare_raw(found, wanted)
    assert (result.worst_class, result.worst_cell, result.deviation) == (1, (0, 1), 1.0) and result.units > 1
    assert compare_raw(found, wanted, doubtful=found != wanted).units == 0
    assert compare_raw(found, wanted, between=(wanted, wanted + 1)).units == 0


def test_a_grey_map_may_be_a_level_off_and_no_more():
    wanted = SQUARE[None]
    grey = grey_levels(wanted).astype(np.uint8)
    assert compare_scaled(grey, wanted).units == 0
    assert compare_scaled(grey + np.array([[[0, 1], [0, 0]]], np.uint8), wanted).units <= 1
    assert compare_scaled(grey + np.array([[[0, 3], [0, 0]]], np.uint8), wanted).units > 1


@pytest.mark.parametrize("found, wanted, expected", [
    ([1.0, 2.0], [1.0, 2.5], 0.2), ([np.nan, 1.0], [np.nan, 1.0], 0.0), ([np.nan, 1.0], [0.0, 1.0], np.inf),
    ([np.inf], [-np.inf], np.inf), ([], [], 0.0),
])  # fmt: skip
def test_differences_are_relative_to_the_largest_value(found, wanted, expected):
    assert difference(np.array(found), np.array(wanted)) == pytest.approx(expected)


def test_which_classes_the_maps_are_of():
    assert classes_of("all", None, 3).tolist() == [0, 1, 2] and classes_of("0,2", None, 3).tolist() == [0, 2]
    assert classes_of("top:2", np.array([[2, 0]]), 3).tolist() == [2, 0]
    for text in ("top:2", "some"):
        with pytest.raises(UnsupportedModelError):
            classes_of(text, None, 3)


def test_equal_scores_may_stand_in_any_order():
    ranking = np.array([[0.5, 0.9, 0.5]])
    for index, ok in (([1, 0], True), ([1, 2], True), ([0, 1], False), ([1, 1], False), ([1, 3], False)):
        assert check_index("top:2", np.array([[index]]), ranking, 3).ok is ok
    assert check_index("top:2", np.array([[[1, 0]]]), None, 3).ok is None
