"""`ovxai eval --advise`: what is tried, and that the default stays unless something is surely better."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest

from helpers.cli import call, is_one_line
from helpers.data_sets import write_boxes, write_pictures
from helpers.explained import info_of
from ovxai.evaluation.advice import Tried, best_of, conclude, ways_to_try
from ovxai.evaluation.intervals import bootstrap, mean_of
from ovxai.graph.read import read_model

DEFAULT = Tried("a", ("--method", "x"), "f32", 10, 0.3, (0.2, 0.4), 0.0, (0.0, 0.0), 1.0, None, 0.1)


def tried(title, gain, interval, **changes):
    other = replace(DEFAULT, title=title, options=("--method", title), gain=gain, gain_interval=interval, difference=0.3 + gain)
    return replace(other, **changes)


@pytest.mark.parametrize("others, chosen", [
    ([tried("b", 0.1, (0.02, 0.2)), tried("c", 0.2, (0.1, 0.3))], "c"),
    ([tried("b", 0.1, (-0.02, 0.2))], "a"),
    ([tried("b", 0.005, (0.004, 0.006))], "a"),
    ([tried("b", 0.3, None)], "a"),
    ([tried("b", 0.3, (0.2, 0.4), maps=5)], "a"),
    ([tried("b", -0.1, (-0.2, -0.05))], "a"),
    ([tried("b", 0.3, (0.2, 0.4), precision="default")], "a"),
])  # fmt: skip
def test_the_default_stays_unless_another_is_surely_better(others, chosen):
    advice = conclude([DEFAULT, *others])
    assert advice.chosen.title == chosen
    assert any(line.startswith("better than the default" if chosen != "a" else "nothing tried is") for line in advice.lines)
    assert best_of([DEFAULT, *others])[1] == (chosen != "a")


@pytest.mark.parametrize("loss, precision", [(0.05, "f32"), (0.002, "default"), (-0.1, "default")])
def test_f32_where_the_devices_own_precision_costs_figures(loss, precision):
    loose = replace(DEFAULT, precision="default", difference=DEFAULT.difference - loss)
    assert conclude([DEFAULT, loose]).precision == precision


def test_a_higher_level_is_a_wider_interval():
    values, groups = np.random.default_rng(0).normal(size=30), range(30)
    narrow, wide = bootstrap(values, groups, mean_of), bootstrap(values, groups, mean_of, level=0.99)
    assert narrow is not None and wide is not None and wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.fixture(scope="module")
def shapes(fixtures_folder):
    return fixtures_folder / "shapes"


@pytest.mark.parametrize("name, per, wanted", [
    ("cnn", "class", {"", "mask gaussian", "combine gradcam"}),
    ("vit", "class", {"", "mask point", "blocks 2", "combine hirescam"}),
    ("detector", "class", {"", "levels max", "class activation sigmoid", "class activation sigmoid, levels max"}),
])  # fmt: skip
def test_what_is_tried_differs_in_one_thing(shapes, name, per, wanted):
    ways = ways_to_try(read_model(shapes / f"{name}.xml"), per)
    assert ways[0].setting == ways[0].layer == "" and ways[0].options.method == "auto"
    assert wanted <= {way.setting for way in ways} and "activation-map" in {way.options.method for way in ways}
    assert ("gradient" in {way.options.method for way in ways}) == (name != "detector")
    assert len({way.options for way in ways}) == len(ways)
    assert "gradient" in {way.options.method for way in ways_to_try(read_model(shapes / f"{name}.xml"), "box")}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Noise with boxes: enough to go through everything."""
    root = tmp_path_factory.mktemp("advice")
    write_pictures(root / "images")
    write_boxes(root / "boxes", {"a": [("circle", (4, 6, 40, 36))], "b": [("square", (0, 0, 20, 18))], "c": []})
    return root


def test_the_command_line_that_is_advised_inserts_what_was_measured(shapes, data, tmp_path):
    out = tmp_path / "figures"
    done = call("eval", shapes / "cnn.xml", "--data", data, "--advise", "-o", out, "--steps", 3, "--json", "--mean", "1,2,3")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    advice = found["advice"]
    default = [one for one in advice["tried"] if one["title"].startswith("cnn / reciprocam")]
    assert {one["precision"] for one in default} == {"f32", "default"} and advice["tried"][0]["gain"] == 0
    assert (out / "advice.json").exists() and (out / "report.html").exists()
    words = shlex.split(found["commands"][0])
    assert words[:3] == ["ovxai", "insert", str(shapes / "cnn.xml")] and words[-2:] == ["--mean", "1,2,3"]
    inserted = call(*words[1:], "-o", tmp_path / "done.xml", "--json")
    assert inserted.exit_code == 0, inserted.stderr
    assert info_of(read_model(tmp_path / "done.xml")).method in advice["chosen"]["title"]


def test_the_command_line_that_runs_it_names_the_file_that_inserting_writes(shapes, data, tmp_path, monkeypatch):
    """Beside the model, wherever eval is called."""
    for suffix in (".xml", ".bin"):
        (tmp_path / f"model{suffix}").write_bytes((shapes / f"cnn{suffix}").read_bytes())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr("ovxai.evaluation.advice.MATTERS", -1.0)  # f32 is advised
    done = call("eval", tmp_path / "model.xml", "--data", data, "--advise", "-o", "out", "--steps", 2, "--limit", 2, "--json")
    assert done.exit_code == 0, done.stderr
    inserts, runs = (shlex.split(line) for line in json.loads(done.stdout)["commands"])
    assert call(*inserts[1:], "-q").exit_code == 0
    assert runs[:3] == ["ovxai", "run", str(tmp_path / "model_xai.xml")] and (tmp_path / "model_xai.xml").exists()
    words = [{"PICTURES": str(data / "images"), "DIR": "maps"}.get(word, word) for word in runs[1:]]
    assert call(*words, "-q").exit_code == 0


def test_advice_in_words(shapes, data, tmp_path):
    words = ("eval", shapes / "detector.xml", "--data", data, "--advise", "-o", tmp_path, "--steps", 2, "--limit", 2)
    done = call(*words)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("insertion less deletion") and "default" in lines[0]
    assert any(line.startswith("    ovxai insert ") for line in lines) and lines[-1].startswith("report: ")
    again = call(
        "eval", shapes / "detector.xml", "--data", data, "--advise", "-o", tmp_path, "--steps", 2, "--limit", 2, "--resume"
    )
    assert again.stdout == done.stdout


@pytest.mark.parametrize("more, words", [
    (("--method", "gradient"), ("--advise", "--method")),
    (("--precision", "f32"), ("--advise", "--precision")),
    (("--metrics", "energy"), ("--advise", "insertion")),
    (("detector.xml",), ("--advise", "one model")),
])  # fmt: skip
def test_refusals_are_one_line(shapes, data, tmp_path, more, words):
    models = [shapes / name for name in ("cnn.xml", *(one for one in more if one.endswith(".xml")))]
    options = [one for one in more if not one.endswith(".xml")]
    done = call("eval", *models, "--data", data, "--advise", *options, "-o", tmp_path / "out", "-q")
    assert is_one_line(done, *words, code=2), done.stderr
    assert not (tmp_path / "out").exists()
