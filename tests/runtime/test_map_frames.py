"""Maps of graphs that crop, pad, turn or exchange the picture are painted where the network looked, also in the graph."""

import cv2
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from ovxai import ExplainConfig, Explainer
from ovxai.metadata import ExplainedInfo

H, W, CELL = 64, 96, 8
CORNERS = {"upper left": (0, 0), "upper right": (0, 1), "lower left": (1, 0), "lower right": (1, 1), "middle": (0.45, 0.55)}


def ints(*values):
    return op.constant(np.array(values, np.int64))


def sliced(x, axis, start, stop, step=1):
    return op.slice(x, ints(start), ints(stop), ints(step), ints(axis))


#: What stands before the first convolution; what the network sees of the picture, as y1, x1, y2, x2 in pixels.
GRAPHS = {
    "plain": (lambda x: x, (0, 0, H, W)),
    "upper right quarter": (lambda x: sliced(sliced(x, 2, 0, 32), 3, 48, 96), (0, 48, 32, 96)),
    "exchanged": (lambda x: op.transpose(x, ints(0, 1, 3, 2)), (0, 0, H, W)),
    "padded": (lambda x: op.pad(x, ints(0, 0, 16, 0), ints(0, 0, 48, 32), "constant", np.float32(0)), (0, 0, H, W)),
    "mirrored": (lambda x: sliced(x, 3, -1, -W - 1, -1), (0, 0, H, W)),
    "upside down and exchanged": (lambda x: op.transpose(sliced(x, 2, -1, -H - 1, -1), ints(0, 1, 3, 2)), (0, 0, H, W)),
    "cropped, then padded": (
        lambda x: op.pad(sliced(x, 2, 32, 64), ints(0, 0, 0, 16), ints(0, 0, 32, 0), "constant", np.float32(0)), (32, 0, H, W),
    ),
    "columns": (lambda x: x, (0, 0, H, W)),
}  # fmt: skip


def seeing(kind, shape=(1, 3, H, W)):
    """Class 0 is brightness: means of cells, averaged over the map."""
    image = op.parameter(list(shape), np.float32, name="image")
    weight = np.full((2, 3, CELL, CELL), 1 / (3 * CELL * CELL), np.float32)
    weight[1] *= -1
    x = op.convolution(GRAPHS[kind][0](image), weight, [CELL, CELL], [0, 0], [0, 0], [1, 1])
    if kind == "columns":
        x = op.transpose(op.reshape(op.transpose(x, ints(0, 1, 3, 2)), ints(0, 0, -1), True), ints(0, 2, 1))
        x = op.relu(op.matmul(x, np.eye(2, dtype=np.float32), False, False))
    scores = op.reduce_mean(x, ints(1) if kind == "columns" else ints(2, 3), False)
    return ov.Model([op.result(scores)], [image], "seeing")


def bright_patch(corner):
    y, x = (round(share * (side - 16)) for share, side in zip(CORNERS[corner], (H, W)))
    picture = np.full((H, W, 3), 20, np.uint8)
    picture[y : y + 16, x : x + 16] = 255
    return picture, (y, x)


def seen(kind, spot):
    """Whether the network sees the patch whole."""
    y1, x1, y2, x2 = GRAPHS[kind][1]
    return y1 <= spot[0] and spot[0] + 16 <= y2 and x1 <= spot[1] and spot[1] + 16 <= x2


def check(level, kind, spot):
    """The brightest place of a map [H, W] is the patch; where the network did not look there is nothing."""
    y1, x1, y2, x2 = GRAPHS[kind][1]
    outside = np.ones((H, W), bool)
    outside[y1:y2, x1:x2] = False
    assert not level[outside].any()
    if seen(kind, spot):
        y, x = np.argwhere(level == level.max()).mean(0)
        assert abs(y - spot[0] - 7.5) <= CELL and abs(x - spot[1] - 7.5) <= CELL


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("kind", GRAPHS)
def test_a_patch_in_a_corner_lights_that_corner(kind, corner):
    picture, spot = bright_patch(corner)
    explained = ovxai.insert(seeing(kind), embed="map")
    explanation = Explainer(explained, ExplainConfig(classes=(0,), postprocess=True, colormap="grey"), precision="f32")(picture)
    check(explanation.maps[0][..., 0], kind, spot)
    tensor = picture.transpose(2, 0, 1)[None].astype(np.float32)
    resized = ov.Core().compile_model(explained, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([tensor])["saliency_map_resized"]
    check(resized[0, 0], kind, spot)


@pytest.mark.parametrize("kind", GRAPHS)
def test_rt_info_says_where_the_grid_lies(kind):
    info = ExplainedInfo.read(ovxai.insert(seeing(kind), probe=False))
    assert info is not None
    wanted = {"exchanged": "xy", "columns": "xy", "mirrored": "y-x", "upside down and exchanged": "x-y"}
    assert info.map_axes == wanted.get(kind, "yx")
    assert (info.map_frame == (0, 0, 1, 1)) is (kind not in ("upper right quarter", "padded", "cropped, then padded"))


@pytest.mark.parametrize("kind", ["upper right quarter", "padded", "mirrored"])
def test_a_picture_of_another_size_with_padding_of_its_own(kind):
    """Letterboxed: the frame is one of the input, of which the picture is a part."""
    small, spot = bright_patch("upper right")
    picture = cv2.resize(small, (W * 2, H * 4), interpolation=cv2.INTER_NEAREST)
    model = ovxai.insert(seeing(kind))
    model.set_rt_info("fit_to_window_letterbox", ["model_info", "resize_type"])
    config = ExplainConfig(classes=(0,), postprocess=True, colormap="grey")
    level = Explainer(model, config, precision="f32")(picture).maps[0][..., 0]
    y, x = np.argwhere(level == level.max()).mean(0)
    assert level.max() > 0 and abs(y - 4 * (spot[0] + 8)) <= 48 and abs(x - 2 * (spot[1] + 8)) <= 32


def test_an_overlay_leaves_alone_what_the_network_did_not_see():
    picture, _ = bright_patch("upper right")
    explained = ovxai.insert(seeing("upper right quarter"), embed="overlay")
    explanation = Explainer(explained, ExplainConfig(classes=(0,)), precision="f32")(picture)
    painted = explanation.overlay(0)
    assert np.array_equal(painted[32:], picture[32:]) and np.array_equal(painted[:, :48], picture[:, :48])
    assert not np.array_equal(painted[:32, 48:], picture[:32, 48:])
    feed = picture.transpose(2, 0, 1)[None].astype(np.float32)
    embedded = ov.Core().compile_model(explained, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([feed])["saliency_overlay"][0]
    shown = 255 * (feed[0].transpose(1, 2, 0) - 20) / 235
    assert np.abs(embedded[32:] - shown[32:]).max() <= 1 and np.abs(embedded[:32, 48:] - shown[:32, 48:]).max() > 20
