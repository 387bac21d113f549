"""`ovxai run --method`: maps from outside of the model, marked as such, also where nothing can be inserted."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.cli import call, is_one_line
from helpers.runtime_graphs import classifier, encoded, picture
from ovxai.evaluation.baselines import Effort
from ovxai.evaluation.columns import Subject
from ovxai.evaluation.host import HostExplainer
from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.feed.engine import DeviceOptions
from ovxai.runtime.feed.images import read_image
from ovxai.runtime.feed.preprocess import PreprocessOptions
from ovxai.runtime.predict.facts import guessed_classifier


@pytest.fixture
def shapes(fixtures_folder):
    folder = fixtures_folder / "shapes"
    if not (folder / "test").exists():
        pytest.skip("the shapes world has no test pictures; scripts/make_fixtures.py draws them")
    return folder


@pytest.mark.parametrize("model, picture, method", [("cnn", "cls_00", "rise"), ("detector", "det_00", "d-rise")])
def test_maps_of_the_host_are_files_like_all_others(shapes, tmp_path, model, picture, method):
    source = shapes / "test" / f"{picture}.png"
    done = call("run", shapes / f"{model}.xml", source, "-o", tmp_path, "--method", method, "--masks", 40, "--npy")
    assert done.exit_code == 0, done.stderr
    assert f"{method} on the host: about 40 inferences per picture" in done.stderr
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert method in json.dumps(manifest["model"]) and manifest["settings"]["masks"] == 40
    arrays = sorted(tmp_path.rglob("*.npy"))
    assert arrays and all(np.load(path).max() == 255 for path in arrays)
    assert list((tmp_path / "saliency_map").glob("*_overlay.png")) and (tmp_path / "report.html").exists()


@pytest.mark.parametrize("method, size, masks, told", [
    ("occlusion", (32, 32), 40, "about 1297 inferences per picture,"),
    ("occlusion", (32, 96), 40, "about 3601 inferences per picture,"),
    ("rise", (32, 96), 40, "about 40 inferences per picture,"),
    ("aise", (32, 96), 40, "about 12 inferences per picture and class,"),
    ("aise", (32, 32), 6000, "about 75 inferences per picture and class,"),
])  # fmt: skip
def test_what_a_picture_costs_is_what_it_takes(tmp_path, method, size, masks, told):
    """Counted in inferences, for inputs that are no square and for several classes as well."""
    ov.save_model(classifier(size=size), tmp_path / "m.xml")
    options, config = DeviceOptions(), ExplainConfig(target="all")
    explain = HostExplainer(Subject(tmp_path / "m.xml"), method, config, options, PreprocessOptions(), Effort(masks))
    (line,) = [note for note in explain.notes if "on the host" in note]
    assert told in line
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    before = explain._judge.forwards
    explain(pixels)
    asked, count = explain._judge.forwards - before - 1, int(line.partition("about ")[2].split()[0])
    targets = 3 if "and class" in line else 1
    assert asked <= count * targets and asked >= 0.8 * count * targets


def test_a_model_into_which_nothing_can_be_inserted(tmp_path):
    """Its scores come of sums over rows and columns of the picture itself: there is no feature map."""
    picture = op.parameter([1, 3, 32, 32], np.float32, name="image")
    flat = op.reshape(picture, np.array([1, 3072]), False)
    weights = np.zeros((3072, 3), np.float32)
    weights.reshape(3, 32, 32, 3)[0, :16, :16, 1] = 5e-5  # class 1: red, above, on the left
    weights.reshape(3, 32, 32, 3)[0, 16:, 16:, 2] = 1e-5
    scores = op.matmul(flat, weights, False, False)
    ov.save_model(ov.Model([op.result(scores)], [picture], "linear"), tmp_path / "linear.xml")
    bright = np.zeros((64, 64, 3), np.uint8)
    bright[:32, :32] = 255
    cv2.imwrite(str(tmp_path / "corner.png"), bright)
    refused = call("run", tmp_path / "linear.xml", tmp_path / "corner.png", "-o", tmp_path / "own")
    assert refused.exit_code == 1
    done = call("run", tmp_path / "linear.xml", tmp_path / "corner.png", "-o", tmp_path / "host", "--method", "occlusion",
                "--class", 1, "--npy", "--no-postprocess")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "taken for a classifier by its one output of scores" in done.stderr
    (array,) = (tmp_path / "host").rglob("*.npy")
    heat = np.load(array).astype(float)
    half = heat.shape[0] // 2
    assert heat[:half, :half].mean() > 3 * max(heat[half:, half:].mean(), 1)


def test_what_does_not_go_together_is_one_line(shapes, tmp_path):
    source = shapes / "test" / "cls_00.png"
    wrong = call("run", shapes / "cnn.xml", source, "-o", tmp_path, "--method", "d-rise")
    assert is_one_line(wrong, "d-rise", "rise or occlusion")
    image = call("run", shapes / "cnn.xml", source, "-o", tmp_path, "--method", "rise", "--target", "image")
    assert is_one_line(image, "target image")


@pytest.fixture
def weak(tmp_path, monkeypatch):
    """m.xml, whose classes are all about as likely, and a.png."""
    monkeypatch.chdir(tmp_path)
    ov.save_model(classifier(model_info={"labels": "red green blue"}), "m.xml")
    pixels = picture() // 8 + 100
    Path("a.png").write_bytes(encoded(pixels))
    return tmp_path


FEW = ("--method", "rise", "--masks", 8)


def host_files(folder="out"):
    return {path.name for path in Path(folder).rglob("*.png")}


@pytest.mark.usefixtures("weak")
def test_the_best_classes_of_the_host_are_as_many_as_asked_for():
    done = call("run", "m.xml", "a.png", "-o", "out", *FEW, "--top", 2, "--threshold", 0)
    assert done.exit_code == 0, done.stderr
    assert len([name for name in host_files() if name.endswith("_overlay.png")]) == 2


@pytest.mark.usefixtures("weak")
def test_what_the_host_explains_below_the_threshold_is_a_guess():
    done = call("run", "m.xml", "a.png", "-o", "out", *FEW, "--threshold", 0.9)
    assert "(a guess, not over 0.9)" in done.stdout


@pytest.mark.usefixtures("weak")
def test_a_grid_of_the_host_holds_classes_that_are_not_explained():
    call("run", "m.xml", "a.png", "-o", "one", *FEW, "--class", "red", "--grid", 1)
    call("run", "m.xml", "a.png", "-o", "three", *FEW, "--class", "red", "--grid", 3)
    areas = [read_image(f"{folder}/grid/a_grid.png").size for folder in ("one", "three")]
    assert areas[1] > 1.5 * areas[0]
    overlays = [name for name in host_files("three") if name.endswith("_overlay.png")]
    assert overlays == ["a_class_red_overlay.png"]


@pytest.mark.usefixtures("weak")
@pytest.mark.parametrize("words", [("--batch", 2), ("--input", "other=a.png")])
def test_what_the_host_can_not_have_is_wrong_usage(words):
    done = call("run", "m.xml", "a.png", "-o", "out", *FEW, *words)
    assert done.exit_code == 2 and words[0] in done.stderr and "--method rise" in done.stderr
    assert not Path("out").exists()


VIEWS = {
    "none": lambda port: port,
    "reshape": lambda port: op.reshape(port, np.array([1, 3, 1, 1]), False),
    "unsqueeze": lambda port: op.unsqueeze(port, np.array([2])),
    "squeeze": lambda port: op.squeeze(op.unsqueeze(port, np.array([0])), np.array([0])),
    "convert": lambda port: op.convert(op.convert(port, "f16"), "f32"),
    "transpose": lambda port: op.transpose(op.unsqueeze(port, np.array([1])), np.array([0, 2, 1])),
}


@pytest.mark.parametrize("view", VIEWS)
def test_scores_of_the_graph_stand_as_they_are_behind_views(view):
    """A second softmax over them would make all classes nearly alike."""
    done = {"softmax": "none", "log_softmax": "softmax", "sigmoid": "none", "relu": "softmax"}
    for activation, due in done.items():
        logits = op.parameter([1, 3], np.float32, name="logits")
        scores = getattr(op, activation)(logits, *((1,) if "softmax" in activation else ()))
        facts = guessed_classifier(ov.Model([op.result(VIEWS[view](scores))], [logits], "m"))
        assert facts is not None and facts.explained.score_activation == due, activation
