"""The numbers of docs/collapse.md: a head of two channels and two classes over a map of 2 x 2."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.oracle import Case, outcome

#: [N, c, h, w]
FEATURES = np.array([[[[2, 0], [1, 3]], [[0, 4], [1, 1]]]], np.float32)


def worked(mask: str) -> Case:
    entry = op.parameter([1, 2, 2, 2], np.float32)
    features = op.multiply(entry, np.float32(2))
    features.set_friendly_name("features")
    biased = op.add(features, np.array([1, -2], np.float32).reshape(1, 2, 1, 1))
    pooled = op.reduce_mean(op.relu(biased), np.array([2, 3]), False)
    scores = op.matmul(pooled, np.array([[1, 0], [0, 2]], np.float32), False, True)
    return Case(ov.Model([op.result(scores)], [entry], "worked"), (FEATURES / 2,), grid=(2, 2), mask=mask)


@pytest.mark.parametrize("way", ["maps", "truth"])
def test_the_point_mask(way):
    found = outcome(worked("point"))
    assert not found.dense
    np.testing.assert_allclose(getattr(found, way)[0], [[1.5, 1.0, 1.25, 1.75], [0.0, 1.0, 0.0, 0.0]], atol=1e-6)


@pytest.mark.parametrize("way", ["maps", "truth"])
def test_the_gaussian_mask(way):
    found = outcome(worked("gaussian"))
    assert not found.dense
    np.testing.assert_allclose(getattr(found, way)[0, :, 0], [1.203125, 0.0], atol=1e-6)
