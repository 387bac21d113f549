"""Insertion, deletion, ROAD and their like, against loops over pixels that know nothing of the package's code."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ovxai.errors import UsageError
from ovxai.evaluation.curves import (
    Sight,
    average_drop,
    blur_kernel,
    deletion,
    increased,
    insertion,
    masked_picture,
    max_sensitivity,
    ranks,
)
from ovxai.evaluation.road import imputed, road

HEIGHT, WIDTH = 12, 20
CONTENT = (0, 3, 20, 7)
WEIGHTS = np.random.default_rng(1).random((3, HEIGHT, WIDTH)).astype(np.float32)


def sight(planar=True, kind=np.float32, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (3, HEIGHT, WIDTH)).astype(kind)
    return Sight(values if planar else np.moveaxis(values, 0, -1), planar, CONTENT, np.zeros(3, np.float32))


def scores(tensors):
    """A score 0..1 that every pixel moves by its own weight."""
    found = []
    for tensor in tensors:
        planes = tensor if tensor.shape[0] == 3 else np.moveaxis(tensor, -1, 0)
        found.append(1 / (1 + np.exp(-(planes.astype(np.float64) * WEIGHTS).mean() / 20)))
    return np.array(found)


def slow_area(view, heat, steps, *, shown, fill):
    """Pixel by pixel, on a copy of the picture."""
    x, y, width, height = view.content
    tensor = view.tensor if view.planar else np.moveaxis(view.tensor, -1, 0)
    order = sorted((-heat[r, c], r, c) for r in range(height) for c in range(width))
    empty = np.array(tensor, np.float64)
    for channel in range(3):
        seen = empty[channel, y : y + height, x : x + width]
        seen[:] = seen.mean() if fill == "mean" else 0
        if tensor.dtype == np.uint8:
            seen[:] = np.rint(seen)
    curve = []
    for step in range(steps + 1):
        picture = empty.copy() if shown else np.array(tensor, np.float64)
        for _, row, column in order[: round(step * len(order) / steps)]:
            source = tensor if shown else empty
            picture[:, y + row, x + column] = source[:, y + row, x + column]
        curve.append(scores([picture])[0])
    return sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / steps


@pytest.mark.parametrize("planar", [True, False])
@pytest.mark.parametrize("kind", [np.float32, np.uint8])
@pytest.mark.parametrize("fill", ["mean", "zero"])
def test_areas_are_those_of_a_loop_over_pixels(planar, kind, fill):
    view, heat = sight(planar, kind), np.random.default_rng(2).permutation(7 * 20).reshape(7, 20)
    for function, shown in ((insertion, True), (deletion, False)):
        found = function(view, heat, scores, fill, 9)
        assert found.area == pytest.approx(slow_area(view, heat, 9, shown=shown, fill=fill), abs=1e-6)
        assert len(found.scores) == 10


def test_a_blur_keeps_the_padding_and_flattens_the_content():
    view = sight()
    made = view.filled("blur")
    x, y, width, height = CONTENT
    inside = np.s_[:, y : y + height, x : x + width]
    outside = np.ones_like(made, bool)
    outside[inside] = False
    assert np.array_equal(made[outside], view.tensor[outside])
    assert made[inside].std() < 0.6 * view.tensor[inside].std()
    assert made[inside].mean() == pytest.approx(view.tensor[inside].mean(), rel=0.1)


@pytest.mark.parametrize(
    "width, length, sigma", [(224, 11, 5.0), (96, 5, 5 * 96 / 224), (416, 21, 5 * 416 / 224), (640, 31, 5 * 640 / 224)]
)
def test_the_blur_is_rises(width, length, sigma):
    """Its gkern: scipy's gaussian_filter of a one in the middle, with ends that reflect, cut at four sigma."""
    reach = int(4 * sigma + 0.5)
    around = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    one = np.zeros(length)
    one[length // 2] = 1
    expected = np.convolve(np.pad(one, reach, "symmetric"), around / around.sum(), "valid")
    found = blur_kernel(width)
    assert found == pytest.approx(expected, abs=1e-5) and found.sum() == pytest.approx(1, abs=1e-5)
    cut_off = np.exp(-0.5 * (np.arange(length) - length // 2) ** 2 / sigma**2)
    assert found.max() / found.min() < cut_off.max() / cut_off.min()


def test_narrow_pictures_are_blurred_as_well():
    assert [len(blur_kernel(width)) for width in (1, 8, 61, 70)] == [3, 3, 3, 3] and blur_kernel(4).max() < 0.5
    view = sight()
    x, y, width, height = CONTENT
    planes, kernel = view.tensor[:, y : y + height, x : x + width], blur_kernel(width)
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)), "reflect")
    slow = sum(
        kernel[down] * kernel[across] * padded[:, down : down + height, across : across + width]
        for down in range(3)
        for across in range(3)
    )
    assert view.filled("blur")[:, y : y + height, x : x + width] == pytest.approx(slow, abs=1e-3)


