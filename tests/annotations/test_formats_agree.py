"""The same data in every format say the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.data_sets import OBJECTS, write_boxes, write_coco, write_pictures, write_voc, write_yolo
from ovxai.annotations import AnnotationSet, is_data_root, read_annotations
from ovxai.runtime.feed.images import read_image

SHARED = Path(os.environ.get("OVXAI_SHARED", Path(__file__).resolve().parents[3] / "shared"))
Content = dict[str, list[tuple[str, tuple[float, ...] | None]]]


def content(found: AnnotationSet) -> Content:
    """Picture stem -> (class, box rounded to a thousandth) of each object."""
    return {
        picture.path.stem: [
            (item.name, None if item.box is None else tuple(round(value, 3) for value in item.box)) for item in picture.objects
        ]
        for picture in found.pictures
    }


def expected(objects=OBJECTS) -> Content:
    return {stem: [(name, tuple(map(float, box))) for name, box in items] for stem, items in objects.items()}


def _written(form: str, root: Path) -> Path:
    """The data set in one form; what to hand to `read_annotations`."""
    if form == "coco beside":
        write_pictures(root)
        return write_coco(root / "_annotations.coco.json")
    if form == "coco root":
        write_pictures(root / "images" / "val2017")
        write_coco(root / "annotations" / "instances_val2017.json")
        return root
    if form == "voc":
        write_pictures(root / "JPEGImages")
        write_voc(root / "Annotations")
        return root
    if form == "voc beside":
        write_pictures(root)
        return write_voc(root)
    if form == "yolo":
        write_pictures(root / "images" / "val")
        return write_yolo(root)
    if form == "yolo root":
        write_pictures(root / "images" / "val")
        write_yolo(root)
        return root
    if form == "yolo classes.txt":
        write_pictures(root / "images" / "val")
        write_yolo(root).unlink()
        (root / "classes.txt").write_text("dining table\ndog\n")
        return root
    write_pictures(root / "images")
    write_boxes(root / "boxes")
    return root


FORMS = ["coco beside", "coco root", "voc", "voc beside", "yolo", "yolo root", "yolo classes.txt", "boxes"]


@pytest.mark.parametrize("form", FORMS)
def test_each_format_gives_the_same(form, tmp_path):
    path = _written(form, tmp_path)
    found = read_annotations(path)
    assert content(found) == expected()
    assert set(found.classes) == {"dining table", "dog"}
    assert [picture.size for picture in found.pictures] == [(48, 64), (32, 40), (32, 32)]
    assert any("nothing in them (c.png)" in note for note in found.notes)
    assert not found.unannotated
    assert path.is_file() or is_data_root(path)


@pytest.mark.parametrize("form", ["coco", "voc", "yolo"])
def test_real_photographs_read_the_same_from_each_format(form, tmp_path):
    folder = SHARED / "data" / "boxes"
    if not (folder / "images").is_dir():
        pytest.skip(f"{folder} is not there: the photographs with boxes")
    original = read_annotations(folder)
    objects = {
        picture.path.stem: [(item.name, tuple(map(int, item.box or ()))) for item in picture.objects]
        for picture in original.pictures
    }
    assert len(objects) == 85 and sum(map(len, objects.values())) == 686
    sizes = {picture.path.stem: read_image(picture.path).shape[:2] for picture in original.pictures}
    assert sizes == {picture.path.stem: picture.size for picture in original.pictures}
    if form == "coco":
        path = write_coco(tmp_path / "boxes.json", objects, sizes, ".jpg")
    elif form == "voc":
        path = write_voc(tmp_path, objects, sizes, ".jpg")
    else:
        (tmp_path / "images").mkdir()
        os.symlink(folder / "images", tmp_path / "images" / "val")
        path = write_yolo(tmp_path, objects, sizes)
    found = read_annotations(path, None if form == "yolo" else folder / "images")
    assert content(found) == content(original)


def test_a_root_with_parts_reads_what_was_not_trained_on_and_says_so(tmp_path):
    for split in ("train", "valid"):
        write_pictures(tmp_path / split)
        write_coco(tmp_path / split / "_annotations.coco.json")
    found = read_annotations(tmp_path)
    assert {picture.path.parent.name for picture in found.pictures} == {"valid"}
    assert "the part valid is read, of valid, train" in found.notes


def test_the_parts_of_pascal_voc(tmp_path):
    write_pictures(tmp_path / "JPEGImages")
    write_voc(tmp_path / "Annotations")
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nc\n")
    (lists / "val.txt").write_text("b\n")
    found = read_annotations(tmp_path)
    assert [picture.path.stem for picture in found.pictures] == ["b"] and "the part val is read, of val, train" in found.notes
    assert [path.stem for path in found.unannotated] == ["a", "c"]


def test_of_several_coco_files_the_pictures_of_the_same_part_are_taken(tmp_path):
    """Also where both parts have pictures of the same names."""
    for split in ("train", "test"):
        write_pictures(tmp_path / "images" / split)
        write_coco(tmp_path / "annotations" / f"instances_{split}.json")
    found = read_annotations(tmp_path)
    assert {picture.path.parent.name for picture in found.pictures} == {"test"}
    train = read_annotations(tmp_path / "annotations" / "instances_train.json")
    assert {picture.path.parent.name for picture in train.pictures} == {"train"}


def test_folders_named_after_classes(tmp_path):
    write_pictures(tmp_path / "dog", {"a": (8, 8), "b": (8, 8)})
    write_pictures(tmp_path / "dining_table", {"a": (8, 8)})
    found = read_annotations(tmp_path)
    assert found.classes == ("dining_table", "dog")
    assert sorted((p.path.parent.name, p.objects[0].name) for p in found.pictures) == [
        ("dining_table", "dining_table"), ("dog", "dog"), ("dog", "dog"),
    ]  # fmt: skip
    assert not is_data_root(tmp_path), "any folder of folders could be that"


def test_a_folder_of_pictures_alone_is_no_data(tmp_path):
    write_pictures(tmp_path)
    (tmp_path / "a.txt").write_text("a caption of several words here")
    (tmp_path / "settings.json").write_text('{"a": 1}')
    assert not is_data_root(tmp_path)
