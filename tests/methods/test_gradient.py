"""Gradient maps of classifiers: against central differences on the plain model, and everything around the map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers import classifiers as toys
from helpers.explained import info_of
from helpers.levels import at_finest
from helpers.values import numbers
from ovxai.cli.main import main
from ovxai.errors import OptionError, UnsupportedModelError, UsageError
from ovxai.graph.names import port_named
from ovxai.graph.surgery import strip_model

_PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}


def run(model: ov.Model, *feeds: np.ndarray) -> dict[str, np.ndarray]:
    compiled = ov.Core().compile_model(model, "CPU", _PRECISE)
    found = compiled(list(feeds))
    return {name: np.array(found[port]) for port in compiled.outputs for name in port.get_names()}


def feed(batch: int = 1) -> np.ndarray:
    return numbers(batch, 3, *toys.SIZE)


def log_odds(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """[N]: the logarithm of a class's probability over that of all others together."""
    rows = np.arange(len(scores))
    powers = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
    powers[rows, chosen] = 0
    return scores[rows, chosen] - scores.max(1) - np.log(powers.sum(1))


def moved_scores(model: ov.Model, layer: str, value: np.ndarray) -> np.ndarray:
    """The scores of the plain model when a layer has this value."""
    twin = model.clone()
    port = port_named(twin, layer)
    entry = op.parameter(list(value.shape), np.float32)
    for reader in list(port.get_target_inputs()):
        reader.replace_source_output(entry.output(0))
    twin.add_parameters([entry])
    return run(twin, feed(len(value)), value.astype(np.float32))["scores"]


def hires_cam(model: ov.Model, layer: str, axis: int, step: float = 0.02) -> np.ndarray:
    """[N, cells] by differences: how the log-odds of the top class change with the strength of one cell."""
    batch = feed(model.input(0).get_partial_shape()[0].get_length())
    twin = model.clone()
    twin.add_outputs(port_named(twin, layer))
    found = ov.Core().compile_model(twin, "CPU", _PRECISE)([batch])
    scores, value = np.array(found[0]), np.array(found[len(twin.outputs) - 1])
    best = scores.argmax(1)
    cells = int(np.prod(value.shape[1:])) // value.shape[axis]
    rows = []
    for cell in range(cells):
        gate = np.zeros(cells)
        gate[cell] = 1
        sides = [size for place, size in enumerate(value.shape) if place not in (0, axis)]
        gate = np.expand_dims(gate.reshape(1, *sides), axis)

        def at(shift: float, gate: np.ndarray = gate) -> np.ndarray:
            return log_odds(moved_scores(model, layer, value * (1 + shift * gate)), best)

        near, far = ((at(size) - at(-size)) / (2 * size) for size in (step, 2 * step))
        rows.append((4 * near - far) / 3)
    return np.maximum(np.stack(rows, 1), 0)


