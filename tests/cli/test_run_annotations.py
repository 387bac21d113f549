"""`ovxai run` with annotations: data roots as sources, and what is said of right and wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from helpers.cli import call, cards, is_one_line
from helpers.data_sets import write_coco
from helpers.runtime_graphs import classifier, encoded, picture
from ovxai.runtime.feed.images import read_image

OBJECTS = {
    "right": [("red", (0, 0, 30, 20))],
    "missed_none": [("green", (30, 0, 60, 20)), ("plum", (1, 1, 5, 5))],
    "empty": [],
}
SIZES = dict.fromkeys(OBJECTS, (40, 60))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """data/images with three pictures that the model calls red and one that is not annotated; data/annotations/instances.json."""
    monkeypatch.chdir(tmp_path)
    ov.save_model(classifier(), "m.xml")
    images = Path("data/images")
    images.mkdir(parents=True)
    for stem in (*OBJECTS, "more"):
        (images / f"{stem}.png").write_bytes(encoded(picture()))
    write_coco(Path("data/annotations/instances.json"), OBJECTS, SIZES)
    return tmp_path


pytestmark = pytest.mark.usefixtures("root")


def manifest(folder: str = "out") -> dict:
    return json.loads(Path(folder, "manifest.json").read_text(encoding="utf-8"))


def test_a_data_root_is_a_source():
    done = call("run", "m.xml", "data", "-o", "out")
    assert done.exit_code == 0, done.output
    assert "by the annotations: 1 right, 2 wrong, 1 not annotated" in done.stdout
    assert "1 of 3 classes of the data are unknown to the model, their objects are not judged: plum" in done.stderr
    assert "1 pictures without an annotation (more.png)" in done.stderr
    truth = manifest()["truth"]
    assert [Path(entry["source"]).stem for entry in truth["pictures"]] == ["empty", "missed_none", "right"]
    assert truth["pictures"][1]["wrong"] == ["red"] and truth["pictures"][1]["missed"] == ["green"]
    assert truth["pictures"][2]["true"] == [{"label": "red", "class_index": 0, "outcome": "right", "box": [0.0, 0.0, 30.0, 20.0]}]
    files = {entry["image"]: entry for entry in manifest()["files"] if entry["kind"] == "overlay" and entry["label"] == "red"}
    assert (files["right"]["true"], files["missed_none"]["true"], files["more"]["true"]) == (True, False, None)
    assert 0.5 < files["right"]["energy_inside"] <= 1 and files["missed_none"]["energy_inside"] is None


def test_the_report_knows_the_truth():
    call("run", "m.xml", "data", "-o", "out")
    found = {card["name"]: card["truth"] for card in cards("out/report.html")}
    assert found["more"] is None
    assert (found["right"]["outcome"], found["missed_none"]["outcome"]) == ("right", "wrong")
    assert found["right"]["things"] == [{"class": 0, "label": "red", "outcome": "right", "box": [0, 0, 0.5, 0.5], "outline": []}]
    assert set(found["right"]["energy"]) == {"0"}


def test_true_boxes_are_dashed_on_overlays():
    """White and black in turn along the box of the class, and nothing on overlays of other classes."""
    call(
        "run", "m.xml", "data/images/missed_none.png", "--annotations", "data", "--class", "green", "--class", "red", "-o", "out"
    )
    green = read_image("out/saliency_map/missed_none_class_green_overlay.png")
    red = read_image("out/saliency_map/missed_none_class_red_overlay.png")
    edge = green[19, 30:60].reshape(-1, 3)
    assert {tuple(color) for color in edge.tolist()} == {(255, 255, 255), (0, 0, 0)}
    assert not ((red[19, 30:60] == 255).all(axis=1) | (red[19, 30:60] == 0).all(axis=1)).any()


def test_annotations_of_pictures_that_lie_elsewhere():
    Path("data/annotations/instances.json").rename("truth.json")
    Path("elsewhere").mkdir()
    Path("data/images").rename("elsewhere/photos")
    done = call("run", "m.xml", "elsewhere/photos", "--annotations", "truth.json", "-o", "out")
    assert done.exit_code == 0 and "by the annotations: 1 right, 2 wrong, 1 not annotated" in done.stdout


def test_json_tells_it_too_and_a_file_of_names_says_what_classes_are_called():
    Path("names.txt").write_text("plum = blue\ngreen = -\n")
    done = call("run", "m.xml", "data", "-o", "out", "--names", "names.txt", "--json")
    truth = json.loads(done.stdout)["truth"]
    assert truth["classes"] == {"plum": "blue", "red": "red"} and truth["unknown_classes"] == []
    assert next(entry for entry in truth["pictures"] if "missed_none" in entry["source"])["missed"] == ["blue"]


def test_folders_named_after_classes():
    for name in ("red", "green"):
        Path("sorted", name).mkdir(parents=True)
        Path("sorted", name, "a.png").write_bytes(encoded(picture()))
    done = call("run", "m.xml", "sorted", "--annotations", "sorted", "-o", "out")
    assert done.exit_code == 0 and "1 right, 1 wrong" in done.stdout
    assert call("run", "m.xml", "sorted", "-o", "out2").exit_code == 1, "without, it is a folder of folders"


def test_a_folder_of_pictures_whose_annotations_are_broken_is_explained_without():
    Path("data/images/broken.xml").write_text("<annotation>")
    done = call("run", "m.xml", "data/images", "-o", "out")
    assert done.exit_code == 0 and "the pictures are explained without" in done.stderr and "truth" not in manifest()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--annotations", "nowhere"], "no such file or folder of annotations"),
        (["--annotations", "m.xml"], "its root is <net>"),
        (["--names", "nowhere.txt"], "names: nowhere.txt can't be read"),
    ],
)
def test_what_is_wrong_is_one_line(words, message):
    done = call("run", "m.xml", "data", "-o", "out", *words)
    assert done.exit_code == 1 and message in done.stderr and not Path("out").exists()
    if "--names" not in words:
        assert is_one_line(done, message)


def test_without_annotations_nothing_is_said_of_them():
    done = call("run", "m.xml", "data/images", "-o", "out", "--json")
    assert "truth" not in json.loads(done.stdout) and "truth" not in manifest()
    assert all(card["truth"] is None for card in cards("out/report.html"))
    assert np.all([entry["true"] is None for entry in manifest()["files"]])


@pytest.mark.parametrize("linked", ["a picture", "the folder"])
def test_links_of_a_data_root_are_pictures_of_it(linked):
    """They were left out, and nothing was said."""
    kept = Path("elsewhere")
    if linked == "the folder":
        Path("data/images").rename(kept)
        Path("data/images").symlink_to(kept.absolute(), target_is_directory=True)
    else:
        kept.mkdir()
        Path("data/images/right.png").rename(kept / "other.png")
        Path("data/images/right.png").symlink_to((kept / "other.png").absolute())
    done = call("run", "m.xml", "data", "-o", "out")
    assert done.exit_code == 0, done.output
    assert {entry["image"] for entry in manifest()["files"]} == {"right", "missed_none", "empty", "more"}
    assert "by the annotations: 1 right, 2 wrong, 1 not annotated" in done.stdout
