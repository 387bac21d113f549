"""`ovxai inspect`: what a model is and what would be inserted; nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers import classifiers as toys
from helpers import detectors, instances
from helpers.cli import call, is_one_line
from ovxai.cli import sentences
from ovxai.insertion import insert
from ovxai.options import SEARCHES


def saved(model: ov.Model, folder: Path) -> Path:
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def said(*words: object) -> str:
    done = call("inspect", *words)
    assert done.exit_code == 0 and done.stderr == "", done.output
    return done.stdout


def test_a_classifier(tmp_path: Path) -> None:
    path = saved(toys.vit(), tmp_path)
    text = said(path)
    for sentence in (
        "The model takes image [1,3,24,32] f32 and gives scores [1,4] f32.",
        "It is taken for a classifier of 4 classes; scores is explained.",
        "The picture goes into image.",
        "The method is vit-reciprocam with the gaussian mask, at block1_norm and block1_input (NPC).",
        "It would give saliency_map [1,4,3,4]: maps of 3 x 4 cells, for every class, u8, scaled to 0..255 each; besides feature",
        "The maps cover all of the input.",
        "What follows the gate is collapsed exactly",
        "% more multiply-adds.",
    ):
        assert sentence in text, text
    lines = text.splitlines()
    assert lines.index("Considered, from the scores upwards:") < len(lines) - 2
    assert lines[0] == str(path) and lines[-1] == "Nothing was written: `ovxai insert` with the same options does it."
    assert files(tmp_path) == ["model.bin", "model.xml"]


def test_each_line_is_a_sentence_or_belongs_to_the_list_behind_one(tmp_path: Path) -> None:
    for model in (toys.vit(), detectors.anchored(classes=5), instances.yolo_seg()):
        for line in said(saved(model, tmp_path)).splitlines()[1:]:
            assert line.startswith("  ") or (line[0].isupper() and line[-1] in ".:"), line


def test_every_task_has_its_words() -> None:
    assert set(sentences._A) == set(SEARCHES)


def test_a_detector(tmp_path: Path) -> None:
    text = said(saved(detectors.anchored(classes=5), tmp_path))
    assert "It is taken for a detector of 5 classes; " in text and "The method is det-class-probability-map, at " in text
    assert "It would give saliency_map [1,5,4,6]: maps of 4 x 6 cells, for every class" in text
    (why,) = [line for line in text.splitlines() if line.startswith("Why there: ")]
    assert "boxes" in why and text.count("class scores: 2 x 5") == 3
    assert "collapsed" not in text  # which is about heads of classifiers


def test_instances(tmp_path: Path) -> None:
    text = said(saved(instances.yolo_seg(), tmp_path))
    assert "taken for an instance segmentation model of" in text and "The method is inst-seg" in text
    assert any(line.startswith("Note: ") and "suppressed inside the graph" in line for line in text.splitlines())


def test_options_are_those_of_insert(tmp_path: Path) -> None:
    path = saved(toys.cnn(), tmp_path)
    text = said(path, "--raw", "--classes", "top:2", "--mask", "gaussian")
    assert "saliency_map [1,2,3,4]: maps of 3 x 4 cells, for the best 2 of 4 classes, f32, not scaled; besides" in text
    assert "The method is reciprocam with the gaussian mask, at " in text
    assert "for classes 0,2 of 4, u8" in said(path, "--classes", "0,2")
    assert "[1,1,3,4]: maps of 3 x 4 cells, one for the picture" in said(path, "--method", "activation-map")
    assert is_one_line(call("inspect", path, "--levels", "max"), "levels: not read by reciprocam", code=2)


def test_json_says_what_insert_would_record(tmp_path: Path) -> None:
    path = saved(toys.cnn(), tmp_path)
    document = json.loads(call("inspect", path, "--json").stdout)
    inserted = json.loads(call("insert", path, "--json").stdout)
    assert document["explained"] is False and document["model"] == str(path) and document["candidates"]
    assert {key: document[key] for key in inserted if key != "model"} == {
        key: inserted[key] for key in inserted if key != "model"
    }
    assert document["predicted_extra_cost"] > 0 and document["target_layers"] == ["features"]


def test_a_model_that_is_explained_already(tmp_path: Path) -> None:
    path = saved(insert(toys.vit(), classes="0,2", probe=False), tmp_path)
    text = said(path)
    assert "and gives scores [1,4] f32, saliency_map [1,2,3,4] u8, " in text
    assert "It is explained already, by ovxai " in text and "a classifier, by vit-reciprocam with the gaussian mask, at " in text
    assert "It gives saliency_map [1,2,3,4]: maps of 3 x 4 cells, for classes 0,2 of 4, u8" in text
    assert "\n  map_frame          0,0,1,1\n" in text  # as it stands there
    assert "rt_info says:\n  version  " in text and "\n  classes            0,2\n" in text
    document = json.loads(call("inspect", path, "--json").stdout)
    assert document["explained"] is True and document["extra_outputs"] == ["saliency_map", "feature_map", "saliency_index"]
    assert document["grid"] == [3, 4] and document["prefix_tokens"] == 1


def test_a_warning_of_the_probe(tmp_path: Path) -> None:
    """Features times nothing: no position says anything."""
    image = toys.picture()
    nothing = op.multiply(toys.trunk(image), np.float32(0))
    path = saved(toys.finished(toys.linear(toys.mean(nothing)), image), tmp_path)
    done = call("inspect", path, "--target-layer", "features")
    assert done.exit_code == 0 and done.stderr.startswith("Warning: every map is constant")
    assert call("inspect", path, "--target-layer", "features", "--no-probe").stderr == ""


def test_a_cost_that_depends_on_how_much_is_found(tmp_path: Path) -> None:
    path = saved(instances.listed(classes=3), tmp_path)
    assert "What it costs depends on what is in the picture." in said(path)
    assert json.loads(call("inspect", path, "--json").stdout)["predicted_extra_cost"] is None


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_no_model(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.xml"
    if content is not None:
        path.write_bytes(content)
    assert is_one_line(call("inspect", path), "model.xml", "no such file" if content is None else "not a model")
    answer = call("inspect", path, "--json")
    assert answer.exit_code == 1 and json.loads(answer.stdout)["ok"] is False


def test_a_model_that_can_not_be_explained(tmp_path: Path) -> None:
    done = call("inspect", saved(toys.without_a_picture(), tmp_path))
    assert done.exit_code == 1 and done.stderr.startswith("Error: ") and "no input takes a picture" in done.stderr
    assert "The model takes " in done.stdout  # what it is, is said all the same


def test_what_a_report_of_a_fault_needs(tmp_path: Path) -> None:
    """Shapes, operations, feeding, versions: of a plain model, of an explained one, and of one that is refused."""
    plain = toys.cnn()
    plain.set_rt_info("secret_one secret_two", ["model_info", "labels"])
    plain.set_rt_info("1 2 3", ["model_info", "mean_values"])
    files = [saved(plain, tmp_path)]
    for name, model in (("explained", insert(toys.vit(), probe=False)), ("refused", toys.without_a_picture())):
        (tmp_path / name).mkdir()
        files.append(saved(model, tmp_path / name))
    documents = []
    for path in files:
        text = call("inspect", path, "--json").stdout
        assert "secret" not in text
        documents.append(json.loads(text))
    for document in documents:
        assert {"ovxai", "openvino", "numpy", "python", "system", "cpu"} <= set(document["machine"])
        assert document["graph"]["inputs"] and document["graph"]["operations"]["Parameter (opset1)"] >= 1
    own, explained, refused = documents
    assert own["graph"]["model_info"] == {"mean_values": "1 2 3"}
    assert own["graph"]["inputs"][0]["type"] == "f32" and own["graph"]["outputs"][0]["shape"] == "[1,4]"
    assert ["saliency_map"] in [port["names"] for port in explained["graph"]["outputs"]]
    assert refused["ok"] is False and str(files[2]) in refused["error"] and refused["model"] == str(files[2])
    refusal = call("inspect", files[0], "--levels", "max", "--json")
    assert refusal.exit_code == 2 and json.loads(refusal.stdout)["graph"] == own["graph"]
