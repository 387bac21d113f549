"""Positions are the picture's or none: kinds of axes that a size alone would take for a grid, and grids that lie otherwise."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers as toys
from helpers import detectors
from helpers.requests import request
from helpers.values import named, numbers
from ovxai.errors import TargetLayerError
from ovxai.find.classifier.search import find_classifier
from ovxai.find.site import No
from ovxai.metadata import ExplainedInfo

#: As many as the feature map has cells, so that a count tells nothing.
CELLS = 12


def ints(*values):
    return op.constant(np.array(values, np.int64))


def site_of(model, **options):
    site = find_classifier(request(model, **options))
    assert not isinstance(site, No), site.reason
    return site


def refused(model, **options):
    site = find_classifier(request(model, **options))
    assert isinstance(site, No)
    return site.reason


def head(build, channels=CELLS, size=toys.SIZE):
    """What `build` makes of the feature map [1, channels, 3, 4], then a linear layer."""
    image = toys.picture(size=size)
    return toys.finished(toys.linear(build(toys.trunk(image, channels))), image)


def tokens(x):
    return op.transpose(op.reshape(x, ints(0, 0, -1), True), ints(0, 2, 1))


def latents(x):
    """Learnt queries that attend to the map's positions."""
    f, queries = tokens(x), numbers(1, CELLS, CELLS, seed=9)
    return op.relu(toys.linear(op.add(queries, toys.attention(queries, f, f)), CELLS))


def experts(x):
    """Of the pooled vector, weighed by a gate."""
    pooled = toys.mean(x)
    answers = op.relu(op.reshape(toys.linear(pooled, CELLS * CELLS), ints(1, CELLS, CELLS), False))
    gate = op.unsqueeze(op.softmax(toys.linear(pooled, CELLS, seed=8), 1), ints(2))
    return op.reduce_sum(op.multiply(answers, gate), ints(1), False)


NO_POSITIONS = {
    "channels: columns, then rows": lambda x: toys.mean(toys.mean(x, (3,)), (2,)),
    "channels: bent between": lambda x: toys.mean(op.relu(op.subtract(toys.mean(x, (3,)), np.float32(0.01))), (2,)),
    "channels: largest, then mean": lambda x: toys.mean(op.reduce_max(x, ints(2), False), (2,)),
    "channels: rows, then columns": lambda x: toys.mean(toys.mean(x, (2,)), (2,)),
    "channels: squeezed": lambda x: op.squeeze(toys.mean(toys.mean(x, (3,), True), (2,), True), ints(2, 3)),
    "latents": lambda x: toys.mean(latents(x), (1,)),
    "queries": lambda x: op.reduce_sum(op.multiply(latents(x), numbers(1, CELLS, CELLS, seed=7)), ints(2), False),
    "experts": experts,
}


@pytest.mark.parametrize("kind", NO_POSITIONS)
def test_what_is_no_axis_of_the_picture_is_no_grid(kind):
    tap = site_of(head(NO_POSITIONS[kind])).taps[0]
    assert tap.grid == toys.GRID
    assert tap.name == "features" or tap.layout == "NPC"  # as it is, or its tokens


def test_the_strongest_positions_are_no_grid():
    """Of the largest values nobody knows where they stood."""
    model = head(
        lambda x: toys.mean(op.topk(op.reshape(x, ints(0, 0, -1), True), np.int64(4), 2, "max", "value").output(0), (2,))
    )
    tap = site_of(model).taps[0]
    assert (tap.grid, tap.layout) == (toys.GRID, "NCP")


def test_what_is_no_axis_of_the_picture_can_not_be_asked_for():
    def build(x):
        return toys.mean(named(latents(x), "latents"), (1,))

    with pytest.raises(TargetLayerError, match=r"'latents' of shape .* no positions of the picture.*features \(3x4\)"):
        find_classifier(request(head(build), target_layer=("latents",)))


