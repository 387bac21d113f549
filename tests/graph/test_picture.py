"""One place decides which input takes the picture, how it lies there and which numbers it wants; everybody follows."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai.verification.pictures as verifying
from helpers import classifiers as toys
from ovxai.bench import probe_feeds
from ovxai.errors import OptionError, UnsupportedModelError
from ovxai.graph.picture import COLOURS, PictureInput, find_picture_input, picture_inputs, pixel_values
from ovxai.graph.surgery import strip_model
from ovxai.insertion import insert_with_report
from ovxai.metadata import ExplainedInfo, ModelInfo
from ovxai.options import InsertOptions
from ovxai.runtime.feed.preprocess import PreprocessOptions, make_preprocessor
from ovxai.verification import verify

OPEN = (-1, -1, -1, -1)


def model_of(*shapes: tuple[int, ...], kind: type = np.float32) -> ov.Model:
    inputs = [op.parameter(ov.PartialShape(list(shape)), kind) for shape in shapes]
    return ov.Model([op.result(op.relu(node)) for node in inputs], inputs, "m")


@pytest.mark.parametrize(
    ("shape", "layout", "channels"),
    [
        ((1, 3, 8, 9), "NCHW", 3), ((1, 8, 9, 3), "NHWC", 3), ((1, 4, 8, 9), "NCHW", 4), ((1, 8, 9, 4), "NHWC", 4),
        ((1, 4, 4, 3), "NHWC", 3), ((1, 1, 28, 28), "NCHW", 1), ((2, 28, 28, 1), "NHWC", 1),
        ((1, 13, 64, 64), "NCHW", 13), ((1, 64, 48, 6), "NHWC", 6), ((-1, 6, -1, -1), "NCHW", 6), ((-1, -1, -1, 6), "NHWC", 6),
    ],
)  # fmt: skip
def test_layout_and_channels_follow_from_the_shape(shape, layout, channels):
    (found,) = picture_inputs(model_of(shape))
    assert (found.layout, found.channels) == (layout, channels)


@pytest.mark.parametrize("shape", [(1, 1, 1, 128), (1, 256, 14, 14), (1, 10), (4,), (1, 3, 4, 8, 8), (3, 8, 9)])
def test_what_is_no_batch_of_pictures(shape):
    assert picture_inputs(model_of(shape)) == []


@pytest.mark.parametrize("channels", COLOURS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_where_all_is_open_the_weights_tell(layout, channels):
    entry = op.parameter(ov.PartialShape(list(OPEN)), np.float32)
    pixels = op.transpose(entry, np.array([0, 3, 1, 2])) if layout == "NHWC" else entry
    weights = op.constant(np.ones((2, channels, 3, 3), np.float32))
    features = op.convolution(pixels, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    (found,) = picture_inputs(ov.Model([op.result(features)], [entry], "m"))
    assert (found.layout, found.channels) == (layout, channels)
    assert (found.batch, found.height, found.width) == (None, None, None)


def test_colours_go_before_other_channels_and_large_before_small():
    found = picture_inputs(model_of((1, 8, 4, 4), (1, 13, 99, 99), (1, 3, 64, 64)))
    assert [one.index for one in found] == [2, 0, 1]


def test_an_open_list_of_masks_is_no_picture_beside_one():
    assert [one.index for one in picture_inputs(model_of((1, -1, 28, 28), (1, 3, 64, 64)))] == [1]
    assert [one.index for one in picture_inputs(model_of((1, -1, 28, 28)))] == [0]


def test_an_element_type_that_nobody_can_feed():
    place = PictureInput(0, "image", "NCHW", 3, 8, 8, 1, "bf16")
    with pytest.raises(UnsupportedModelError, match="element type bf16"):
        pixel_values(place, ModelInfo())


# What insertion writes down, and who reads it.


def dim() -> ov.Model:
    """A classifier whose features are nothing but zeros unless pixels go far beyond 1."""
    image = toys.picture()
    seen = op.relu(op.subtract(image, np.float32(2)))
    features = toys.named(op.relu(toys.conv(seen, 6, 8, 8)), "features")
    model = toys.finished(toys.linear(toys.mean(features)), image)
    model.inputs[0].set_names({"image"})
    return model


def fed_by_the_runner(model: ov.Model) -> np.ndarray:
    prepare, _ = make_preprocessor(model, find_picture_input(model), ModelInfo.read(model), PreprocessOptions())
    return prepare(np.full((*toys.SIZE, 3), 255, np.uint8))[0]


def fed_by_verification(model: ov.Model) -> np.ndarray:
    plain = strip_model(model)
    place = find_picture_input(plain, ExplainedInfo.read(model))
    return verifying.prepare(verifying.noise(0, *toys.SIZE, 3), place, ModelInfo.read(plain))


def fed_by_bench(model: ov.Model) -> np.ndarray:
    return next(iter(probe_feeds(strip_model(model), 1, None, ExplainedInfo.read(model)).values()))


@pytest.mark.parametrize("fed", [fed_by_the_runner, fed_by_verification, fed_by_bench])
@pytest.mark.parametrize(("written", "largest"), [(None, 255), ("0,1", 1), ("-1,1", 1)])
def test_everybody_feeds_what_rt_info_says(fed, written, largest):
    assert fed(inserted(written)).max() == pytest.approx(largest)


def inserted(written: str | None) -> ov.Model:
    model = insert_with_report(dim()).model
    if written is not None:
        model.set_rt_info(written, ["ovxai", "picture_range"])
    return model


def test_insertion_writes_input_and_range():
    info = insert_with_report(dim()).info
    assert (info.picture_input, info.picture_range) == ("image", (0.0, 255.0))
    model = insert_with_report(dim()).model
    assert model.get_rt_info(["ovxai", "picture_range"]).astype(str) == "0,255"


def test_the_probe_and_verify_see_pictures_as_run_feeds_them():
    done = insert_with_report(dim())
    assert done.warnings == ()
    report = verify(done.model, places=False)
    assert report.ok and not any("flat" in note for note in report.notes)


@pytest.mark.parametrize("state", [(1, 8, 4, 4), (1, 128, 6, 4)])
def test_all_read_the_input_that_is_explained(state):
    """Another input with the rank of a picture stands first."""
    model = dim()
    other = op.parameter(list(state), np.float32, name="state")
    more = op.result(op.reduce_mean(other, np.array([1, 2, 3]), False))
    done = insert_with_report(ov.Model([*model.get_results(), more], [other, *model.get_parameters()], "two"))
    assert done.info.picture_input == "image" and done.warnings == ()
    assert find_picture_input(done.model).index == 1
    report = verify(done.model, places=False)
    assert report.ok and not any("flat" in note for note in report.notes)


def test_the_input_is_the_one_that_the_explained_scores_depend_on():
    model = dim()
    larger = op.parameter([1, 3, 200, 200], np.float32, name="reference")
    more = op.result(op.reduce_mean(larger, np.array([1, 2, 3]), False))
    done = insert_with_report(ov.Model([*model.get_results(), more], [larger, *model.get_parameters()], "two"))
    assert find_picture_input(done.model).name == "image"
    assert verify(done.model, places=False).ok


def test_a_record_that_does_not_fit_the_model():
    model = inserted(None)
    model.set_rt_info("gone", ["ovxai", "picture_input"])
    with pytest.raises(UnsupportedModelError, match="rt_info names the picture input 'gone', but inputs: image"):
        find_picture_input(model)


@pytest.mark.parametrize("channels", [2, 13])
def test_other_numbers_of_channels_are_explained_too(channels):
    image = toys.picture(channels=channels)
    model = toys.finished(toys.linear(toys.mean(toys.trunk(image))), image)
    done = insert_with_report(model, InsertOptions(embed="overlay"))
    assert find_picture_input(done.model).channels == channels
    assert verify(done.model, places=False).ok


# Pixels to numbers.


def values_of(shape: tuple[int, ...], pixels: np.ndarray, kind: type = np.float32, info: ModelInfo | None = None, **options):
    return pixel_values(find_picture_input(model_of(shape, kind=kind)), info or ModelInfo(), **options)(pixels)


def test_bgr_leaves_alpha_last():
    pixels = np.full((8, 9, 4), (1, 2, 3, 4), np.uint8)
    assert values_of((1, 8, 9, 4), pixels, reverse=True)[0, 0].tolist() == [3, 2, 1, 4]
    pixels = np.arange(5, dtype=np.uint8) + np.zeros((16, 16, 1), np.uint8)
    assert values_of((1, 5, 16, 16), pixels, reverse=True)[:, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_as_many_values_as_channels():
    pixels = np.full((8, 9, 4), 8, np.uint8)
    fed = values_of((1, 4, 8, 9), pixels, mean=(0, 2, 4, 6), scale=(2,))
    assert fed[:, 0, 0].tolist() == [4, 3, 2, 1]
    with pytest.raises(OptionError, match=r"mean: 3 values for a model with 4 channel"):
        values_of((1, 4, 8, 9), pixels, mean=(1, 2, 3))