LAYERS = {
    "cnn": (toys.cnn, "features", 1), "nhwc": (toys.nhwc, "last_norm", 3), "vit": (toys.vit, "block1_norm", 2),
    "softmax inside": (toys.cnn_with_softmax_and_wrapping, "features", 1), "pooled vit": (toys.mean_pooled_vit, "last", 2),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_hirescam_is_what_scaling_each_cell_changes(name: str) -> None:
    make, layer, axis = LAYERS[name]
    model = make()
    explained = ovxai.insert(model, method="gradient", combine="hirescam", target_layer=layer, scale=False)
    found = run(explained, feed())["saliency_map"].ravel()
    logits = without_activation(model)
    wanted = hires_cam(logits, layer, axis)[0]
    wanted = wanted[info_of(explained).prefix_tokens or 0 :]
    assert np.abs(found - wanted).max() < 1e-2 * wanted.max() and wanted.max() > 0


def without_activation(model: ov.Model) -> ov.Model:
    """The model with its logits as scores, for `log_odds`."""
    twin = model.clone()
    node = twin.get_results()[0]
    while node.get_type_name() in ("Result", "Softmax", "Reshape", "Squeeze", "Convert", "FakeQuantize") and not (
        node.get_type_name() == "Reshape" and node.input(0).get_source_output().get_node().get_type_name() == "Add"
    ):
        node = node.input(0).get_source_output().get_node()
    result = op.result(node)
    result.output(0).get_tensor().set_names({"scores"})
    return ov.Model([result], twin.get_parameters(), "logits")


# What the words mean, from features and derivative alone.


def test_layercam_and_gradcam_of_a_linear_head() -> None:
    """Behind a mean and a linear layer the derivative of a logit is a row of weights over the number of cells."""
    weights = numbers(toys.CLASSES, 6, seed=5)
    image = toys.picture()
    features = toys.trunk(image)
    scores = op.sigmoid(op.matmul(toys.mean(features), weights, False, True))
    model = toys.finished(scores, image)
    twin = model.clone()
    twin.add_outputs(port_named(twin, "features"))
    value = np.array(ov.Core().compile_model(twin, "CPU", _PRECISE)([feed()])[1])
    row = weights[2][None, :, None, None] / 12
    for combine, slope in (("hirescam", row), ("gradcam", row), ("layercam", np.maximum(row, 0))):
        explained = ovxai.insert(model, method="gradient", combine=combine, classes="2", scale=False)
        wanted = np.maximum((value * slope).sum(1, keepdims=True), 0)
        np.testing.assert_allclose(run(explained, feed())["saliency_map"], wanted, rtol=1e-4, atol=1e-6)


def test_the_product_of_two_levels() -> None:
    model = toys.cnn()
    explained = ovxai.insert(model, method="gradient", scale=False)
    layers = info_of(explained).target_layers
    assert len(layers) == 2
    coarse, fine = (
        run(ovxai.insert(model, method="gradient", combine="hirescam", target_layer=layer, scale=False), feed())
        ["saliency_map"][0, 0].astype(np.float64) for layer in layers
    )  # fmt: skip
    levels = at_finest([coarse, fine])
    wanted = (levels[0] + 0.05) * (levels[1] + 0.05)
    np.testing.assert_allclose(run(explained, feed())["saliency_map"][0, 0], wanted, atol=2e-4)


# Several classes, several pictures.


@pytest.mark.parametrize("make", [toys.cnn, toys.vit, toys.nhwc])
@pytest.mark.parametrize("combine", ["product", "layercam"])
def test_classes_and_pictures_together_are_what_each_is_alone(make, combine) -> None:
    batch = feed(3)
    several = run(
        ovxai.insert(
            make(-1) if make is not toys.nhwc else make(), method="gradient", combine=combine, classes="2,0", scale=False
        ),
        batch if make is not toys.nhwc else batch[:1],
    )["saliency_map"]
    assert several.shape[1] == 2
    for place, index in enumerate((2, 0)):
        alone = ovxai.insert(make(), method="gradient", combine=combine, classes=str(index), scale=False)
        for row in range(len(several)):
            wanted = run(alone, batch[row : row + 1])["saliency_map"][0, 0]
            np.testing.assert_allclose(several[row, place], wanted, rtol=2e-3, atol=1e-5 * np.abs(wanted).max())


def test_the_top_class_of_each_picture_by_default() -> None:
    found = run(ovxai.insert(toys.cnn(-1), method="gradient"), feed(5))
    assert found["saliency_map"].dtype == np.uint8 and found["saliency_map"].shape == (5, 1, 6, 8)
    assert found["saliency_index"][:, 0, 0].tolist() == found["scores"].argmax(1).tolist()


def test_all_classes_need_no_index() -> None:
    explained = ovxai.insert(toys.cnn(), method="gradient", classes="all")
    assert [port.any_name for port in explained.outputs] == ["scores", "saliency_map", "feature_map"]
    assert explained.output("saliency_map").shape == ov.Shape([1, toys.CLASSES, 6, 8])


# Values as they are.


def values(count: int, scaled: bool = False) -> ov.Model:
    """A regression, or an embedding of unit length."""
    image = toys.picture()
    x = toys.linear(toys.mean(toys.trunk(image)), count)
    return toys.finished(op.normalize_l2(x, np.array([1]), 1e-6, "max") if scaled else x, image)


@pytest.mark.parametrize("count", [1, 3])
def test_a_regression_is_derived_value_by_value(count: int) -> None:
    """No value takes anything from another: features times weights over the number of cells."""
    model = values(count)
    explained = ovxai.insert(model, task="regression", method="gradient", combine="hirescam", scale=False)
    found = run(explained, feed())
    value = found["feature_map"]
    row = numbers(count, 6, seed=1, size=1 / np.sqrt(6))[:, :, None, None] / 12
    np.testing.assert_allclose(found["saliency_map"][0], np.maximum((value * row).sum(1), 0), rtol=1e-4, atol=1e-6)
    info = info_of(explained)
    assert (info.task, info.target, info.classes, info.score_activation) == ("regression", "logit", "all", "none")
    assert "saliency_index" not in found


def test_a_single_number_needs_no_task_when_its_output_is_named() -> None:
    explained = ovxai.insert(values(1), method="gradient", output="scores")
    assert (info_of(explained).target, run(explained, feed())["saliency_map"].shape[1]) == ("logit", 1)


def test_one_value_of_an_embedding() -> None:
    """Its values exclude nothing: the derivative is that of the value, through the scaling to unit length."""
    explained = ovxai.insert(values(5, scaled=True), method="gradient", output="scores:3", combine="layercam", scale=False)
    info = info_of(explained)
    assert (info.target, info.classes) == ("logit", "3")
    assert run(explained, feed())["saliency_map"].max() > 0


def test_an_embedding_whose_values_are_classes() -> None:
    explained = ovxai.insert(values(5, scaled=True), method="gradient", num_classes=5)
    assert info_of(explained).target == "log-odds"


def cosine(values: np.ndarray, vector: np.ndarray) -> float:
    return float(values.ravel() @ vector / np.linalg.norm(values) / np.linalg.norm(vector))


@pytest.mark.parametrize("scaled", [True, False])
def test_what_makes_an_embedding_like_a_vector(scaled: bool, tmp_path) -> None:
    """HiResCAM by differences: how the cosine changes with the strength of each cell."""
    model, vector = values(5, scaled), numbers(5, seed=77)
    np.save(tmp_path / "v.npy", vector)
    explained = ovxai.insert(model, method="gradient", toward=tmp_path / "v.npy", combine="hirescam", scale=False)
    info = info_of(explained)
    assert (info.target, info.num_classes, info.score_output) == ("cosine", 1, "")
    found = run(explained, feed())
    value = found["feature_map"].astype(np.float64)
    slopes = []
    for cell in range(12):
        gate = np.zeros(12)
        gate[cell] = 0.01
        up, down = (
            cosine(moved_scores(model, "features", value * (1 + sign * gate.reshape(1, 1, 3, 4))), vector) for sign in (1, -1)
        )
        slopes.append((up - down) / 0.02)
    wanted = np.maximum(np.array(slopes), 0)
    assert np.abs(found["saliency_map"].ravel() - wanted).max() < 1e-2 * wanted.max() and wanted.max() > 0


def test_the_vector_has_to_fit(tmp_path) -> None:
    with pytest.raises(OptionError, match="4 numbers, output scores has 5"):
        ovxai.insert(values(5), method="gradient", toward=[1, 2, 3, 4])
    odds: list[tuple[Any, str]] = [
        ([0.0, 0.0], "has a length"),
        (np.eye(2).tolist(), "no vector"),
        (tmp_path / "none.npy", "none.npy: no such file"),
    ]
    for odd, words in odds:
        with pytest.raises(OptionError, match=words):
            ovxai.insert(values(2), method="gradient", toward=odd)
    for options, words in (({"classes": "top:1"}, "one value"), ({"task": "detection"}, "an embedding")):
        with pytest.raises(OptionError, match=words):
            ovxai.insert(values(2), method="gradient", toward=[1, 2], **options)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="names one value"):
        ovxai.insert(values(2), method="gradient", toward=[1, 2], output="scores:1")


