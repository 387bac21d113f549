"""Detectors that suppress by themselves: maps of their boxes out of the graph against torch's autograd on the same network."""

import numpy as np
import pytest

import ovxai
from helpers.detector_networks import NETWORKS
from helpers.explained import in_f32, info_of
from ovxai.graph.names import port_named
from ovxai.verification import verify


@pytest.fixture(scope="module", params=NETWORKS)
def exported(request):
    """(network, plain model, a picture)."""
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    from helpers.detector_networks import converted, network, photographs

    made, picture = network(request.param), photographs(request.param)[:1]
    return made, converted(made, picture), picture


@pytest.mark.slow
@pytest.mark.parametrize("combine", ["hirescam", "layercam"])
def test_the_maps_of_boxes_are_those_of_autograd(exported, combine):
    """At every layer that the product over levels reads."""
    from helpers.autograd import box_maps

    made, model, picture = exported
    compared = 0
    for layer in info_of(ovxai.insert(model, method="gradient", per="box", probe=False)).target_layers:
        explained = ovxai.insert(
            model, method="gradient", per="box", combine=combine, target_layer=layer, scale=False, probe=False
        )
        found = in_f32(explained, picture)
        boxes = list(zip(found["saliency_box"][0], found["saliency_index"][0, 0].tolist(), strict=True))
        assert min(label for _, label in boxes) >= 0
        twin = model.clone()
        twin.add_outputs(port_named(twin, layer))
        wanted = box_maps(made, picture, in_f32(twin, picture)[len(model.outputs)], combine, boxes)
        for ours, truth in zip(found["saliency_map"][0], wanted, strict=True):
            if not truth.any():  # what the box was made of does not see this layer, or all of it speaks against the class
                assert not ours.any()
                continue
            assert np.corrcoef(ours.ravel(), truth.ravel())[0, 1] >= 0.9999
            assert np.abs(ours - truth).max() <= 1e-2 * truth.max()
            compared += 1
    assert compared >= 5


@pytest.mark.slow
def test_they_hold(exported):
    _, model, _ = exported
    report = verify(ovxai.insert(model, method="gradient", per="box", probe=False))
    assert report.ok, "\n".join(str(check) for check in report.checks)
