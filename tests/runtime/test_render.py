"""Pictures of maps."""

import numpy as np
import pytest

from helpers.runtime_graphs import f32, picture, u8
from ovxai.runtime.config import COLORMAPS, ExplainConfig
from ovxai.runtime.feed.geometry import fit
from ovxai.runtime.predict.formats import Prediction
from ovxai.runtime.show.draw import draw_predictions, tag
from ovxai.runtime.show.grid import make_grid
from ovxai.runtime.show.letters import fit_text, text_width
from ovxai.runtime.show.render import class_color, colorize, heat_map, overlay, spread, to_grey


def hot_corner() -> np.ndarray:
    values = np.zeros((4, 4), np.uint8)
    values[0, 0] = 255
    return values


def shown(draw, geometry, config, values=None, pixels=None):
    """A low-resolution map, drawn by `heat_map` or `overlay`."""
    grey = spread(hot_corner() if values is None else values, geometry, config)
    return (
        draw(grey, geometry, config)
        if draw is heat_map
        else draw(picture() if pixels is None else pixels, grey, geometry, config)
    )


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([[0.0, 1.0], [0.5, 0.25]], [[0, 255], [127, 63]]),
        ([[-3.0, 1.0]], [[0, 255]]),
        ([[7.0, 7.0]], [[0, 0]]),
        ([[1e6, 1e6 + 0.05]], [[0, 0]]),  # nothing but rounding
        ([[np.nan, 1.0]], [[0, 0]]),
    ],
)
def test_raw_maps_become_grey_levels(values, wanted):
    assert to_grey(f32(values)).tolist() == wanted


def test_scaled_maps_stay_as_they_are():
    assert to_grey(u8([[3, 3]])).tolist() == [[3, 3]]


@pytest.mark.parametrize("name", COLORMAPS)
def test_every_colour_map_is_rgb_and_climbs(name):
    colors = colorize(u8([[0, 255]]), name).astype(int)
    assert colors.shape == (1, 2, 3)
    assert (colors[0, 0] != colors[0, 1]).any()


def test_jet_goes_from_blue_to_red():
    cold, hot = colorize(u8([[0, 255]]), "jet")[0]
    assert cold[2] > cold[0] and hot[0] > hot[2]


def test_the_heat_lies_where_the_map_is_hot():
    painted = shown(heat_map, fit((80, 120), (32, 32), "standard"), ExplainConfig())
    assert painted.shape == (80, 120, 3)
    assert painted[2, 2, 0] > painted[2, 2, 2] and painted[-3, -3, 2] > painted[-3, -3, 0]


def test_opacity_from_nothing_to_all():
    geometry = fit((40, 60), (32, 32), "standard")
    for style in ("fade", "heat"):
        assert (shown(overlay, geometry, ExplainConfig(opacity=0, style=style)) == picture()).all()
    whole = shown(overlay, geometry, ExplainConfig(opacity=1, style="heat"))
    assert (whole == shown(heat_map, geometry, ExplainConfig())).all()


def test_where_the_map_is_cold_the_picture_keeps_its_colours():
    geometry = fit((80, 120), (32, 32), "standard")
    pixels = picture(80, 120)
    faded, even = (shown(overlay, geometry, ExplainConfig(style=style), pixels=pixels) for style in ("fade", "heat"))
    assert (faded[60:, 90:] == pixels[60:, 90:]).all() and (even[60:, 90:] != pixels[60:, 90:]).any(axis=2).all()
    grey = spread(hot_corner(), geometry, ExplainConfig())
    assert abs(faded[grey == 255].astype(int) - even[grey == 255]).max() <= 1  # at the hottest both have the same share


@pytest.mark.parametrize("style", ["fade", "heat", "contour"])
def test_outside_of_a_crop_nothing_is_painted(style):
    geometry = fit((40, 60), (32, 32), "crop")
    painted = shown(overlay, geometry, ExplainConfig(style=style))
    assert (painted[:, :10] == picture()[:, :10]).all() and (painted[:, 50:] == picture()[:, 50:]).all()
    assert (painted != picture()).any()
    assert shown(heat_map, geometry, ExplainConfig())[:, :10].max() == 0


