"""`ovxai verify` as its users meet it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from openvino import opset13 as op

from helpers.cli import call
from helpers.tiny_models import Pooled, scaled
from ovxai.graph.save import save_model


@pytest.fixture
def explained(tmp_path):
    tiny = Pooled()
    tiny.model.set_rt_info("255", ["model_info", "scale_values"])
    return str(save_model(tiny.explained(scaled(tiny.saliency()), scaled=True), tmp_path / "xai.xml"))


def run(*words):
    return call("verify", *words)


def test_a_right_model(explained):
    result = run(explained)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1].startswith("holds: largest deviation 0 grey levels")


def test_a_wrong_model(tmp_path):
    tiny = Pooled()
    path = save_model(tiny.explained(op.multiply(tiny.saliency(), np.float32(2))), tmp_path / "xai.xml")
    result = run(path)
    assert result.exit_code == 1
    assert "DOES NOT HOLD" in result.output


def test_json(explained):
    result = run(explained, "--json", "--samples", 2)
    document = json.loads(result.stdout)
    assert document["ok"] and document["outputs_kept"] and len(document["rows"]) == 2
    assert document["units"] <= 1 and document["scaled"]


def test_a_picture(explained, tmp_path):
    import cv2

    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (30, 20, 3), np.uint8))
    assert run(explained, "--image", picture).exit_code == 0
    picture.write_text("not one")
    result = run(explained, "--image", picture)
    assert result.exit_code == 1 and "not a picture" in result.output


def test_against_the_source(explained, tmp_path):
    source = save_model(Pooled().model, tmp_path / "plain.xml")
    result = run(explained, "--plain", source)
    assert result.exit_code == 0 and "against the source model" in result.output


def test_a_plain_model_and_no_model(tmp_path):
    result = run(save_model(Pooled().model, tmp_path / "plain.xml"))
    assert result.exit_code == 1 and "ovxai insert" in result.output
    assert run(tmp_path / "none.xml").exit_code == 1
    assert run(tmp_path / "none.xml", "--size", "big").exit_code == 2
