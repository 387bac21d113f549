"""Maps that need nothing inside of the model: by asking it again and again, or by not asking it at all.

Each takes the plain model as a judge, one picture and several targets, and gives one map per target over the content of
the model's input. What they cost is counted in pictures that go through the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np

from ovxai.evaluation.judge import Judge, Target, View
from ovxai.runtime.predict.formats import Box

Size = tuple[int, int]
#: Maps [h', w'] f32 over the content, one per target, in any units.
Maps = list[np.ndarray]


@dataclass(frozen=True)
class Effort:
    """masks: how many changed pictures RISE, D-RISE and AISE ask about. seed: of whatever is drawn. threshold: of predictions."""

    masks: int = 600
    seed: int = 0
    threshold: float = 0.3


@dataclass(frozen=True)
class Baseline:
    """A way to make maps. boxes: made for detectors alone.

    questions: about how many changed pictures it asks the model, for a content of (height, width); None: it asks nothing. each:
    for every target anew.
    """

    name: str
    make: Callable[[Judge, View, Sequence[Target], Effort], Maps]
    line: str
    questions: Callable[[Size, Effort], int] | None = None
    each: bool = False
    boxes: bool = False

    @property
    def asks(self) -> bool:
        return self.questions is not None


def random_masks(size: Size, count: int, seed: int, cells: int = 7, keep: float = 0.5) -> Iterator[np.ndarray]:
    """RISE's masks, f32 [h, w] each, 0..1: a coarse random grid, enlarged bilinearly and shifted by part of a cell.

    size: (height, width). cells: along the shorter side; along the longer one as many more as it is longer, so that cells are
    about square. keep: the share of cells that show the picture.
    """
    random = np.random.default_rng(seed)
    shorter = min(size)
    grid = [max(1, round(cells * side / shorter)) for side in size]
    step = [-(-side // cell) for side, cell in zip(size, grid)]
    for _ in range(count):
        coarse = (random.random((grid[0] + 1, grid[1] + 1)) < keep).astype(np.float32)
        large = cv2.resize(coarse, ((grid[1] + 1) * step[1], (grid[0] + 1) * step[0]), interpolation=cv2.INTER_LINEAR)
        top, left = random.integers(0, step[0]), random.integers(0, step[1])
        yield large[top : top + size[0], left : left + size[1]]


def rise(judge: Judge, view: View, targets: Sequence[Target], effort: Effort) -> Maps:
    """The mean of random masks, weighted by the score that is left under each; the hidden part has the picture's mean colour.

    Petsiuk et al., RISE (arXiv 1806.07421). For boxes it is D-RISE (arXiv 2006.03204), without its class vectors.
    """
    masks = list(random_masks(view.sight.size, effort.masks, effort.seed))
    return _weighted(judge, view, targets, masks)


def d_rise(judge: Judge, view: View, targets: Sequence[Target], effort: Effort) -> Maps:
    """RISE with D-RISE's finer masks: 16 cells along the shorter side. Petsiuk et al. (arXiv 2006.03204)."""
    masks = list(random_masks(view.sight.size, effort.masks, effort.seed, cells=16))
    return _weighted(judge, view, targets, masks)


def _masks(size: Size, effort: Effort) -> int:
    return effort.masks


def _weighted(judge: Judge, view: View, targets: Sequence[Target], masks: Sequence[np.ndarray]) -> Maps:
    empty = view.sight.filled("mean")
    scores = judge.scores((view.sight.mixed(empty, mask) for mask in masks), view, targets)
    maps = [np.zeros(view.sight.size, np.float32) for _ in targets]
    for mask, row in zip(masks, scores):
        for made, score in zip(maps, row):
            made += np.float32(score) * mask
    return [made / max(1, len(masks)) for made in maps]


