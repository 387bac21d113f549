"""What the search for a detection head hands over: ports, axes, channel order, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

#: (batch, channel, height, width) of a plain map, and of one in the layout of TensorFlow.
NCHW, NHWC = (0, 1, 2, 3), (0, 3, 1, 2)


@dataclass(frozen=True)
class ClassLevel:
    """The raw class logits of one pyramid level.

    port: a map [N, C, h, w] in the order of `axes`, or tokens [N, P, K] of which this level holds `rows`.
    channels: channels[a][k] is the channel of anchor a and class k. grid: (h, w), witness size where open.
    feature: the level's tensor [N, c, h, w] that the class and the box branch both read.
    """

    port: ov.Output
    axes: tuple[int, int, int, int]
    channels: tuple[tuple[int, ...], ...]
    grid: tuple[int, int]
    rows: tuple[int, int] | None = None
    feature: ov.Output | None = None
    feature_axes: tuple[int, int, int, int] = NCHW

    @property
    def anchors(self) -> int:
        return len(self.channels)


@dataclass(frozen=True)
class DetectionSite:
    """levels: fine to coarse. size_level: whose size the map has. activation: what the model itself applies.

    output: number of the output with the scores. why: how the site was chosen, one line.
    candidates: facts for `ovxai inspect`. notes: what a person who inserts should know.
    """

    levels: tuple[ClassLevel, ...]
    classes: int
    size_level: int
    activation: str
    score_output: str
    score_activation: str
    prediction_format: str
    output: int = 0
    why: str = ""
    candidates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def size_level(grids: list[tuple[int, int]], *, open_size: bool) -> int:
    """The middle level; with six levels and more (SSD) one that is large enough to see anything.

    Where the middle one then has a side below 8 cells: the coarsest with 8 on both, else the finest.
    With open height and width always the middle: which level is too small would change with the picture.
    """
    middle = len(grids) // 2
    if open_size or len(grids) < 6 or min(grids[middle]) >= 8:
        return middle
    large = [i for i, grid in enumerate(grids) if min(grid) >= 8]
    return large[-1] if large else 0
