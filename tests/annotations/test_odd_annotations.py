"""What is odd in annotations is counted, what is broken is one line; masks and names are what they say."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.data_sets import write_boxes, write_coco, write_pictures, write_voc, write_yolo
from ovxai.annotations import match_names, read_annotations
from ovxai.annotations.facts import AnnotatedPicture, TrueObject, filled
from ovxai.annotations.masks import of_polygons, of_runs
from ovxai.annotations.yolo import read_names, splits
from ovxai.errors import AnnotationError


def _coco(folder, annotations, *, images=None, categories=None):
    write_pictures(folder, {"a": (10, 12)})
    document = {
        "images": images or [{"id": 1, "file_name": "a.png", "height": 10, "width": 12}],
        "categories": categories or [{"id": 1, "name": "dog"}],
        "annotations": [{"image_id": 1, "category_id": 1, **entry} for entry in annotations],
    }
    path = folder / "boxes.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def masked(item: TrueObject, height: int, width: int) -> np.ndarray:
    """The mask, which has to be there."""
    mask = item.mask_for(height, width)
    assert mask is not None
    return mask


# Masks.


def test_polygons_runs_and_compressed_runs_are_one_mask(tmp_path):
    """A rectangle from (3, 2) to (9, 7), three times."""
    coder = pytest.importorskip("pycocotools.mask")
    region = np.zeros((10, 12), np.uint8)
    region[2:7, 3:9] = 1
    flat = region.T.reshape(-1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
    runs = np.diff(np.concatenate([[0], edges])).tolist()
    coded = coder.encode(np.asfortranarray(region))
    compressed = {"size": [10, 12], "counts": coded["counts"].decode("ascii")}
    path = _coco(tmp_path, [
        {"segmentation": [[3, 2, 9, 2, 9, 7, 3, 7]]},
        {"segmentation": {"size": [10, 12], "counts": runs}},
        {"segmentation": compressed},
    ])  # fmt: skip
    objects = read_annotations(path).pictures[0].objects
    polygon, plain, packed = (masked(item, 10, 12) for item in objects)
    assert (plain == (region > 0)).all() and (packed == (region > 0)).all()
    assert [item.box for item in objects[1:]] == [(3.0, 2.0, 9.0, 7.0)] * 2
    assert (polygon == plain).all()


def test_polygons_are_filled_as_pycocotools_fills_them():
    """But for single pixels of the edge, and in union where there are several."""
    coder = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(random.uniform(0, 2 * np.pi, 7))
        shape = np.stack([30 + 25 * np.cos(angles), 20 + 18 * np.sin(angles)], axis=1).reshape(-1).tolist()
        other = [50.0, 30.0, 64.0, 30.0, 64.0, 48.0]
        theirs = coder.decode(coder.merge(coder.frPyObjects([shape, other], 48, 64))) > 0
        ours = of_polygons([shape, other])(48, 64)
        assert (ours ^ theirs).sum() <= 0.05 * theirs.sum()


def test_compressed_runs_are_read_as_pycocotools_reads_them():
    """Of masks with many runs, long ones and none, and of what it can't have written: no mask."""
    coder = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 0.98, 1.0):
        for size in ((5, 7), (1, 1), (300, 211)):
            region = random.random(size) < share
            text = coder.encode(np.asfortranarray(region.astype(np.uint8)))["counts"].decode("ascii")
            assert (of_runs(text, size, "here")(*size) == region).all()
    for text in ("", "~~", "0000", "abc", "P1", "o" * 100, "\u0416", "o"):
        with pytest.raises(AnnotationError, match="here: its runs do not fill a mask of 7x5"):
            of_runs(text, (5, 7), "here")


def test_a_mask_of_one_pixel_and_a_box_of_less_keep_a_pixel():
    assert filled((3.2, 4.6, 3.4, 4.7), 8, 8).nonzero() == (np.array([4]), np.array([3]))
    assert filled((2.0, 1.0, 5.0, 3.0), 8, 8).sum() == 6
    assert not filled((9.0, 1.0, 12.0, 3.0), 8, 8).any()
    one = np.zeros((8, 8), bool)
    one[5, 2] = True
    assert TrueObject("dog", (2, 5, 3, 6), lambda _height, _width: one).inside(8, 8) is one


