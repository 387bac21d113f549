"""Complexity, coherency, ADCC, Gini and the bootstrap, against their formulas written out."""

from __future__ import annotations

import numpy as np
import pytest

from ovxai.evaluation.intervals import bootstrap, mean_of, ratio_of
from ovxai.evaluation.shapes import adcc, coherency, complexity, sparseness, unit_map

MAPS = [np.random.default_rng(seed).gamma(0.5, size=(9, 13)) for seed in range(5)]
#: Nothing to say, or not a number at all.
ODD = [np.zeros((4, 5)), np.full((4, 5), 7.0), np.full((4, 5), np.nan), np.array([[np.inf, 1.0, -np.inf]]), np.ones((1, 1))]


@pytest.mark.parametrize("heat", MAPS)
def test_figures_are_those_of_their_formulas(heat):
    scaled = (heat - heat.min()) / (heat.max() - heat.min())
    assert unit_map(heat) == pytest.approx(scaled, abs=1e-6)
    assert complexity(heat) == pytest.approx(np.abs(scaled).sum() / heat.size, abs=1e-6)
    again = heat + 0.3 * MAPS[0].T.reshape(heat.shape)
    assert coherency(heat, again) == pytest.approx((np.corrcoef(heat.ravel(), again.ravel())[0, 1] + 1) / 2, abs=1e-6)
    pairs = np.abs(np.subtract.outer(heat.ravel(), heat.ravel())).sum()
    assert sparseness(heat) == pytest.approx(pairs / (2 * heat.size**2 * heat.mean()), abs=1e-9)


def test_adcc_is_the_harmonic_mean():
    assert adcc(0.2, 0.9, 0.4) == pytest.approx(3 / (1 / 0.8 + 1 / 0.9 + 1 / 0.6))
    assert adcc(1.0, 0.9, 0.4) == adcc(0.2, 0.0, 0.4) == adcc(0.2, 0.9, 1.0) == 0.0


@pytest.mark.parametrize("heat", ODD)
def test_nothing_is_ever_no_number(heat):
    for value in (complexity(heat), coherency(heat, heat), sparseness(heat), *unit_map(heat).ravel()):
        assert np.isfinite(value) and 0 <= value <= 1


def interval(*arguments):
    found = bootstrap(*arguments)
    assert found is not None
    return found


def test_the_interval_holds_the_mean_as_often_as_it_says():
    random, hits = np.random.default_rng(0), 0
    for trial in range(200):
        values = random.normal(3, 1, 40)
        low, high = interval(values[:, None], range(40), mean_of, trial)
        hits += low <= 3 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_interval_draws_pictures_not_maps_and_repeats():
    values, pictures = np.repeat([[0.0], [1.0]], 50, axis=0), np.repeat([0, 1], 50)
    assert bootstrap(values, pictures, mean_of) == (0.0, 1.0)
    alone = interval(values, range(100), mean_of)
    assert alone == bootstrap(values, range(100), mean_of) and 0.35 < alone[0] < alone[1] < 0.65
    assert bootstrap([[1.0]], [0], mean_of) is None


def test_a_ratio_of_means_against_a_loop():
    random = np.random.default_rng(0)
    rows = random.random((12, 2))
    low, high = interval(rows, range(12), ratio_of, 7)
    drawn = np.random.default_rng(7).integers(0, 12, (1000, 12))
    ratios = [rows[draw, 0].mean() / rows[draw, 1].mean() for draw in drawn]
    assert (low, high) == pytest.approx(tuple(np.percentile(ratios, [2.5, 97.5])))
    assert bootstrap(np.zeros((3, 2)), range(3), ratio_of) == (0.0, 0.0)