def test_the_order_of_equal_pixels_is_drawn_and_repeats():
    flat = np.zeros((30, 40))
    first = ranks(flat, 5)
    assert np.array_equal(first, ranks(flat, 5)) and not np.array_equal(first, ranks(flat, 6))
    assert sorted(first.reshape(-1)) == list(range(1200))
    assert abs(first[:15].mean() - first[15:].mean()) < 60
    mixed = np.random.default_rng(0).integers(0, 3, (30, 40))
    places = ranks(mixed)
    assert places[mixed == 2].max() < places[mixed == 1].min() and places[mixed == 1].max() < places[mixed == 0].min()


def test_curves_end_where_the_other_begins():
    view, heat = sight(), np.random.default_rng(2).random((7, 20))
    shown, taken = insertion(view, heat, scores, "zero", 4), deletion(view, heat, scores, "zero", 4)
    assert shown.scores[0] == taken.scores[-1] and shown.scores[-1] == taken.scores[0] == scores([view.tensor])[0]


def test_a_picture_times_its_map():
    view, heat = sight(), np.random.default_rng(2).random((7, 20))
    made = masked_picture(view, heat, "zero")
    x, y, width, height = CONTENT
    share = (heat - heat.min()) / (heat.max() - heat.min())
    assert made[:, y : y + height, x : x + width] == pytest.approx(
        view.tensor[:, y : y + height, x : x + width] * share, abs=1e-3
    )
    assert np.array_equal(made[:, :y], view.tensor[:, :y])


@pytest.mark.parametrize("before, after, drop, up", [(0.8, 0.2, 0.75, 0.0), (0.2, 0.8, 0.0, 1.0), (0.0, 0.0, 0.0, 0.0)])
def test_drop_and_increase(before, after, drop, up):
    assert average_drop(before, after) == pytest.approx(drop) and increased(before, after) == up


def test_sensitivity_is_the_largest_change():
    heat, random = np.arange(12.0).reshape(3, 4), np.random.default_rng(0)
    others = [heat + random.random((3, 4)) for _ in range(3)]
    units = [(one - one.min()) / (one.max() - one.min()) for one in (heat, *others)]
    expected = max(np.sqrt(((one - units[0]) ** 2).sum()) for one in units[1:]) / np.sqrt((units[0] ** 2).sum())
    assert max_sensitivity(heat, others) == pytest.approx(expected, rel=1e-5)
    flat = np.ones((3, 4))
    assert (max_sensitivity(flat, [flat]), max_sensitivity(flat, others), max_sensitivity(heat, [])) == (0.0, 1.0, 0.0)


def slow_imputation(plane, removed):
    """The sparse system of ROAD, solved densely."""
    spots = {tuple(spot): i for i, spot in enumerate(np.argwhere(removed))}
    matrix, right = np.zeros((len(spots), len(spots))), np.zeros(len(spots))
    for (row, column), i in spots.items():
        for down, across in np.ndindex(3, 3):
            near = (row + down - 1, column + across - 1)
            weight = {0: 0.0, 1: 1 / 6, 2: 1 / 12}[abs(down - 1) + abs(across - 1)]
            if not weight or not (0 <= near[0] < plane.shape[0] and 0 <= near[1] < plane.shape[1]):
                continue
            matrix[i, i] += weight
            if near in spots:
                matrix[i, spots[near]] -= weight
            else:
                right[i] += weight * plane[near]
    made = plane.astype(np.float64).copy()
    for spot, value in zip(spots, np.linalg.solve(matrix, right)):
        made[spot] = value
    return made


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_imputation_solves_the_system(share):
    random = np.random.default_rng(4)
    plane = random.normal(size=(15, 22)).astype(np.float32)
    smooth = np.add.outer(np.abs(np.arange(15) - 6), np.abs(np.arange(22) - 9))
    removed = smooth < np.quantile(smooth, share)
    assert imputed(plane[None], removed)[0] == pytest.approx(slow_imputation(plane, removed), abs=2e-3 * float(np.ptp(plane)))


def test_imputation_of_nothing_and_of_all():
    planes = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert np.array_equal(imputed(planes, np.zeros((3, 4), bool)), planes)
    assert np.array_equal(imputed(planes, np.ones((3, 4), bool))[:, 0, 0], planes.mean(axis=(1, 2)))


def test_road_prefers_the_map_that_knows_the_score():
    view = sight()
    x, y, width, height = CONTENT
    known = (WEIGHTS * (view.tensor - view.tensor.mean()))[:, y : y + height, x : x + width].sum(axis=0)
    assert road(view, known, scores) > 0 > road(view, -known, scores)
    assert road(view, known, scores) == pytest.approx(-road(view, -known, scores), abs=1e-6)


def test_an_unknown_fill_is_wrong_usage():
    with pytest.raises(UsageError, match="blur, mean, zero"):
        sight().filled("pink")
