"""Forms that inputs, outputs and shapes take: several inputs, open sizes, activations with tails, embedded maps."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.tiny_models import CLASSES, Pooled, explain, scaled
from helpers.values import named, numbers
from ovxai.errors import OptionError, UnsupportedModelError
from ovxai.verification import verify
from ovxai.verification.keeping import flat_rt_info


def check(report, name):
    return next(check for check in report.checks if check.name == name)


def tails():
    def quantized(x):
        return op.fake_quantize(x, np.float32(0), np.float32(1), np.float32(0), np.float32(1), 256)

    return {
        "softmax": lambda x: op.softmax(x, 1),
        "log": lambda x: op.log_softmax(x, 1),
        "sigmoid": op.sigmoid,
        "none": lambda x: x,
        "quantized": lambda x: quantized(op.softmax(x, 1)),
        "reshaped": lambda x: op.reshape(op.softmax(op.unsqueeze(x, [2]), 1), [0, CLASSES], True),
        "squeezed": lambda x: op.squeeze(op.sigmoid(op.unsqueeze(x, [2])), [2]),
    }


@pytest.mark.parametrize("tail", list(tails()))
def test_logits_are_found_behind_any_tail(tail):
    tiny = Pooled()
    end = tails()[tail](tiny.logits)
    model = ov.Model([op.result(end)], [tiny.image], "tail")
    outputs = {"saliency_map": tiny.saliency(), "feature_map": tiny.feature_map()}
    assert verify(explain(model, outputs, target_layers=("features",), layout="NCHW")).ok


def open_sizes(sides: tuple) -> ov.Model:
    image = op.parameter([-1, 3, *sides], np.float32)
    features = named(
        op.relu(op.convolution(image, numbers(5, 3, 32, 32, size=0.1), [32, 32], [0, 0], [0, 0], [1, 1])),
        "features",
    )
    logits = op.matmul(op.reduce_mean(features, [2, 3], False), numbers(5, 3), False, False)
    model = ov.Model([op.result(logits)], [image], "open")
    # One position in the mean over all of them: its share of the mean.
    rows = op.convolution(features, numbers(5, 3).T.reshape(3, 5, 1, 1).copy(), [1, 1], [0, 0], [0, 0], [1, 1])
    cells = op.convert(op.reduce_prod(op.gather(op.shape_of(features), np.array([2, 3]), np.int64(0)), [0], False), "f32")
    return explain(
        model,
        {"saliency_map": op.divide(rows, cells), "feature_map": features},
        target_layers=("features",),
        layout="NCHW",
    )


def test_open_height_and_width():
    report = verify(open_sizes((-1, -1)))
    assert report.ok and report.map_shape == (3, 7, 9)
    assert any("224 x 288" in note for note in report.notes)
    assert verify(open_sizes((-1, -1)), size=(96, 160)).map_shape == (3, 3, 5)


def test_bounded_sizes_and_wrong_wishes():
    bounded = open_sizes((ov.Dimension(64, 128), 96))
    assert verify(bounded).map_shape == (3, 4, 3)
    with pytest.raises(OptionError, match="96"):
        verify(bounded, size=(96, 128))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_other_inputs_get_ones(dtype):
    tiny = Pooled()
    factor = named(op.parameter([-1, 1], dtype), "factor")
    pooled = op.reduce_mean(tiny.features, [2, 3], False)
    logits = op.multiply(op.matmul(pooled, tiny.weights, False, False), op.convert(factor, "f32"))
    model = ov.Model([op.result(logits)], [factor, tiny.image], "two inputs")
    unbiased = op.subtract(tiny.saliency(), tiny.bias.reshape(1, -1, 1, 1))
    outputs = {"saliency_map": unbiased, "feature_map": tiny.features}
    assert verify(explain(model, outputs, target_layers=("features",), layout="NCHW")).ok


def test_a_model_without_a_picture():
    given = op.parameter([1, 10], np.float32)
    model = ov.Model([op.result(op.relu(given))], [given], "vector")
    with pytest.raises(UnsupportedModelError, match="picture"):
        verify(
            explain(
                model,
                {"saliency_map": op.reshape(given, [1, 1, 2, 5], False)},
                target_layers=("x",),
                layout="NCHW",
            )
        )


def test_second_output_is_explained():
    tiny = Pooled()
    own = tiny.model.get_results()[0]
    first = op.result(op.reduce_mean(tiny.image, [1, 2, 3], False))
    model = ov.Model([first, own], [tiny.image], "two outputs")
    outputs = {"saliency_map": tiny.saliency(), "feature_map": tiny.feature_map()}
    facts = {"target_layers": ("features",), "layout": "NCHW", "explained_output": 1}
    assert verify(explain(model, outputs, **facts)).ok


@pytest.mark.parametrize("mode, ok", [("linear_onnx", True), ("nearest", False)])
def test_embedded_map(mode, ok):
    tiny = Pooled()
    grey = scaled(tiny.saliency())
    large = op.interpolate(
        op.convert(grey, "f32"),
        np.array([12, 15]),
        mode,
        "sizes",
        axes=np.array([2, 3]),
        coordinate_transformation_mode="half_pixel",
    )
    outputs = {
        "saliency_map": grey,
        "saliency_map_resized": op.convert(op.round(large, "half_to_even"), "u8"),
    }
    report = verify(explain(tiny.model, outputs, target_layers=("features",), layout="NCHW", scaled=True))
    assert check(report, "saliency_map_resized").ok is ok and report.ok is ok
    assert report.units <= 1


def test_loops_are_not_brought_in():
    tiny = Pooled()
    bodies = []
    for _ in range(2):
        inner = op.parameter([1, CLASSES, 4, 5], np.float32)
        bodies.append(ov.Model([op.result(op.relu(inner))], [inner], "body"))
    condition = op.greater(op.reduce_max(tiny.image, np.array([0, 1, 2, 3]), False), np.float32(0))
    either = op.if_op(condition.output(0))
    either.set_then_body(bodies[0])
    either.set_else_body(bodies[1])
    either.set_input(tiny.saliency().output(0), bodies[0].get_parameters()[0], bodies[1].get_parameters()[0])
    same = either.set_output(bodies[0].get_results()[0], bodies[1].get_results()[0])
    report = verify(tiny.explained(op.add(tiny.saliency(), op.multiply(same, np.float32(0)))))
    assert check(report, "operations").ok is False and report.units <= 1


def test_quantised_graphs_are_judged_in_floats():
    image = op.parameter([1, 3, 16, 16], np.float32)

    def quantized(x, low, high):
        limits = [np.float32(low), np.float32(high)]
        return op.fake_quantize(x, *limits, *limits, 256)

    kernel = quantized(op.constant(numbers(8, 3, 4, 4, size=0.3)), -1.27, 1.27)
    x = op.convolution(quantized(image, 0, 1), kernel, [4, 4], [0, 0], [0, 0], [1, 1])
    features = named(quantized(op.relu(x), 0, 4), "features")
    head = op.constant(numbers(8, 3))
    model = ov.Model([op.result(op.matmul(op.reduce_mean(features, [2, 3], False), head, False, False))], [image], "int8")
    copies = op.multiply(features, np.eye(16, dtype=np.float32).reshape(16, 1, 4, 4))
    rows = op.matmul(op.reduce_mean(copies, [2, 3], False), head, False, False)
    saliency = op.reshape(op.transpose(rows, [1, 0]), [1, 3, 4, 4], False)
    report = verify(
        explain(
            model,
            {"saliency_map": saliency, "feature_map": features},
            target_layers=("features",),
            layout="NCHW",
        )
    )
    assert report.ok, report
    assert any("quantised" in note for note in report.notes)


def test_what_the_reader_notes_for_itself_is_no_metadata():
    """Older OpenVINO writes down where the weights were read from; that differs from file to file."""
    model = Pooled().model
    model.set_rt_info("here.bin", ["__weights_path"])
    assert flat_rt_info(model)[("model_info", "labels")] == "cat dog owl emu"
    assert ("__weights_path",) not in flat_rt_info(model)