# Around the map.


def test_a_sure_model_has_a_map_all_the_same() -> None:
    """The derivative of log p vanishes where p is 1; that of the log-odds, which differs by a factor, does not."""
    image = toys.picture()
    scores = op.multiply(toys.linear(toys.mean(toys.trunk(image))), np.float32(400))
    grey = run(ovxai.insert(toys.finished(scores, image), method="gradient"), feed())["saliency_map"]
    assert grey.max() == 255


def test_rt_info_says_how_it_was_made() -> None:
    info = info_of(ovxai.insert(toys.cnn(), method="gradient"))
    assert (info.method, info.combine, info.classes, info.layout) == ("gradient", "product", "top:1", "NCHW")
    assert info.target_layers[0] == info.feature_layer == "features" and info.collapse == info.mask == ""


def test_strip_gives_the_plain_model_back() -> None:
    model = toys.cnn()
    plain = strip_model(ovxai.insert(model, method="gradient", embed="overlay"))
    assert len(plain.outputs) == len(model.outputs) and len(plain.get_ops()) == len(model.get_ops())


@pytest.mark.parametrize(("embed", "shape"), [("map", [1, 1, *toys.SIZE]), ("overlay", [1, *toys.SIZE, 3])])
def test_embedded_pictures(embed: str, shape: Sequence[int]) -> None:
    explained = ovxai.insert(toys.cnn(), method="gradient", embed=embed)
    assert list(explained.outputs[-1].shape) == list(shape)
    assert run(explained, feed())[explained.outputs[-1].any_name].max() > 0


