"""Which axes of a tensor could be the picture's rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

import openvino as ov

from ovxai.graph.graph import Graph
from ovxai.graph.tap import NCHW, NCP, NHWC, NPC, Tap

Grid = tuple[int, int]
#: No trunk carries more tokens beside the patches than this.
MOST_PREFIX = 16


class Grids:
    """Sizes (h, w) that a picture of H x W can have shrunk to, and those that the graph is known to have."""

    def __init__(self, picture: Grid, known: Sequence[Grid]) -> None:
        self.picture = picture
        self.known = list(dict.fromkeys(known))

    def plausible(self, grid: Grid) -> bool:
        """Whether one stride takes the picture's sides to this grid, give or take a border."""
        if grid in self.known:
            return True
        if min(grid) < 1 or max(grid) < 2 or grid[0] > self.picture[0] or grid[1] > self.picture[1]:
            return False
        low = max(side / (cells + 1) for side, cells in zip(self.picture, grid))
        high = min(side / max(cells - 1, 0.5) for side, cells in zip(self.picture, grid))
        return low < high

    def _follows(self, grid: Grid) -> bool:
        """Whether tokens can have a grid that nothing wrote: the last one that was, shrunk by a whole factor."""
        if not self.known:
            return self.plausible(grid)
        h, w = self.known[0]
        return any((-(-h // factor), -(-w // factor)) == grid for factor in range(1, max(h, w) + 1))

    def of_tokens(self, count: int, guess: bool = True) -> tuple[Grid, int] | None:
        """(h, w) and the number of prefix tokens for a row of `count` tokens.

        guess: whether a grid that no convolution wrote may be read off the picture's proportions.
        """
        fitting = [grid for grid in self.known if 1 < grid[0] * grid[1] <= count <= grid[0] * grid[1] + MOST_PREFIX]
        if fitting:
            best = min(fitting, key=lambda grid: count - grid[0] * grid[1])
            return best, count - best[0] * best[1]
        if not guess:
            return None
        ratio = self.picture[0] / self.picture[1]
        whole = [(h, count // h) for h in range(1, count + 1) if count % h == 0 and self._follows((h, count // h))]
        return (min(whole, key=lambda g: abs(g[0] / g[1] - ratio)), 0) if whole else None


def known_grids(graph: Graph, names: set[str], picture: Grid, batch: int) -> Grids:
    """Grids of the convolutions, pools and resizes among `names`, which write rows and columns at axes 2 and 3.

    Those with another batch than the scores work inside patches.
    """
    found = []
    for node in graph.ops:
        spatial = ("Convolution", "GroupConvolution", "MaxPool", "AvgPool", "Interpolate")
        if node.get_name() in names and node.get_type_name() in spatial:
            shape = graph.shape(node.output(0))
            if shape is not None and len(shape) == 4 and shape[0] == batch and min(shape[2:]) > 1:
                found.append((shape[2], shape[3]))
    grids = Grids(picture, [])
    return Grids(picture, [grid for grid in reversed(found) if grids.plausible(grid)])


def possible_taps(port: ov.Output, shape: tuple[int, ...], batch: int, grids: Grids) -> list[Tap]:
    """The ways in which a tensor can be a feature map, the likelier ones first; none where it has no positions."""
    if len(shape) not in (3, 4) or shape[0] != batch:
        return []
    if len(shape) == 4:
        found = []
        for layout, grid in ((NCHW, shape[2:4]), (NHWC, shape[1:3])):
            if grid[0] * grid[1] > 1 and grids.plausible(grid):
                found.append(Tap(port, layout, (grid[0], grid[1])))
        return sorted(found, key=lambda tap: tap.grid not in grids.known)
    found = []
    for layout, count, channels in ((NPC, shape[1], shape[2]), (NCP, shape[2], shape[1])):
        fit = grids.of_tokens(count, guess=layout == NPC) if min(count, channels) > 1 else None
        if fit:
            found.append(Tap(port, layout, *fit))
    return sorted(found, key=lambda tap: (tap.grid not in grids.known, tap.prefix))
