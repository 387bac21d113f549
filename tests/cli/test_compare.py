"""`ovxai compare`: two models on the same pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from helpers.cli import call, cards, is_one_line
from helpers.runtime_graphs import LABELS, classifier, detector, encoded, f32, picture
from ovxai.evaluation.compare import names_of
from ovxai.runtime.feed.sources import Broken, Clip, Frame, Source


@pytest.fixture
def home(tmp_path, monkeypatch):
    """a.xml; b.xml, the same of half the size; two pictures: one red and green, one of blue stripes."""
    monkeypatch.chdir(tmp_path)
    ov.save_model(classifier(), "a.xml")
    ov.save_model(classifier(size=(8, 12)), "b.xml")
    Path("in").mkdir()
    Path("in/squares.png").write_bytes(encoded(picture()))
    stripes = np.full((40, 60, 3), 30, np.uint8)
    stripes[:, 10:13] = stripes[:, 40:42] = (0, 0, 255)
    Path("in/stripes.png").write_bytes(encoded(stripes))
    return tmp_path


pytestmark = pytest.mark.usefixtures("home")


def document(folder: str = "out") -> dict:
    return json.loads(Path(folder, "compare.json").read_text(encoding="utf-8"))


def test_a_model_agrees_with_its_copy():
    Path("copy.xml").write_bytes(Path("a.xml").read_bytes())
    Path("copy.bin").write_bytes(Path("a.bin").read_bytes())
    done = call("compare", "a.xml", "copy.xml", "in", "-o", "out")
    assert done.exit_code == 0, done.output
    found = document()
    assert found["summary"]["mean"] == pytest.approx(1) and found["summary"]["same_top"] == 1
    assert sorted(Path("out").iterdir()) == [Path("out/compare.html"), Path("out/compare.json")]


def test_the_most_different_picture_comes_first():
    """Half the grid loses narrow stripes, and keeps squares."""
    done = call("compare", "a.xml", "b.xml", "in", "-o", "out")
    assert done.exit_code == 0, done.output
    maps = document()["maps"]
    assert [(entry["image"], entry["label"]) for entry in maps] == [("stripes", "blue"), ("squares", "red")]
    assert maps[0]["correlation"] < maps[1]["correlation"] <= 1
    assert [card["image"] for card in cards("out/compare.html")] == ["stripes", "squares"]
    assert done.stdout.index("stripes") < done.stdout.index("squares")
    assert [cards("out/compare.html")[0][side]["map"]["grid"] for side in ("a", "b")] == [[4, 6], [2, 3]]
    figures = document()["summary"]
    assert figures["mean"] == pytest.approx(np.mean([entry["correlation"] for entry in maps]), abs=1e-5)


def test_classes_that_are_asked_for_and_those_that_one_side_lacks():
    """b.xml has its classes in another order: they are the same by name, blue is called otherwise."""
    ov.save_model(classifier(model_info={"labels": "green red sky"}), "named.xml")
    done = call("compare", "a.xml", "named.xml", "in/squares.png", "-o", "out", "--class", "red", "--class", "blue")
    assert done.exit_code == 0, done.output
    assert "1 classes of A are unknown to B: blue" in done.stderr
    found = {entry["label"]: entry for entry in document()["maps"]}
    assert found["blue"]["correlation"] is None and document()["summary"]["without_partner"] == 1
    # What the second calls red is its channel 1, the green one: it lies in the other half of the picture.
    assert found["red"]["correlation"] < 0
    assert document()["maps"][-1]["label"] == "blue", "maps without a partner stand last"


def test_pictures_of_one_name_are_called_by_their_paths():
    """On the screen, on the page and in the file; the others by their names."""
    for folder in ("one/deep", "two"):
        Path("in", folder).mkdir(parents=True)
        Path("in", folder, "squares.png").write_bytes(Path("in/squares.png").read_bytes())
    Path("in/two/squares.bmp").write_bytes(encoded(picture(), ".bmp"))
    done = call("compare", "a.xml", "b.xml", "in", "-o", "out", "--recursive")
    assert done.exit_code == 0, done.output
    expected = {"stripes", "squares.png", "one/deep/squares.png", "two/squares.png", "two/squares.bmp"}
    assert {entry["image"] for entry in document()["maps"]} == {card["image"] for card in cards("out/compare.html")} == expected
    assert all(f"\n{name} " in done.stdout for name in expected)
    assert call("compare", "a.xml", "b.xml", "in/one/deep/squares.png", "in/two/squares.bmp", "-o", "apart").exit_code == 0
    assert {entry["image"] for entry in document("apart")["maps"]} == {"one/deep/squares.png", "two/squares.bmp"}


def test_frames_of_videos_of_one_name():
    sources = [Source("video", f"/data/{day}/clip.mp4") for day in ("mon", "tue")] + [Source("video", "rtsp://host/clip")]
    name = names_of([*sources, Source("image", "/data/mon/still.png"), Broken("gone", "no such file")])
    frames = [
        Frame(f"{one}:12", f"{one.stem}_000012", lambda _: picture(), Clip(str(one), one.stem, 1, (4, 4), None))
        for one in sources
    ]
    assert [name(frame) for frame in frames] == ["mon/clip.mp4_000012", "tue/clip.mp4_000012", "host/clip_000012"]
    assert name(Frame("/data/mon/still.png", "still", lambda _: picture())) == "still"


def test_a_detector_that_finds_nothing_and_json():
    for name, score in (("sees.xml", 0.9), ("blind.xml", 0.1)):
        ov.save_model(detector(f32([[4, 4, 12, 12, score]]), np.array([1])), name)
    done = call("compare", "blind.xml", "sees.xml", "in/squares.png", "-o", "out", "--json")
    found = json.loads(done.stdout)
    (entry,) = found["maps"]
    assert entry["label"] == LABELS[1] and entry["a"]["top"] is None and entry["b"]["top"] == LABELS[1]
    assert not entry["same_top"] and entry["correlation"] == pytest.approx(1)
    done = call("compare", "blind.xml", "blind.xml", "in", "-o", "out2", "--precision-b", "f32", "--json")
    assert json.loads(done.stdout)["summary"]["nothing_predicted"] == 2


def test_the_best_class_is_compared_by_number_or_by_its_partner():
    """Other spellings and another order are the same class; of two classes of one name each is its own."""
    ov.save_model(classifier(model_info={"labels": "BLUE Green Red"}, channels=(2, 1, 0)), "other.xml")
    assert call("compare", "a.xml", "other.xml", "in", "-o", "spelt").exit_code == 0
    # Both put the channel first that is the brightest; what the second calls it lies at the other end.
    assert [entry["same_top"] for entry in document("spelt")["maps"]] == [False, False]
    ov.save_model(classifier(model_info={"labels": "RED Green BLUE"}), "same.xml")
    assert call("compare", "a.xml", "same.xml", "in", "-o", "same").exit_code == 0
    assert [entry["same_top"] for entry in document("same")["maps"]] == [True, True]
    assert {(entry["a"]["top"], entry["b"]["top"]) for entry in document("same")["maps"]} == {("red", "RED"), ("blue", "BLUE")}
    assert [card["same"] for card in cards("same/compare.html")] == [True, True]
    for name, index in (("first.xml", 0), ("second.xml", 1)):
        ov.save_model(detector(f32([[4, 4, 12, 12, 0.9]]), np.array([index]), model_info={"labels": "crane crane blue"}), name)
    twins = call("compare", "first.xml", "second.xml", "in/squares.png", "-o", "twins")
    assert twins.exit_code == 0 and "best class: another in the one picture in which both predict something" in twins.stdout
    assert [entry["same_top"] for entry in document("twins")["maps"]] == [False]


def test_the_share_of_the_same_best_class_is_of_pictures_in_which_both_predict():
    for name, score in (("sees.xml", 0.9), ("blind.xml", 0.1)):
        ov.save_model(detector(f32([[4, 4, 12, 12, score]]), np.array([1])), name)
    done = call("compare", "blind.xml", "sees.xml", "in", "-o", "none")
    figures = document("none")["summary"]
    assert (figures["same_top"], figures["both_predict"]) == (None, 0) and {m["same_top"] for m in document("none")["maps"]} == {
        None
    }
    assert "best class: no picture in which both predict something" in done.stdout
    assert [card["same"] for card in cards("none/compare.html")] == [False, False]
    done = call("compare", "sees.xml", "sees.xml", "in", "-o", "both", "--precision-b", "f32")
    assert "the same in 100 % of the 2 pictures in which both predict something" in done.stdout
    call("compare", "blind.xml", "blind.xml", "in", "-o", "silent", "--precision-b", "f32", "--class", "red")
    assert [card["same"] for card in cards("silent/compare.html")] == [True, True], "nothing, twice"
    assert document("silent")["summary"]["same_top"] is None


def test_a_broken_picture_fails_alone():
    Path("in/empty.png").write_bytes(b"")
    done = call("compare", "a.xml", "b.xml", "in", "-o", "out")
    assert done.exit_code == 1 and "in/empty.png: the file is empty" in done.stderr
    assert document()["summary"]["pictures"] == 2 and document()["failed"][0]["source"] == "in/empty.png"


def test_nothing_is_overwritten():
    assert call("compare", "a.xml", "b.xml", "in", "-o", "out").exit_code == 0
    assert is_one_line(call("compare", "a.xml", "b.xml", "in", "-o", "out"), "exists", "--force")
    assert call("compare", "a.xml", "b.xml", "in", "-o", "out", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["a.xml", "a.xml", "in", "-o", "out"], 2, "A and B are the same"),
        (["a.xml", "b.xml", "-o", "out"], 2, "Missing argument"),
        (["a.xml", "gone.xml", "in", "-o", "out"], 1, "gone.xml"),
        (["a.xml", "b.xml", "nowhere", "-o", "out"], 1, "no such file"),
        (["a.xml", "b.xml", "in", "-o", "out", "--class", "plum"], 1, "there is no 'plum'"),
    ],
)
def test_wrong_usage_and_what_is_not_there(words, code, message):
    done = call("compare", *words)
    assert done.exit_code == code and message in done.stderr and not Path("out").exists()


def test_names_are_not_markup():
    evil = "</script><img_src=x>"
    ov.save_model(classifier(model_info={"labels": f"{evil} green blue"}), "evil.xml")
    assert call("compare", "evil.xml", "evil.xml", "in", "-o", "out", "--precision-b", "f32").exit_code == 0
    shown, page = evil.replace("_", " "), Path("out/compare.html").read_text(encoding="utf-8")
    assert shown in {card["label"] for card in cards("out/compare.html")}
    assert shown not in page and evil not in page