def occlusion(judge: Judge, view: View, targets: Sequence[Target], effort: Effort) -> Maps:
    """How far the score falls when a square is hidden, meant over the squares that cover a pixel; what rises counts as 0.

    The square has a seventh of the shorter side and moves by a quarter of itself (32 and 8 pixels of 224).
    Zeiler and Fergus (arXiv 1311.2901).
    """
    height, width = view.sight.size
    side, spots = _squares((height, width))
    empty = view.sight.filled("mean")

    def pictures() -> Iterator[np.ndarray]:
        yield view.sight.tensor
        for y, x in spots:
            shown = np.ones((height, width), bool)
            shown[max(0, y) : y + side, max(0, x) : x + side] = False
            yield view.sight.mixed(empty, shown)

    scores = judge.scores(pictures(), view, targets)
    falls = np.maximum(scores[0] - scores[1:], 0)
    maps = np.zeros((len(targets), height, width), np.float32)
    cover = np.zeros((height, width), np.float32)
    for (y, x), fall in zip(spots, falls):
        place = np.s_[max(0, y) : y + side, max(0, x) : x + side]
        cover[place] += 1
        maps[:, place[0], place[1]] += fall[:, None, None].astype(np.float32)
    return list(maps / np.maximum(cover, 1))


def _hidden(size: Size, effort: Effort) -> int:
    """And the picture itself."""
    return 1 + len(_squares(size)[1])


def _squares(size: Size) -> tuple[int, list[tuple[int, int]]]:
    """The side of occlusion's squares, and their upper left corners."""
    side = max(1, round(min(size) / 7))
    stride = max(1, round(side / 4))
    rows, columns = (range(stride - side, length, stride) for length in size)
    return side, [(y, x) for y in rows for x in columns]


def aise(judge: Judge, view: View, targets: Sequence[Target], effort: Effort) -> Maps:
    """Gaussian windows where they pay: coarse first, then beside the best ones; their mean weighted by the score they leave.

    A tenth of `Effort.masks` per target, as AISE needs an order fewer than RISE. In the manner of OpenVINO XAI's AISE (Adaptive
    Input Sampling for Explanation of Black-box Models), with halving steps in the place of its global optimiser.
    """
    return [_aise_of(judge, view, target, _budget(effort)) for target in targets]


#: Widths of the windows, as shares of the content's shorter side, and cells of the first round.
_WIDTHS, _COARSE = (0.1, 0.2, 0.35), 3
#: Steps shorter than this share of a side find nothing new.
_SHORT = 0.01


