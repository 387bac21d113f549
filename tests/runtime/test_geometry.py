"""The way into the network's input and back."""

import time

import cv2
import numpy as np
import pytest

from helpers.runtime_graphs import f32
from ovxai.runtime.feed.geometry import _product, fit


@pytest.mark.parametrize(
    ("resize_type", "window", "content"),
    [
        ("standard", (0, 0, 200, 100), (0, 0, 64, 64)),
        ("fit_to_window", (0, 0, 200, 100), (0, 0, 64, 32)),
        ("fit_to_window_letterbox", (0, 0, 200, 100), (0, 16, 64, 32)),
        ("crop", (50, 0, 100, 100), (0, 0, 64, 64)),
    ],
)
def test_where_a_wide_picture_lies(resize_type, window, content):
    geometry = fit((100, 200), (64, 64), resize_type)
    assert geometry.window == window
    assert geometry.content == content


@pytest.mark.parametrize("source", [(1, 1), (1, 500), (500, 1), (37, 41)])
@pytest.mark.parametrize("resize_type", ["standard", "fit_to_window", "fit_to_window_letterbox", "crop"])
def test_every_size_has_a_way_back(source, resize_type):
    geometry = fit(source, (32, 48), resize_type)
    assert geometry.map_to_source(np.ones((4, 6))).shape == source
    assert min(geometry.content[2:]) >= 1 and min(geometry.window[2:]) >= 1


@pytest.mark.parametrize("cells", [(7, 5), (1, 1), (120, 90)])
def test_linear_is_opencvs_linear(cells):
    values = np.random.RandomState(0).rand(*cells).astype(np.float32)
    geometry = fit((100, 230), (224, 224), "standard")
    by_products = geometry._resampled(values, geometry.source, "linear")
    assert np.abs(by_products - cv2.resize(values, (230, 100))).max() < 1e-5
    assert np.abs(by_products - geometry.map_to_source(values)).max() < 1e-5


def test_products_in_pieces_are_the_product():
    rng = np.random.RandomState(0)
    a, b = rng.rand(33, 700).astype(np.float32), rng.rand(700, 90).astype(np.float32)  # four rows a piece
    assert np.allclose(_product(a, b), a @ b, rtol=1e-5)


def test_no_threads_but_the_callers_work_on_a_map():
    """BLAS threads would spin between one map and the next, on cores that the inference needs."""
    values = np.random.RandomState(0).rand(60, 60).astype(np.float32)
    geometry = fit((720, 1280), (416, 416), "fit_to_window_letterbox")
    geometry.map_to_source(values)
    time.sleep(0.5)  # what other tests have woken falls asleep
    own, all_threads = time.thread_time(), time.process_time()
    for _ in range(60):
        geometry.map_to_source(values)
    own, all_threads = time.thread_time() - own, time.process_time() - all_threads
    assert all_threads < 1.4 * own


def test_cubic_stays_in_range_and_is_smooth():
    values = np.zeros((4, 4), np.uint8)
    values[1, 2] = 255
    big = fit((400, 400), (32, 32), "standard").map_to_source(values, "cubic")
    assert big.min() >= 0 and big.max() <= 255
    assert np.abs(np.diff(big, axis=0)).max() < 6


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("resize_type", ["fit_to_window", "fit_to_window_letterbox"])
def test_padding_is_cut_away(resize_type, interpolation):
    """A map that is hot where the padding lies leaves the picture cold."""
    geometry = fit((50, 100), (64, 64), resize_type)
    values = np.full((64, 64), 255, np.uint8)
    top = int(geometry.content[1])
    values[top : top + 32] = 0
    inner = geometry.map_to_source(values, interpolation)
    assert inner[4:-4].max() < 1
    assert inner.shape == (50, 100)


def test_a_crop_paints_only_what_was_seen():
    whole = fit((100, 200), (64, 64), "crop").map_to_source(np.full((7, 7), 255))
    assert whole[:, :50].max() == 0 and whole[:, 150:].max() == 0
    assert whole[:, 50:150].min() == pytest.approx(255)


@pytest.mark.parametrize("resize_type", ["standard", "fit_to_window", "fit_to_window_letterbox", "crop"])
def test_a_box_comes_back_to_where_it_was(resize_type):
    geometry = fit((120, 200), (64, 96), resize_type)
    x, y, width, height = geometry.window
    left, top, inner_width, inner_height = geometry.content
    box = f32([80, 30, 120, 90])
    there = box.copy()
    there[0::2] = left + (box[0::2] - x) * inner_width / width
    there[1::2] = top + (box[1::2] - y) * inner_height / height
    assert np.allclose(geometry.boxes_to_source(there[None])[0], box, atol=1e-3)


def test_boxes_end_at_the_picture():
    assert fit((10, 10), (20, 20), "standard").boxes_to_source(f32([[-5, 2, 50, 400]])).tolist() == [[0, 1, 10, 10]]


def test_map_and_box_agree():
    """The cell under a box is painted inside that box, whatever the resize type."""
    for resize_type in ("standard", "fit_to_window", "fit_to_window_letterbox", "crop"):
        geometry = fit((300, 500), (64, 64), resize_type)
        values = np.zeros((8, 8))
        values[4, 3] = 1
        painted = geometry.map_to_source(values)
        y, x = np.unravel_index(painted.argmax(), painted.shape)
        x1, y1, x2, y2 = geometry.boxes_to_source(f32([[24, 32, 32, 40]]))[0]
        assert x1 - 1 <= x <= x2 and y1 - 1 <= y <= y2
