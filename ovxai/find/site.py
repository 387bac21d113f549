"""A search either finds a site or says why not; nothing in between."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from ovxai.graph.tap import Tap


@dataclass(frozen=True)
class No:
    """Why nothing was found: what was looked for, where it failed, which option would settle it.

    near: the model looks like what was looked for, so that this reason is worth more than those of other searches.
    final: so much so that no other search shall be asked.
    """

    reason: str
    near: bool = False
    final: bool = False

    def __bool__(self) -> bool:
        return False


# What a search for a classifier's readout hands on.


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
