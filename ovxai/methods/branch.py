"""What a method hands back: the new tensors, not yet outputs, and what is to be written about them."""

from __future__ import annotations

from dataclasses import dataclass, field

import openvino as ov


@dataclass(frozen=True)
class Branch:
    """An explanation subgraph that hangs on the model's nodes.

    saliency: f32 [N, C, h, w], not yet scaled to grey levels.
    feature_map: f32 [N, c, h, w]. feature_vector: f32 [N, c]. index: i64 [N, 1, K], which classes.
    strength: f32 [N, C], how strong each map's class is; None: its largest cell tells.
    info: fields of `ExplainedInfo` that the method knows. notes: lines for the person who inserts.
    """

    saliency: ov.Output
    feature_map: ov.Output | None = None
    feature_vector: ov.Output | None = None
    index: ov.Output | None = None
    strength: ov.Output | None = None
    info: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()
