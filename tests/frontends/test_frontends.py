"""The same network through every front end gives the same maps, within a grey level in f32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from helpers.architecture import SIDE, module, picture, weights
from helpers.explained import info_of
from helpers.paddle_program import write_paddle
from helpers.tensorflow_graph import write_frozen, write_saved_model
from helpers.tflite_file import write_tflite
from ovxai.errors import ModelReadError
from ovxai.explainer import Explainer
from ovxai.graph.save import save_model
from ovxai.insertion import insert
from ovxai.metadata import SALIENCY_MAP
from ovxai.verification import verify

F32 = {"INFERENCE_PRECISION_HINT": "f32"}
NCHW, NHWC = (1, 3, SIDE, SIDE), (1, SIDE, SIDE, 3)


def maps_of(model: ov.Model, array: np.ndarray) -> np.ndarray:
    return ov.Core().compile_model(model, "CPU", F32)({0: array})[SALIENCY_MAP].astype(np.int64)


def by_hand() -> np.ndarray:
    """[1, C, h, w] grey: the definition on this network is W @ features / positions, and scaling."""
    from openvino import opset13 as op

    table = weights()
    image = op.parameter(list(NCHW), np.float32)
    x = image
    for i, step in ((1, 2), (2, 2), (3, 1)):
        x = op.convolution(x, table[f"kernel{i}"], [step, step], [1, 1], [1, 1], [1, 1])
        x = op.clamp(op.add(x, table[f"bias{i}"].reshape(1, -1, 1, 1)), 0.0, 6.0)
    features = ov.Core().compile_model(ov.Model([op.result(x)], [image], "features"), "CPU", F32)({0: picture()})[0]
    maps = np.einsum("kc,nchw->nkhw", table["matrix"].astype(np.float64), features)
    low, high = maps.min((2, 3), keepdims=True), maps.max((2, 3), keepdims=True)
    return np.floor(255 * (maps - low) / (high - low)).astype(np.int64)


def agrees(model: ov.Model, nhwc: bool = False) -> ov.Model:
    array = picture().transpose(0, 2, 3, 1) if nhwc else picture()
    assert info_of(model).collapse == "exact"
    assert np.abs(maps_of(model, np.ascontiguousarray(array)) - by_hand()).max() <= 1
    return model


def test_tensorflow_frozen_graph(tmp_path):
    path = write_frozen(tmp_path / "small.pb", weights(), NHWC)
    assert verify(agrees(insert(path), nhwc=True)).ok


def test_two_insertions_of_one_converted_file_give_the_same_bytes(tmp_path):
    """OpenVINO counts what it names through the life of a process."""
    path = write_tflite(tmp_path / "small.tflite", weights(), NHWC)
    files = []
    for name in ("a", "b"):
        saved = save_model(insert(path, probe=False), tmp_path / f"{name}.xml")
        files.append((saved.read_bytes(), saved.with_suffix(".bin").read_bytes()))
    assert files[0] == files[1]


def test_tensorflow_saved_model(tmp_path):
    assert verify(agrees(insert(write_saved_model(tmp_path / "small", weights(), NHWC)), nhwc=True)).ok


def test_tflite(tmp_path):
    assert verify(agrees(insert(write_tflite(tmp_path / "small.tflite", weights(), NHWC)), nhwc=True)).ok


def test_paddle(tmp_path):
    assert verify(agrees(insert(write_paddle(tmp_path / "small.pdmodel", weights(), NCHW)))).ok


def test_embedded_preprocessing_is_kept(tmp_path):
    """A model that takes u8 NHWC BGR pictures takes them still; the gate stands where it stood."""
    from openvino.preprocess import ColorFormat, PrePostProcessor

    core = ov.Core()
    plain = core.read_model(_frozen_ir(tmp_path))
    steps = PrePostProcessor(plain)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    steps.input().preprocess().convert_element_type(ov.Type.f32).convert_color(ColorFormat.RGB).mean(127.0).scale(60.0)
    steps.input().model().set_layout(ov.Layout("NHWC"))
    built = steps.build()
    model = insert(built)
    assert model.inputs[0].get_element_type() == ov.Type.u8
    pixels = np.clip(picture().transpose(0, 2, 3, 1) * 60 + 127, 0, 255).astype(np.uint8)
    bare = maps_of(insert(core.read_model(_frozen_ir(tmp_path))), (pixels.astype(np.float32) - 127) / 60)
    assert np.abs(maps_of(model, np.ascontiguousarray(pixels[..., ::-1])) - bare).max() <= 1
    assert verify(model).ok


def _frozen_ir(folder: Path) -> Path:
    out = folder / "small.xml"
    if not out.exists():
        ov.save_model(ov.convert_model(write_frozen(folder / "small.pb", weights(), NHWC)), out, compress_to_fp16=False)
    return out


def test_ir_versions_and_half_precision_weights(tmp_path):
    """IR 11 as it is, with weights in f16, and IR 10, where inputs and outputs have no names of their own."""
    path = _frozen_ir(tmp_path)
    agrees(insert(path), nhwc=True)
    half = tmp_path / "half.xml"
    ov.save_model(ov.Core().read_model(path), half, compress_to_fp16=True)
    assert verify(insert(half)).ok
    old = tmp_path / "old.xml"
    old.write_text(
        path.read_text()
        .replace('<net name="Model0" version="11"', '<net name="Model0" version="10"')
        .replace('version="11">', 'version="10">', 1)
    )
    old.with_suffix(".bin").write_bytes(path.with_suffix(".bin").read_bytes())
    explained = agrees(insert(old), nhwc=True)
    # Saved as version 10 again, its u8 maps would be read as f32.
    ov.save_model(explained, tmp_path / "explained.xml")
    assert verify(ov.Core().read_model(tmp_path / "explained.xml")).ok


@pytest.mark.parametrize("size", [None, (54, 160)], ids=["any size", "a wide picture"])
def test_a_picture_that_the_graph_resizes(size, tmp_path):
    """The strides are those of the resized picture, whatever comes in."""
    from openvino.preprocess import PrePostProcessor, ResizeAlgorithm

    plain = ov.Core().read_model(_frozen_ir(tmp_path))
    layers = info_of(insert(plain)).target_layers
    steps = PrePostProcessor(plain)
    tensor = steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    _ = tensor.set_spatial_static_shape(*size) if size else tensor.set_spatial_dynamic_shape()
    steps.input().model().set_layout(ov.Layout("NHWC"))
    steps.input().preprocess().resize(ResizeAlgorithm.RESIZE_LINEAR)
    model = insert(steps.build())
    assert info_of(model).target_layers == layers
    assert verify(model).ok


def test_a_picture_in_one_plane_of_nv12():
    """[N, 3/2 H, W, 1]: the grid's strides are those of the colours made of it."""
    from openvino.preprocess import ColorFormat, PrePostProcessor

    from helpers import classifiers as toys

    steps = PrePostProcessor(toys.cnn())
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(
        ColorFormat.NV12_SINGLE_PLANE
    )
    steps.input().preprocess().convert_element_type(ov.Type.f32).convert_color(ColorFormat.RGB)
    steps.input().model().set_layout(ov.Layout("NCHW"))
    model = insert(steps.build())
    assert list(model.output("saliency_map").shape) == [1, toys.CLASSES, 3, 4]
    assert verify(model).ok


