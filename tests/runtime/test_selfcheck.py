"""A device that computes otherwise with several streams than with one is noticed at the first picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from helpers.cli import call
from helpers.runtime_graphs import classifier, encoded, picture
from ovxai.runtime.feed import engine
from ovxai.runtime.feed.selfcheck import _differ

REAL = engine.compile_model


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ov.save_model(classifier(), "m.xml")
    for name in "abc":
        Path(f"{name}.png").write_bytes(encoded(picture()))
    return tmp_path


@pytest.fixture
def compiled(monkeypatch):
    """The options of every compilation; with several streams another model is compiled."""
    seen = []

    def compile_model(model, options):
        seen.append(options)
        if options.streams == 1 or not wrong["is"]:
            return REAL(model, options)
        return REAL(classifier(channels=(2, 1, 0), model_info={"scale_values": "1"}), options)

    wrong = {"is": True}
    monkeypatch.setattr(engine, "compile_model", compile_model)
    monkeypatch.setattr(engine, "streams_of", lambda _compiled: 2)
    return seen, wrong


def maps(folder):
    return {path.name: path.read_bytes() for path in Path(folder, "saliency_map").iterdir()}


def run(out, *words):
    return call("run", "m.xml", "a.png", "b.png", "c.png", "-o", out, "--target", "all", *words)


@pytest.mark.usefixtures("home")
def test_a_wrong_compilation_is_left(compiled):
    seen, wrong = compiled
    done = run("checked")
    assert done.exit_code == 0 and "with several streams than with one" in done.stderr, done.output
    assert [options.streams for options in seen] == [None, 1] and seen[1].hint == "latency"
    document = json.loads(run("again", "--json").stdout)
    assert any("several streams" in line for line in document["notes"])
    run("unchecked", "--no-self-check")
    wrong["is"] = False
    done = run("right")
    assert "streams" not in done.stderr
    assert maps("checked") == maps("again") == maps("right") != maps("unchecked")


@pytest.mark.usefixtures("home")
def test_one_stream_is_compared_with_nothing(compiled, monkeypatch):
    seen, _ = compiled
    monkeypatch.setattr(engine, "streams_of", lambda _compiled: 1)
    run("out")
    assert len(seen) == 1


def test_what_rounding_explains():
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 80)).astype(np.float32)
    assert not _differ(values * (1 + 2**-7 * random.normal(size=values.shape)).astype(np.float32), values)
    assert _differ(values + 1, values) and _differ(values[:2], values)
    grey = random.integers(0, 255, (80, 7, 7), np.uint8)
    assert not _differ(grey // 2 * 2, grey) and _differ(255 - grey, grey)
    assert _differ(values * np.float32(np.nan), values) and not _differ(values * np.float32(np.nan), values * np.float32(np.nan))
    boxes = np.stack([np.arange(8), np.arange(8) * 2, np.arange(8) * 3, np.arange(8) * 4, np.ones(8)], -1).astype(np.float32)
    assert not _differ(boxes[::-1], boxes) and not _differ(np.arange(3), np.arange(3)[::-1])
