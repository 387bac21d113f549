"""A picture or a mask that is damaged fails its own picture, is counted and named, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest

from helpers.cli import call, is_one_line
from helpers.runtime_graphs import classifier, encoded, picture
from ovxai.annotations import read_annotations
from ovxai.annotations.masks import read_levels
from ovxai.errors import AnnotationError

NAMES = ("a", "b", "c")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """a.xml; three pictures with a mask of red each."""
    monkeypatch.chdir(tmp_path)
    ov.save_model(classifier(), "a.xml")
    mask = np.zeros((40, 60), np.uint8)
    mask[2:20, 2:30] = 1
    for folder, data in (("images", encoded(picture())), ("masks", encoded(mask))):
        Path("data", folder).mkdir(parents=True)
        for name in NAMES:
            Path("data", folder, f"{name}.png").write_bytes(data)
    Path("data/classes.txt").write_text("red\n")
    return tmp_path


def damage(path: str) -> None:
    Path(path).write_bytes(Path(path).read_bytes()[:60])


def evaluated(data="data"):
    done = call("eval", "a.xml", "--data", data, "-o", "out", "--metrics", "energy", "--baseline", "centre", "--json")
    return done, json.loads(done.stdout)


@pytest.mark.usefixtures("home")
def test_a_damaged_picture_fails_alone():
    damage("data/images/b.png")
    done, found = evaluated()
    assert done.exit_code == 1 and [row["pictures"] for row in found["rows"]] == [2, 2]
    assert [row["failed"] for row in found["rows"]] == [1, 1]
    assert [(one["source"], "b.png" in one["error"]) for one in found["failed"]] == [("data/images/b.png", True)]


@pytest.mark.usefixtures("home")
def test_a_damaged_mask_leaves_out_its_picture():
    damage("data/masks/b.png")
    done, found = evaluated()
    assert done.exit_code == 0 and [row["pictures"] for row in found["rows"]] == [2, 2]
    assert "1 masks that can't be read, left out with their pictures (b.png)" in found["notes"]


@pytest.mark.usefixtures("home")
def test_masks_that_are_all_damaged_are_one_line():
    for name in NAMES:
        damage(f"data/masks/{name}.png")
    done = call("eval", "a.xml", "--data", "data", "-o", "out", "-q")
    assert is_one_line(done, "masks/a.png", "damaged") and not Path("out").exists()


@pytest.mark.usefixtures("home")
def test_a_damaged_mask_of_one_class_leaves_out_its_picture_though_another_is_whole():
    for name in ("red", "green"):
        Path("data/masks", name).mkdir()
        for stem in NAMES:
            Path(f"data/masks/{name}/{stem}.png").write_bytes(Path(f"data/masks/{stem}.png").read_bytes())
    for stem in NAMES:
        Path(f"data/masks/{stem}.png").unlink()
    damage("data/masks/green/c.png")
    assert [one.path.stem for one in read_annotations(Path("data")).pictures] == ["a", "b"]


@pytest.mark.usefixtures("home")
def test_a_mask_that_is_damaged_after_it_was_read_fails_its_picture(monkeypatch):
    reads: dict[Path, int] = {}
    own = read_levels

    def read(path):
        reads[path] = reads.get(path, 0) + 1
        if path.stem == "b" and reads[path] > 1:
            raise AnnotationError(f"{path}: not a picture that OpenCV can read, or damaged")
        return own(path)

    monkeypatch.setattr("ovxai.annotations.folders.read_levels", read)
    done, found = evaluated()
    assert done.exit_code == 1 and [row["pictures"] for row in found["rows"]] == [2, 2]
    assert [one["source"] for one in found["failed"]] == ["data/images/b.png"] and "masks/b.png" in found["failed"][0]["error"]


@pytest.mark.usefixtures("home")
def test_a_picture_that_one_way_fails_at_fails_there_alone(monkeypatch):
    from ovxai.evaluation.columns import OnHost

    own = OnHost.maps

    def maps(self, view, targets):
        if "b.png" in (view.source or ""):
            raise MemoryError
        return own(self, view, targets)

    monkeypatch.setattr(OnHost, "maps", maps)
    done, found = evaluated()
    assert done.exit_code == 1 and [row["pictures"] for row in found["rows"]] == [3, 2]
    assert [one["error"] for one in found["failed"]] == ["data/images/b.png: there is not enough memory for it"]


def test_pixels_of_masks_are_read_whatever_opencv_thinks(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "masks" / "b.png"), np.eye(8, dtype=np.uint8))
    found = read_annotations(tmp_path)
    assert [one.path.stem for one in found.pictures] == ["b"] and "1 masks that can't be read" in found.notes[0]