def test_sides_with_bounds(tmp_path):
    """The probe keeps to what the model takes."""
    plain = ov.Core().read_model(_frozen_ir(tmp_path))
    plain.reshape(ov.PartialShape([1, ov.Dimension(16, 64), ov.Dimension(16, 64), 3]))
    assert verify(insert(plain)).ok


@pytest.mark.parametrize("case", ["newer opset", "unknown operation", "encrypted"])
def test_one_clear_line(case, tmp_path):
    path = tmp_path / "model.xml"
    text = _frozen_ir(tmp_path).read_text()
    if case == "newer opset":
        text = text.replace('type="Clamp" version="opset1"', 'type="Clamp" version="opset99"')
    elif case == "unknown operation":
        text = text.replace('type="Clamp" version="opset1"', 'type="Clampest" version="opset1"')
    path.write_bytes(text.encode() if case != "encrypted" else np.random.default_rng(0).bytes(4000))
    path.with_suffix(".bin").write_bytes((tmp_path / "small.bin").read_bytes())
    with pytest.raises(ModelReadError) as caught:
        insert(path)
    message = str(caught.value)
    assert {"newer opset": "opset99", "unknown operation": "Clampest", "encrypted": "encrypted?"}[case] in message
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 500


@pytest.mark.parametrize("suffix", [".onnx", ".tflite", ".pb", ".pdmodel"])
@pytest.mark.parametrize("size", [0, 4000])
def test_bytes_that_are_no_model(suffix, size, tmp_path):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(np.random.default_rng(0).bytes(size))
    with pytest.raises(ModelReadError) as caught:
        insert(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 500


def test_what_is_damaged_is_asked_about(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(4000))
    with pytest.raises(ModelReadError, match="damaged, encrypted, or of another format"):
        insert(path)


def test_a_paddle_program_without_its_parameters(tmp_path):
    path = write_paddle(tmp_path / "small.pdmodel", weights(), NCHW)
    path.with_suffix(".pdiparams").unlink()
    with pytest.raises(ModelReadError, match="pdiparams"):
        insert(path)


def test_an_operation_that_tensorflow_has_and_openvino_not(tmp_path):
    from helpers.tensorflow_graph import FLOAT, node, of_type, shape
    from helpers.wire import block, number

    path = tmp_path / "strange.pb"
    path.write_bytes(
        node("image", "Placeholder", dtype=of_type(FLOAT), shape=block(7, shape(NHWC)))
        + node("x", "NoSuchOperation", ["image"], T=of_type(FLOAT)) + block(4, number(1, 1087))
    )  # fmt: skip
    with pytest.raises(ModelReadError, match="NoSuchOperation") as caught:
        insert(path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
class TestTorch:
    """What needs PyTorch to be made."""

    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch", reason="PyTorch is not installed")

    @pytest.fixture
    def example(self, torch):
        return torch.tensor(picture())

    def test_module(self, example):
        agrees(insert(module(), example_input=example))

    def test_exported_program(self, torch, example, tmp_path):
        path = tmp_path / "small.pt2"
        torch.export.save(torch.export.export(module(), (example,)), path)
        agrees(insert(path))

    @pytest.mark.parametrize("opset", [11, 13, 16, 17, 18, 20])
    @pytest.mark.parametrize("batch", ["fixed", "symbolic"])
    def test_legacy_onnx(self, torch, example, tmp_path, opset, batch):
        pytest.importorskip("onnx", reason="onnx is not installed")
        path = tmp_path / "small.onnx"
        axes = {"image": {0: "n"}, "logits": {0: "n"}} if batch == "symbolic" else None
        torch.onnx.export(
            module(), (example,), str(path), dynamo=False, opset_version=opset, input_names=["image"],
            output_names=["logits"], dynamic_axes=axes,
        )  # fmt: skip
        agrees(insert(path))

    @pytest.mark.parametrize("opset", [18, 21])
    def test_dynamo_onnx(self, torch, example, tmp_path, opset):
        pytest.importorskip("onnxscript", reason="onnxscript is not installed")
        path = tmp_path / "small.onnx"
        torch.onnx.export(module(), (example,), str(path), dynamo=True, opset_version=opset, input_names=["image"])
        agrees(insert(path))

    def test_a_size_that_only_the_program_knows(self, torch, tmp_path):
        """OpenVINO reads an exported program with open sides; one with a table of positions fits a single size."""

        class Tokens(torch.nn.Module):  # type: ignore[name-defined]  # `torch` is a fixture
            def __init__(self):
                super().__init__()
                self.patches = torch.nn.Conv2d(3, 8, 8, 8)
                self.places = torch.nn.Parameter(torch.rand(1, 36, 8))
                self.last = torch.nn.Linear(8, 4)

            def forward(self, x):
                return self.last((self.patches(x).flatten(2).transpose(1, 2) + self.places).relu().mean(1))

        path = tmp_path / "tokens.pt2"
        torch.export.save(torch.export.export(Tokens().eval(), (torch.rand(1, 3, 48, 48),)), path)
        model = insert(path)
        assert list(model.output("saliency_map").shape) == [1, 4, 6, 6] and list(model.inputs[0].shape) == [1, 3, 48, 48]

    def test_weights_are_no_program(self, torch, tmp_path, capfd):
        torch.save({"weight": torch.rand(2)}, tmp_path / "weights.pt2")
        with pytest.raises(ModelReadError, match="weights alone") as caught:
            insert(tmp_path / "weights.pt2")
        assert "\n" not in str(caught.value) and capfd.readouterr().err == ""

    def test_a_damaged_exported_program(self, tmp_path, capfd):
        path = tmp_path / "small.pt2"
        path.write_bytes(b"x" * 100)
        with pytest.raises(ModelReadError, match="damaged") as caught:
            insert(path)
        assert "\n" not in str(caught.value) and "Traceback" not in capfd.readouterr().err

    def test_exported_program_without_torch(self, torch, example, tmp_path, monkeypatch):
        import sys

        path = tmp_path / "small.pt2"
        torch.export.save(torch.export.export(module(), (example,)), path)
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(ModelReadError, match=r"pip install torch packaging"):
            insert(path)


def test_quantised_tflite(shared_folder):
    """Explained exactly, its final softmax left out, the background row among the classes."""
    path = shared_folder / "data/models/mobilenet_v2_quant/mobilenet_v2_1.0_224_quant.tflite"
    if not path.exists():
        pytest.skip(f"{path.name} is not in the shared folder")
    model = insert(path)
    info = info_of(model)
    assert (info.collapse, info.num_classes) == ("exact", 1001)
    assert model.inputs[0].get_element_type() == ov.Type.u8
    names = shared_folder / "data/models/mobilenet_v2_quant/imagenet_labels_1001.txt"
    explainer = Explainer(model, labels=names, precision="f32")
    for photo, word in (("parrot.jpg", "macaw"), ("cat_720p.jpg", "Egyptian cat")):
        found = explainer(shared_folder / "data/photos" / photo)
        assert found.predictions[0].label == word


def test_an_onnx_file_with_an_unknown_operation(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    from onnx import TensorProto, helper

    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("NoSuchOperation", ["x"], ["y"])], "g", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "x.onnx")
    with pytest.raises(ModelReadError, match="NoSuchOperation") as caught:
        insert(tmp_path / "x.onnx")
    assert "\n" not in str(caught.value)


def test_bounds_that_an_onnx_graph_computes(tmp_path):
    """`chunk` of the legacy exporter: half of the channels, as Shape, Gather, Add, Div. Not a question of the picture."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    from onnx import TensorProto, helper, numpy_helper

    table = np.random.default_rng(0).standard_normal((8, 3, 4, 4)).astype(np.float32)
    constants = {
        "kernel": table, "matrix": table[:4, 0].reshape(4, 16)[:, :4].copy(), "first": np.array([0]), "axis": np.array([1]),
        "one": np.array([1]), "two": np.array([2]), "flat": np.array([0, -1]),
    }  # fmt: skip
    nodes = [
        ("Conv", ["image", "kernel"], ["x"], {"strides": [4, 4]}), ("Relu", ["x"], ["features"], {}),
        ("Shape", ["features"], ["shape"], {}), ("Gather", ["shape", "axis"], ["width"], {}),
        ("Add", ["width", "one"], ["more"], {}), ("Div", ["more", "two"], ["half"], {}), ("Mul", ["half", "two"], ["whole"], {}),
        ("Slice", ["features", "first", "half", "axis"], ["a"], {}), ("Slice", ["features", "half", "whole", "axis"], ["b"], {}),
        ("Sigmoid", ["b"], ["gate"], {}), ("Mul", ["a", "gate"], ["gated"], {}), ("GlobalAveragePool", ["gated"], ["pool"], {}),
        ("Reshape", ["pool", "flat"], ["vector"], {}), ("MatMul", ["vector", "matrix"], ["scores"], {}),
    ]  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, **options) for kind, ins, outs, options in nodes], "chunk",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "chunk.onnx")
    model = insert(tmp_path / "chunk.onnx")
    assert info_of(model).collapse == "exact" and verify(model).ok