def test_the_command_line(tmp_path, capsys) -> None:
    path = tmp_path / "cnn.xml"
    ov.save_model(toys.cnn(), path)
    main(["insert", str(path), "--method", "gradient", "--combine", "layercam"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "method        gradient" in shown and "combine       layercam" in shown and "collapse" not in shown
    assert info_of(tmp_path / "cnn_xai.xml").combine == "layercam"


# Refusals.


def with_unruly_patches() -> ov.Model:
    image = toys.picture()
    x = op.extract_image_patches(toys.trunk(image), [1, 1], [1, 1], [1, 1], "valid").output(0)
    x.get_node().set_friendly_name("the_patches")
    return toys.finished(toys.linear(toys.flat(x)), image)


def test_an_operation_without_a_rule_is_named() -> None:
    with pytest.raises(
        UnsupportedModelError, match="no derivative through ExtractImagePatches the_patches: there is no rule for it"
    ):
        ovxai.insert(with_unruly_patches(), method="gradient")


def test_of_a_missing_rule_one_line_is_said_and_nothing_written(tmp_path, capsys) -> None:
    path = tmp_path / "patches.xml"
    ov.save_model(with_unruly_patches(), path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as ended:
        main(["insert", str(path), "--method", "gradient"])
    said = capsys.readouterr()
    assert ended.value.code == 1 and "ExtractImagePatches the_patches" in said.err
    assert len(said.err.strip().splitlines()) == 1 and not said.out
    assert sorted(tmp_path.iterdir()) == before


def test_one_layer_for_maps_of_one_layer() -> None:
    with pytest.raises(UsageError, match="combine: gradcam is made at one layer"):
        ovxai.insert(toys.cnn(), method="gradient", combine="gradcam", target_layer=["features", "scores"])


def test_combine_is_of_gradients_alone() -> None:
    with pytest.raises(UsageError, match="combine: not read by reciprocam"):
        ovxai.insert(toys.cnn(), method="reciprocam", combine="gradcam")


def enlarging(batch: int) -> ov.Model:
    """A coarse map beside a finer one, enlarged by scales of all axes, as ONNX's Resize is read."""
    image = toys.picture(batch, 3, (32, 32))
    fine = op.relu(toys.conv(image, 8, 3, 2))
    coarse = op.relu(toys.conv(fine, 8, 3, 2, seed=2))
    coarse.set_friendly_name("coarse")
    large = op.interpolate(coarse, np.array([1, 1, 2, 2], np.float32), "linear_onnx", "scales")
    large.set_friendly_name("large")
    last = op.relu(toys.conv(op.concat([large, fine], 1), 8, 3, 2, seed=3))
    return toys.finished(toys.linear(toys.flat(toys.mean(last))), image)


@pytest.mark.parametrize("batch", [1, -1])
@pytest.mark.parametrize("compressed", [False, True])
def test_scales_saved_as_f16(batch: int, compressed: bool, tmp_path) -> None:
    """OpenVINO works no size out from behind the Convert."""
    path = tmp_path / "model.xml"
    ov.save_model(enlarging(batch), path, compress_to_fp16=compressed)
    feed = next(node for node in ov.Core().read_model(path).get_ops() if node.get_friendly_name() == "large").input_value(1)
    assert (feed.get_node().get_type_name() == "Convert") == compressed
    model = ovxai.insert(path, method="gradient", combine="hirescam", target_layer="coarse", verify=True)
    assert model.output("saliency_map").get_partial_shape()[2:].to_shape() == [8, 8]
