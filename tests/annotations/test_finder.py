"""Which picture file an annotation means: by path, by name, by stem; and none where nobody can know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.data_sets import write_boxes, write_pictures, write_voc
from ovxai.annotations import read_annotations
from ovxai.annotations.facts import Tally
from ovxai.annotations.files import Finder
from ovxai.errors import AnnotationError

BOX = ("dog", (1, 1, 9, 9))


@pytest.fixture
def folders(tmp_path):
    """a/x.png and b/x.png, and one of each alone."""
    write_pictures(tmp_path / "images" / "a", {"x": (12, 16), "left": (12, 16)})
    write_pictures(tmp_path / "images" / "b", {"x": (12, 16), "right": (12, 16)})
    return tmp_path


def _coco(root: Path, *names: str) -> Path:
    images = [{"id": i, "file_name": name, "height": 12, "width": 16} for i, name in enumerate(names)]
    annotations = [{"image_id": i, "category_id": 1, "bbox": [1, 1, 8, 8]} for i in range(len(names))]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "dog"}]}
    (root / "coco.json").write_text(json.dumps(document))
    return root / "coco.json"


@pytest.mark.parametrize("name, found", [
    ("x.png", None), ("x.jpg", None), ("x", None), ("a/x.png", "a/x.png"), ("b/x.png", "b/x.png"), ("b\\x.png", "b/x.png"),
    ("deeper/b/x.png", "b/x.png"), ("c/x.png", None), ("left.png", "a/left.png"), ("c/right.jpg", "b/right.png"),
])  # fmt: skip
def test_a_name_that_several_files_have_is_none_of_them(folders, name, found):
    tally = Tally()
    file = Finder([folders / "images"]).find((name,), tally)
    assert file == (None if found is None else folders / "images" / found)
    notes = tally.notes()
    assert notes == () if found else len(notes) == 1 and notes[0].startswith("1 annotated pictures whose name several files have")


def test_the_first_folder_that_has_it_counts_and_the_name_as_it_is_written(tmp_path):
    for name in ("one", "two"):
        write_pictures(tmp_path / name / "deep", {"x": (4, 4)})
    write_pictures(tmp_path / "one" / "other", {"X": (4, 4)})
    finder, tally = Finder([tmp_path / "one", tmp_path / "two"]), Tally()
    assert finder.find(("x.png",), tally) == tmp_path / "one" / "deep" / "x.png"
    assert finder.find(("X.png",), tally) == tmp_path / "one" / "other" / "X.png"
    assert finder.find(("", "no", "x.png"), tally) == tmp_path / "one" / "deep" / "x.png" and tally.notes() == ()
    assert finder.find(("", "no"), tally) is None and tally.notes() == ("1 annotated pictures that are not there (no)",)


@pytest.mark.parametrize("write", [
    lambda root: _coco(root, "x.png", "left.png"),
    lambda root: write_voc(root / "Annotations", {"x": [BOX], "left": [BOX]}, {"x": (12, 16), "left": (12, 16)}),
    lambda root: write_boxes(root / "boxes", {"x": [BOX], "left": [BOX]}),
])  # fmt: skip
def test_every_format_counts_it(folders, write):
    write(folders)
    found = read_annotations(folders)
    assert [picture.path.name for picture in found.pictures] == ["left.png"]
    assert any(note.startswith("1 annotated pictures whose name several files have, left out") for note in found.notes)


def test_with_nothing_left_it_is_one_line(folders):
    with pytest.raises(AnnotationError, match="1 annotated pictures whose name several files have"):
        read_annotations(_coco(folders, "x.png"))
    assert read_annotations(folders / "coco.json", folders / "images" / "b").pictures[0].path.parent.name == "b"
