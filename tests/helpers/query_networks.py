"""Query detectors of transformers, small and with random weights: real structure, made from configurations alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Sides of the picture, and how many classes there are.
SIZE, CLASSES = (128, 160), 7
#: RF-DETR's windows are cut from square pictures; others come out with rows and columns mixed.
SQUARE = (160, 160)
_WIDTHS = [16, 24, 32, 48]
_LEVELS = ["stage2", "stage3", "stage4"]
_COMMON = {"num_queries": 12, "num_labels": CLASSES}
#: Of detectors in DETR's way.
_DETR = {
    **_COMMON, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
}  # fmt: skip
#: Of detectors in RT-DETR's way.
_HYBRID = {
    **_COMMON, "encoder_hidden_dim": 32, "encoder_in_channels": _WIDTHS[1:], "encoder_ffn_dim": 64, "encoder_attention_heads": 4,
    "d_model": 32, "decoder_in_channels": [32] * 3, "decoder_ffn_dim": 64, "decoder_layers": 2, "decoder_attention_heads": 4,
    "anchor_image_size": None,
}  # fmt: skip


def _residual(of: Any, levels: list[str]) -> Any:
    return of(embedding_size=16, hidden_sizes=_WIDTHS, depths=[1] * 4, layer_type="basic", out_features=levels)


def _detr(name: str, levels: list[str], **further: Any) -> Any:
    import transformers

    config = getattr(transformers, f"{name}Config")(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None,
        backbone_config=_residual(transformers.ResNetConfig, levels), **_DETR, **further,
    )  # fmt: skip
    return getattr(transformers, f"{name}ForObjectDetection")(config)


def _hybrid(name: str) -> Any:
    import transformers

    backbone = _residual(transformers.RTDetrResNetConfig, _LEVELS)
    config = getattr(transformers, f"{name}Config")(backbone_config=backbone, **_HYBRID)
    return getattr(transformers, f"{name}ForObjectDetection")(config)


def _fine() -> Any:
    import transformers

    backbone = transformers.HGNetV2Config(
        embedding_size=16, depths=[1] * 4, hidden_sizes=_WIDTHS, stem_channels=[3, 8, 16], stage_in_channels=[16, *_WIDTHS[:3]],
        stage_mid_channels=[8, 8, 16, 16], stage_out_channels=_WIDTHS, stage_num_blocks=[1] * 4, stage_numb_of_layers=[2] * 4,
        stage_downsample=[False, True, True, True], stage_light_block=[False, False, True, True], stage_kernel_size=[3, 3, 5, 5],
        out_features=_LEVELS,
    )  # fmt: skip
    return transformers.DFineForObjectDetection(transformers.DFineConfig(backbone_config=backbone, **_HYBRID))


def _tokens() -> Any:
    import transformers

    config = transformers.YolosConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, image_size=list(SIZE),
        num_detection_tokens=12, num_labels=CLASSES,
    )  # fmt: skip
    return transformers.YolosForObjectDetection(config)


def _windows() -> Any:
    import transformers

    backbone = transformers.RfDetrDinov2Config(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=4, mlp_ratio=2, image_size=SQUARE[0], patch_size=16,
        num_windows=2, out_features=["stage2", "stage4"],
    )  # fmt: skip
    config = transformers.RfDetrConfig(
        backbone_config=backbone, d_model=32, decoder_ffn_dim=64, decoder_layers=2, decoder_self_attention_heads=4,
        decoder_cross_attention_heads=4, group_detr=1, c2f_num_blocks=1, **_COMMON,
    )  # fmt: skip
    return transformers.RfDetrForObjectDetection(config)


NETWORKS: dict[str, Callable[[], Any]] = {
    "DETR": lambda: _detr("Detr", ["stage4"], d_model=32),
    "Conditional DETR": lambda: _detr("ConditionalDetr", ["stage4"], d_model=32),
    "DAB-DETR": lambda: _detr("DabDetr", ["stage4"], hidden_size=32),
    "Deformable DETR": lambda: _detr("DeformableDetr", _LEVELS, d_model=32, num_feature_levels=4),
    "YOLOS": _tokens,
    "RT-DETR": lambda: _hybrid("RTDetr"),
    "RT-DETRv2": lambda: _hybrid("RTDetrV2"),
    "D-FINE": _fine,
    "RF-DETR": _windows,
}


def size_of(name: str) -> tuple[int, int]:
    """Height and width of the picture."""
    return SQUARE if name == "RF-DETR" else SIZE


def network(name: str) -> Any:
    """One of `NETWORKS`: [N, 3, H, W] -> (class scores, boxes), with weights under which scores depend on the picture."""
    import torch

    torch.manual_seed(0)
    made = NETWORKS[name]().eval()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, weight in made.named_parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn(weight.shape, generator=random) * 1.4 / weight[0].numel() ** 0.5)
            elif key.endswith("bias") and weight.min() == weight.max():
                weight.zero_()
            elif key.endswith("weight"):
                weight.copy_(1 + 0.2 * torch.randn(weight.shape, generator=random))
            weight.requires_grad_(True)
    return _answers(made)


def _answers(made: Any) -> Any:
    import torch

    class Answers(torch.nn.Module):
        """Hands out class scores and boxes, nothing else."""

        def __init__(self) -> None:
            super().__init__()
            self.made = made

        def forward(self, picture: Any) -> Any:
            found = self.made(pixel_values=picture)
            return found.logits, found.pred_boxes

    return Answers().eval()
