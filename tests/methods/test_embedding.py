"""The map at the input's size and the finished overlay, against OpenCV."""

import cv2
import numpy as np
import openvino as ov
import pytest

import ovxai
from helpers import classifiers as toys
from ovxai.verification import verify

PICTURE = np.random.default_rng(2).uniform(0, 255, (2, 3, *toys.SIZE)).astype(np.float32)
MEAN, SCALE = np.array([10.0, 20.0, 30.0], np.float32), np.array([2.0, 3.0, 4.0], np.float32)


def outputs(model, feed):
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled([feed])
    return {next(iter(port.get_names())): results[port] for port in compiled.outputs}


@pytest.mark.parametrize("channels", [1, 4])
def test_overlay_on_a_picture_of_other_channels(channels):
    """One is grey; what comes after three colours is not shown."""
    feed = np.random.default_rng(4).uniform(0, 255, (1, channels, *toys.SIZE)).astype(np.float32)
    found = outputs(ovxai.insert(toys.cnn(channels=channels), embed="overlay", probe=False), feed)
    assert found["saliency_overlay"].shape == (1, *toys.SIZE, 3)
    pixels = np.repeat(feed, 3, 1) if channels == 1 else feed[:, :3]
    level = large(found["saliency_map"][0][[found["scores"][0].argmax()]])[0]
    colours = cv2.applyColorMap(np.round(level).astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
    shown = 255 * (pixels - feed.min()) / np.ptp(feed)
    wanted = 0.5 * colours + 0.5 * shown[0].transpose(1, 2, 0)
    assert np.percentile(np.abs(found["saliency_overlay"][0] - wanted), 99) <= 4


def described(**entries):
    model = toys.cnn(batch=2)
    for name, value in entries.items():
        model.set_rt_info(value, ["model_info", name])
    return model


def large(grey):
    """[C, h, w] u8 -> [C, H, W]."""
    size = toys.SIZE[::-1]
    return np.stack([cv2.resize(one.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) for one in grey])


def test_map_at_the_size_of_the_input():
    found = outputs(ovxai.insert(toys.cnn(batch=2), embed="map", probe=False), PICTURE)
    for one, grey in zip(found["saliency_map_resized"], found["saliency_map"]):
        assert np.abs(one.astype(float) - large(grey)).max() <= 0.51


def stretched(pixels):
    return 255 * (pixels - pixels.min()) / (pixels.max() - pixels.min())


NORMALISED = {"mean_values": "10 20 30", "scale_values": "2 3 4"}
INPUTS = {
    "unknown range": ({}, PICTURE / 100, stretched),
    "mean and scale": (NORMALISED, (PICTURE - MEAN[:, None, None]) / SCALE[:, None, None], lambda pixels: pixels * SCALE + MEAN),
    "mean and scale in the graph": ({**NORMALISED, "embedded_processing": "True"}, PICTURE, lambda pixels: pixels),
    "blue first": ({**NORMALISED, "reverse_input_channels": "YES"}, PICTURE, lambda pixels: (pixels * SCALE + MEAN)[..., ::-1]),
}


@pytest.mark.parametrize("name", INPUTS)
def test_overlay_on_the_picture_as_it_was(name):
    entries, feed, shown = INPUTS[name]
    model = ovxai.insert(described(**entries), embed="overlay", probe=False)
    found = outputs(model, feed)
    for index, overlay in enumerate(found["saliency_overlay"]):
        best = found["scores"][index].argmax()
        level = np.clip(np.round(large(found["saliency_map"][index][[best]])[0]), 0, 255).astype(np.uint8)
        colours = cv2.applyColorMap(level, cv2.COLORMAP_JET)[..., ::-1]
        wanted = np.clip(0.5 * colours + 0.5 * shown(feed[index].transpose(1, 2, 0)), 0, 255)
        off = np.abs(overlay.astype(float) - wanted)
        assert np.percentile(off, 99) <= 4  # a level rounded the other way is one colour further
    assert verify(model).ok
