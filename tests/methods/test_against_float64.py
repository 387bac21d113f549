"""Class-token transformers against exact arithmetic: the last block in float64, by torch, on the same gated tensors."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from helpers.oracle import gates
from ovxai.metadata import ExplainedInfo
from ovxai.verification.engine import F32
from ovxai.verification.plain import port_named

pytestmark = pytest.mark.slow
NAMES = ["deit_tiny_patch16_224", "deit3_small_patch16_224", "vit_small_patch32_224", "vit_tiny_patch16_224"]
CLASSES = 16


@pytest.mark.parametrize("name", NAMES)
def test_error_over_spread_in_f32(name):
    torch = pytest.importorskip("torch")
    pytest.importorskip("timm")
    from zoo_models import jittered

    network, size = jittered(name)
    model = ovxai.insert(network, example_input=torch.rand(1, *size), scale=False, probe=False, feature_map=False)
    info = ExplainedInfo.read(model)
    assert info is not None and info.grid is not None and info.prefix_tokens is not None
    maps, normalised, residual = computed(model, info, size)
    block, rest = network.double().blocks[-1], network
    truth = np.empty((CLASSES, len(gates(info.grid, "gaussian"))))
    with torch.no_grad():
        for index, gate in enumerate(gates(info.grid, info.mask)):
            weights = torch.tensor(np.concatenate([np.ones(info.prefix_tokens), gate.ravel()]), dtype=torch.float64)[
                None, :, None
            ]
            n, x = (torch.tensor(t, dtype=torch.float64) * weights for t in (normalised, residual))
            x = x + block.drop_path1(block.ls1(block.attn(n)))
            x = x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
            truth[:, index] = rest.forward_head(rest.norm(x))[0, :CLASSES].numpy()
    found = maps[0, :CLASSES].reshape(CLASSES, -1)
    off = (found - truth) - (found - truth).mean(1, keepdims=True)  # what all cells of a class share moves no map
    handed_out = np.spacing(np.abs(truth).max().astype(np.float32)) / 2  # raw maps hold the scores, which f32 rounds
    assert np.abs(off).max() <= 1e-3 * truth.std(1).mean() + handed_out


def computed(model: ov.Model, info: ExplainedInfo, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The maps and the two gated tensors (normalised, residual) of one picture, in f32."""
    tapped = model.clone()
    tapped.add_results([op.result(port_named(tapped, name)) for name in info.target_layers])
    picture = np.random.default_rng(3).random((1, *size), np.float32)
    outputs = ov.Core().compile_model(tapped, "CPU", F32).create_infer_request().infer([picture])
    arrays = [np.array(value) for value in outputs.values()]
    return np.array(outputs["saliency_map"]), arrays[-2], arrays[-1]
