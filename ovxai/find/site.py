"""What a search for a classifier's readout hands on."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from ovxai.ir.tap import Tap


@dataclass(frozen=True)
class ClassifierSite:
    """Where a classifier can be explained.

    logits: the scores before a final activation, [N, C] or [N, C, 1, ...]. taps: one tensor, or for
    ViT Recipro-CAM the normalised one and the residual. method and mask: as in rt_info. output: index
    of the model's output that is explained; activation: what lies between the logits and it.
    why: one line for people. candidates: one line for every tensor that was considered.
    """

    logits: ov.Output
    taps: tuple[Tap, ...]
    method: str
    mask: str
    output: int
    activation: str
    why: str
    candidates: tuple[str, ...] = ()
