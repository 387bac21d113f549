"""Sizes that shapes leave open inside a model are measured, except where they count what a picture holds."""

import numpy as np
import pytest
from openvino import opset13 as op

from helpers.detectors import anchored, const, conv, model, pyramid, rows, site_of, with_nms
from ovxai.graph.graph import Graph
from ovxai.graph.sizes import measured_sizes, open_ports


def bounded(x, y):
    """y, cut along its batch to an end that is computed from the picture, and is always 1: known as 0 to 1."""
    zero = op.multiply(op.reduce_mean(x, const(0, 1, 2, 3)), op.constant(np.float32(0)))
    end = op.unsqueeze(op.convert(op.add(zero, op.constant(np.float32(1))), "i64"), op.constant(np.int64(0)))
    return op.slice(y, const(0), end, const(1), const(0))


def detector(levels=2):
    x, features = pyramid(levels=levels)
    features = [bounded(x, f) for f in features]
    scores = op.concat([rows(conv(f, 5, name=f"cls{i}"), 5) for i, f in enumerate(features)], 1)
    boxes = op.concat([rows(conv(f, 4), 4) for f in features], 1)
    return model(x, [boxes, op.sigmoid(scores)])


def test_a_detector_whose_batch_is_only_bounded():
    toy = detector()
    assert open_ports(toy.get_ordered_ops())
    site = site_of(toy)
    assert site and site.classes == 5 and [level.grid for level in site.levels] == [(8, 12), (4, 6)], site
    graph = Graph(toy)
    assert all(graph.shape(port) is not None for port in graph.results)


@pytest.mark.parametrize("build", [with_nms, anchored])
def test_nothing_is_measured_where_sizes_are_known_or_count_what_was_found(build):
    assert not measured_sizes(build())


def test_sizes_that_differ_from_picture_to_picture_stay_open():
    x, features = pyramid(levels=1)
    y = op.reshape(features[0], const(1, -1), False)
    share = op.abs(op.reduce_mean(op.sin(op.multiply(x, op.constant(np.float32(1000)))), const(0, 1, 2, 3)))
    end = op.convert(op.add(op.multiply(share, op.constant(np.float32(1e4))), op.constant(np.float32(3))), "i64")
    cut = op.slice(
        y, const(0), op.unsqueeze(op.minimum(end, op.constant(np.int64(700))), op.constant(np.int64(0))), const(1), const(1)
    )
    toy = model(x, [op.exp(cut)])
    assert open_ports(toy.get_ordered_ops()) and not any(len(sizes) == 2 for sizes in measured_sizes(toy).values())
