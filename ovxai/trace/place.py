"""From coordinates to a grid: which axes of a tensor are rows and columns, and which part of the picture they cover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovxai.graph.dims import NCHW, NCP, NHWC, NPC, Grid
from ovxai.graph.graph import Port, Shape
from ovxai.metadata import MapFrame
from ovxai.trace.field import BATCH, HEIGHT, WIDTH, Field, merged
from ovxai.trace.walk import Trace

#: Cells may be off a regular grid by this share of one.
_UNEVEN = 0.25
#: An edge of the map that is off the picture's by this share of its side is the picture's.
_EDGE = 1e-4
_NOWHERE = "has no positions of the picture"
_LETTERS = {HEIGHT: "y", WIDTH: "x"}


@dataclass(frozen=True)
class Place:
    """A feature map's grid.

    layout, grid, prefix: as of a `Tap`; grid's first number counts along the tensor's first axis of positions.
    frame: where that lies on the picture. sides: HEIGHT and WIDTH, or one of them where the other is gone.
    """

    layout: str
    grid: Grid
    prefix: int
    frame: MapFrame
    sides: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether positions differ, or could, along both sides of the picture."""
        return len(self.sides) == 2

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person who sees the map should know of where it lies."""
        notes = []
        if not self.whole:
            kept, gone = ("height", "width") if self.sides[0] == HEIGHT else ("width", "height")
            notes.append(f"the features lie along the picture's {kept} alone: its {gone} is gone before them")
        if self.frame.axes != "yx":
            notes.append(f"the graph turns the picture: rows and columns of the map run along {self.frame.axes}")
        if not all(-_EDGE <= edge - whole <= _EDGE for edge, whole in zip(self.frame.box, (0, 0, 1, 1))):
            y1, x1, y2, x2 = self.frame.box
            notes.append(f"the map covers rows {y1:.3g} to {y2:.3g} and columns {x1:.3g} to {x2:.3g} of the picture (0 to 1)")
        return tuple(notes)


@dataclass(frozen=True)
class _Line:
    """Positions along one axis or within one: how many, and from where to where on the side (low first)."""

    side: str
    count: int
    low: float
    high: float
    backwards: bool


def place(trace: Trace, port: Port) -> Place | str:
    """The grid of the tensor at `port`, or why it has none, in words that fit behind its name."""
    found, lost = _grid_of(trace, port), trace.of(port).lost
    return f"{found} ({lost})" if isinstance(found, str) and lost else found


def _grid_of(trace: Trace, port: Port) -> Place | str:
    shape = trace.graph.shape(port)
    if shape is None:
        return "has a size that depends on the data"
    tags = trace.of(port)
    if len(shape) not in (3, 4):
        lies = any(field.axes for field in tags.fields if field.side != BATCH)
        return _NOWHERE if not lies else f"has {len(shape)} axes, not batch, channels and positions"
    if shape[0] != trace.batch or any(field.axes - {0} for field in tags.on(BATCH)):
        return f"does not hold the {trace.batch} pictures of the input one by one along its first axis"
    fields: dict[str, Field] = {}
    for side in (HEIGHT, WIDTH):
        found = [field for field in map(_clean, tags.on(side)) if field.axes]
        if len(found) > 1:
            return "relates positions to each other"
        if found:
            fields[side] = found[0]
    if not fields:
        return _NOWHERE
    if any(0 in field.axes for field in fields.values()):
        return "has positions of the picture along its first axis (windows, say)"
    made = _apart(fields, shape) if len(shape) == 4 else _in_rows(fields)
    if isinstance(made, str):
        return made
    return _placed(trace, port, made)


def _clean(field: Field) -> Field:
    """Without what differs within a cell of the grid, such as the entries of a block that stand beside the channels."""
    for axis in sorted(field.axes):
        others = field.axes - {axis}
        whole = merged(field, [axis])
        if len(others) == 1 and whole.axes == others:
            paces = np.abs(np.diff(whole.centres.ravel()))
            if np.isfinite(paces).all() and whole.cell <= paces.min() + 1e-6:
                return whole
    return field


_Grid = tuple[str, int, tuple[_Line | None, _Line | None]]


def _apart(fields: dict[str, Field], shape: Shape) -> _Grid | str:
    """Of a tensor with four axes: channels first or last, a line of positions along each of the others."""
    if any(len(field.axes) > 1 for field in fields.values()):
        return "has positions along several axes at once (windows, say)"
    at = {next(iter(field.axes)): field for field in fields.values()}
    if len(at) < len(fields):
        return "has heads or groups beside rows of positions"
    axes = set(at)
    for layout, places in ((NCHW, (2, 3)), (NHWC, (1, 2))):
        if axes <= set(places) and all(axis in at or shape[axis] == 1 for axis in places):
            lines = [_line(at[axis]) if axis in at else None for axis in places]
            wrong = next((line for line in lines if isinstance(line, str)), None)
            return wrong or (layout, 0, (_real(lines[0]), _real(lines[1])))
    return f"has positions along axis {min(axes)}, but what stands beside them is no map"


def _in_rows(fields: dict[str, Field]) -> _Grid | str:
    """Of a tensor with three axes: positions in one of them, row by row or column by column, behind prefix tokens."""
    axes = frozenset().union(*(field.axes for field in fields.values()))
    if len(axes) > 1:
        return "has positions along all of its axes, and no channels"
    axis = next(iter(axes))
    values = {side: field.centres.ravel() for side, field in fields.items()}
    filled = np.isfinite(np.stack(list(values.values()))).all(0)
    prefix = int(filled.argmax())
    if not filled[prefix:].all():
        return "has tokens that are no positions behind or between the positions"
    values = {side: line[prefix:] for side, line in values.items()}
    lines = _one_row(values, fields) if len(values) == 1 else _rows(values, fields)
    return lines if isinstance(lines, str) else (NPC if axis == 1 else NCP, prefix, lines)


def _one_row(values: dict[str, np.ndarray], fields: dict[str, Field]) -> tuple[_Line | None, _Line | None] | str:
    ((side, line),) = values.items()
    found = _line(fields[side].moved(line))
    if isinstance(found, str):
        return found
    return (found, None) if side == HEIGHT else (None, found)


def _rows(values: dict[str, np.ndarray], fields: dict[str, Field]) -> tuple[_Line | None, _Line | None] | str:
    """(outer, inner): rows of columns, or columns of rows."""
    for outer, inner in ((HEIGHT, WIDTH), (WIDTH, HEIGHT)):
        moves = np.flatnonzero(np.abs(values[outer] - values[outer][0]) > _UNEVEN * fields[outer].cell)
        length = int(moves[0]) if moves.size else 0
        if length < 2 or values[outer].size % length:
            continue
        table = {side: line.reshape(-1, length) for side, line in values.items()}
        level = np.ptp(table[outer], axis=1).max() <= _UNEVEN * fields[outer].cell
        if level and np.ptp(table[inner], axis=0).max() <= _UNEVEN * fields[inner].cell:
            lines = _line(fields[outer].moved(table[outer][:, 0])), _line(fields[inner].moved(table[inner][0]))
            wrong = next((line for line in lines if isinstance(line, str)), None)
            return wrong or (_real(lines[0]), _real(lines[1]))
    return "has positions in an order that is neither row by row nor column by column"


def _line(field: Field) -> _Line | str:
    centres = field.centres.ravel()
    if not np.isfinite(centres).all():
        return "has entries that are no positions beside them"
    pace = float(centres[-1] - centres[0]) / max(centres.size - 1, 1) or field.cell
    if np.abs(centres - centres[0] - pace * np.arange(centres.size)).max() > _UNEVEN * abs(pace):
        return f"has positions at uneven steps along the picture's {'height' if field.side == HEIGHT else 'width'}"
    low, high = float(centres.min()), float(centres.max())
    return _Line(field.side, centres.size, low - abs(pace) / 2, high + abs(pace) / 2, pace < 0)


def _real(line: _Line | str | None) -> _Line | None:
    return None if isinstance(line, str) else line


def _placed(trace: Trace, port: Port, made: _Grid) -> Place:
    layout, prefix, lines = made
    known = {line.side: line for line in lines if line}
    first = next(iter(known)) if lines[0] else WIDTH if HEIGHT in known else HEIGHT
    order = (first, WIDTH if first == HEIGHT else HEIGHT)
    axes = "".join(("-" if side in known and known[side].backwards else "") + _LETTERS[side] for side in order)
    box: dict[str, tuple[float, float]] = {}
    for side, size in zip((HEIGHT, WIDTH), trace.sides):
        rest = trace.of(port).on(side)
        whole = rest[0].ends if rest else (0.0, float(size))
        low, high = (known[side].low, known[side].high) if side in known else whole
        box[side] = (_share(low, size), _share(high, size))
    (y1, y2), (x1, x2) = box[HEIGHT], box[WIDTH]
    grid = tuple(line.count if line else 1 for line in lines)
    return Place(layout, (grid[0], grid[1]), prefix, MapFrame((y1, x1, y2, x2), axes), tuple(known))


def _share(pixels: float, size: int) -> float:
    """Of the picture's side; what rounding has put beside an edge is the edge."""
    share = pixels / size
    return float(round(share)) if abs(share - round(share)) < _EDGE else share
