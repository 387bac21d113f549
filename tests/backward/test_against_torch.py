"""Whole networks: maps out of the graph against torch's autograd on the network that was exported."""

import numpy as np
import openvino as ov
import pytest

import ovxai
from helpers.explained import in_f32, info_of
from ovxai.graph.dims import CHANNEL_AXIS
from ovxai.graph.names import port_named

NETWORKS = (
    "resnet18", "tf_efficientnet_lite0", "mobilenetv3_large_100", "convnext_tiny", "vit_tiny_patch16_224",
    "swin_tiny_patch4_window7_224", "regnety_008", "densenet121", "fastvit_t8",
)  # fmt: skip


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request):
    """(network, plain model, a picture that its tensors are known for)."""
    pytest.importorskip("torch")
    pytest.importorskip("timm")
    import torch

    from zoo_models import jittered

    network, size = jittered(request.param)
    picture = np.random.default_rng(0).standard_normal((1, *size)).astype(np.float32)
    model = ov.convert_model(network, example_input=torch.from_numpy(picture), input=[1, *size])
    return network, model, picture


@pytest.mark.slow
@pytest.mark.parametrize("combine", ["hirescam", "layercam"])
def test_the_map_is_that_of_autograd(exported, combine):
    """At every layer that the product over levels reads."""
    from helpers.autograd import class_map

    network, model, picture = exported
    layers = info_of(ovxai.insert(model, method="gradient", probe=False)).target_layers
    for layer in layers:
        explained = ovxai.insert(model, method="gradient", combine=combine, target_layer=layer, scale=False, probe=False)
        ours = np.array(in_f32(explained, picture)["saliency_map"])[0, 0]
        info = info_of(explained)
        wanted = class_map(network, picture, value_of(model, layer, picture), CHANNEL_AXIS[info.layout], combine)[0]
        wanted = wanted[info.prefix_tokens or 0 :] if info.grid else wanted
        assert np.corrcoef(ours.ravel(), wanted.ravel())[0, 1] >= 0.9999
        assert np.abs(ours.ravel() - wanted.ravel()).max() <= 1e-2 * wanted.max()


SEGMENTERS = ("lraspp_mobilenet_v3_large", "fcn_resnet50", "deeplabv3_mobilenet_v3_large")


@pytest.mark.slow
@pytest.mark.parametrize("name", SEGMENTERS)
def test_the_map_of_a_class_of_pixels_is_that_of_autograd(name):
    """Semantic segmentation, at every layer that the product over levels reads; `verify` says so too."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    from helpers.autograd import pixels_map
    from ovxai.verification import verify
    from zoo_models import jittered

    network, _ = jittered(f"torchvision:{name}", weights_backbone=None)
    forward = network.forward
    network.forward = lambda x: forward(x)["out"]
    picture = np.random.default_rng(0).standard_normal((1, 3, 128, 160)).astype(np.float32)
    model = ov.convert_model(network, example_input=torch.from_numpy(picture), input=[1, 3, 128, 160])
    whole = ovxai.insert(model, task="semantic-segmentation", probe=False)
    assert verify(whole).ok
    for layer in info_of(whole).target_layers:
        for combine in ("hirescam", "layercam"):
            explained = ovxai.insert(
                model, task="semantic-segmentation", combine=combine, target_layer=layer, scale=False, probe=False
            )
            found = in_f32(explained, picture)
            chosen, wanted = pixels_map(network, picture, value_of(model, layer, picture), combine)
            assert found["saliency_index"].tolist() == [[[chosen]]]
            ours = np.array(found["saliency_map"])[0, 0]
            assert np.corrcoef(ours.ravel(), wanted.ravel())[0, 1] >= 0.9999
            assert np.abs(ours - wanted[0]).max() <= 1e-2 * wanted.max()


def value_of(model, layer, picture):
    twin = model.clone()
    twin.add_outputs(port_named(twin, layer))
    return np.array(in_f32(twin, picture)[len(model.outputs)])
