"""Where features lie is measured: by verify on what rt_info says, by insert on what was traced."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers as toys
from helpers.cli import call, is_one_line
from ovxai.errors import UnsupportedModelError
from ovxai.insertion import insert_with_report
from ovxai.verification import verify

SIZE = (56, 64)
CELL = 8
COLUMNS = SIZE[1] // CELL


def local(change=lambda x: x, size=SIZE, weight=None):
    """Cells that see their own part of the picture; `change` stands behind them."""
    image = toys.picture(size=size)
    random = np.random.default_rng(3).standard_normal((6, 3, CELL, CELL)).astype(np.float32)
    x = op.convolution(image, random if weight is None else weight, [CELL, CELL], [0, 0], [0, 0], [1, 1])
    return toys.finished(toys.linear(toys.mean(op.relu(change(x)))), image)


def moved(columns):
    """A depthwise kernel that hands every cell to one so many columns away, around the border."""

    def change(x):
        kernel = np.zeros((6, 1, 1, 1, 2 * COLUMNS + 1), np.float32)
        kernel[..., [columns, columns + COLUMNS]] = 1
        return op.group_convolution(x, kernel, [1, 1], [0, COLUMNS], [0, COLUMNS], [1, 1])

    return change


def places(report):
    return next(check for check in report.checks if check.name == "places")


def test_features_at_their_place():
    report = verify(ovxai.insert(local()))
    assert report.ok and places(report).ok


@pytest.mark.parametrize("axes", ["-yx", "y-x", "-y-x", "xy", "-x-y"])
def test_axes_that_are_not_those_of_the_picture(axes):
    model = ovxai.insert(local(size=(SIZE[1], SIZE[1])))
    model.set_rt_info(axes, ["ovxai", "map_axes"])
    report = verify(model)
    assert not report.ok and places(report).ok is False and "a change at" in places(report).detail


@pytest.mark.parametrize("frame", ["0,0,0.5,0.5", "0.5,0,1,1", "-1,-1,1,1"])
def test_a_frame_that_is_not_the_grids(frame):
    model = ovxai.insert(local())
    model.set_rt_info(frame, ["ovxai", "map_frame"])
    assert places(verify(model)).ok is False


def test_what_no_rule_can_see_is_measured():
    """Weights that carry everything to the other end of the picture."""
    model = local(moved(COLUMNS // 2))
    with pytest.raises(UnsupportedModelError, match=r"positions of .* are not those of the picture"):
        ovxai.insert(model)
    assert ovxai.insert(model, probe=False)  # left out with the probe


def test_insert_ends_with_1(tmp_path):
    ov.save_model(local(moved(COLUMNS // 2)), tmp_path / "moved.xml")
    assert is_one_line(call("insert", tmp_path / "moved.xml"), "not those of the picture")
    assert not (tmp_path / "moved_xai.xml").exists()
    assert call("insert", tmp_path / "moved.xml", "--no-probe").exit_code == 0
    assert call("verify", tmp_path / "moved_xai.xml").exit_code == 1


def test_dead_weights_are_said_to_be():
    dead = np.zeros((6, 3, CELL, CELL), np.float32)
    report = insert_with_report(local(weight=dead))
    assert any("could not be told: no change of the picture moves the features" in line for line in report.warnings)


@pytest.mark.parametrize("kind", ["crop", "transpose", "pad"])
def test_a_traced_frame_holds(kind):
    image = toys.picture(size=SIZE)
    x = {
        "crop": lambda: op.slice(image, [16, 0], [56, 40], [1, 1], [2, 3]),
        "transpose": lambda: op.transpose(image, [0, 1, 3, 2]),
        "pad": lambda: op.pad(image, [0, 0, 16, 0], [0, 0, 24, 32], "constant", np.float32(0)),
    }[kind]()
    weight = np.random.default_rng(3).standard_normal((6, 3, CELL, CELL)).astype(np.float32)
    x = op.relu(op.convolution(x, weight, [CELL, CELL], [0, 0], [0, 0], [1, 1]))
    assert places(verify(ovxai.insert(toys.finished(toys.linear(toys.mean(x)), image)))).ok