def _budget(effort: Effort) -> int:
    """Windows that are tried, at most."""
    return max(12, effort.masks // 10)


def _windows(size: Size, effort: Effort) -> int:
    """Those of the first round, and four beside each of the three best until steps are too short."""
    rounds = math.ceil(math.log2(0.5 / _COARSE / _SHORT))
    return min(_budget(effort), len(_WIDTHS) * _COARSE**2 + 12 * (rounds - 1))


def _aise_of(judge: Judge, view: View, target: Target, budget: int) -> np.ndarray:
    height, width = view.sight.size
    empty = view.sight.filled("blur")
    steps = np.arange(_COARSE) / _COARSE + 0.5 / _COARSE
    todo = [(y, x, share) for share in _WIDTHS for y in steps for x in steps][:budget]
    tried: dict[tuple[float, float, float], float] = {}
    reach = 0.5 / _COARSE
    while todo:
        windows = [_window((height, width), spot) for spot in todo]
        scores = judge.scores((view.sight.mixed(empty, window) for window in windows), view, [target])[:, 0]
        tried.update(zip(todo, scores.tolist()))
        best = sorted(tried, key=lambda spot: -tried[spot])[:3]
        near = [
            (y + down * reach, x + across * reach, share)
            for y, x, share in best
            for down, across in ((-1, 0), (1, 0), (0, -1), (0, 1))
        ]
        reach /= 2
        left = budget - len(tried) if reach > _SHORT else 0
        todo = [spot for spot in dict.fromkeys(near) if spot not in tried and 0 <= spot[0] <= 1 and 0 <= spot[1] <= 1][:left]
    total, cover = np.zeros((height, width), np.float32), np.full((height, width), 1e-3, np.float32)
    for spot, score in tried.items():
        window = _window((height, width), spot)
        total += np.float32(score) * window
        cover += window
    return np.asarray(total / cover)


def _window(size: Size, spot: tuple[float, float, float]) -> np.ndarray:
    y, x, share = spot
    sigma = share * min(size)
    return gaussian(size, (y * size[0], x * size[1]), (sigma, sigma))


def gaussian(size: Size, centre: tuple[float, float], sigma: tuple[float, float]) -> np.ndarray:
    """f32 [h, w], 1 at the centre (y, x, in pixels, of which 0.5 is the first one's middle). sigma: down and across."""
    down, across = (
        np.exp(-0.5 * ((np.arange(side) + 0.5 - middle) / max(width, 1e-6)) ** 2)
        for side, middle, width in zip(size, centre, sigma)
    )
    return np.outer(down, across).astype(np.float32)


# Without asking the model.


def random_map(judge: Judge, view: View, targets: Sequence[Target], effort: Effort) -> Maps:
    """Noise: what figures mean nothing."""
    random = np.random.default_rng(effort.seed)
    return [random.random(view.sight.size, np.float32) for _ in targets]


def centre(judge: Judge, view: View, targets: Sequence[Target], effort: Effort) -> Maps:
    """A Gaussian in the middle, with a quarter of each side: photographers put objects there."""
    height, width = view.sight.size
    made = gaussian((height, width), (height / 2, width / 2), (height / 4, width / 4))
    return [made for _ in targets]


def box(judge: Judge, view: View, targets: Sequence[Target], effort: Effort) -> Maps:
    """1 in the predicted boxes of the class (or in the one box that is explained), 0 elsewhere."""

    def painted(corners: Box, size: Size) -> np.ndarray:
        made = np.zeros(size, np.float32)
        x1, y1, x2, y2 = corners
        made[max(0, round(y1)) : max(0, round(y2)), max(0, round(x1)) : max(0, round(x2))] = 1
        return made

    return _in_boxes(judge, view, targets, effort, painted)


def box_gaussian(judge: Judge, view: View, targets: Sequence[Target], effort: Effort) -> Maps:
    """A Gaussian in each predicted box of the class (or in the one that is explained), with a quarter of the box's sides."""

    def painted(corners: Box, size: Size) -> np.ndarray:
        x1, y1, x2, y2 = corners
        return gaussian(size, ((y1 + y2) / 2, (x1 + x2) / 2), ((y2 - y1) / 4, (x2 - x1) / 4))

    return _in_boxes(judge, view, targets, effort, painted)


def _in_boxes(
    judge: Judge, view: View, targets: Sequence[Target], effort: Effort, painted: Callable[[Box, Size], np.ndarray]
) -> Maps:  # fmt: skip
    known = judge.predictions(view, effort.threshold) if any(target.box is None for target in targets) else ()
    x1, y1, x2, y2 = view.lies.window_box()
    height, width = view.sight.size
    across, down = width / max(1, x2 - x1), height / max(1, y2 - y1)
    maps = []
    for target in targets:
        own = [p.box for p in known if p.class_index == target.class_index] if target.box is None else [target.box]
        made = np.zeros((height, width), np.float32)
        for corners in own:
            if corners is not None:
                a, b, c, d = corners
                placed = ((a - x1) * across, (b - y1) * down, (c - x1) * across, (d - y1) * down)
                made = np.maximum(made, painted(placed, (height, width)))
        maps.append(made)
    return maps


BASELINES = MappingProxyType({one.name: one for one in (
    Baseline("rise", rise, "RISE: the mean of random masks, weighted by scores", _masks),
    Baseline("occlusion", occlusion, "occlusion: how far the score falls behind a square",
             _hidden),
    Baseline("aise", aise, "AISE-like: Gaussian windows, sampled where they pay", _windows, each=True),
    Baseline("d-rise", d_rise, "D-RISE: RISE with finer masks, also for single boxes", _masks, boxes=True),
    Baseline("random", random_map, "noise"),
    Baseline("centre", centre, "a Gaussian in the middle of the picture"),
    Baseline("box", box, "the predicted boxes themselves", boxes=True),
    Baseline("box-gaussian", box_gaussian, "a Gaussian in each predicted box", boxes=True),
)})  # fmt: skip
