"""The rt_info as it is written, and what is said where somebody has mangled it."""

from __future__ import annotations

import openvino as ov
import pytest

from helpers.cli import call, is_one_line
from helpers.runtime_graphs import HIERARCHY, classifier, encoded, picture
from ovxai.errors import ModelReadError
from ovxai.metadata import ExplainedInfo, ModelInfo


@pytest.mark.parametrize("names", [
    ("a",), ("a", "b:1"), ("a,b", "c"), ("a\\", "b"), ("a\\,b", "\\", ",", "c\\d"), ("C:\\x\\y", "z,"),
])  # fmt: skip
def test_names_that_hold_commas(names):
    model = classifier(target_layers=names)
    info = ExplainedInfo.read(model)
    assert info is not None and info.target_layers == names


def test_plain_names_stand_as_they_are():
    model = classifier(target_layers=("a/b", "c\\d"))
    assert model.get_rt_info(["ovxai", "target_layers"]).astype(str) == "a/b,c\\d"


@pytest.mark.parametrize(("key", "text"), [
    ("pad_value", "grey"), ("mean_values", "1 two 3"), ("scale_values", "nan"), ("confidence_threshold", "half"),
    ("iou_threshold", "-"), ("pad_value", "inf"), ("hierarchical_config", "{"), ("hierarchical_config", "[1]"),
])  # fmt: skip
def test_mangled_model_info(key, text, tmp_path):
    model = classifier(model_info={key: text})
    with pytest.raises(ModelReadError, match=key):
        ModelInfo.read(model)
    ov.save_model(model, tmp_path / "m.xml")
    (tmp_path / "a.png").write_bytes(encoded(picture()))
    assert is_one_line(call("run", tmp_path / "m.xml", tmp_path / "a.png", "-o", tmp_path / "out"), key, "set_rt_info")


@pytest.mark.parametrize(("key", "text"), [
    ("num_classes", "many"), ("grid", "7"), ("grid", "7,x"), ("picture_range", "0"), ("picture_range", "a,b"),
    ("prefix_tokens", "1.5"), ("classes", "0,x"), ("explained_output", ""), ("grid", "0,4"), ("network_size", "-3,4"),
    ("map_frame", "0,0.5,1,0.5"), ("map_frame", "1,0,0,1"), ("picture_range", "7,7"),
])  # fmt: skip
def test_mangled_entries_of_ours(key, text, tmp_path):
    model = classifier()
    model.set_rt_info(text, ["ovxai", key])
    ov.save_model(model, tmp_path / "m.xml")
    (tmp_path / "a.png").write_bytes(encoded(picture()))
    assert is_one_line(call("run", tmp_path / "m.xml", tmp_path / "a.png", "-o", tmp_path / "out"), key)


@pytest.mark.parametrize("key", ["task", "method", "target_layers"])
def test_entries_that_are_missing(key, tmp_path):
    model = classifier()
    ov.save_model(model, tmp_path / "m.xml")
    text = (tmp_path / "m.xml").read_text()
    lines = [line for line in text.splitlines() if f"<{key} value=" not in line]
    (tmp_path / "m.xml").write_text("\n".join(lines))
    for command in ("inspect", "verify"):
        assert is_one_line(call(command, tmp_path / "m.xml"), f'lacks ["ovxai", "{key}"]', "insert")


def test_a_hierarchy_of_another_form(tmp_path):
    import json

    broken = {**HIERARCHY, "cls_heads_info": {}}
    model = classifier(model_info={"hierarchical": "True", "hierarchical_config": json.dumps(broken)})
    ov.save_model(model, tmp_path / "m.xml")
    (tmp_path / "a.png").write_bytes(encoded(picture()))
    assert is_one_line(call("run", tmp_path / "m.xml", tmp_path / "a.png", "-o", tmp_path / "out"), "hierarchical_config")


def test_every_field_is_read_as_it_was_written():
    wanted = ExplainedInfo(
        "1", "detection", "m", ("a", "b"), grid=(3, 4), picture_range=(0.0, 255.0), map_frame=(0.0, 0.25, 1.0, 0.5),
        network_size=(32, 48), network_frame=(-0.5, 0.0, 1.5, 1.0), map_axes="xy", extra_outputs=("saliency_map",),
    )  # fmt: skip
    model = classifier()
    wanted.write(model)
    found = ExplainedInfo.read(model)
    assert found is not None and (found.map_frame, found.network_frame) == (wanted.map_frame, wanted.network_frame)
    assert (found.grid, found.network_size, found.picture_range) == ((3, 4), (32, 48), (0.0, 255.0))
    model.set_rt_info("0,0,1", ["ovxai", "map_frame"])
    with pytest.raises(ModelReadError, match="map_frame"):
        ExplainedInfo.read(model)
