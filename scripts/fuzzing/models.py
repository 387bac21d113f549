"""Mutated model files: refused in one line, or explained rightly."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import openvino as ov

from fuzzing.mutations import damaged, edited, odd, overwritten
from helpers import classifiers, detectors, instances
from ovxai.errors import OvxaiError
from ovxai.explainer import Explainer
from ovxai.graph.save import save_model
from ovxai.graph.surgery import strip_model
from ovxai.insertion import insert_with_report
from ovxai.metadata import SECTION, ExplainedInfo, ModelInfo
from ovxai.options import InsertOptions
from ovxai.verification import VerifyReport, verify

#: Small models of every task. Built once per process.
PLAIN: dict[str, Callable[[], ov.Model]] = {
    "cnn": classifiers.cnn, "vgg": classifiers.vgg, "vit": classifiers.vit, "convnext": classifiers.convnext,
    "anchored": detectors.anchored, "yolo-v5": detectors.yolo_v5, "yolo-v8": detectors.yolo_v8,
    "queries": detectors.queries, "yolo-seg": instances.yolo_seg, "two-stage": instances.two_stage,
}  # fmt: skip
#: Squares of what is larger are no numbers in f32.
MOST = 1e15


@functools.cache
def files(name: str, explained: bool) -> tuple[bytes, bytes]:
    """The bytes of a small model's .xml and .bin."""
    from tempfile import TemporaryDirectory

    model = PLAIN[name]()
    model.set_rt_info("123.675 116.28 103.53", ["model_info", "mean_values"])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        if explained:
            save_model(insert_with_report(model, InsertOptions(probe=False)).model, path)
        else:
            ov.save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def xml(rng: np.random.Generator, folder: Path) -> None:
    """A plain IR whose .xml was changed, to insert."""
    text, weights = files(_any(rng), explained=False)
    _insert(_pair(folder, edited(text, rng), weights), rng)


def weights(rng: np.random.Generator, folder: Path) -> None:
    """A plain IR whose .bin was damaged, to insert."""
    text, weights = files(_any(rng), explained=False)
    _insert(_pair(folder, text, damaged(weights, rng) if rng.random() < 0.1 else overwritten(weights, rng)), rng)


def onnx(rng: np.random.Generator, folder: Path) -> None:
    """A damaged ONNX file, to insert."""
    path = folder / "model.onnx"
    path.write_bytes(damaged(onnx_file(), rng))
    _insert(path, rng)


def explained(rng: np.random.Generator, folder: Path) -> None:
    """An explained IR whose .xml was changed: read, stripped, run."""
    text, weights = files(_any(rng), explained=True)
    text = edited(text, rng)
    _picture_through(_pair(folder, text, weights), rng)


def mixed_pair(rng: np.random.Generator, folder: Path) -> None:
    """An explained .xml with other weights than its own: never read."""
    name = _any(rng)
    text, weights = files(name, explained=True)
    changed = damaged(weights, rng) if rng.random() < 0.7 else files(_any(rng), explained=True)[1]
    path = _pair(folder, text, changed)
    if changed == weights:
        return
    try:
        Explainer(path)
    except OvxaiError:
        raise
    raise AssertionError("read as if it belonged together")


def rt_info(rng: np.random.Generator, _folder: Path) -> None:
    """An explained model that says something odd of itself: read, verified, run."""
    text, weights = files(_any(rng), explained=True)
    model = ov.Core().read_model(text, ov.Tensor(np.frombuffer(weights, np.uint8)))
    names = [field.name for field in fields(ExplainedInfo)]
    for _ in range(int(rng.integers(1, 3))):
        where = [SECTION, str(rng.choice(names))]
        if rng.random() < 0.3:
            where = ["model_info", str(rng.choice([field.name for field in fields(ModelInfo)] + ["mean_values", "scale_values"]))]
        value = odd(rng)
        if model.has_rt_info(where) and rng.random() < 0.3:
            value = damaged(model.get_rt_info(where).astype(str).encode(), rng).decode("utf-8", "replace")
        model.set_rt_info(value, where)
    report = failed = None
    try:
        report = verify(model, places=False)
    except OvxaiError as error:
        failed = error
    try:
        _picture_through(model, rng)
    except OvxaiError as error:
        failed = error
    if failed is not None:
        raise failed
    assert report is not None


@functools.cache
def onnx_file() -> bytes:
    """A small convolutional classifier."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants = {
        "kernel": rng.standard_normal((6, 3, 4, 4)).astype(np.float32), "matrix": rng.standard_normal((6, 4)).astype(np.float32),
        "flat": np.array([0, -1]),
    }  # fmt: skip
    nodes = [
        ("Conv", ["image", "kernel"], ["x"], {"strides": [4, 4]}), ("Relu", ["x"], ["features"], {}),
        ("GlobalAveragePool", ["features"], ["pool"], {}), ("Reshape", ["pool", "flat"], ["vector"], {}),
        ("MatMul", ["vector", "matrix"], ["scores"], {}),
    ]  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node(kind, ins, outs, **options) for kind, ins, outs, options in nodes], "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 24, 32])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(whole.SerializeToString())


def _any(rng: np.random.Generator) -> str:
    return list(PLAIN)[int(rng.integers(len(PLAIN)))]


def _pair(folder: Path, text: bytes, weights: bytes) -> Path:
    path = folder / "model.xml"
    path.write_bytes(text)
    path.with_suffix(".bin").write_bytes(weights)
    return path


def _insert(path: Path, rng: np.random.Generator) -> None:
    """Explain it; what came out must equal its definition.

    Raises:
        OvxaiError: refused, also where the verification says that it can't tell or that the maps are not right.
    """
    found = insert_with_report(path, InsertOptions(probe=bool(rng.random() < 0.3)))
    report = verify(found.model, places=False)
    assert report.ok or not _finite(found.model), f"{found.info.task}, collapse {found.info.collapse!r}: {_why(report)}"


def _finite(model: ov.Model) -> bool:
    """Whether the model's weights, and its outputs on a picture of noise, are numbers that can be counted with.

    Else the definition is what a kernel makes of NaN, and there is none to compare with.
    """
    plain = strip_model(model)
    for node in plain.get_ops():
        if node.get_type_name() == "Constant" and node.get_element_type().is_real():
            values = np.abs(node.get_data().astype(np.float64))
            if not (values < MOST).all():
                return False
    compiled = ov.Core().compile_model(plain, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    rng = np.random.default_rng(0)
    feed = {}
    for index, port in enumerate(compiled.inputs):
        shape = [d.get_length() if d.is_static else 1 if i == 0 else 64 for i, d in enumerate(port.get_partial_shape())]
        feed[index] = rng.uniform(0, 255, shape).astype(port.get_element_type().to_dtype())
    return all(np.isfinite(value).all() and np.abs(value).max(initial=0) < MOST for value in compiled(feed).values())


def _why(report: VerifyReport) -> str:
    rows = [f"{row.units:.3g} units off {row.detail}" for row in report.rows if not row.ok]
    checks = [f"{check.name}: {check.detail}" for check in report.checks if check.ok is False]
    return "; ".join(rows[:1] + checks[:2])


def _picture_through(model: ov.Model | Path, rng: np.random.Generator) -> None:
    Explainer(model)(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
