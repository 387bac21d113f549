"""What the search for instance masks hands over."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

#: A mask of the box alone; of the whole picture; or coefficients that mix prototypes of the whole picture.
BOX, FULL, PROTOTYPES = "box", "full", "prototypes"


@dataclass(frozen=True)
class Instances:
    """Finished instances. boxes [N, I, >= 4] (x1, y1, x2, y2 in pixels of the input), labels and scores [N, I].

    Without a batch axis (`batched` is off) all begin with I. Where a table holds several of them, `columns`
    says which of its columns: boxes are the first four. masks: as `mask_kind` says, with `singleton` when a 1 stands
    between I and the mask's sides; for PROTOTYPES the coefficients [N, I, M].
    """

    boxes: ov.Output
    labels: ov.Output
    scores: ov.Output
    masks: ov.Output
    batched: bool
    label_column: int | None = None
    score_column: int | None = None
    mask_columns: tuple[int, int] | None = None
    singleton: bool = False


@dataclass(frozen=True)
class Candidates:
    """Raw boxes before suppression: `table` [N, 4 + K + M, P] (or [N, P, 5 + K + M] with `rows_last` off).

    Boxes are (centre x, centre y, width, height) in pixels of the input. iou, score: thresholds of the suppression.
    """

    table: ov.Output
    rows_last: bool
    objectness: bool
    coefficients: int
    iou: float
    score: float


@dataclass(frozen=True)
class InstanceSite:
    """classes: how many label values there are. picture: the input's port; picture_axes: where H and W stand in it.

    logits: whether mask values still lack a sigmoid. pyramid: maps [N, c, h, w] of the neck, fine to coarse.
    """

    found: Instances | Candidates
    mask_kind: str
    classes: int
    logits: bool
    picture: ov.Output
    picture_axes: tuple[int, int]
    prototypes: ov.Output | None = None
    pyramid: tuple[ov.Output, ...] = ()
    score_output: str = ""
    output: int = 0
    prediction_format: str = "boxes-labels-masks"
    why: str = ""
    candidates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
