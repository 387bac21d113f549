"""Torchvision's detectors with random weights that are sure of something, for slow tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

PHOTOS = Path(__file__).resolve().parents[2] / "fixtures" / "photos"
SIZE = (224, 288)
#: name -> (size of the picture, arguments that make the network look at it as it is).
NETWORKS = {
    "ssdlite320_mobilenet_v3_large": ((320, 320), {}),
    "fcos_resnet50_fpn": (SIZE, {"min_size": SIZE[0], "max_size": SIZE[1]}),
    "retinanet_resnet50_fpn": (SIZE, {"min_size": SIZE[0], "max_size": SIZE[1]}),
}
CLASSES = 11
#: Deviation of the logits of classes from their mean, and where that is if each class is for itself.
SPREAD, MEAN = 2.0, -4.0


def photographs(name):
    """f32 [3, 3, h, w], 0 to 1."""
    sides = NETWORKS[name][0]
    pictures = [cv2.resize(cv2.imread(str(path)), sides[::-1]) for path in sorted(PHOTOS.iterdir())]
    return np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 255


def network(name):
    """picture -> boxes, labels, scores; in eval mode. Features and logits are spread on photographs as a trained one's are."""
    import torch
    import torchvision

    torch.manual_seed(0)
    arguments = {"weights": None, "weights_backbone": None, "num_classes": CLASSES, **NETWORKS[name][1]}
    made = torchvision.models.get_model(name, **arguments).eval()
    pictures = list(torch.from_numpy(photographs(name)))
    norms = [each for each in made.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0  # what it sees is what it keeps
            if "resnet" in name:
                norm.bias.fill_(1.0)  # most values pass a ReLU: where half of them stand near 0, rounding alone turns maps
            norm.train()
        made(pictures)
        made.eval()
        _spread(made, pictures, MEAN if "ssd" not in name else 0.0)
    return _outputs(made)


def _spread(made, pictures, mean):
    """Scale and shift the last layers of the head of classes."""
    import torch

    seen: dict = {}
    layers = [each for each in made.head.classification_head.modules() if isinstance(each, torch.nn.Conv2d)]
    last = [each for each in layers if each.out_channels % CLASSES == 0]
    hooks = [each.register_forward_hook(lambda layer, _, found: seen.setdefault(layer, []).append(found)) for each in last]
    made(pictures)
    for layer in last:
        logits = torch.cat([each.flatten() for each in seen[layer]])
        layer.weight.mul_(SPREAD / logits.std())
        layer.bias.copy_((layer.bias - logits.mean()) * SPREAD / logits.std() + mean)
    for hook in hooks:
        hook.remove()


def _outputs(made):
    import torch

    class Outputs(torch.nn.Module):
        """Boxes, labels and scores of one picture, in that order."""

        def __init__(self):
            super().__init__()
            self.network = made

        def forward(self, pictures):
            found = self.network([pictures[0]])[0]
            return found["boxes"], found["labels"], found["scores"]

    return Outputs()


def converted(made, picture):
    """The network as an OpenVINO model of a fixed size."""
    import openvino as ov
    import torch

    with torch.no_grad():
        traced = torch.jit.trace(made, torch.from_numpy(picture), check_trace=False)
    return ov.convert_model(traced, example_input=torch.from_numpy(picture), input=list(picture.shape))
