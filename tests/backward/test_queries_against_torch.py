"""Query detectors: maps of their boxes out of the graph against torch's autograd on the network that was exported."""

import numpy as np
import openvino as ov
import pytest

import ovxai
from helpers.explained import in_f32, info_of
from helpers.query_networks import CLASSES, NETWORKS, size_of
from ovxai.graph.dims import CHANNEL_AXIS
from ovxai.graph.names import port_named

#: Those that are trained with a softmax over classes and "no object".
EXCLUSIVE = ("DETR", "YOLOS")


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request):
    """(name, network, plain model, a picture)."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers", reason="the networks are transformers'")
    needed = {"D-FINE": "DFineForObjectDetection", "RF-DETR": "RfDetrForObjectDetection"}.get(request.param, "")
    if needed and not hasattr(transformers, needed):
        pytest.skip(f"this version of transformers has no {request.param}")
    from helpers.query_networks import network

    made = network(request.param)
    picture = np.random.default_rng(0).standard_normal((1, 3, *size_of(request.param))).astype(np.float32)
    model = ov.convert_model(made, example_input=torch.from_numpy(picture), input=list(picture.shape))
    return request.param, made, model, picture


@pytest.mark.slow
def test_the_maps_of_queries_are_those_of_autograd(exported):
    """At every layer that the product over levels reads."""
    from helpers.autograd import query_maps

    name, made, model, picture = exported
    for layer in info_of(ovxai.insert(model, method="gradient", per="box", num_classes=CLASSES, probe=False)).target_layers:
        explained = ovxai.insert(
            model,
            method="gradient",
            per="box",
            combine="hirescam",
            target_layer=layer,
            scale=False,
            probe=False,
            num_classes=CLASSES,
        )
        info, found = info_of(explained), in_f32(explained, picture)
        shares = found["saliency_box"][0] / np.array([*size_of(name)[::-1]] * 2)
        queries = [(box, int(label)) for box, label in zip(shares, found["saliency_index"][0, 0], strict=True) if label >= 0]
        assert queries
        assert info.score_activation == ("softmax" if name in EXCLUSIVE else "sigmoid") and info.num_classes == CLASSES
        twin = model.clone()
        twin.add_outputs(port_named(twin, layer))
        exclusive = info.score_activation == "softmax"
        wanted = query_maps(
            made, picture, in_f32(twin, picture)[len(model.outputs)], CHANNEL_AXIS[info.layout], queries, exclusive
        )
        for ours, truth in zip(found["saliency_map"][0], wanted, strict=False):
            truth = truth[info.prefix_tokens or 0 :][: ours.size] if info.grid else truth
            if not truth.any():  # all of it speaks against the class
                assert not ours.any()
                continue
            assert np.corrcoef(ours.ravel(), truth.ravel())[0, 1] >= 0.9999
            assert np.abs(ours.ravel() - truth.ravel()).max() <= 1e-2 * truth.max()
