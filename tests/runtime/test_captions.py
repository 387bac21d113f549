"""What stands on overlays besides the map: words, colours, frames; and letters of every script."""

import numpy as np
import pytest

from helpers.runtime_graphs import classifier, f32
from ovxai.explainer import Explainer
from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.predict.formats import Prediction
from ovxai.runtime.show import letters
from ovxai.runtime.show.draw import Caption, draw_caption, draw_names, draw_predictions, draw_window
from ovxai.runtime.show.letters import spoken, text_width, to_ascii, writable, write
from ovxai.runtime.show.render import class_color, table

LARGE = np.full((320, 480, 3), (255, 0, 0), np.uint8)


def explained(picture=LARGE, **settings):
    return Explainer(classifier(model_info={"resize_type": settings.pop("resize", "standard")}),
                     ExplainConfig(postprocess=True, **settings), precision="f32")(picture)  # fmt: skip


def changed(one, other):
    """Rows and columns of the pixels that differ."""
    return np.nonzero((one != other).any(axis=2))


def test_class_and_score_stand_in_the_lower_left_corner():
    bare, said = (explained(captions=captions).overlay() for captions in (False, True))
    rows, columns = changed(bare, said)
    assert rows.min() > 290 and columns.min() == 0 and 60 < columns.max() < 300


def test_captions_may_be_chosen_for_one_overlay():
    explanation = explained()
    assert (explanation.overlay(captions=False) == explained(captions=False).overlay()).all()


def test_tiny_pictures_have_no_words():
    tiny = np.full((32, 32, 3), (255, 0, 0), np.uint8)
    assert (explained(tiny).overlay() == explained(tiny, captions=False).overlay()).all()


def test_the_bar_has_the_colours_of_the_map():
    pixels = np.full((300, 400, 3), 90, np.uint8)
    ((x1, y1, x2, y2),) = draw_caption(pixels, Caption("cat 0.90", table("viridis")))
    row = pixels[(y1 + y2) // 2, x1:x2].astype(int)
    places = [int(abs(row - color.astype(int)).sum(axis=1).argmin()) for color in table("viridis")[[20, 128, 235]]]
    assert places == sorted(places) and places[2] - places[0] > 20
    plain = np.full((300, 400, 3), 90, np.uint8)
    ((_, _, without, _),) = draw_caption(plain, Caption("cat 0.90"))
    assert without < x2 - 30


def test_captions_say_guesses_and_the_whole_picture():
    assert explained(threshold=0.2).caption(0) == "red 1.00"
    mixed = explained(np.full((64, 96, 3), (90, 80, 70), np.uint8), threshold=0.99)
    assert mixed.caption(0).startswith("red 0.") and mixed.caption(0).endswith("(a guess)")
    assert explained(target="image").caption("image") == "whole picture" and mixed.caption(None) == "nothing predicted"


def test_what_the_model_sees_of_a_crop_is_framed():
    wide = np.full((320, 640, 3), (255, 0, 0), np.uint8)
    explanation = explained(wide, captions=False, resize="crop", opacity=0)
    x1, y1, x2, y2 = explanation.geometry.window_box()
    rows, columns = changed(explanation.overlay(), wide)
    assert (columns.min(), columns.max() + 1) == (x1, x2) and (rows.min(), rows.max() + 1) == (y1, y2)
    inside = explanation.overlay()[y1 + 3 : y2 - 3, x1 + 3 : x2 - 3]
    assert (inside == (255, 0, 0)).all()
    assert (explained(captions=False, opacity=0).overlay() == LARGE).all()  # all of it was seen


def test_the_frame_says_what_it_is():
    pixels = np.full((400, 600, 3), 90, np.uint8)
    ((x1, y1, x2, y2),) = draw_window(pixels, (100, 50, 500, 350), words=True)
    assert 100 <= x1 < x2 <= 500 and 50 <= y1 < y2 < 90
    assert draw_window(pixels, (100, 50, 160, 350), words=True) == ()


def boxes(count, width, height):
    return tuple(
        Prediction(i, f"class_{i}", 0.9 - i / 100, (10.0 * i, 5.0 * i, 10.0 * i + width, 5.0 * i + height)) for i in range(count)
    )


def test_names_of_boxes_lie_beside_each_other_and_over_every_frame():
    pixels = np.zeros((400, 600, 3), np.uint8)
    found = boxes(6, 120, 150)
    draw_predictions(pixels, found)
    before = pixels.copy()
    draw_names(pixels, found, taken=((0, 0, 600, 40),))
    assert not (pixels[:40] != before[:40]).any()
    for item in found:
        ground = (pixels == class_color(item.class_index)).all(axis=2) & (before != pixels).any(axis=2)
        rows, columns = np.nonzero(ground)
        assert rows.size and ground.sum() > 0.5 * np.ptp(rows) * np.ptp(columns)  # no other plate lies on this one


def test_where_there_is_no_room_the_worst_have_no_name():
    pixels = np.zeros((60, 90, 3), np.uint8)
    found = tuple(Prediction(i, "long name", 0.5, (0.0, 0.0, 80.0, 50.0)) for i in range(30))
    draw_names(pixels, found)
    assert (pixels == class_color(0)).all(axis=2).any() and not (pixels == class_color(29)).all(axis=2).any()


def test_underscores_are_spaces():
    assert spoken("Egyptian_cat") == "Egyptian cat" and spoken("_") == "_"


def test_letters_of_other_scripts():
    pytest.importorskip("PIL")
    if letters._font("Кот") is None:
        pytest.skip("no font with Cyrillic letters here")
    assert writable("Кот") and spoken("Рыжий_кот", 3) == "Рыжий кот"
    pixels = np.zeros((60, 200, 3), np.uint8)
    write(pixels, "Кот", (5, 40), 20, (255, 255, 0))
    rows, columns = np.nonzero(pixels[:, :, 0] > 128)
    assert abs(np.ptp(rows) - 20) <= 3 and rows.max() <= 41 and columns.max() <= 5 + text_width("Кот", 20)
    write(pixels, "Кот", (-30, 2), 20, (0, 0, 255))  # partly beyond the edge


def test_without_a_font_accents_go_and_other_names_are_numbers(monkeypatch):
    monkeypatch.setattr(letters, "_font", lambda text: None)
    assert to_ascii("Löwe") == "Lowe" and spoken("Löwe", 5) == "Löwe" and writable("Löwe")
    assert spoken("猫", 5) == "class 5" and spoken("Рыжий_кот", 5) == "class 5"
    one, other = np.zeros((40, 200, 3), np.uint8), np.zeros((40, 200, 3), np.uint8)
    write(one, "Löwe", (2, 30), 16, (255, 255, 255))
    write(other, "Lowe", (2, 30), 16, (255, 255, 255))
    assert one.any() and (one == other).all() and text_width("Löwe", 16) == text_width("Lowe", 16)


def test_objects_keep_their_frames_without_captions():
    from helpers.runtime_graphs import detector, i64

    model = detector(f32([[[2, 2, 28, 28, 0.9]]]), i64([[1]]))
    overlays = [Explainer(model, ExplainConfig(captions=captions, opacity=0))(LARGE).overlay() for captions in (False, True)]
    assert all((picture == class_color(1)).all(axis=2).any() for picture in overlays)
    assert (overlays[0] == class_color(1)).all(axis=2).sum() < (overlays[1] == class_color(1)).all(axis=2).sum()
