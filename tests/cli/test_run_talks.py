"""What `ovxai run` says of every picture: on the screen, as JSON, before it fills a disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from helpers.cli import call
from helpers.runtime_graphs import classifier, detector, encoded, f32, i64, picture


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """m.xml (single-label), multi.xml, a.png in which red and green are even, and red.png in the working directory."""
    monkeypatch.chdir(tmp_path)
    ov.save_model(classifier(), "m.xml")
    Path("a.png").write_bytes(encoded(picture()))
    Path("red.png").write_bytes(encoded(np.full((16, 24, 3), (255, 0, 0), np.uint8)))


def run(*words):
    return call("run", *words, "-o", "out", "--no-report")


def test_a_line_of_every_picture():
    done = run("m.xml", "a.png", "red.png")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("a.png: ") and lines[1] == "red.png: red 1.00"


def test_the_report_s_path_comes_last():
    done = call("run", "m.xml", "a.png", "-o", "out")
    assert done.stdout.splitlines()[-1] == f"report: {Path('out/report.html')}"


def test_below_the_threshold_it_is_a_guess():
    line = run("m.xml", "a.png", "--threshold", "0.99").stdout.splitlines()[0]
    assert line.endswith("(a guess, not over 0.99)") and "a.png: red 0." in line


def test_a_multilabel_model_guesses_nothing():
    ov.save_model(classifier(model_info={"multilabel": "True"}), "multi.xml")
    done = run("multi.xml", "a.png", "--threshold", "1")
    assert done.stdout.splitlines()[0] == "a.png: nothing predicted over 1"


def test_predictions_as_json():
    document = json.loads(run("m.xml", "a.png", "red.png", "--threshold", "0.6", "--json").stdout)
    first, second = document["predictions"]
    assert (first["source"], first["image"], first["threshold"]) == ("a.png", "a", 0.6)
    assert [(item["label"], item["guess"]) for item in first["predictions"]] == [("red", True)]
    assert second["predictions"][0]["class_index"] == 0 and second["predictions"][0]["score"] == pytest.approx(1, abs=1e-3)


def test_the_best_whatever_their_score():
    done = run("m.xml", "red.png", "--top", "2", "--threshold", "0.5")
    names = sorted(path.name for path in Path("out/saliency_map").glob("*overlay*"))
    assert len(names) == 2 and names[1] == "red_class_red_overlay.png"
    assert done.stdout.startswith("red.png: red 1.00, ") and "(a guess, not over 0.5)" in done.stdout
    document = json.loads(run("m.xml", "red.png", "--top", "9", "--json", "--force").stdout)
    scores = [item["score"] for item in document["predictions"][0]["predictions"]]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("more", [("--class", "red"), ("--target", "all"), ("--target", "image")])
def test_the_best_of_what_is_asked_for_by_name_is_wrong_usage(more):
    done = run("m.xml", "a.png", "--top", "2", *more)
    assert done.exit_code == 2 and "--top" in done.stderr


def test_classes_asked_for_are_told_with_their_scores():
    done = run("m.xml", "red.png", "--class", "blue", "--json")
    said = json.loads(done.stdout)["predictions"][0]
    assert [item["label"] for item in said["predictions"]] == ["red"]
    assert [(item["label"], item["guess"]) for item in said["asked"]] == [("blue", True)]


def test_objects_of_a_class_are_counted():
    boxes = f32([[2, 2, 10, 10, 0.9], [12, 2, 20, 10, 0.8], [2, 8, 20, 15, 0.7]])
    ov.save_model(detector(boxes[None], i64([[1, 1, 2]])), "d.xml")
    done = run("d.xml", "a.png")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "a.png: green 0.90 x2, blue 0.70"
    done = run("d.xml", "a.png", "--top", "1", "--json", "--force")
    found = json.loads(done.stdout)["predictions"][0]["predictions"]
    assert [item["label"] for item in found] == ["green", "green"] and len(found[0]["box"]) == 4


def test_the_grid_shows_classes_that_nobody_explains():
    from ovxai.runtime.feed.images import read_image

    document = json.loads(run("m.xml", "red.png", "--grid", "3", "--json").stdout)
    assert len(document["files"]) == 3  # map and overlay of one class, and the grid
    run("m.xml", "a.png", "--grid", "1")
    one, three = (read_image(f"out/grid/{name}_grid.png").shape[1] for name in ("a", "red"))
    assert three > 1.8 * one


def test_many_files_are_told_before():
    done = run("m.xml", *["a.png"] * 200, "--target", "all", "--limit", "170", "--no-postprocess", "--npy")
    assert "writes 1020 files: 170 pictures, 3 maps of each" in done.stderr
    assert "Warning" not in run("m.xml", *["a.png"] * 200, "--limit", "3").stderr


def test_help_tells_what_happens_below_the_threshold():
    text = " ".join(call("run", "--help").stdout.split())
    assert "called a guess" in text and "--top" in text
