"""`ovxai strip`: the plain model back."""

import json

import numpy as np
import openvino as ov
import pytest

from helpers import classifiers as toys
from helpers.cli import call

PICTURE = np.random.default_rng(1).standard_normal((1, 3, *toys.SIZE)).astype(np.float32)


@pytest.fixture()
def explained(tmp_path):
    model = toys.cnn()
    model.set_friendly_name("trained")
    model.set_rt_info("cat dog owl emu", ["model_info", "labels"])
    ov.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    done = call("insert", tmp_path / "model.xml", "--feature-vector", "--classes", "top:2", "--no-probe")
    assert done.exit_code == 0, done.output
    return tmp_path / "model_xai.xml"


def scores(path):
    return ov.Core().compile_model(ov.Core().read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(PICTURE)[0]


def test_there_and_back(explained):
    done = call("strip", explained)
    assert done.exit_code == 0 and "model_xai_plain.xml" in done.stdout
    back, before = explained.with_name("model_xai_plain.xml"), explained.with_name("model.xml")
    plain, first = ov.Core().read_model(back), ov.Core().read_model(before)
    assert [sorted(output.get_names()) for output in plain.outputs] == [["scores"]]
    assert not plain.has_rt_info(["ovxai"]) and plain.get_rt_info(["model_info", "labels"]).astype(str) == "cat dog owl emu"
    assert plain.get_friendly_name() == "trained"
    np.testing.assert_array_equal(scores(back), scores(before))
    kinds = [sorted(node.get_type_name() for node in model.get_ops()) for model in (plain, first)]
    assert kinds[0] == kinds[1]
    assert back.with_suffix(".bin").stat().st_size == before.with_suffix(".bin").stat().st_size


def test_it_can_be_explained_again(explained):
    call("strip", explained)
    assert call("insert", explained.with_name("model_xai_plain.xml"), "--no-probe").exit_code == 0


def test_json(explained, tmp_path):
    done = call("strip", explained, "-o", tmp_path / "back.xml", "--json")
    assert json.loads(done.stdout)["outputs"] == [["scores"]]


def test_out_exists(explained):
    assert call("strip", explained).exit_code == 0
    done = call("strip", explained)
    assert done.exit_code == 1 and "exists" in done.stderr
    assert call("strip", explained, "--force").exit_code == 0


def test_a_plain_model(explained):
    done = call("strip", explained.with_name("model.xml"))
    assert done.exit_code == 1 and "nothing to strip" in done.stderr and not explained.with_name("model_plain.xml").exists()


def test_no_such_file(tmp_path):
    done = call("strip", tmp_path / "absent.xml")
    assert done.exit_code == 1 and "no such file" in done.stderr
