"""Networks of timm and torchvision as plain IR or ONNX, with random but lifelike weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def export(name: str, folder: Path, variant: str = "static") -> Path:
    """A timm (or `torchvision:`) model with random, jittered weights as IR or ONNX; the file's path.

    variant: static, dynamic, onnx or onnx-dynamic.
    """
    import openvino as ov

    dynamic = variant.endswith("dynamic")
    if variant.startswith("onnx"):
        import torch

        network, size = jittered(name)
        path = folder / "model.onnx"
        axes = {"image": {0: "n"}, "logits": {0: "n"}} if dynamic else None
        torch.onnx.export(
            network, torch.rand(1, *size), str(path), dynamo=False, opset_version=17,
            input_names=["image"], output_names=["logits"], dynamic_axes=axes,
        )  # fmt: skip
        return path
    ov.save_model(converted(name, dynamic=dynamic), folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


def converted(name: str, *, dynamic: bool = False, **arguments: Any) -> Any:
    """The same as an `openvino.Model`. dynamic: of any batch. arguments: of timm or torchvision, such as num_classes."""
    import openvino as ov
    import torch

    network, size = jittered(name, **arguments)
    example = torch.rand(2 if dynamic else 1, *size)
    return ov.convert_model(network, example_input=example, input=[-1 if dynamic else 1, *size])


def jittered(name: str, **arguments: Any) -> tuple[Any, tuple[int, ...]]:
    """(network in eval mode, input size [C, H, W]) with a fixed seed."""
    import torch

    torch.manual_seed(0)
    source = torch.Generator().manual_seed(1)
    library, _, bare = name.rpartition(":")
    if library == "torchvision":
        import torchvision

        network, size = torchvision.models.get_model(bare, weights=None, **arguments).eval(), (3, 224, 224)
    else:
        import timm

        network = timm.create_model(bare, pretrained=False, **arguments).eval()
        size = network.default_cfg["input_size"]
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim <= 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=source))
            elif not parameter.any():
                # Some families start with a head of zeros, and every map of theirs would be flat.
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=source))
        for key, buffer in network.named_buffers():
            if key.endswith("running_mean"):
                buffer.add_(0.1 * torch.randn(buffer.shape, generator=source))
            if key.endswith("running_var"):
                buffer.mul_(1 + 0.3 * torch.rand(buffer.shape, generator=source))
    return network, tuple(size)