def test_masks_as_pictures_by_number_and_palette(tmp_path):
    write_pictures(tmp_path / "images", {"a": (10, 12), "b": (10, 12)})
    (tmp_path / "masks").mkdir()
    levels = np.zeros((10, 12), np.uint8)
    levels[2:5, 3:7], levels[9, 11], levels[0, 0] = 1, 2, 255
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), levels)
    (tmp_path / "masks" / "b_mask.png").write_bytes(_palette_png(levels))
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    found = read_annotations(tmp_path)
    assert len(found.pictures) == 2
    for picture in found.pictures:
        assert [(item.name, item.box) for item in picture.objects] == [("cat", (3, 2, 7, 5)), ("dog", (11, 9, 12, 10))]
        assert (masked(picture.objects[0], 10, 12) == (levels == 1)).all()


def _palette_png(levels: np.ndarray) -> bytes:
    """Eight bits a pixel, with colours of which none is grey."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    colors = np.stack([np.arange(256), np.arange(256)[::-1], np.arange(256) // 2], axis=1).astype(np.uint8)
    height, width = levels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), levels], axis=1).tobytes()
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = [(b"IHDR", head), (b"PLTE", colors.tobytes()), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_masks_in_folders_of_classes_and_masks_without_names(tmp_path):
    write_pictures(tmp_path / "images", {"a": (10, 12)})
    mask = np.zeros((10, 12), np.uint8)
    mask[4:6, 1:3] = 255
    (tmp_path / "masks" / "scratch").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "masks" / "scratch" / "a.png"), mask)
    assert read_annotations(tmp_path).pictures[0].objects == (TrueObject("scratch", (1, 4, 3, 6)),)
    (tmp_path / "masks" / "scratch" / "a.png").rename(tmp_path / "masks" / "a.png")
    (tmp_path / "masks" / "scratch").rmdir()
    assert read_annotations(tmp_path).pictures[0].objects == (TrueObject("object", (1, 4, 3, 6)),)
    mask[0, 0] = 7
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), mask)
    with pytest.raises(AnnotationError, match=r"without names; put a classes\.txt"):
        read_annotations(tmp_path)


@pytest.mark.parametrize(
    ("value", "crowd"), [(0, False), ("0", False), (False, False), (0.0, False), (1, True), ("1", True), (True, True)]
)
def test_crowds_by_number_flag_or_text(tmp_path, value, crowd):
    path = _coco(tmp_path, [{"bbox": [1, 1, 2, 2], "iscrowd": value}])
    write_pictures(tmp_path, {"a": (10, 12)})
    assert [item.crowd for item in read_annotations(path).pictures[0].objects] == [crowd]


# Counted, never left out in silence.


def test_everything_odd_is_counted(tmp_path):
    path = _coco(
        tmp_path,
        [
            {"bbox": [20, 20, 4, 4]},
            {"bbox": [8, 2, 40, 4]},
            {"bbox": [1, 1, 0, 4]},
            {"bbox": [1, 1, 2, 2], "iscrowd": 1},
            {"bbox": [1, 1, 2, 2], "category_id": 9},
            {"bbox": [1, 1, 2, 2], "image_id": 9},
            {"bbox": [1, 1, 2, 2], "segmentation": [[1, 2, 3, 4]]},
            {"image_id": 2},
        ],
        images=[
            {"id": 1, "file_name": "a.png", "height": 10, "width": 12},
            {"id": 2, "file_name": "gone.png", "height": 10, "width": 12},
        ],
    )
    write_pictures(tmp_path, {"a": (10, 12), "more": (5, 5)})
    found = read_annotations(path)
    assert [(item.box, item.crowd) for item in found.pictures[0].objects] == [
        ((8, 2, 12, 6), False), ((1, 1, 3, 3), True), ((1, 1, 3, 3), False),
    ]  # fmt: skip
    told = " / ".join(found.notes)
    for words in (
        "1 boxes outside of their picture", "1 boxes that reach beyond", "1 boxes without an area", "1 crowd regions (a.png)",
        "1 objects of a category", "1 annotations of pictures that the file does not list", "1 polygons of fewer than three",
        "1 annotated pictures that are not there (gone.png)", "1 pictures without an annotation (more.png)",
    ):  # fmt: skip
        assert words in told, words
    assert [path.name for path in found.unannotated] == ["more.png"]


def test_pictures_of_another_size_than_the_annotation_says():
    item = TrueObject("dog", (10.0, 20.0, 30.0, 40.0), lambda height, width: np.ones((height, width), bool))
    picture = AnnotatedPicture(Path("a.png"), (item,), (100, 200))
    assert picture.at(100, 200) == (item,)
    (half,) = picture.at(50, 100) or ()
    assert half.box == (5.0, 10.0, 15.0, 20.0) and masked(half, 50, 100).shape == (50, 100)
    assert picture.at(200, 100) is None, "a turned picture"


# Broken: one line.


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "no valid json"),
        ("a.json", "[]", "a list, as detectors' results are"),
        ("a.json", '{"images": [], "annotations": [], "categories": 3}', "categories is not a list"),
        ("a.json", '{"images": [{"id": 1}], "annotations": [{}], "categories": []}', r"annotations\[0\] has no image_id"),
        ("a.json", '{"images": [], "annotations": [], "categories": []}', "no annotated picture to read"),
        ("a.xml", "<annotation>", "no valid xml"),
        ("a.xml", "<net/>", "its root is <net>"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY x "y">]><annotation>&x;</annotation>', "declares a document type"),
        ("a.xml", "<annotation><filename>a.png</filename><object><name>x</name><bndbox/></object></annotation>", "four numbers"),
        ("a.txt", "dog 1 2 3 4\ndog 1 2 3", "a.txt:2: not a line"),
        ("a.txt", "some words", "no annotations that are known here"),
        ("data.yaml", "train: x\n", "has no names"),
        ("data.yaml", "names: [a]\ntrain: nowhere\n", "none of its train, val, test is there"),
        ("data.yaml", "names: [a\n", "the bracket is not closed"),
    ],
)
def test_what_is_broken_is_one_line(name, text, message, tmp_path):
    write_pictures(tmp_path, {"a": (10, 12)})
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AnnotationError, match=message) as raised:
        read_annotations(path)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


@pytest.mark.parametrize("entry, message", [
    ({"segmentation": {"size": [10, 12], "counts": ["a"]}}, "runs do not fill a mask of 12x10"),
    ({"segmentation": {"size": [10, 12], "counts": [[60], 60]}}, "runs do not fill a mask of 12x10"),
    ({"segmentation": {"size": [10**9, 10**9], "counts": [10**18]}}, "is no picture's"),
    ({"segmentation": {"size": [1e30, 12], "counts": [120]}}, "is no picture's"),
    ({"segmentation": [1e30, 2]}, "segmentation is not a list of numbers"),
    ({"segmentation": [[10**400, 2, 3, 4, 5, 6]]}, "segmentation is not a list of numbers"),
    ({"segmentation": "a"}, "neither polygons nor runs"),
    ({"bbox": [10**400, 1, 2, 3]}, "bbox is not 4 numbers"),
    ({"bbox": [True, 1, 2, 3]}, "bbox is not 4 numbers"),
])  # fmt: skip
def test_values_that_nothing_can_be_made_of_are_one_line(entry, message, tmp_path):
    path = _coco(tmp_path, [{"bbox": [1, 1, 3, 3], **entry}])
    with pytest.raises(AnnotationError, match=message) as raised:
        read_annotations(path)
    assert "\n" not in str(raised.value) and "annotations[0]" in str(raised.value)


@pytest.mark.parametrize("entry, note, box", [
    ({"category_id": [1]}, "1 objects of a category that the file does not name", None),
    ({"category_id": {"id": 1}}, "1 objects of a category that the file does not name", None),
    ({"segmentation": [[1], [2, 3]]}, "2 polygons of fewer than three corners", (1, 1, 4, 4)),
    ({"segmentation": [[1e30, 2, 3, 4, 5, 6]]}, "1 polygons with corners further out than any picture reaches", (1, 1, 4, 4)),
    ({"bbox": [1e12, 1e12, 1e12, 1e12]}, "1 boxes outside of their picture", None),
    ({"bbox": [1, 1, 1e12, 1e12]}, "1 boxes that reach beyond their picture, cut", (1, 1, 12, 10)),
    ({"bbox": [-1e12, -1e12, 2e12, 2e12]}, "1 boxes that reach beyond their picture, cut", (0, 0, 12, 10)),
])  # fmt: skip
def test_values_far_from_any_picture_are_counted(entry, note, box, tmp_path):
    found = read_annotations(_coco(tmp_path, [{"bbox": [1, 1, 3, 3], **entry}]))
    assert any(line.startswith(note) for line in found.notes), found.notes
    objects = found.pictures[0].objects
    assert [item.box for item in objects] == ([] if box is None else [box])
    assert all(item.inside(10, 12) is not None for item in objects)


def test_sizes_that_no_picture_has_are_the_pictures_own(tmp_path):
    size = {"id": 1, "file_name": "a.png", "height": 10**7, "width": 10**7}
    path = _coco(tmp_path, [{"segmentation": [[1, 1, 5, 1, 5, 5]]}, {"bbox": [8, 8, 30, 30]}], images=[size])
    found = read_annotations(path).pictures[0]
    assert found.size == (10, 12) and [item.box for item in found.objects] == [(1, 1, 5, 5), (8, 8, 12, 10)]
    for digits in ("9" * 400, "9" * 5000, "²"):
        text = f"<annotation><filename>a.png</filename><size><height>{digits}</height><width>5</width></size></annotation>"
        (tmp_path / "a.xml").write_text(text, encoding="utf-8")
        assert read_annotations(tmp_path / "a.xml").pictures[0].size == (10, 12)


def test_far_corners_in_text_files(tmp_path):
    write_pictures(tmp_path / "images", {"a": (10, 12)})
    write_boxes(tmp_path / "boxes", {"a": []})
    (tmp_path / "boxes" / "a.txt").write_text("dog 1 1 1e12 1e12\ndog 1e12 1e12 2e12 2e12\n")
    found = read_annotations(tmp_path)
    assert [item.box for item in found.pictures[0].objects] == [(1, 1, 12, 10)]
    assert [note.partition(",")[0].partition(" (")[0] for note in found.notes] == [
        "1 boxes that reach beyond their picture", "1 boxes outside of their picture",
    ]  # fmt: skip
    yolo = tmp_path / "yolo"
    write_pictures(yolo / "images" / "val", {"a": (10, 12)})
    write_yolo(yolo, {"a": [("dog", (1, 1, 5, 5))]}, {"a": (10, 12)})
    (yolo / "labels" / "val" / "a.txt").write_text("0 -1e30 0.5 0.2 0.2 0.9 0.1\n0 -1e12 0.5 0.2 0.2\n")
    found = read_annotations(yolo)
    assert found.pictures[0].objects == () and any("further out" in note for note in found.notes)


def test_entities_are_refused_in_any_encoding(tmp_path):
    write_pictures(tmp_path, {"a": (10, 12)})
    path = tmp_path / "a.xml"
    text = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a SYSTEM "file:///etc/hostname"><annotation/>'
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(AnnotationError, match="declares a document type"):
        read_annotations(path)


def test_yolo_numbers_that_are_no_shares_and_classes_without_a_name(tmp_path):
    write_pictures(tmp_path / "images" / "val", {"a": (10, 20)})
    path = write_yolo(tmp_path, {"a": [("dog", (2, 1, 10, 5))]}, {"a": (10, 20)})
    label = tmp_path / "labels" / "val" / "a.txt"
    label.write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n4 0.5 0.5 0.2 0.2\n")
    found = read_annotations(path)
    (item,) = found.pictures[0].objects
    assert item.box == pytest.approx((2, 1, 10, 5)) and masked(item, 10, 20).any()
    assert any("1 objects of a class without a name" in note for note in found.notes)
    label.write_text("0 12 14 100 120\n")
    with pytest.raises(AnnotationError, match=r"a.txt:1: 120 is no share"):
        read_annotations(path)
    label.unlink()
    assert any("1 pictures without a label file, taken as empty" in note for note in read_annotations(path).notes)


def test_pictures_in_a_folder_that_is_given(tmp_path):
    path = write_coco(tmp_path / "apart" / "a.json")
    with pytest.raises(AnnotationError, match="3 annotated pictures that are not there"):
        read_annotations(path)
    write_pictures(tmp_path / "elsewhere" / "deep")
    assert len(read_annotations(path, tmp_path / "elsewhere").pictures) == 3
    with pytest.raises(AnnotationError, match="no such folder of pictures"):
        read_annotations(path, tmp_path / "nowhere")


def test_a_name_in_a_file_opens_nothing_outside_of_the_data(tmp_path):
    write_pictures(tmp_path / "secret", {"key": (10, 12)})
    data = tmp_path / "data"
    image = {"id": 1, "file_name": "../secret/key.png", "height": 10, "width": 12}
    path = _coco(data, [], images=[image])
    with pytest.raises(AnnotationError, match="1 annotated pictures that are not there"):
        read_annotations(path)


@pytest.mark.parametrize(
    "text",
    [
        "names: ['a: b', \"c\", it's]\n",
        "names:\n- 'a: b'  # first\n- c\n- it's\n",
        "names:\n  0: 'a: b'\n  2: it's\n  1: c\nnc: 3\n",
        "names: {0: 'a: b', 1: c, 2: it's}\n",
        "nc: 3\nnames: ['a: b',\n   'c',\n  \"it's\"]\n",
    ],
)
def test_names_of_a_data_yaml_as_a_yaml_library_reads_them(text, tmp_path):
    path = tmp_path / "data.yaml"
    path.write_text(text)
    assert read_names(path) == ("a: b", "c", "it's")
    yaml = pytest.importorskip("yaml")
    names = yaml.safe_load(text)["names"]
    assert tuple(names[i] for i in range(3)) == read_names(path)


def test_a_data_yaml_that_speaks_of_its_neighbours(tmp_path):
    (tmp_path / "train" / "images").mkdir(parents=True)
    path = tmp_path / "data.yaml"
    path.write_text("train: ../train/images\nval: ../valid/images\nnames: ['a']\nroboflow:\n  license: CC\n  train: no\n")
    assert splits(path) == {"train": [tmp_path / "train" / "images"]}


# Names.


def test_names_are_matched_however_they_are_written(tmp_path):
    labels = [
        "person",
        "Dining Table",
        "tv",
        "great white shark, white shark, man-eater",
        "crane",
        "crane",
        "hen, bird",
        "cock, bird",
    ]
    found = match_names(["diningtable", "DINING_TABLE", "white-shark", "telly", "crane", "bird", "hen"], labels)
    assert found.index == {"diningtable": 1, "DINING_TABLE": 1, "white-shark": 3, "hen": 6}
    assert found.unmatched == ("telly", "crane", "bird")
    assert len(found.notes) == 2 and "several labels" in found.notes[0]
    file = tmp_path / "names.txt"
    file.write_text("# theirs = ours\ntelly = tv\ncrane: 5\nbird = -\n")
    found = match_names(["telly", "crane", "bird"], labels, file)
    assert found.index == {"telly": 2, "crane": 5} and found.left_out == ("bird",) and not found.unmatched
    for line, message in (
        ("telly = radio", "no class 'radio'"),
        (f"a = {'9' * 5000}", "no class"),
        ("telly", "names.txt:1"),
        ("a = 99", "no class '99'"),
    ):
        file.write_text(line)
        with pytest.raises(AnnotationError, match=message):
            match_names(["telly"], labels, file)


def test_formats_with_nothing_in_them(tmp_path):
    write_pictures(tmp_path, {"a": (10, 12)})
    write_boxes(tmp_path, {"a": []})
    with pytest.raises(AnnotationError, match="no annotations that are known"):
        read_annotations(tmp_path)
    write_voc(tmp_path, {"a": []}, {"a": (10, 12)})
    found = read_annotations(tmp_path)
    assert found.classes == () and "1 pictures with nothing in them (a.png)" in found.notes