def test_heads_and_tokens_are_no_rows_and_columns():
    """[1, heads, tokens, size] of an attention."""

    def build(x):
        f = op.reshape(tokens(x), ints(1, CELLS, 3, 4), False)
        q = op.transpose(f, ints(0, 2, 1, 3))
        y = named(op.scaled_dot_product_attention(q, op.relu(q), q), "heads")
        return toys.mean(op.reshape(op.transpose(y, ints(0, 2, 1, 3)), ints(1, CELLS, CELLS), False), (1,))

    assert site_of(head(build)).taps[0].layout == "NPC"
    with pytest.raises(TargetLayerError, match="heads or groups beside rows of positions"):
        find_classifier(request(head(build), target_layer=("heads",)))


@pytest.mark.parametrize("strides", [(8, 1), (1, 8), (8, 2)])
def test_strides_of_their_own_per_side(strides):
    """The last map counts, however narrow it is."""
    image = toys.picture()
    weight = numbers(6, 5, 3, 3, seed=2)
    x = op.relu(toys.conv(image, 5, 3, 1))
    x = named(op.relu(op.convolution(x, weight, list(strides), [1, 1], [1, 1], [1, 1])), "narrow")
    tap = site_of(toys.finished(toys.linear(toys.mean(x)), image)).taps[0]
    grid = (-(-toys.SIZE[0] // strides[0]), -(-toys.SIZE[1] // strides[1]))
    assert (tap.name, tap.layout, tap.grid) == ("narrow", "NCHW", grid)


def steps(side):
    """A layer with weights along one side, after the other one is averaged away."""

    def build(x):
        row = toys.mean(x, (5 - side,))
        return toys.mean(named(op.relu(toys.linear(op.transpose(row, ints(0, 2, 1)), 7)), "steps"), (1,))

    return head(build)


@pytest.mark.parametrize(("side", "grid", "word"), [(2, (3, 1), "height"), (3, (1, 4), "width")])
def test_one_side_is_a_map_where_layers_work_along_it(side, grid, word):
    site = site_of(steps(side))
    assert (site.taps[0].name, site.taps[0].grid, site.taps[0].layout) == ("steps", grid, "NPC")
    assert len(site.notes) == 1 and f"along the picture's {word} alone" in site.notes[0]


def test_frames_in_the_batch_have_no_map_each():
    image = toys.picture(batch=4)
    pooled = toys.mean(toys.trunk(image))
    model = toys.finished(toys.linear(op.reduce_mean(pooled, ints(0), True)), image)
    assert "1 answer(s) for 4 pictures" in refused(model) and "frames" in refused(model)


def test_an_operation_that_is_not_followed_is_named():
    def build(x):
        warp = {"align_corners": False, "mode": "bilinear", "padding_mode": "zeros"}
        return toys.mean(op.relu(toys.conv(op.grid_sample(x, numbers(1, 3, 4, 2), warp), 6)))

    image = toys.picture()
    warped = op.grid_sample(
        image, numbers(1, *toys.SIZE, 2), {"align_corners": False, "mode": "bilinear", "padding_mode": "zeros"}
    )
    assert "GridSample" in refused(toys.finished(toys.linear(toys.mean(toys.trunk(warped))), image))
    assert site_of(head(build)).taps[0].name == "features"  # the last one whose places are known


# Grids that lie otherwise on the picture.

H, W = toys.SIZE


def turned(image, axis):
    size = (H, W)[axis - 2]
    return op.slice(image, ints(size - 1), ints(-size - 1), ints(-1), ints(axis))


GEOMETRY = {
    "as it is": (lambda x: x, (0, 0, 1, 1), "yx"),
    "crop": (lambda x: op.slice(x, ints(0, 16), ints(8, 32), ints(1, 1), ints(2, 3)), (0, 0.5, 1 / 3, 1), "yx"),
    "transpose": (lambda x: op.transpose(x, ints(0, 1, 3, 2)), (0, 0, 1, 1), "xy"),
    "pad": (lambda x: op.pad(x, ints(0, 0, 8, 0), ints(0, 0, 16, 32), "constant", np.float32(0)), (-1 / 3, 0, 5 / 3, 2), "yx"),
    "upside down": (lambda x: turned(x, 2), (0, 0, 1, 1), "-yx"),
    "mirrored": (lambda x: turned(x, 3), (0, 0, 1, 1), "y-x"),
    "turned and exchanged": (lambda x: op.transpose(turned(x, 2), ints(0, 1, 3, 2)), (0, 0, 1, 1), "x-y"),
    "resized": (
        lambda x: op.interpolate(x, ints(48, 48), "linear_onnx", "sizes", axes=ints(2, 3)), (0, 0, 1, 1), "yx",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", GEOMETRY)
def test_where_the_grid_lies(kind):
    change, box, axes = GEOMETRY[kind]
    image = toys.picture()
    site = site_of(toys.finished(toys.linear(toys.mean(toys.trunk(change(image)))), image))
    assert site.taps[0].name == "features" and site.frame.axes == axes
    np.testing.assert_allclose(site.frame.box, box, atol=1e-6)
    assert bool(site.notes) is not site.frame.plain


def test_tokens_column_by_column():
    def build(x):
        rows = op.reshape(op.transpose(x, ints(0, 3, 2, 1)), ints(1, CELLS, CELLS), False)
        return toys.mean(named(op.relu(toys.linear(toys.norm(rows), 6)), "columns"), (1,))

    site = site_of(head(build))
    assert (site.taps[0].name, site.taps[0].grid, site.frame.axes) == ("columns", (4, 3), "xy")


def test_tokens_window_by_window():
    """Windows are an order of their own: the last tensor that is a grid counts."""

    def build(x):
        windows = op.transpose(op.reshape(x, ints(1, CELLS, 3, 1, 2, 2), False), ints(0, 2, 4, 3, 5, 1))
        tokens = op.reshape(op.transpose(windows, ints(0, 2, 1, 3, 4, 5)), ints(1, CELLS, CELLS), False)
        return toys.mean(op.relu(toys.linear(tokens, 6)), (1,))

    assert site_of(head(build)).taps[0].name == "features"


def test_open_sizes_are_traced_as_well():
    image = toys.picture(-1, size=(-1, -1))
    site = site_of(toys.finished(toys.linear(toys.mean(toys.trunk(op.transpose(image, ints(0, 1, 3, 2))))), image))
    assert (site.taps[0].name, site.frame.axes) == ("features", "xy")


@pytest.mark.parametrize("kind", ["crop", "mirrored", "transpose"])
def test_where_a_detectors_map_lies(kind):
    """Its maps are laid upright by the search; what the graph cuts off or turns round is said."""
    size = (32, 48)
    image = op.parameter([1, 3, *size], np.float32)
    change, box, axes = {
        "crop": (lambda x: op.slice(x, ints(0, 16), ints(16, 48), ints(1, 1), ints(2, 3)), (0, 1 / 3, 0.5, 1), "yx"),
        "mirrored": (lambda x: op.slice(x, ints(-1), ints(-49), ints(-1), ints(3)), (0, 0, 1, 1), "y-x"),
        "transpose": (lambda x: op.transpose(x, ints(0, 1, 3, 2)), (0, 0, 1, 1), "yx"),
    }[kind]
    feature = op.relu(detectors.conv(op.relu(detectors.conv(change(image), 6, 3, 2)), 8, 3, 2))
    scores = op.sigmoid(detectors.rows(detectors.conv(feature, 5, name="cls"), 5))
    model = ov.Model([op.result(detectors.rows(detectors.conv(feature, 4), 4)), op.result(scores)], [image], "detector")
    info = ExplainedInfo.read(ovxai.insert(model, task="detection", probe=False))
    assert info is not None and info.map_axes == axes
    np.testing.assert_allclose(info.map_frame, box, atol=1e-5)
