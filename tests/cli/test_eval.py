"""`ovxai eval` on one world of pictures, annotated in every form: the same figures from each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.cli import call, is_one_line
from helpers.data_sets import write_boxes, write_coco, write_voc, write_yolo
from ovxai.annotations import read_annotations
from ovxai.cli.eval_command import TimeLeft

COUNT = 5
FIGURES = ("pointing", "pointing_15", "energy", "insertion", "deletion")


@pytest.fixture(scope="module")
def world(fixtures_folder, tmp_path_factory):
    """(model, name -> data): text, COCO, VOC, YOLO of the same boxes."""
    source = fixtures_folder / "shapes"
    if not (source / "test" / "annotations.json").exists():
        pytest.skip("the shapes world has no test pictures; scripts/make_fixtures.py draws them")
    root = tmp_path_factory.mktemp("forms")
    found = json.loads((source / "test" / "annotations.json").read_text())
    entries = [entry for entry in found["pictures"] if entry["file"].startswith("det")][:COUNT]
    forms = {name: root / name for name in ("text", "coco", "voc", "yolo")}
    for write, folder in zip((_text, _coco, _voc, _yolo), forms.values()):
        write(folder, source / "test", entries, found["classes"])
    return source / "detector.xml", forms


def _pictures(folder, source, entries):
    (folder / "images").mkdir(parents=True)
    for entry in entries:
        shutil.copy(source / entry["file"], folder / "images")


def _text(folder, source, entries, classes):
    _pictures(folder, source, entries)
    (folder / "boxes").mkdir()
    for entry in entries:
        lines = [" ".join(map(str, (one["class"], *one["box"]))) for one in entry["objects"]]
        (folder / "boxes" / f"{Path(entry['file']).stem}.txt").write_text("\n".join(lines))


def _coco(folder, source, entries, classes):
    _pictures(folder, source, entries)
    boxes = [(i, one["class"], one["box"]) for i, entry in enumerate(entries) for one in entry["objects"]]
    (folder / "annotations.json").write_text(json.dumps({
        "images": [{"id": i, "file_name": e["file"], "width": e["width"], "height": e["height"]} for i, e in enumerate(entries)],
        "categories": [{"id": i + 7, "name": name} for i, name in enumerate(classes)],
        "annotations": [
            {"id": n, "image_id": i, "category_id": classes.index(name) + 7, "iscrowd": 0, "area": (x2 - x1) * (y2 - y1),
             "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for n, (i, name, (x1, y1, x2, y2)) in enumerate(boxes)
        ],
    }))  # fmt: skip


def _voc(folder, source, entries, classes):
    _pictures(folder, source, entries)
    (folder / "Annotations").mkdir()
    for entry in entries:
        objects = "".join(
            f"<object><name>{one['class']}</name><bndbox><xmin>{one['box'][0]}</xmin><ymin>{one['box'][1]}</ymin>"
            f"<xmax>{one['box'][2]}</xmax><ymax>{one['box'][3]}</ymax></bndbox></object>"
            for one in entry["objects"]
        )
        size = f"<size><width>{entry['width']}</width><height>{entry['height']}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{entry['file']}</filename>{size}{objects}</annotation>"
        (folder / "Annotations" / f"{Path(entry['file']).stem}.xml").write_text(text)


def _yolo(folder, source, entries, classes):
    _pictures(folder, source, entries)
    (folder / "labels").mkdir()
    (folder / "data.yaml").write_text(f"train: images\nval: images\nnc: {len(classes)}\nnames: {json.dumps(classes)}\n")
    for entry in entries:
        lines = []
        for one in entry["objects"]:
            x1, y1, x2, y2 = np.array(one["box"]) / ([entry["width"], entry["height"]] * 2)
            place = f"{(x1 + x2) / 2:.8f} {(y1 + y2) / 2:.8f} {x2 - x1:.8f} {y2 - y1:.8f}"
            lines.append(f"{classes.index(one['class'])} {place}")
        (folder / "labels" / f"{Path(entry['file']).stem}.txt").write_text("\n".join(lines))


def evaluated(model, data, out, *more):
    done = call("eval", model, "--data", data, "-o", out, "--steps", 4, "--precision", "f32", "--json", *more)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_every_form_of_annotation_gives_the_same_figures(world, tmp_path):
    model, forms = world
    rows = {name: evaluated(model, data, tmp_path / name)["rows"][0] for name, data in forms.items()}
    assert rows["text"]["maps"] >= COUNT and rows["text"]["pictures"] == COUNT and rows["text"]["energy"] > 1.5
    for name, row in rows.items():
        assert [row[figure] for figure in FIGURES] == pytest.approx([rows["text"][figure] for figure in FIGURES], abs=1e-6), name
        assert row["maps"] == rows["text"]["maps"], name
    files = sorted(path.name for path in (tmp_path / "coco").iterdir())
    assert files == ["metrics.csv", "metrics.json", "records.jsonl", "report.html"]
    assert json.loads((tmp_path / "coco" / "metrics.json").read_text())["rows"][0] == rows["coco"]


def test_a_table_on_the_screen_and_progress_beside_it(world, tmp_path):
    model, forms = world
    done = call("eval", model, "--data", forms["coco"], "-o", tmp_path, "--limit", 2, "--metrics", "pointing,energy",
                "--baseline", "box", "--baseline", "centre", "--per", "box")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    head, *rows, last = done.stdout.splitlines()
    assert head.split() == ["pointing", "energy", "maps", "s/picture", "forwards"]
    assert [row.split("/")[1].split()[0] for row in rows] == ["det-class-probability-map", "box", "centre"]
    assert last == f"report: {tmp_path / 'report.html'}"
    assert "evaluated 6 of 6, 0:00 left" in done.stderr
    box, centre = (row.split()[-5:] for row in rows[1:])
    assert float(box[0]) > float(centre[0]) or float(box[1]) > 3 * float(centre[1])


def test_the_time_left_is_that_of_the_model_at_hand():
    """Also of a second one with as many pictures, and of one of which a part was there already."""
    left = TimeLeft()
    assert [left(done, 4, 10.0 * done) for done in range(5)] == [None, 30, 20, 10, 0]
    slow = [left(done, 4, 1000 + 60.0 * done) for done in range(5)]
    assert slow == [None, 180, 120, 60, 0]
    assert [left(done, 10, 5000 + done) for done in (6, 7, 8)] == [None, 3, 2]
    assert [left(done, 10, 6000 + 2 * done) for done in (6, 7)] == [None, 6], "begun again at the same place"


def test_several_models_are_told_of_one_after_the_other(world, tmp_path, monkeypatch):
    model, forms = world
    told = []
    monkeypatch.setattr("ovxai.cli.eval_command.TimeLeft.__call__", lambda _self, *at: told.append(at[:2]))
    shutil.copy(model, tmp_path / "other.xml")
    shutil.copy(model.with_suffix(".bin"), tmp_path / "other.bin")
    done = call(
        "eval",
        model,
        tmp_path / "other.xml",
        "--data",
        forms["text"],
        "-o",
        tmp_path / "out",
        "--limit",
        2,
        "--metrics",
        "energy",
    )
    assert done.exit_code == 0 and told == [(0, 2), (1, 2), (2, 2)] * 2


def test_metrics_may_be_named_one_by_one(world, tmp_path):
    model, forms = world
    row = evaluated(model, forms["text"], tmp_path, "--limit", 2, "--metrics", "energy", "--metrics", "pointing")["rows"][0]
    assert row["energy"] is not None and row["pointing"] is not None


def test_names_of_the_data_are_matched_by_a_file(world, tmp_path):
    model, forms = world
    other = tmp_path / "data"
    shutil.copytree(forms["text"], other)
    for path in (other / "boxes").glob("*.txt"):
        path.write_text(path.read_text().replace("circle", "disc"))
    (tmp_path / "names.txt").write_text("disc = circle\n")
    plain = evaluated(model, forms["text"], tmp_path / "a", "--metrics", "energy")
    named = evaluated(model, other, tmp_path / "b", "--metrics", "energy", "--names", tmp_path / "names.txt")
    assert named["rows"][0]["energy"] == plain["rows"][0]["energy"]
    without = evaluated(model, other, tmp_path / "c", "--metrics", "energy")
    assert any("unknown to the model" in line and "disc" in line for line in without["notes"])
    assert without["rows"][0]["maps"] < plain["rows"][0]["maps"]


def test_what_is_there_stays_unless_it_may_go(world, tmp_path):
    model, forms = world
    first = evaluated(model, forms["text"], tmp_path, "--limit", 2, "--metrics", "energy")
    before = (tmp_path / "metrics.json").read_text()
    again = call("eval", model, "--data", forms["text"], "-o", tmp_path, "--metrics", "energy")
    assert is_one_line(again, "records.jsonl", "--resume", "--force") and (tmp_path / "metrics.json").read_text() == before
    more = evaluated(model, forms["text"], tmp_path, "--metrics", "energy", "--resume")
    assert first["rows"][0]["pictures"] == 2 and more["rows"][0]["pictures"] == COUNT
    other = call("eval", model, "--data", forms["text"], "-o", tmp_path, "--metrics", "pointing", "--resume")
    assert is_one_line(other, "measuring")
    assert evaluated(model, forms["text"], tmp_path, "--metrics", "energy", "--force", "--limit", 1)["rows"][0]["pictures"] == 1


@pytest.mark.parametrize("more, code, words", [
    (("--metrics", "beauty"), 2, ("beauty", "insertion")),
    (("--least-area", "0.9"), 2, ("area",)),
    (("--data", "nowhere"), 1, ("nowhere",)),
    (("--method", "reciprocam"), 1, ("nothing to evaluate",)),
])  # fmt: skip
def test_refusals_are_one_line(world, tmp_path, more, code, words):
    model, forms = world
    data = () if "--data" in more else ("--data", forms["text"])
    done = call("eval", model, *data, *more, "-o", tmp_path / "out", "-q")
    assert is_one_line(done, *words, code=code), done.stderr
    assert not [*tmp_path.glob("out/*")]  # so that the next try is not told that something is there


def test_maps_of_another_tool_are_refused_by_name(world, tmp_path):
    image = op.parameter([1, 3, 16, 24], np.float32)
    maps = op.reduce_mean(image, np.array([1]), False)
    maps.output(0).set_names({"saliency_map"})
    ov.save_model(
        ov.Model([op.result(op.reduce_mean(image, np.array([2, 3]), False)), op.result(maps)], [image]), tmp_path / "m.xml"
    )
    done = call("eval", tmp_path / "m.xml", "--data", world[1]["text"], "-o", tmp_path / "out", "-q")
    assert is_one_line(done, "m.xml", "another tool", "give the plain model")


def test_photographs_with_boxes_give_the_same_figures_from_every_format(shared_folder, tmp_path):
    """COCO, VOC and YOLO written from the boxes of real photographs, which COCO detectors know by other names in part."""
    source, model = shared_folder / "data" / "boxes", shared_folder / "data" / "models" / "yolox_nano_coco"
    if not (source / "images").is_dir() or not (model / "yolox_nano.onnx").exists():
        pytest.skip(f"{source} with its photographs, or {model} is not there")
    original = read_annotations(source).pictures[:COUNT]
    objects = {one.path.stem: [(item.name, tuple(map(int, item.box or ()))) for item in one.objects] for one in original}
    sizes = {one.path.stem: one.size for one in original if one.size is not None}
    forms = {"text": tmp_path / "text", "coco": tmp_path / "coco", "voc": tmp_path / "voc", "yolo": tmp_path / "yolo"}
    for name, root in forms.items():
        folder = root / "images" / ("val" if name == "yolo" else "")
        folder.mkdir(parents=True)
        for one in original:
            shutil.copy(one.path, folder)
    write_boxes(forms["text"] / "boxes", objects)
    write_coco(forms["coco"] / "annotations.json", objects, sizes, ".jpg")
    write_voc(forms["voc"] / "Annotations", objects, sizes, ".jpg")
    write_yolo(forms["yolo"], objects, sizes)
    rows = {
        name: evaluated(
            model / "yolox_nano.onnx", data, tmp_path / "out" / name, "--metrics", "pointing,energy", "--labels",
            model / "coco_names.txt", "--resize-type", "fit_to_window", "--pad-value", 114, "--reverse-input-channels",
        )["rows"][0]
        for name, data in forms.items()
    }  # fmt: skip
    assert rows["text"]["pictures"] == COUNT and rows["text"]["maps"] >= 4 and rows["text"]["energy"] > 1.5
    for name, row in rows.items():
        assert row["maps"] == rows["text"]["maps"], name
        assert [row["pointing"], row["energy"]] == pytest.approx([rows["text"]["pointing"], rows["text"]["energy"]], abs=1e-6)


@pytest.mark.slow
def test_figures_of_a_trained_detector_are_the_scripts(shared_folder, tmp_path):
    """`scripts/eval_detectors.py` reads boxes by itself, and averages by itself."""
    from eval_detectors import coco_detectors, scores

    folder, data = shared_folder / "data" / "models", shared_folder / "data" / "boxes"
    detector = coco_detectors(folder)[0]
    expected = scores(detector, data, "softmax", "mean")
    (tmp_path / "labels.txt").write_text("\n".join(detector.labels or ()))
    row = evaluated(
        detector.file, data, tmp_path / "out", "--metrics", "pointing,energy", "--labels", tmp_path / "labels.txt",
        "--resize-type", "fit_to_window", "--pad-value", 114, "--reverse-input-channels",
    )["rows"][0]  # fmt: skip
    assert row["maps"] == expected["pairs"] and row["energy"] == pytest.approx(expected["energy"], abs=0.01)
    assert row["pointing"] == pytest.approx(expected["pointing"], abs=0.01)
