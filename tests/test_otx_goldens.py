"""Maps of OTX's own explain export, from the plain IR of the same model: within one grey level in f32."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest

import ovxai

PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}


EXPORTS = (
    "cls_tv_mobilenet_v3_small", "cls_efficientnet_b0_nonsquare", "mlabel_efficientnet_b0",
    "det_atss_mobilenetv2", "det_yolox_tiny",
)  # fmt: skip


@pytest.fixture(scope="module", params=EXPORTS)
def golden(request, shared_folder):
    folder = shared_folder / "data" / "otx" / request.param
    if not (folder / "plain.xml").exists():
        pytest.skip(f"data/otx/{request.param} is not there")
    stored = dict(np.load(folder / "io.npz"))
    model = ovxai.insert(folder / "plain.xml", probe=False)
    outputs = ov.Core().compile_model(model, "CPU", PRECISE)(stored["input"])
    return stored, model, outputs


def test_map_within_one_grey_level(golden):
    stored, _, outputs = golden
    ours, theirs = outputs["saliency_map"], stored["saliency_map"]
    assert ours.dtype == np.uint8 and ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


def test_plain_outputs_are_kept(golden):
    stored, model, outputs = golden
    plain = [name for name in stored if name.startswith("plain__")]
    assert len(model.outputs) == len(plain) + 2
    for name in plain:
        ours, theirs = outputs[int(name.removeprefix("plain__"))], stored[name]
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * np.abs(theirs).max())


def test_labels_are_kept(golden):
    _, model, _ = golden
    assert model.get_rt_info(["model_info", "labels"]).astype(str).split()
