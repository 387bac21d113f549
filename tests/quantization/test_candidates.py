"""What a quantisation is asked for, the pictures and layers that it works on, and how results are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers import classifiers as toys
from helpers.runtime_graphs import encoded, picture
from ovxai.anew import recorded_options
from ovxai.errors import SourceError, UsageError
from ovxai.evaluation import Fidelity
from ovxai.graph.surgery import strip_model
from ovxai.insertion import insert_with_report
from ovxai.options import InsertOptions
from ovxai.quantization import QuantizeOptions, QuantizeReport, Side
from ovxai.quantization.keep import Tried, rounded, weighted_layers, with_rounded_weights
from ovxai.quantization.measure import find_pictures, known_class, spread
from ovxai.runtime.feed.preprocess import PreprocessOptions


def test_what_insertion_would_choose_by_itself_stays_open():
    """So that on the quantised graph the layer behind the quantiser is found."""
    explained = insert_with_report(toys.cnn(), InsertOptions(probe=False))
    options = recorded_options(strip_model(explained.model), explained.info, explained.model)
    assert (options.target_layer, options.method, options.mask) == ((), "auto", "auto")


@pytest.mark.parametrize("wrong", [{"preset": "fast"}, {"subset": 0}, {"measured": 0}])
def test_impossible_wishes(wrong):
    with pytest.raises(UsageError):
        QuantizeOptions(**wrong)


def test_spread_takes_paths_evenly():
    paths = tuple("abcdefgh")
    assert spread(paths, 4) == ("a", "c", "e", "g") and spread(paths, 9) == paths


def test_pictures_and_those_that_are_none(tmp_path):
    (tmp_path / "green").mkdir()
    (tmp_path / "green" / "a.png").write_bytes(encoded(picture()))
    (tmp_path / "b.png").write_bytes(b"no picture")
    found = find_pictures(tmp_path, toys.cnn(), PreprocessOptions())
    assert [path.endswith("a.png") for path in found.paths] == [True] and "b.png" in found.broken[0]
    assert found.load(found.paths[0]).tensor.shape == (3, *toys.SIZE) and found.without(found.paths) == ()
    assert known_class(found.paths[0], ("red", "green"), 2) == 1 and known_class("elsewhere/a.png", ("red",), 1) is None
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "c.png").write_bytes(encoded(picture()))
    several = find_pictures([tmp_path / "green", tmp_path / "red", tmp_path / "red"], toys.cnn(), PreprocessOptions())
    assert [Path(path).name for path in several.paths] == ["a.png", "c.png"]
    (tmp_path / "red" / "c.png").unlink()
    (tmp_path / "green" / "a.png").unlink()
    with pytest.raises(SourceError, match="none of the 1 pictures"):
        find_pictures(tmp_path, toys.cnn(), PreprocessOptions())


def test_weights_are_rounded_one_scale_per_channel():
    weights = np.array([[127.0, 0.4, -1.6], [0.0, 0.0, 0.0], [1.27, 0.004, -0.016]])
    assert np.allclose(rounded(weights, (0,)), np.array([[127.0, 0, -2], [0, 0, 0], [1.27, 0, -0.02]]))
    assert np.allclose(rounded(weights, (0, 1)), weights)


def test_layers_with_weights_are_those_that_read_the_picture():
    image = op.parameter([1, 4], np.float32)
    product = op.matmul(image, op.constant(np.array([[1, 0.126], [0.126, 1]], np.float32).repeat(2, 0)), False, False)
    product.set_friendly_name("weighted")
    attention = op.matmul(product, op.transpose(product, [1, 0]), False, False)
    model = ov.Model([op.result(attention)], [image], "products")
    assert weighted_layers(model) == ["weighted"]
    coarse = with_rounded_weights(model, ("weighted",))
    feed = np.array([[1, 0, 0, 0]], np.float32)
    before, after = (ov.Core().compile_model(one, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(feed)[0] for one in (model, coarse))
    assert before.item() == pytest.approx(1 + 0.126**2) and after.item() == pytest.approx(1 + (16 / 127) ** 2)


def test_the_report_as_json():
    kept = Fidelity(0.98765, 0.9, (("a.png", 0.87654),), 1.0, 3, 3)
    report = QuantizeReport(
        model="int8.xml", recipe="plain", calibrated=3, held_out=True, broken=(), before=Side(10, 1.0, None),
        after=Side(5, 0.5, None), latency_ratio=0.5, precision="f32", fidelity=kept, goal_met=False,
        tried=(Tried("plain", 1.0, kept), Tried("head in float", 1.05555, None)),
    )  # fmt: skip
    document = json.loads(json.dumps(report.to_dict()))
    assert document["fidelity"]["worst"] == [["a.png", 0.87654]] and document["before"]["size"] == 10
    assert document["tried"] == [
        {"recipe": "plain", "latency over plain INT8": 1.0, "mean": 0.9877, "5th percentile": 0.9, "worst": 0.8765},
        {"recipe": "head in float", "latency over plain INT8": 1.056},
    ]
