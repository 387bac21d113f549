"""Picture -> tensor, and which input takes it."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.runtime_graphs import classifier, f32, picture
from ovxai.errors import OptionError, UnsupportedModelError
from ovxai.graph.picture import find_picture_input
from ovxai.metadata import ModelInfo
from ovxai.runtime.feed.beside import side_inputs
from ovxai.runtime.feed.preprocess import PreprocessOptions, make_preprocessor


def model_of(*shapes, kind=np.float32, layout=None, info=None) -> ov.Model:
    inputs = [op.parameter(ov.PartialShape(list(shape)), kind) for shape in shapes]
    if layout:
        inputs[0].set_layout(ov.Layout(layout))
    model = ov.Model([op.result(op.relu(node)) for node in inputs], inputs, "m")
    for key, value in (info or {}).items():
        model.set_rt_info(value, ["model_info", key])
    return model


def prepare(model, pixels, **options):
    target = find_picture_input(model)
    made, notes = make_preprocessor(model, target, ModelInfo.read(model), PreprocessOptions(**options))
    return (*made(pixels), notes)


@pytest.mark.parametrize(
    ("shape", "layout", "channels"),
    [
        ((1, 3, 8, 9), "NCHW", 3), ((1, 8, 9, 3), "NHWC", 3), ((1, 1, 28, 28), "NCHW", 1), ((2, 28, 28, 1), "NHWC", 1),
        ((-1, 3, -1, -1), "NCHW", 3), ((-1, -1, -1, 3), "NHWC", 3), ((3, 8, 9), "CHW", 3), ((-1, -1, -1, -1), "NCHW", 3),
    ],
)  # fmt: skip
def test_layout_follows_from_the_shape(shape, layout, channels):
    found = find_picture_input(model_of(shape))
    assert (found.layout, found.channels) == (layout, channels)


def test_a_stored_layout_beats_the_shape():
    assert find_picture_input(model_of((1, 3, 3, 3), layout="NHWC")).layout == "NHWC"


def test_the_picture_may_stand_second():
    found = find_picture_input(model_of((1, 3), (1, 3, 8, 8)))
    assert found.index == 1


@pytest.mark.parametrize("shape", [(1, 10), (1, 16, 8, 8), (1, 16, 8, 8, 8), (8,)])
def test_no_picture_input(shape):
    with pytest.raises(UnsupportedModelError, match="no input takes a picture"):
        find_picture_input(model_of(shape))


def test_inputs_that_want_the_pictures_size():
    model = model_of((1, 3), (1, 3, 8, 12), (1, 2))
    sides = side_inputs(model, find_picture_input(model))
    assert {side.index: side.of((8, 12), 2).tolist() for side in sides} == {0: [[8, 12, 1]] * 2, 2: [[12, 8]] * 2}


def test_an_input_nobody_can_fill():
    model = model_of((1, 3, 8, 8), (1, 77))
    with pytest.raises(UnsupportedModelError, match="how to fill it is unknown"):
        side_inputs(model, find_picture_input(model))


def test_mean_and_scale_of_rt_info():
    info = {"mean_values": "10 20 30", "scale_values": "2 4 5"}
    pixels = np.full((4, 4, 3), (20, 40, 80), np.uint8)
    tensor, _, notes = prepare(model_of((1, 3, 4, 4), info=info), pixels)
    assert tensor.shape == (3, 4, 4) and tensor.dtype == np.float32
    assert tensor[:, 0, 0].tolist() == [5, 5, 10]
    assert notes == ()


def test_options_beat_rt_info():
    tensor, _, _ = prepare(
        model_of((1, 3, 4, 4), info={"scale_values": "2", "reverse_input_channels": "YES"}),
        np.full((4, 4, 3), (10, 20, 30), np.uint8), scale_values=(10.0,), mean=(0.0,), reverse_input_channels=False,
    )  # fmt: skip
    assert tensor[:, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("word", ["YES", "True", "true"])
def test_reversed_channels(word):
    model = model_of((1, 4, 4, 3), info={"reverse_input_channels": word})
    tensor, _, _ = prepare(model, np.full((4, 4, 3), (1, 2, 3), np.uint8))
    assert tensor.shape == (4, 4, 3) and tensor[0, 0].tolist() == [3, 2, 1]


def test_nothing_said_is_noted():
    _, _, notes = prepare(model_of((1, 3, 4, 4)), picture())
    assert "--mean" in notes[0]


def test_whole_number_inputs_are_fed_raw_and_take_no_mean():
    model = model_of((1, 4, 4, 3), kind=np.uint8)
    tensor, _, notes = prepare(model, np.full((4, 4, 3), 200, np.uint8))
    assert tensor.dtype == np.uint8 and tensor.max() == 200 and notes == ()
    with pytest.raises(OptionError, match="whole numbers"):
        prepare(model, picture(), mean=(1.0,))


def test_half_precision_input():
    assert prepare(model_of((1, 3, 4, 4), kind=np.float16), picture())[0].dtype == np.float16


def test_one_channel_models_see_grey():
    tensor, _, _ = prepare(model_of((1, 1, 4, 4), info={"scale_values": "255"}), np.full((9, 9, 3), 255, np.uint8))
    assert tensor.shape == (1, 4, 4) and tensor.min() == 1


@pytest.mark.parametrize("resize_type", ["fit_to_window", "fit_to_window_letterbox"])
def test_padding_has_its_value(resize_type):
    info = {"resize_type": resize_type, "pad_value": "114", "scale_values": "1"}
    tensor, geometry, _ = prepare(model_of((1, 3, 32, 32), info=info), np.full((10, 40, 3), 255, np.uint8))
    assert set(np.unique(tensor)) == {114, 255}
    left, top, width, height = (int(value) for value in geometry.content)
    assert tensor[:, top : top + height, left : left + width].min() == 255


def test_an_unknown_resize_type_of_rt_info_means_standard():
    assert prepare(model_of((1, 3, 8, 8), info={"resize_type": "whatever"}), picture())[1].content == (0, 0, 8, 8)


def test_embedded_preprocessing_is_fed_raw():
    info = {"embedded_processing": "True", "orig_height": "64", "orig_width": "64", "resize_type": "fit_to_window_letterbox",
            "mean_values": "1 2 3"}  # fmt: skip
    model = model_of((-1, -1, -1, 3), kind=np.uint8, info=info)
    tensor, geometry, _ = prepare(model, picture(40, 80))
    assert (tensor == picture(40, 80)).all()
    assert geometry.canvas == (64, 64) and geometry.content == (0, 16, 64, 32)


def test_dynamic_inputs_take_the_pictures_size_rounded_for_pyramids():
    assert prepare(model_of((1, 3, -1, -1)), np.zeros((100, 70, 3), np.uint8))[0].shape == (3, 96, 64)
    assert prepare(model_of((1, 3, -1, -1)), np.zeros((1, 1, 3), np.uint8))[0].shape == (3, 32, 32)
    assert prepare(model_of((1, 3, -1, 50)), np.zeros((100, 70, 3), np.uint8))[0].shape == (3, 96, 50)


def test_dynamic_inputs_take_the_size_asked_for_or_stored():
    assert prepare(model_of((1, 3, -1, -1)), picture(), input_size=(48, 40))[0].shape == (3, 48, 40)
    model = model_of((1, 3, -1, -1), info={"orig_height": "56", "orig_width": "72"})
    assert prepare(model, picture())[0].shape == (3, 56, 72)
    with pytest.raises(OptionError, match="does not fit"):
        prepare(model_of((1, 3, 8, 8)), picture(), input_size=(9, 9))


@pytest.mark.parametrize(
    "options",
    [{"resize_type": "stretch"}, {"pad_value": 300}, {"mean": ()}, {"scale_values": (1.0, 0.0, 1.0)}],
)
def test_options_that_make_no_sense(options):
    with pytest.raises(OptionError):
        PreprocessOptions(**options)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 8, 8, 3)])
@pytest.mark.parametrize("reverse", [False, True])
def test_every_channel_gets_its_own_mean_and_scale(shape, reverse):
    pixels = np.random.RandomState(0).randint(0, 256, (8, 14, 3), np.uint8)  # cropped: a view with gaps between its rows
    mean, scale = (10.5, 20.25, 30.0), (2.0, 3.0, 7.0)
    tensor, _, _ = prepare(
        model_of(shape), pixels, mean=mean, scale_values=scale, resize_type="crop", reverse_input_channels=reverse
    )
    seen = pixels[:, 3:11, ::-1] if reverse else pixels[:, 3:11]
    wanted = (seen.astype(np.float32) - f32(mean)) / f32(scale)
    assert tensor.flags.c_contiguous and tensor.dtype == np.float32
    assert np.array_equal(tensor if shape[-1] == 3 else tensor.transpose(1, 2, 0), wanted)


def test_real_values_reach_the_network_in_the_right_place():
    tensor, _, _ = prepare(classifier(size=(40, 60)), picture())
    assert tensor[0, 5, 5] == 1 and tensor[1, 5, 5] == 0
    assert tensor[0, 5, 50] == 0 and tensor[1, 5, 50] == pytest.approx(220 / 255)
