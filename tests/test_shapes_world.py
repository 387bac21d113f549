"""On pictures with known answers, through trained models: the map's peak lies in the right object."""

from __future__ import annotations

import json
import sys

import cv2
import numpy as np
import openvino as ov
import pytest

import ovxai
from helpers.pictures import bgr, rgb
from ovxai.annotations.read import read_annotations

PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}
#: Of correctly classified (found) objects, how many peaks must lie inside.
CLASSIFIERS_SHARE = 0.9


@pytest.fixture(scope="module")
def world(fixtures_folder):
    folder = fixtures_folder / "shapes"
    if not (folder / "test" / "annotations.json").exists():
        pytest.skip("the shapes world has no test pictures; scripts/make_fixtures.py draws them")
    return folder


def pictures(world, kind):
    """(RGB picture, mask of ids, objects) of `cls` or `det`."""
    folder = world / "test"
    for entry in json.loads((folder / "annotations.json").read_text())["pictures"]:
        if entry["file"].startswith(kind):
            mask = bgr(folder / entry["objects"][0]["mask"], cv2.IMREAD_GRAYSCALE)
            yield rgb(folder / entry["file"]), mask, entry["objects"]


def explained(world, name, **options):
    path = world / f"{name}.xml"
    if not path.exists():
        pytest.skip(f"fixtures/shapes/{name}.xml is not made yet")
    model = ovxai.insert(path, probe=False, **options)
    return model, ov.Core().compile_model(model, "CPU", PRECISE)


def as_input(picture):
    return ((picture.astype(np.float32) - 128) / 64).transpose(2, 0, 1)[None]


def peak(grid, shape):
    """Row and column, in the picture, of the hottest place of a map resized to it."""
    large = cv2.resize(grid.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.unravel_index(large.argmax(), large.shape)


def says(text, record_property, value):
    """Into the log of the run, and into its XML."""
    sys.stdout.write(f"{text}: {value:.3f}\n")
    record_property(text, value)


@pytest.mark.parametrize("name, method", [("cnn", "reciprocam"), ("vit", "vit-reciprocam")])
def test_classifier_peaks_in_the_object(world, name, method, record_property, capsys):
    model, compiled = explained(world, name)
    assert model.get_rt_info(["ovxai", "method"]).astype(str) == method
    assert model.get_rt_info(["ovxai", "collapse"]).astype(str) == "exact"
    inside = []
    for picture, mask, (thing,) in pictures(world, "cls"):
        outputs = compiled(as_input(picture))
        if outputs[0].argmax() != thing["label"]:
            continue
        row, column = peak(outputs["saliency_map"][0, thing["label"]], mask.shape)
        inside.append(mask[row, column] == thing["id"])
    assert len(inside) >= 38
    share = float(np.mean(inside))
    with capsys.disabled():
        says(f"\nshapes {name}: peaks in the true object, of {len(inside)} correctly classified", record_property, share)
    assert share >= CLASSIFIERS_SHARE


@pytest.mark.parametrize("name", ["detector", "instances"])
def test_detection_peaks_in_an_object_of_the_class(world, name, record_property, capsys):
    """The map of a class that is there peaks in the mask of one of its objects."""
    _, compiled = explained(world, name)
    inside = []
    for picture, mask, things in pictures(world, "det"):
        maps = compiled(as_input(picture))["saliency_map"][0]
        for label in sorted({thing["label"] for thing in things}):
            if not maps[label].any():
                continue
            row, column = peak(maps[label], mask.shape)
            inside.append(mask[row, column] in [thing["id"] for thing in things if thing["label"] == label])
    share = float(np.mean(inside))
    with capsys.disabled():
        says(f"\nshapes {name}: peaks in an object of the class, of {len(inside)} maps", record_property, share)
    assert len(inside) >= 60
    assert share >= 0.9


def pasted(mask, box, shape):
    """A box's mask over the picture as mmdetection (and OTX) pastes it: half-pixel centres, zeros outside, cut at 0.5."""
    (x1, y1, x2, y2), (height, width) = box, mask.shape
    column = (np.arange(shape[1]) + 0.5 - x1) / max(x2 - x1, 1e-3) * width - 0.5
    row = (np.arange(shape[0]) + 0.5 - y1) / max(y2 - y1, 1e-3) * height - 0.5
    x, y = np.meshgrid(column.astype(np.float32), row.astype(np.float32))
    return cv2.remap(mask.astype(np.float32), x, y, cv2.INTER_LINEAR, borderValue=0) > 0.5


def overlap(one, other):
    """IoU of two maps, each cut at half its maximum."""
    one, other = one >= one.max() / 2, other >= other.max() / 2
    return float((one & other).sum() / (one | other).sum())


#: --map-size, and the overlap that any class must have, and those of objects of 32 pixels and more.
SIZES = {"160x160": (0.9, 0.9), None: (0.5, 0.75)}


@pytest.mark.parametrize("size", SIZES)
def test_instances_agree_with_pasting_at_full_size(world, size, record_property, capsys):
    _, compiled = explained(world, "instances", **({"map_size": size} if size else {}))
    plain = ov.Core().compile_model(world / "instances.xml", "CPU", PRECISE)
    every, large = [], []
    for picture, mask, things in pictures(world, "det"):
        boxes, labels, masks = (np.array(value)[0] for value in plain(as_input(picture)).values())
        maps = compiled(as_input(picture))["saliency_map"][0].astype(np.float32)
        for label in sorted({thing["label"] for thing in things} & set(labels.tolist())):
            mine = np.flatnonzero(labels == label)
            want = np.mean([pasted(masks[i], boxes[i, :4], mask.shape) * boxes[i, 4] for i in mine], axis=0)
            got = cv2.resize(maps[label], mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
            every.append(overlap(got, want))
            sides = [thing["box"] for thing in things if thing["label"] == label]
            if all(min(x2 - x1, y2 - y1) >= 32 for x1, y1, x2, y2 in sides):
                large.append(every[-1])
    with capsys.disabled():
        where = size or "default grid"
        says(f"\nshapes instances at {where}: mean overlap of {len(every)} maps", record_property, float(np.mean(every)))
        says("lowest", record_property, min(every))
        says(f"mean of {len(large)} maps of large objects", record_property, float(np.mean(large)))
        says("lowest of these", record_property, min(large))
    assert len(every) >= 80 and len(large) >= 30
    assert min(every) >= SIZES[size][0]
    assert np.mean(large) >= SIZES[size][1]


def test_the_boxes_in_coco_are_those_of_the_pictures(world):
    found = read_annotations(world / "det_coco.json")
    known = {
        entry["file"]: [(one["class"], tuple(one["box"])) for one in entry["objects"]]
        for entry in json.loads((world / "test" / "annotations.json").read_text())["pictures"]
        if entry["file"].startswith("det")
    }
    assert len(known) == 40
    assert {picture.path.name: [(one.name, one.box) for one in picture.objects] for picture in found.pictures} == known
    assert {picture.path.parent for picture in found.pictures} == {world / "test"}
