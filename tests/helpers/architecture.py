"""One small network for every front end, as weights and as a PyTorch module: three convolutions, ReLU6, mean, linear."""

from __future__ import annotations

import numpy as np

SIDE, CLASSES = 32, 5


def weights() -> dict[str, np.ndarray]:
    """kernel1..3 [O, I, 3, 3], bias1..3 [O], matrix [CLASSES, 16], offset [CLASSES]; f32, the same at every call."""
    random = np.random.default_rng(7)
    widths = (3, 8, 12, 16)
    found = {}
    for i in (1, 2, 3):
        shape = (widths[i], widths[i - 1], 3, 3)
        found[f"kernel{i}"] = (random.standard_normal(shape) * (2 / (9 * widths[i - 1])) ** 0.5).astype(np.float32)
        found[f"bias{i}"] = (0.3 * random.standard_normal(widths[i])).astype(np.float32)
    found["matrix"] = random.standard_normal((CLASSES, 16)).astype(np.float32)
    found["offset"] = random.standard_normal(CLASSES).astype(np.float32)
    return found


def picture() -> np.ndarray:
    """[1, 3, SIDE, SIDE] f32, smooth with a little grain."""
    coarse = np.random.default_rng(3).standard_normal((1, 3, 5, 5)).astype(np.float32)
    index = np.arange(SIDE) * 5 // SIDE
    grain = np.random.default_rng(4).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)
    return coarse[:, :, index][:, :, :, index] + 0.05 * grain


def module():
    """The network as a `torch.nn.Module` in eval mode."""
    import torch
    from torch import nn

    table = weights()
    layers = []
    for i, step in ((1, 2), (2, 2), (3, 1)):
        outs, ins = table[f"kernel{i}"].shape[:2]
        layer = nn.Conv2d(ins, outs, 3, step, 1)
        layer.weight.data = torch.tensor(table[f"kernel{i}"])
        layer.bias.data = torch.tensor(table[f"bias{i}"])
        layers += [layer, nn.ReLU6()]
    last = nn.Linear(16, CLASSES)
    last.weight.data = torch.tensor(table["matrix"])
    last.bias.data = torch.tensor(table["offset"])
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last).eval()