def test_contours_draw_lines_and_an_empty_map_none():
    geometry = fit((400, 600), (32, 32), "standard")
    values = np.zeros((8, 8), np.uint8)
    canvas = picture(400, 600)
    assert (shown(overlay, geometry, ExplainConfig(style="contour"), values, canvas) == canvas).all()
    values[4, 4] = 200
    changed = (shown(overlay, geometry, ExplainConfig(style="contour"), values, canvas) != canvas).any(axis=2)
    assert 0 < changed.mean() < 0.1
    assert not changed[[0, -1]].any() and not changed[:, [0, -1]].any()


@pytest.mark.parametrize("size", [(12, 20), (63, 200), (64, 64), (400, 600)])
def test_shadows_of_contours_leave_a_picture_to_be_seen(size):
    canvas = np.full((*size, 3), 200, np.uint8)
    values = np.zeros((8, 8), np.uint8)
    values[3:5, 3:5] = 255
    painted = shown(overlay, fit(size, (32, 32), "standard"), ExplainConfig(style="contour", colormap="grey"), values, canvas)
    grey = painted[:, :, 0].astype(int)
    # Nothing is darker than the shadow and the darkest of the lines, which is 0.3 of white.
    assert grey.min() >= min(100, int(0.3 * 255)) - 2 and (grey == 200).mean() > 0.2
    assert min(size) < 64 or (abs(grey - 100) <= 2).any()


@pytest.mark.parametrize("size", [(1, 1), (8, 300), (300, 8), (40, 60), (2000, 3000)])
def test_boxes_and_labels_on_every_size(size):
    height, width = size
    mask = np.zeros(size, bool)
    mask[: height // 2 + 1] = True
    box = (width * 0.5, 0.0, float(width), float(height))
    painted = picture(*size)
    draw_predictions(painted, (Prediction(1, "a rather long name of a class", 0.876, box, mask),))
    assert painted.shape == (*size, 3)
    if min(size) > 8:
        assert (painted == class_color(1)).all(axis=2).any()


def test_text_shrinks_then_is_cut_then_left_out():
    assert fit_text("cat 0.90", 1000, 20) == ("cat 0.90", 20)
    text, capital = fit_text("cat 0.90", 70, 20) or ("", 0)
    assert text == "cat 0.90" and capital < 20
    text, capital = fit_text("a rather long name of a class", 80, 20) or ("", 0)
    assert text.endswith("..") and text_width(text, capital) <= 80
    assert fit_text("cat 0.90", 5, 20) is None


def test_a_tag_stays_in_the_picture():
    for corner in ((0, 0), (299, 0), (299, 199), (150, 5), (-20, 250)):
        pixels = np.zeros((200, 300, 3), np.uint8)
        tag(pixels, "label 0.50", (*corner, corner[0] + 30, corner[1] + 30), 12, (255, 255, 0), [])
        rows, columns = np.nonzero((pixels == (255, 255, 0)).all(axis=2))
        assert columns.max() - columns.min() > 60 and rows.max() - rows.min() > 10


def test_class_colours_differ_and_stay():
    colors = [class_color(i) for i in range(20)]
    assert len(set(colors)) == 20 and colors == [class_color(i) for i in range(20)]


@pytest.mark.parametrize("size", [(1, 1), (30, 20), (500, 40), (40, 500), (900, 1200)])
def test_grids_of_every_size(size):
    sheet = make_grid([(picture(*size), "picture"), (picture(*size), "cat 0.90")])
    assert 100 < sheet.shape[1] < 1000 and sheet.shape[0] < 600
    assert (sheet != 255).any()


def test_many_classes_fill_rows():
    assert make_grid([(picture(), str(i)) for i in range(10)]).shape[0] > 2 * 150
