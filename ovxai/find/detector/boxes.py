"""What boxes look like beside class scores: how many columns they have, of how many anchors, and where they are seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from ovxai.find.detector.maps import HeadMap
from ovxai.find.detector.trail import ClassTable, Trail, mixed_axes, tabulated, tracers_of
from ovxai.graph.dims import Grid

#: Columns of a box: four sides; with an angle; the corners of a quadrilateral; with 5, 6, 7 or 17 keypoints of two or three
#: numbers each.
SIDES = frozenset({4, 5, 8, 14, 16, 18, 19, 38, 55})
#: Four sides as distributions over 8, 16 or 17 bins, the numbers in use.
DISTRIBUTIONS = frozenset({32, 64, 68})


def box_width(columns: int) -> bool:
    """Whether boxes are known to have so many columns."""
    return columns in SIDES or columns in DISTRIBUTIONS


def holds_boxes(head: HeadMap, anchors: int) -> bool:
    """Whether the map has room for the boxes of so many anchors."""
    columns, rest = divmod(head.channels, anchors)
    return head.channels % 4 == 0 or (not rest and columns in SIDES)


def box_evidence(trail: Trail, tables: dict[int, ClassTable]) -> dict[int, str]:
    """Why this is a detector and not a segmentation model, by origin: which boxes stand beside the scores of that map.

    tables: of the class scores, by origin; those without any boxes are left out of the result.
    """
    rows = box_anchors_by_grid(trail, tables)
    found: dict[int, str] = {}
    for origin, table in tables.items():
        head = trail.maps[origin]
        rest = head.channels - table.anchors * table.classes
        beside = [other for i, other in enumerate(trail.maps) if i not in tables and other.grid == head.grid]
        boxes = [other.channels for other in beside if holds_boxes(other, table.anchors)]
        in_rows = [other.channels for other in beside if other.channels >= 4 * table.anchors]
        boxes = boxes or (in_rows if rows.get(head.grid) == table.anchors else [])
        where = f"on the same {head.grid[0]} x {head.grid[1]} grid"
        if rest >= 4 * table.anchors:
            found[origin] = f"{rest} more channels in the same tensor hold boxes"
        elif boxes:
            found[origin] = f"a tensor of {boxes[0]} channels {where} holds boxes"
        # Centre points: sizes and offsets are a tensor of two channels each.
        elif len(tables) == 1 and sum(other.channels == 2 for other in beside) >= 2:
            found[origin] = f"tensors of two channels {where} hold sizes and offsets"
    return found


def box_anchors_by_grid(trail: Trail, scores: Collection[int]) -> dict[Grid, int]:
    """Anchors of the boxes on each grid, where the graph lays them out as rows: four columns each, else so many alike.

    scores: origins of maps that hold none.
    """
    found: dict[Grid, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for origin, head in enumerate(trail.maps):
        if origin not in scores:
            table = tabulated(trail, origin, frozenset(range(head.channels)))
            if table is not None and table.classes >= 4 and (table.classes == 4 or _in_rows(trail, origin, table)):
                found[head.grid][table.classes].add(table.anchors)
    anchors: dict[Grid, int] = {}
    for grid, by_width in found.items():
        told = by_width.get(4) or set().union(*by_width.values())
        if len(told) == 1:
            anchors[grid] = told.pop()
    return anchors


def _in_rows(trail: Trail, origin: int, table: ClassTable) -> bool:
    """Whether positions, and anchors with them, have melted into one axis where the table was seen."""
    port = next(port for port in sorted(trail.ports_of(origin), reverse=True) if port[0] == table.node)
    tracers = tracers_of(trail, origin, port, table.flat)
    if table.anchors > 1:
        return bool(mixed_axes(tracers))
    places = tracers.coords[tracers.channel == 0]
    return sum(len(set(column.tolist())) > 1 for column in places.T) == 1
