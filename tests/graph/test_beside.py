"""What exporters leave in the model's file and beside it: labels, sizes, mean and scale, taken where the model says nothing."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers.classifiers import conv, linear, mean, picture
from helpers.cli import call
from ovxai.errors import OptionError, UsageError
from ovxai.graph.beside import adopt_what_is_told, flat_yaml
from ovxai.insertion import insert_with_report
from ovxai.metadata import ModelInfo
from ovxai.options import InsertOptions

NAMES = ("tench, fish", "cat", "it's", "dog")
YAML = """description: Ultralytics YOLOv8n model
author: Ultralytics
date: '2024-05-01T10:00:00.000000'
stride: 32
task: {task}
batch: 1
imgsz:
- 64
- 96  # height, width
names:
  0: tench, fish
  1: cat
  2: 'it''s'
  3: "dog"
args:
  nms: false
"""


def classifier(classes: int = 4, size: tuple[int, int] = (24, 32)) -> ov.Model:
    image = picture(size=size)
    return ov.Model([op.result(linear(mean(op.relu(conv(image, 6, 4, 4))), classes))], [image], "plain")


def saved(folder: Path, name: str = "model.xml", **sizes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    ov.save_model(classifier(**sizes), folder / name)
    return folder / name


def info_of(path: Path, **options) -> tuple[ModelInfo, str]:
    done = insert_with_report(path, InsertOptions(probe=False, **options))
    return ModelInfo.read(done.model), "\n".join(done.notes)


JOINED = tuple(name.replace(" ", "_") for name in NAMES)


@pytest.mark.parametrize(("task", "resize"), [("classify", "crop"), ("detect", "fit_to_window_letterbox")])
def test_metadata_of_ultralytics_beside_an_ir(task, resize, tmp_path):
    path = saved(tmp_path)
    (tmp_path / "metadata.yaml").write_text(YAML.format(task=task))
    info, notes = info_of(path)
    assert (info.labels, info.scale, info.mean, info.resize_type) == (JOINED, (255.0,), None, resize)
    assert info.pad_value == (None if task == "classify" else 114)
    assert "4 labels: from metadata.yaml beside the model" in notes and "scale_values 255" in notes


def test_metadata_of_ultralytics_in_an_onnx_file():
    model = classifier(size=(-1, -1))
    said = {"names": str(dict(enumerate(NAMES))), "imgsz": "[64, 96]", "stride": "32", "task": "detect", "author": "Ultralytics"}
    for key, text in said.items():
        model.set_rt_info(text, ["framework", key])
    assert adopt_what_is_told(model, None).labels
    info = ModelInfo.read(model)
    assert (info.labels, info.scale, info.pad_value) == (JOINED, (255.0,), 114)
    assert [model.get_rt_info(["model_info", key]).astype(str) for key in ("orig_height", "orig_width")] == ["64", "96"]


def test_names_alone_are_not_ultralytics():
    model = classifier()
    model.set_rt_info("{0: 'a', 1: 'b', 2: 'c', 3: 'd'}", ["framework", "names"])
    assert adopt_what_is_told(model, None).notes == () and ModelInfo.read(model).labels is None


def test_what_the_model_says_stays(tmp_path):
    model = classifier()
    for key, text in (("labels", "a b c d"), ("mean_values", "1 2 3"), ("resize_type", "standard")):
        model.set_rt_info(text, ["model_info", key])
    ov.save_model(model, tmp_path / "model.xml")
    (tmp_path / "metadata.yaml").write_text(YAML.format(task="detect"))
    info, _ = info_of(tmp_path / "model.xml")
    assert (info.labels, info.mean, info.resize_type) == (("a", "b", "c", "d"), (1.0, 2.0, 3.0), "standard")
    assert info.scale is None and info.pad_value == 114  # half a normalisation is none


def test_options_go_before_files(tmp_path):
    path = saved(tmp_path)
    (tmp_path / "metadata.yaml").write_text(YAML.format(task="detect"))
    info, _ = info_of(path, labels=("w", "x", "y", "z"), mean=(5.0,), resize_type="crop", pad_value=7)
    assert (info.labels, info.mean, info.scale) == (("w", "x", "y", "z"), (5.0,), None)
    assert (info.resize_type, info.pad_value) == ("crop", 7)


def test_labels_that_do_not_fit_are_left_out(tmp_path):
    path = saved(tmp_path, classes=9)
    (tmp_path / "metadata.yaml").write_text(YAML.format(task="detect"))
    info, notes = info_of(path)
    assert (
        info.labels is None and "the 4 labels of metadata.yaml beside the model do not fit" in notes and "4 labels:" not in notes
    )
    assert info.scale == (255.0,)


@pytest.mark.parametrize("place", ["", "onnx"])
def test_hugging_face(place, tmp_path):
    path = saved(tmp_path / place)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", "id2label": {str(i): n for i, n in enumerate(NAMES)}}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "ViTImageProcessor", "do_normalize": True, "image_mean": [0.5, 0.25, 0.5],
        "image_std": [0.5, 0.5, 0.25], "rescale_factor": 1 / 255, "do_center_crop": True,
        "crop_size": {"height": 24, "width": 32}, "size": {"shortest_edge": 40},
    }))  # fmt: skip
    info, notes = info_of(path)
    assert (info.labels, info.resize_type) == (JOINED, "crop")
    assert info.mean == pytest.approx((127.5, 63.75, 127.5)) and info.scale == pytest.approx((127.5, 127.5, 63.75))
    assert "from config.json and preprocessor_config.json beside the model" in notes


@pytest.mark.parametrize(
    ("said", "mean_values", "scale"),
    [
        ({"do_normalize": False}, None, (255.0,)), ({"do_normalize": False, "do_rescale": False}, None, None),
        ({"image_mean": [3.0], "image_std": [2.0], "do_rescale": False}, (3.0,), (2.0,)), ({"rescale_factor": "x"}, None, None),
    ],
)  # fmt: skip
def test_normalisation_of_hugging_face(said, mean_values, scale, tmp_path):
    path = saved(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "X", **said}))
    info, _ = info_of(path)
    assert (info.mean, info.scale) == (mean_values, scale)


@pytest.mark.parametrize(
    "text",
    [
        "{", "[1]", '{"id2label": {"0": "a", "2": "b"}, "model_type": "x"}',
        '{"id2label": {"0": "a", "1": "b", "2": "c", "3": "d"}}',
        json.dumps({"id2label": {str(index): f"LABEL_{index}" for index in range(4)}, "model_type": "x"}),
    ],
)  # fmt: skip
def test_a_config_that_says_nothing(text, tmp_path):
    path = saved(tmp_path)
    (tmp_path / "config.json").write_text(text)
    info, notes = info_of(path)
    assert info.labels is None and "config.json" not in notes


def test_the_label_file_in_a_tflite_model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"TFL3 and so on")
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr("labels.txt", "tench, fish\ncat\nit's\ndog\n")
    model = classifier()
    assert adopt_what_is_told(model, path).labels == "the label file in the model" and ModelInfo.read(model).labels == JOINED


@pytest.mark.parametrize("name", ["model_labels.txt", "labels.txt", "labelmap.txt"])
def test_the_label_file_beside_a_tflite_model(name, tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"TFL3 and so on")
    (tmp_path / name).write_text("0 tench, fish\n1 cat\n2 it's\n3 dog\n")
    model = classifier()
    assert adopt_what_is_told(model, tmp_path / "model.tflite").labels == f"{name} beside the model"
    assert ModelInfo.read(model).labels == JOINED


def test_label_files_are_no_matter_of_other_models(tmp_path):
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\n")
    assert info_of(saved(tmp_path))[0].labels is None


def test_flat_yaml_leaves_out_what_it_does_not_read():
    lines = ("a: 1", "b: [1, 2]", "c:", "  x: {y: 1}", "names: {0: 'p', 1: 'q'}", "d: yes # so", "- 3", "\ttab: 1", "? odd",
             "list:", "  - one", "  - 'two'")  # fmt: skip
    found = flat_yaml("\n".join(lines))
    assert found["a"] == 1 and found["b"] == [1, 2] and found["names"] == {0: "p", 1: "q"} and found["list"] == ["one", "two"]
    assert found["d"] == "yes"


def test_a_plain_model_that_runs_is_told_too(tmp_path):
    path = saved(tmp_path)
    (tmp_path / "metadata.yaml").write_text(YAML.format(task="classify"))
    explain = ovxai.Explainer(path)
    assert explain.facts.names == JOINED and any("metadata.yaml" in note for note in explain.notes)
    assert not any("does not say how to normalise" in note for note in explain.notes)


def test_a_normalisation_that_does_not_fit_the_picture_is_left_out(tmp_path):
    """Of grey pictures, say, whose mean a preprocessor for colours does not tell."""
    path = saved(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.4], "image_std": [0.2, 0.2]}))
    info, notes = info_of(path)
    assert (info.mean, info.scale) == (
        None,
        None,
    ) and "mean and scale of preprocessor_config.json beside the model do not fit" in notes
    with pytest.raises(OptionError, match="mean"):
        info_of(path, mean=(1.0, 2.0))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("preprocessor_config.json", '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, NaN]}'),
        ("preprocessor_config.json", '{"image_mean": [0.5, 0.5, Infinity], "image_std": [0.5, 0.5, 0.5]}'),
        ("preprocessor_config.json", '{"image_mean": 0.5, "image_std": 0.5, "rescale_factor": Infinity}'),
        ("config.json", '{"id2label": {"\u00b2": "a", "1": "b"}}'),
    ],
)
def test_numbers_that_are_none_are_left_out(file, text, tmp_path):
    path = saved(tmp_path)
    (tmp_path / file).write_text(text, encoding="utf-8")
    info, _notes = info_of(path)
    assert (info.mean, info.scale, info.labels) == (None, None, None)


@pytest.mark.parametrize("said", ["{[1]: 2}", "1 + 'a'", "{'a': 1}[", "-'a'"])
def test_metadata_of_an_onnx_file_that_is_no_literal(said):
    model = classifier()
    for key in ("names", "stride", "imgsz", "task"):
        model.set_rt_info(said, ["framework", key])
    adopt_what_is_told(model, None)
    assert ModelInfo.read(model).labels is None


def test_a_damaged_label_file_in_a_tflite_model(tmp_path):
    path = tmp_path / "model.tflite"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("labels.txt", "\n".join(f"name {i}" for i in range(400)))
    data = bytearray(path.read_bytes())
    data[60:160] = bytes(100)
    path.write_bytes(data)
    model = classifier()
    adopt_what_is_told(model, path)
    assert ModelInfo.read(model).labels is None


# Options of insertion that say how pictures are fed.


def test_run_needs_none_of_what_insertion_was_told(tmp_path):
    path = saved(tmp_path)
    options = ("--mean", "10,20,30", "--scale-values", "2 4 8", "--resize-type", "fit_to_window", "--pad-value", "9",
               "--reverse-input-channels")  # fmt: skip
    assert call("insert", path, *options).exit_code == 0
    explained = ov.Core().read_model(tmp_path / "model_xai.xml")
    info = ModelInfo.read(explained)
    assert (info.mean, info.scale, info.resize_type, info.pad_value) == ((10, 20, 30), (2, 4, 8), "fit_to_window", 9)
    assert info.reverse_input_channels is True
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    config = ovxai.ExplainConfig(target="all")
    told = ovxai.Explainer(
        path, config, mean=(10, 20, 30), scale_values=(2, 4, 8), resize_type="fit_to_window", pad_value=9,
        reverse_input_channels=True,
    )(pixels).raw_maps  # fmt: skip
    again = ovxai.Explainer(explained, config)(pixels).raw_maps
    assert all((told[i] == again[i]).all() for i in range(4))


def test_python_has_the_same():
    model = ovxai.insert(classifier(), mean=5, scale_values=[1, 2, 3], reverse_input_channels=False)
    info = ModelInfo.read(model)
    assert (info.mean, info.scale, info.reverse_input_channels) == ((5.0,), (1.0, 2.0, 3.0), False)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"mean": (1.0, 2.0)}, OptionError), ({"scale_values": (0.0,)}, UsageError), ({"pad_value": 300}, UsageError),
        ({"resize_type": "odd"}, UsageError), ({"mean": (float("nan"),)}, UsageError), ({"mean": ()}, UsageError),
    ],
)  # fmt: skip
def test_what_can_not_be_fed_is_refused(options, error):
    with pytest.raises(error):
        ovxai.insert(classifier(), **options)


def test_a_mean_for_whole_numbers_is_refused():
    image = picture(kind=np.uint8)
    scores = linear(mean(op.relu(conv(op.convert(image, "f32"), 6, 4, 4))))
    with pytest.raises(OptionError, match="whole numbers"):
        ovxai.insert(ov.Model([op.result(scores)], [image], "whole"), mean=1)
