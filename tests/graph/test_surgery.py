"""Attaching and stripping outputs, saving whole files only."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset6
from openvino import opset13 as op
from openvino.op.util import Variable, VariableInfo

import ovxai
from helpers import classifiers as toys
from ovxai.errors import NotExplainedError, OutputError
from ovxai.graph.graph import constant_value
from ovxai.graph.natives import first_reason
from ovxai.graph.save import save_model
from ovxai.graph.surgery import attach_outputs, strip_model

PICTURE = np.random.default_rng(1).standard_normal((1, 3, *toys.SIZE)).astype(np.float32)


def node(model, name):
    return next(one for one in model.get_ops() if one.get_friendly_name() == name)


def scores(model):
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(PICTURE)[0]


# --- strip ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [toys.cnn, toys.vit, toys.vgg, toys.nhwc])
def test_strip_gives_the_plain_model_back(family):
    plain = family()
    model = ovxai.insert(plain, feature_vector=True, probe=False)
    back = strip_model(model)
    assert [output.get_names() for output in back.outputs] == [output.get_names() for output in plain.outputs]
    assert not back.has_rt_info(["ovxai"]) and len(model.outputs) == 4 and model.has_rt_info(["ovxai", "version"])
    np.testing.assert_array_equal(scores(back), scores(plain))
    assert len(back.get_ops()) == len(plain.get_ops())


def test_strip_with_a_feature_vector_that_is_the_models_own_tensor():
    """A class token that the classifier reads: its tensor got a name of ours and must lose it."""
    back = strip_model(ovxai.insert(toys.vit(), feature_vector=True, probe=False))
    for one in back.get_ops():
        for output in one.outputs():
            assert not output.get_names() & {"saliency_map", "feature_map", "feature_vector"}


def test_strip_of_a_plain_model():
    with pytest.raises(NotExplainedError):
        strip_model(toys.cnn())


def test_strip_after_a_round_trip_through_a_file(tmp_path):
    path = save_model(ovxai.insert(toys.cnn(), classes="0,1", probe=False), tmp_path / "a.xml")
    back = strip_model(ov.Core().read_model(path))
    np.testing.assert_array_equal(scores(back), scores(toys.cnn()))


# --- attach ---------------------------------------------------------------------------------------


def test_attached_outputs_stand_last_and_keep_what_there_was():
    model = toys.two_outputs()
    model.set_friendly_name("mine")
    model.set_rt_info("x", ["a", "b"])
    attach_outputs(model, {"one": node(model, "features").output(0), "two": op.relu(node(model, "features")).output(0)})
    assert [sorted(output.get_names()) for output in model.outputs] == [["coarse"], ["fine"], ["one"], ["two"]]
    assert model.get_friendly_name() == "mine" and model.get_rt_info(["a", "b"]).astype(str) == "x"


def test_variables_survive():
    """A model with a state: ReadValue and Assign."""
    image = toys.picture()
    pooled = toys.mean(toys.trunk(image))
    info = VariableInfo()
    info.data_shape, info.data_type, info.variable_id = ov.PartialShape([1, 6]), ov.Type.f32, "state"
    variable = Variable(info)
    total = op.add(pooled, opset6.read_value(op.constant(np.zeros((1, 6), np.float32)), variable))
    model = ov.Model([op.result(toys.linear(total))], [opset6.assign(total, variable)], [image], "state")
    done = ovxai.insert(model, probe=False)
    assert len(done.get_sinks()) == 1 and len(done.get_variables()) == 1


# --- save -----------------------------------------------------------------------------------------


def test_saved_whole_or_not_at_all(tmp_path, monkeypatch):
    model = toys.cnn()
    path = save_model(model, tmp_path / "a.xml")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.bin", "a.xml"]
    with pytest.raises(OutputError, match="exists"):
        save_model(model, path)

    def failing(_model, draft, **_options):
        draft.write_text("half")
        raise RuntimeError("Exception from src/x.cpp\nno space")

    monkeypatch.setattr(ov, "save_model", failing)
    with pytest.raises(OutputError, match="no space"):
        save_model(model, tmp_path / "b.xml")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.bin", "a.xml"]


def test_first_reason():
    assert (
        first_reason(RuntimeError("Exception from src/core.cpp:1:\nCheck 'x' failed at y\nThe shape is wrong"))
        == "The shape is wrong"
    )
    assert len(first_reason(RuntimeError("x" * 999))) == 240


def test_constant_value_behind_a_convert():
    stored = op.constant(np.arange(3, dtype=np.float16))
    np.testing.assert_array_equal(constant_value(op.convert(stored, "f32").output(0)), [0, 1, 2])
    assert constant_value(op.parameter([1], np.float32).output(0)) is None
