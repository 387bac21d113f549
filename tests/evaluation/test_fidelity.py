"""Map correlation and top-class agreement, on arrays whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from ovxai.evaluation import fidelity, map_correlation

RAMP = np.arange(12.0).reshape(3, 4)
HILL = np.array([[0.0, 1.0, 0.0], [1.0, 4.0, 1.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True)
class Said:
    top: int | None
    maps: np.ndarray


@pytest.mark.parametrize("other, expected", [
    (RAMP, 1.0),
    (3 * RAMP + 7, 1.0),  # scale and offset don't matter
    (-RAMP, -1.0),
    (RAMP[:, ::-1], 1 - 2 * 15 / 143),  # within rows of four against: 3 rows of variance 5, of 143 in all
    (np.full((3, 4), 2.0), 0.0),  # flat: no evidence
])  # fmt: skip
def test_correlation_with_a_ramp(other, expected):
    assert map_correlation(RAMP, other) == pytest.approx(expected, abs=1e-12)
    assert map_correlation(other, RAMP) == pytest.approx(expected, abs=1e-12)


def test_two_flat_maps_say_the_same():
    assert map_correlation(np.zeros((3, 4)), np.full((3, 4), 5.0)) == 1.0
    # What rounding leaves of a constant is no evidence either.
    assert map_correlation(1 + 1e-8 * RAMP, np.ones((3, 4))) == 1.0


def test_grey_maps_don_t_wrap_around():
    grey = (RAMP * 20).astype(np.uint8)
    assert map_correlation(grey, 255 - grey) == pytest.approx(-1.0)


def test_the_reference_chooses_the_class():
    """Top classes differ in one of three pictures; compared is always the reference's own class."""
    maps = np.stack([HILL, HILL.T[::-1], 2 * HILL])
    spoiled = np.stack([HILL, -HILL, 2 * HILL])
    reference = [Said(0, maps), Said(1, maps), Said(2, maps)]
    other = [Said(0, maps), Said(0, spoiled), Said(2, maps)]
    found = fidelity(["a", "b", "c"], reference, other)
    assert found is not None
    assert [name for name, _ in found.worst] == ["b", "a", "c"] and found.worst[0][1] == pytest.approx(-1.0)
    assert found.mean == pytest.approx(1 / 3) and found.agreement == pytest.approx(2 / 3)
    assert found.fifth == pytest.approx(np.percentile([-1, 1, 1], 5))
    assert (found.compared, found.pictures) == (3, 3)


def test_pictures_without_a_top_class_count_only_for_agreement():
    maps = HILL[None]
    found = fidelity(["a", "b"], [Said(None, maps), Said(0, maps)], [Said(None, maps), Said(0, maps)], worst=1)
    assert found is not None
    assert (found.compared, found.pictures, found.agreement) == (1, 2, 1.0) and len(found.worst) == 1


def test_nothing_found_anywhere_is_no_figure():
    assert fidelity(["a"], [Said(None, HILL[None])], [Said(0, HILL[None])]) is None


def test_a_class_that_has_no_map_is_left_out():
    """A hierarchical model may put a class first that its maps don't cover."""
    assert fidelity(["a"], [Said(3, HILL[None])], [Said(3, HILL[None])]) is None
