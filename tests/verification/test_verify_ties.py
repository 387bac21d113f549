"""A value on the edge between two levels of a quantiser may be rounded either way, and nothing else may."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.tiny_models import CLASSES, explain, point_masks, scaled
from helpers.values import named, numbers
from ovxai.verification import verify
from ovxai.verification.classification import between

#: One level of the quantiser behind the pool.
STEP = 0.25
DEPTH, GRID = 3, (4, 5)
#: No weight is small: a level is seen in every class.
WEIGHTS = 1 + 0.2 * numbers(DEPTH, CLASSES)


class Stairs:
    """The picture is the feature map; the pool's sum is rounded to whole steps, then classified."""

    def __init__(self) -> None:
        self.image = op.parameter([1, DEPTH, *GRID], np.float32)
        self.features = named(op.relu(self.image), "features")
        logits = self.head(self.features)
        self.model = ov.Model([op.result(logits)], [self.image], "stairs")

    def head(self, features, shift: float = 0.0) -> ov.Node:
        """Logits of any number of pictures; `shift` is added in front of the quantiser, relative to the value."""
        pooled = op.multiply(op.reduce_sum(features, [2, 3], False), np.float32(1 + shift))
        ends = [np.float32(value) for value in (0, 255 * STEP)] * 2
        return op.matmul(op.fake_quantize(pooled, *ends, 256), WEIGHTS, False, False)

    def explained(self, shift: float = 0.0, grey: bool = False, wrong: float = 0.0) -> ov.Model:
        masks = point_masks(*GRID).reshape(20, 1, *GRID)
        rows = self.head(op.multiply(self.features, masks), shift)
        maps = op.reshape(op.transpose(rows, [1, 0]), [1, CLASSES, *GRID], False)
        maps = op.add(maps, (wrong * point_masks(*GRID)[7]).astype(np.float32))
        outputs = {"saliency_map": scaled(maps) if grey else maps, "feature_map": self.features}
        return explain(self.model, outputs, target_layers=("features",), layout="NCHW", scaled=grey)


def picture(*edges: tuple[int, int, int]) -> np.ndarray:
    """Values in the middle of their level, but at `edges` (channel, row, column) where they lie between two."""
    levels = np.random.default_rng(0).integers(1, 40, (1, DEPTH, *GRID)).astype(np.float32)
    for place in edges:
        spot = (0, *place)
        levels[spot] += 0.5
    return levels * STEP


EDGES = ((1, 2, 3), (2, 0, 0))


@pytest.mark.parametrize("grey", [False, True], ids=["raw", "grey"])
def test_either_side_of_an_edge_is_right(grey):
    """One of the two shifts goes where the definition's own rounding goes, or each crosses one of the edges."""
    reports = [verify(Stairs().explained(shift, grey), picture(*EDGES)) for shift in (-3e-7, 3e-7)]
    assert all(report.ok for report in reports)
    assert max(report.rows[0].on_edge for report in reports) == len(EDGES) * CLASSES


@pytest.mark.parametrize("grey", [False, True], ids=["raw", "grey"])
def test_a_whole_level_off_is_wrong_where_nothing_lies_on_an_edge(grey):
    """A shift of three percent moves large values by a level: no rounding of floats does that."""
    report = verify(Stairs().explained(0.03, grey), picture())
    assert not report.ok and report.rows[0].on_edge == 0


@pytest.mark.parametrize("grey", [False, True], ids=["raw", "grey"])
def test_an_edge_excuses_no_other_cell(grey):
    """One level more at a cell that lies on no edge."""
    report = verify(Stairs().explained(3e-7, grey, wrong=STEP), picture(*EDGES))
    row = report.rows[0]
    assert not report.ok and row.worst_cell == (1, 2)
    assert row.on_edge == len(EDGES) * CLASSES


def test_what_moves_one_class_under_a_mask_may_move_every_class_under_it():
    """Two quantisers seldom cross their edges together in a few tries; under the other mask nothing is on an edge."""
    maps = np.array([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # [1, two classes, 1, two masks]

    def rows(_gated, shifts):
        found = maps.copy()
        found[0, 0, 0, 0] += STEP if shifts[0].item() > 0 else 0.0
        return found

    low, high = between(maps, rows, [], [(1,)])
    assert np.array_equal(high[0, :, 0], [[1 + 2 * STEP, 2], [3 + STEP, 4]])
    assert np.array_equal(low[0, :, 0], [[1 - STEP, 2], [3 - STEP, 4]])
