"""`ovxai quantize` as its users meet it; what needs NNCF is skipped where it is not installed."""

from __future__ import annotations

import builtins
import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest

from helpers.cli import call
from helpers.explained import info_of
from ovxai.graph.save import save_model
from ovxai.insertion import insert
from ovxai.verification import verify

SHAPES = Path(__file__).resolve().parents[2] / "fixtures" / "shapes"
needs_nncf = pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="NNCF is not installed (pip install nncf)")


def run(*words):
    return call("quantize", *words)


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of the shapes world in folders named after their classes."""
    known = json.loads((SHAPES / "test" / "annotations.json").read_text())
    for entry in [one for one in known["pictures"] if one["file"].startswith("cls_")][:12]:
        place = tmp_path / "data" / entry["objects"][0]["class"]
        place.mkdir(parents=True, exist_ok=True)
        (place / entry["file"]).write_bytes((SHAPES / "test" / entry["file"]).read_bytes())
    return tmp_path / "data"


@needs_nncf
def test_a_plain_model(folder, tmp_path):
    out = tmp_path / "int8.xml"
    result = run(SHAPES / "cnn.xml", "--data", folder, "--subset", 6, "-o", out, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["held_out"] and report["calibrated"] == 6
    assert report["before"]["accuracy"] == 1.0 and report["after"]["accuracy"] > 0.5
    assert report["fidelity"]["worst"][0][0].endswith(".png") and report["fidelity"]["compared"] == 6
    assert report["after"]["size"] < report["before"]["size"]
    assert verify(out).ok


@needs_nncf
def test_an_explained_model_keeps_its_options(folder, tmp_path):
    wanted = insert(SHAPES / "cnn.xml", scale=False, classes="0,3", feature_vector=True, mask="gaussian", probe=False)
    explained = save_model(wanted, tmp_path / "xai.xml")
    result = run(explained, "--data", folder, "-o", tmp_path / "int8.xml", "--preset", "mixed")
    assert result.exit_code == 0, result.output
    assert "that were calibrated with too" in result.output
    known, found = info_of(explained), info_of(tmp_path / "int8.xml")
    for name in ("task", "method", "mask", "classes", "scaled", "extra_outputs", "collapse"):
        assert getattr(found, name) == getattr(known, name), name
    assert verify(tmp_path / "int8.xml").ok


@needs_nncf
def test_broken_pictures_are_counted(folder, tmp_path):
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    result = run(SHAPES / "cnn.xml", "--data", folder, "-o", tmp_path / "int8.xml")
    assert result.exit_code == 0, result.output
    assert "1 picture can't be read" in result.stderr and "cut.jpg" in result.stderr


@needs_nncf
@pytest.mark.parametrize("case", ["missing", "empty", "broken", "exists", "quantised"])
def test_one_line_each(case, folder, tmp_path):
    data, out, model = folder, tmp_path / "int8.xml", SHAPES / "cnn.xml"
    if case == "missing":
        data, words = tmp_path / "nowhere", "no such folder"
    elif case == "empty":
        data, words = tmp_path / "empty", "no pictures"
        data.mkdir()
    elif case == "broken":
        data, words = tmp_path / "bad", "none of the 1 pictures can be read"
        data.mkdir()
        (data / "a.png").write_bytes(b"no picture")
    elif case == "exists":
        words = "exists; give another -o"
        out.write_text("mine")
    else:
        words = "is quantised already"
        model = tmp_path / "q.xml"
        save_model(_quantised(), model)
    result = run(model, "--data", data, "-o", out)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert len(lines) == 1 and words in lines[0] and "Traceback" not in result.output
    left = {path.name for path in tmp_path.iterdir()} - {"data", "empty", "bad", "q.xml", "q.bin"}
    assert left == ({"int8.xml"} if case == "exists" else set())


def test_without_nncf(folder, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == "nncf":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    result = run(SHAPES / "cnn.xml", "--data", folder, "-o", tmp_path / "int8.xml")
    assert result.exit_code == 1 and "pip install nncf" in result.stderr
    assert not (tmp_path / "int8.xml").exists()


def _quantised() -> ov.Model:
    from openvino import opset13 as op

    image = op.parameter([1, 3, 8, 8], np.float32)
    x = op.fake_quantize(image, *[op.constant(np.float32(v)) for v in (0, 1, 0, 1)], 256)
    return ov.Model([op.result(op.reduce_mean(x, [2, 3], False))], [image], "q")


def test_pictures_are_read_as_run_reads_them(folder):
    """Same decoding, same resizing, same normalisation, for every path; spread over the folders."""
    from ovxai.quantization.measure import calibration_feeds, find_pictures, spread
    from ovxai.runtime.feed.preprocess import PreprocessOptions

    model = ov.Core().read_model(SHAPES / "cnn.xml")
    pictures = find_pictures(folder, model, PreprocessOptions())
    path = pictures.paths[0]
    pixels = cv2.imread(path)
    assert pixels is not None
    expected = (pixels[:, :, ::-1].astype(np.float32) - 128) / 64
    array = next(iter(calibration_feeds(pictures, (path,), model)))[0]
    assert array.shape == (1, 3, 96, 96)
    assert np.array_equal(array[0], expected.transpose(2, 0, 1))
    assert len({Path(one).parent for one in spread(pictures.paths, 4)}) > 1
