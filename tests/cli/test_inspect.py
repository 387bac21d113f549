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
from ovxai.insertion import insert


def saved(model: ov.Model, folder: Path) -> Path:
    ov.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def value(lines: list[str], key: str) -> str:
    """What the one line says that begins with `key`."""
    (found,) = [line for line in lines if line.startswith(key)]
    return found[len(key) :].strip()


def test_a_classifier(tmp_path: Path) -> None:
    path = saved(toys.vit(), tmp_path)
    done = call("inspect", path)
    assert done.exit_code == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert value(lines, "input 0") == "image [1,3,24,32] f32" and value(lines, "output 0") == "scores [1,4] f32"
    assert value(lines, "task") == "classification" and value(lines, "method") == "vit-reciprocam (gaussian mask)"
    assert value(lines, "target layer") == "block1_norm, block1_input [NPC]"
    assert value(lines, "map") == "[1,4,3,4], u8 scaled to 0..255 per map" and value(lines, "classes") == "all of 4"
    assert value(lines, "collapse") == "exact" and value(lines, "extra cost").endswith("% more multiply-adds")
    assert lines.index("considered, from the scores upwards:") < len(lines) - 1
    assert files(tmp_path) == ["model.bin", "model.xml"]


def test_a_detector(tmp_path: Path) -> None:
    lines = call("inspect", saved(detectors.anchored(classes=5), tmp_path)).stdout.splitlines()
    assert value(lines, "task") == "detection" and value(lines, "method") == "det-class-probability-map"
    assert value(lines, "map") == "[1,5,4,6], u8 scaled to 0..255 per map" and value(lines, "classes") == "all of 5"
    assert value(lines, "target layer").count(",") == 2 and "boxes" in value(lines, "why")
    assert sum("class scores: 2 x 5" in line for line in lines) == 3


def test_instances(tmp_path: Path) -> None:
    lines = call("inspect", saved(instances.yolo_seg(), tmp_path)).stdout.splitlines()
    assert value(lines, "task") == "instance-segmentation" and value(lines, "method") == "inst-seg"
    assert any(line.startswith("note") and "suppressed inside the graph" in line for line in lines)


def test_options_are_those_of_insert(tmp_path: Path) -> None:
    path = saved(toys.cnn(), tmp_path)
    lines = call("inspect", path, "--raw", "--classes", "top:2", "--mask", "gaussian").stdout.splitlines()
    assert value(lines, "map") == "[1,2,3,4], f32, not scaled" and value(lines, "classes") == "top:2 of 4"
    assert value(lines, "method") == "reciprocam (gaussian mask)"
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
    lines = call("inspect", path).stdout.splitlines()
    assert "explained already; rt_info says:" in lines and value(lines, "output 1").startswith("saliency_map [1,2,3,4] u8")
    said = [line.strip() for line in lines]
    assert value(said, "method") == "vit-reciprocam" and value(said, "classes") == "0,2"
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
    assert value(call("inspect", path).stdout.splitlines(), "extra cost") == "not predicted (sizes depend on the picture)"
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
    assert "input 0" in done.stdout  # what it is, is said all the same
