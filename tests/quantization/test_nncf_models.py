"""What NNCF makes of real models, explained and verified. Slow: `pytest -m slow`; needs nncf."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from ovxai.graph.read import read_model
from ovxai.insertion import insert_with_report
from ovxai.options import InsertOptions
from ovxai.verification import verify

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
MODELS = {
    **{
        name: (FIXTURES / "shapes" / f"{name}.xml", FIXTURES / "shapes" / "test")
        for name in ("cnn", "vit", "detector", "instances")
    },
    "efficientnet_lite0": (FIXTURES / "imagenet" / "efficientnet_lite0.xml", FIXTURES / "photos"),
}
SHARED = {
    "vit_cifar10": "data/models/vit_cifar10/vit_cifar10_prenorm.onnx",
    "yolox_nano": "data/models/yolox_nano_coco/yolox_nano.onnx",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="NNCF is not installed (pip install nncf)"),
]


def quantised(model, folder):
    from ovxai.quantization.measure import calibration_feeds, find_pictures, spread
    from ovxai.quantization.nncf_ptq import Recipe, post_training
    from ovxai.runtime.feed.preprocess import PreprocessOptions

    pictures = find_pictures(folder, model, PreprocessOptions())
    paths = spread(pictures.paths, 6)
    made = post_training(model, lambda: calibration_feeds(pictures, paths, model), len(paths), Recipe(), quiet=True)
    return made, pictures.load(paths[1]).picture


def holds(model, picture):
    for scale in (True, False):
        done = insert_with_report(model, InsertOptions(scale=scale, probe=False))
        report = verify(done.model, picture)
        assert done.info.collapse == "exact"
        assert report.ok, [row for row in report.rows if not row.ok] + [one for one in report.checks if one.ok is False]


@pytest.mark.parametrize("name", MODELS)
def test_post_training_quantisation(name):
    path, folder = MODELS[name]
    holds(*quantised(read_model(path), folder))


@pytest.mark.parametrize("name", ["vit_cifar10", "yolox_nano"])
def test_shared_models(name, shared_folder):
    path = shared_folder / SHARED[name]
    if not path.exists():
        pytest.skip(f"{path.name} is not in the shared folder")
    holds(*quantised(read_model(path), FIXTURES / "photos"))


@pytest.mark.parametrize("name", ["mobilenetv3_large_100", "deit_tiny_patch16_224"])
def test_timm_models(name):
    """Random weights, jittered: zero biases and unit scales would vanish at conversion."""
    timm = pytest.importorskip("timm", reason="timm is not installed")
    import openvino as ov
    import torch

    torch.manual_seed(0)
    net = timm.create_model(name, pretrained=False).eval()
    for parameter in net.parameters():
        if parameter.ndim <= 1:
            parameter.data.add_(0.1 * torch.randn(parameter.shape))
    model = ov.convert_model(net, example_input=torch.rand(1, 3, 224, 224), input=[1, 3, 224, 224])
    holds(*quantised(model, FIXTURES / "photos"))


@pytest.mark.parametrize("mode", ["INT8_ASYM", "INT8_SYM", "INT4_ASYM", "INT4_SYM"])
def test_weight_only(mode):
    import nncf

    words = {} if mode.startswith("INT8") else {"ratio": 1.0, "group_size": 16, "all_layers": True}
    model = nncf.compress_weights(read_model(MODELS["vit"][0]), mode=nncf.CompressWeightsMode[mode], **words)
    holds(model, None)


def test_keep_explanation_on_photographs(shared_folder, tmp_path):
    """The goal of the option, on the model for which it was set."""
    from ovxai.quantization import QuantizeOptions, quantize

    folder = shared_folder / "data/boxes/images"
    if not folder.is_dir():
        pytest.skip("no photographs in the shared folder")
    options = QuantizeOptions(subset=50, keep_explanation=True, seconds=4)
    report = quantize(MODELS["efficientnet_lite0"][0], folder, tmp_path / "int8.xml", options)
    assert report.goal_met and report.held_out and report.fidelity is not None
    assert report.fidelity.mean >= 0.995 and report.fidelity.fifth >= 0.97
    assert report.tried[-1].latency_ratio <= 1.1
    assert verify(tmp_path / "int8.xml").ok
