"""Maps by torch's own autograd, at the tensor of a network that has the values of a layer of the exported model."""

from __future__ import annotations

from typing import Any

import numpy as np


def class_map(network: Any, picture: np.ndarray, layer: np.ndarray, axis: int, combine: str) -> np.ndarray:
    """[positions] of the top class: HiResCAM or LayerCAM of its log-odds, negatives cut.

    layer: what the exported model has at its target layer, by which torch's tensor is found. axis: of the channels.

    Raises:
        LookupError: no tensor of the network has these values.
    """
    import torch

    recorded = _recorded(network, torch.from_numpy(picture))
    scores = recorded.pop()
    tensor = _alike(recorded, layer)
    chosen = torch.log_softmax(scores, 1)[:, scores.argmax(1)].sum()
    target = chosen - torch.log(-torch.expm1(chosen))
    (slope,) = torch.autograd.grad(target, tensor)
    slope = slope.clamp(min=0) if combine == "layercam" else slope
    return (slope * tensor).sum(axis).clamp(min=0).detach().numpy()


def pixels_map(network: Any, picture: np.ndarray, layer: np.ndarray, combine: str) -> tuple[int, np.ndarray]:
    """(class, [N, h, w]) of the class with the most pixels: of the mean over these of its log-probability, negatives cut.

    network: [N, 3, H, W] -> logits [N, C, H, W]. layer: as for `class_map`.

    Raises:
        LookupError: no tensor of the network has these values.
    """
    import torch

    recorded = _recorded(network, torch.from_numpy(picture))
    scores = recorded.pop()
    tensor = _alike(recorded, layer)
    best = scores.argmax(1)
    chosen = int(best.flatten().bincount().argmax())
    (slope,) = torch.autograd.grad(torch.log_softmax(scores, 1)[:, chosen][best == chosen].mean(), tensor)
    slope = slope.clamp(min=0) if combine == "layercam" else slope
    return chosen, (slope * tensor).sum(1).clamp(min=0).detach().numpy()


def query_maps(
    network: Any,
    picture: np.ndarray,
    layer: np.ndarray,
    axis: int,
    queries: list[tuple[np.ndarray, int]],
    exclusive: bool = False,
) -> list[np.ndarray]:
    """Per query the HiResCAM of the logarithm of its class's probability, negatives cut.

    network: -> class scores [1, Q, K] before a sigmoid, or before a softmax where they are exclusive; boxes [1, Q, 4] as centre
    and size. layer, axis: as for `class_map`. queries: (box as corners, class) of each, which is found by its box.

    Raises:
        LookupError: no tensor of the network has the layer's values.
    """
    import torch

    recorded = _recorded(network, torch.from_numpy(picture))
    scores, boxes = recorded.pop()
    tensor = _alike(recorded, layer)
    centres, sizes = boxes[0].detach().numpy()[:, :2], boxes[0].detach().numpy()[:, 2:]
    corners = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    found = []
    for box, label in queries:
        row = int(np.abs(corners - box).sum(axis=1).argmin())
        logarithms = torch.log_softmax(scores, 2) if exclusive else torch.nn.functional.logsigmoid(scores)
        target = logarithms[0, row, label]
        (slope,) = torch.autograd.grad(target, tensor, retain_graph=True)
        found.append((slope * tensor).sum(axis).clamp(min=0).detach().numpy()[0])
    return found


def box_maps(
    network: Any, picture: np.ndarray, layer: np.ndarray, combine: str, boxes: list[tuple[np.ndarray, int]]
) -> list[np.ndarray]:
    """Per box [h, w]: HiResCAM or LayerCAM of the logarithm of its score, negatives cut.

    network: -> finished boxes [I, 4] as corners, labels [I] and scores [I]. layer: [1, C, h, w], as for `class_map`. boxes:
    (corners, label) of each, which is found by them.

    Raises:
        LookupError: no tensor of the network has the layer's values.
    """
    import torch

    recorded = _recorded(network, torch.from_numpy(picture))
    corners, labels, scores = recorded.pop()
    tensor = _alike(recorded, layer)
    found = []
    for box, label in boxes:
        off = np.abs(corners.detach().numpy() - box).sum(axis=1)
        row = int(np.where(labels.numpy() == label, off, np.inf).argmin())
        (slope,) = torch.autograd.grad(scores[row].log(), tensor, retain_graph=True)
        slope = slope.clamp(min=0) if combine == "layercam" else slope
        found.append((slope * tensor).sum(1).clamp(min=0).detach().numpy()[0])
    return found


def _recorded(network: Any, picture: Any) -> list[Any]:
    """Every tensor that a function of torch hands out during a forward pass; the scores last."""
    import torch
    from torch.overrides import TorchFunctionMode

    found: list[Any] = []

    class Recorder(TorchFunctionMode):
        """Notes what is handed out."""

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(function, "__name__", "") == "detach":
                return args[0]  # an exported graph has none
            result = function(*args, **(kwargs or {}))
            for each in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(each, torch.Tensor) and each.requires_grad:
                    found.append(each)
                    # PyTorch 2.14's BatchNorm goes wrong where the derivative lies transposed in memory.
                    each.register_hook(lambda slope: slope.contiguous())
            return result

    for module in network.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    with Recorder():
        scores = network(picture)
    return [*found, scores]


def _alike(tensors: list[Any], layer: np.ndarray) -> Any:
    """The first of the tensors that has these values: what is made of it counts in, be it a copy."""
    size = float(np.abs(layer).max())
    for tensor in tensors:
        if tuple(tensor.shape) == layer.shape and np.abs(tensor.detach().numpy() - layer).max() < 1e-3 * size:
            return tensor
    raise LookupError(f"no tensor of the network has the values of a layer of shape {layer.shape}")
