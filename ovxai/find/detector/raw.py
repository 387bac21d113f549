"""Heads whose class logits leave the graph without any activation: every way to read them, and which one it is.

A *reading* says which map of a grid holds classes, of how many anchors, and which holds boxes. Where the graph lays a
tensor out as rows, an anchor's columns are known; else its channels are shared out among as many anchors as divide
them. What fits two readings is refused, and both are named: `--num-classes` or the labels settle it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ovxai.find.detector.boxes import box_anchors_by_grid, box_width
from ovxai.find.detector.maps import HeadMap
from ovxai.find.detector.tracers import BENT
from ovxai.find.detector.trail import ClassTable, Trail, melts, shared_axis, single, tabulated
from ovxai.find.site import No
from ovxai.graph.dims import Grid

#: Columns in front of the classes in a tensor that holds everything: box and objectness; a box alone.
IN_FRONT = (5, 4)
#: Fewer classes than this are no sides of a box.
_FEW, _MANY_COLUMNS = 4, 24


@dataclass(frozen=True)
class RawMap:
    """A head map as the graph reads it. width: columns of a row, or channels where nothing makes rows of it.

    table: None where nothing makes rows. box: whether its values are bent (exp) or summed over bins, as sides are.
    """

    origin: int
    width: int
    table: ClassTable | None
    box: bool


#: A map that may hold the classes, and of how many anchors.
Place = tuple[int, int]


@dataclass(frozen=True)
class Reading:
    """classes: of every anchor. places: by grid, the maps that hold them: several where maps of a grid look alike.

    front: columns before the classes in the same map. beside: columns of an anchor's box in another map, 0 where the
    box stands in the same one. usual: whether so many columns are known to be boxes.
    """

    classes: int
    places: tuple[tuple[Grid, frozenset[Place]], ...]
    front: int = 0
    beside: int = 0
    usual: bool = True

    @property
    def alike(self) -> bool:
        return any(len(places) > 1 for _, places in self.places)

    @property
    def text(self) -> str:
        anchors = sorted({anchors for _, places in self.places for _, anchors in places})
        several = "" if anchors == [1] else f" of {'/'.join(map(str, anchors))} anchors"
        box = f"beside {self.beside} columns of a box" if self.beside else f"behind {self.front} columns of a box"
        return f"{self.classes} class{'es' if self.classes > 1 else ''}{several} {box}"


#: What stands on a grid.
Grids = dict[Grid, list[RawMap]]


def raw_tables(trail: Trail, count: int | None, among: frozenset[int], without: frozenset[int]) -> dict[int, ClassTable] | No:
    """The tables of the class logits by origin. count: how many classes there are, where anybody said so.

    among: maps of which one at least has to hold classes. without: maps that are scores of another kind.
    """
    grids = _maps_by_grid(trail, count, without)
    if count is None and all(raw.box for maps in grids.values() for raw in maps):
        return No("no tensor holds one score per position and class")
    readings = _settled(trail, grids, among, count)
    if len(readings) != 1:
        return _unsettled(grids, readings, count)
    return _tables(trail, grids, readings[0])


def _settled(trail: Trail, grids: Grids, among: frozenset[int], count: int | None) -> list[Reading]:
    """The readings that nothing speaks against."""
    apart = [narrowed for reading in _apart(grids) if (narrowed := _within(reading, among))]
    read = [narrowed for reading in apart if (narrowed := _within(reading, frozenset(trail.nms)))]
    apart = read or apart
    if count is None:
        return _distinct(reading for reading in apart if reading.usual)
    # Of a background the labels say nothing: one class more is the next best reading.
    for classes in (count, count + 1):
        fitting = [reading for reading in apart if reading.classes == classes]
        if fitting:
            return _distinct(reading for reading in fitting if reading.usual) or _distinct(fitting)
        joint = [narrowed for reading in _joint(grids, count) if (narrowed := _within(reading, among))]
        if joint:
            return _distinct(joint)
    return []


def _within(reading: Reading, among: frozenset[int]) -> Reading | None:
    """With the maps of `among` alone on every grid that has some; None where none of the reading's maps is there."""
    held = tuple((grid, frozenset(place for place in places if place[0] in among)) for grid, places in reading.places)
    if not any(kept for _, kept in held):
        return None
    places = tuple((grid, kept or all_) for (grid, all_), (_, kept) in zip(reading.places, held))
    return Reading(reading.classes, places, reading.front, reading.beside, reading.usual)


def _distinct(readings: Iterable[Reading]) -> list[Reading]:
    """Readings by what they say of the classes; which map holds the boxes makes no difference."""
    return list({(reading.classes, reading.front, reading.places): reading for reading in readings}.values())


def _unsettled(grids: Grids, readings: list[Reading], count: int | None) -> No:
    widths = " and ".join(map(str, sorted({raw.width for maps in grids.values() for raw in maps})))
    alone = all(len(maps) == 1 for maps in grids.values())
    said = "" if count is None else f" (not with {count} classes)"
    if not readings and alone:
        return No(
            f"one tensor of {widths} channels per level and no activation: no boxes beside it (a segmentation model?), "
            f"or boxes in it{said}, then give --num-classes",
            near=True,
        )
    what = f"tensors of {widths} channels leave the graph without an activation, and which are classes can't be told{said}"
    if not readings:
        return No(f"{what}; give --num-classes", near=True)
    options = " or ".join(dict.fromkeys(str(reading.classes) for reading in readings))
    texts = ", or ".join(dict.fromkeys(reading.text for reading in readings))
    return No(f"{what}: {texts}; give --num-classes {options}", near=True)


def _tables(trail: Trail, grids: Grids, reading: Reading) -> dict[int, ClassTable] | No:
    if reading.alike:
        grid, places = next((grid, places) for grid, places in reading.places if len(places) > 1)
        return No(
            f"{len(places)} tensors at {grid[0]} x {grid[1]} may be {reading.text}, and which can't be told: nothing tells class "
            "from objectness, boxes and other values; name an output that holds classes with --output",
            near=True,
            final=True,
        )
    tables = {}
    for grid, places in reading.places:
        origin, anchors = next(iter(places))
        raw = next(raw for raw in grids[grid] if raw.origin == origin)
        rows = raw.table.channels if raw.table is not None else _blocks(trail.maps[origin], anchors)
        tables[origin] = ClassTable(tuple(row[reading.front :] for row in rows), -1)
    return tables


def _blocks(head: HeadMap, anchors: int) -> tuple[tuple[int, ...], ...]:
    """Anchor by anchor, its channels side by side."""
    width = head.channels // anchors
    return tuple(tuple(range(a * width, (a + 1) * width)) for a in range(anchors))


# Every head map as the graph reads it.


def _maps_by_grid(trail: Trail, count: int | None, without: frozenset[int]) -> Grids:
    anchors = box_anchors_by_grid(trail, frozenset())
    wholes = {i: frozenset(range(head.channels)) for i, head in enumerate(trail.maps)}
    hints = shared_axis(trail, wholes)
    grids: Grids = defaultdict(list)
    for origin, head in enumerate(trail.maps):
        if origin in without:
            continue
        grids[head.grid].append(_raw_map(trail, origin, anchors.get(head.grid), hints.get(origin), count))
    return grids


def _raw_map(trail: Trail, origin: int, anchors: int | None, hint: int | None, count: int | None) -> RawMap:
    """anchors: of the boxes on the map's grid, where the graph makes rows of them. hint: see `tabulated`."""
    head = trail.maps[origin]
    whole = frozenset(range(head.channels))
    box = origin in trail.integrated or trail.is_flagged(origin, BENT)
    if head.channels == anchors and melts(trail, origin, whole):
        return RawMap(origin, 1, single(whole), box)
    table = tabulated(trail, origin, whole, hint, count)
    in_rows = table is not None and table.node != head.port[0]  # seen further down than on the map itself
    if table is None or (table.anchors == 1 and not in_rows):
        return RawMap(origin, head.channels, None, box)
    return RawMap(origin, table.classes, table, box)


# Classes in one map, boxes in another.


def _apart(grids: Grids) -> list[Reading]:
    """Readings that fit every grid on which several maps stand."""
    wide = {grid: maps for grid, maps in grids.items() if len(maps) > 1}
    by_grid = [_pairs(maps) for maps in wide.values()]
    if not by_grid:
        return []
    common = [key for key in by_grid[0] if all(key in pairs for pairs in by_grid)]
    return [
        Reading(
            classes, tuple((grid, frozenset(pairs[classes, columns].places)) for grid, pairs in zip(wide, by_grid)),
            beside=columns, usual=all(pairs[classes, columns].usual for pairs in by_grid),
        )
        for classes, columns in common
    ]  # fmt: skip


@dataclass
class _Pair:
    places: set[Place]
    usual: bool = False


def _pairs(maps: list[RawMap]) -> dict[tuple[int, int], _Pair]:
    """(classes, columns of a box) -> where the classes may stand among the maps of one grid."""
    known = [raw for raw in maps if raw.box]
    widths = {raw.width for raw in maps}
    pairs: dict[tuple[int, int], _Pair] = {}

    def note(raw: RawMap, anchors: int, classes: int, columns: int, usual: bool) -> None:
        pair = pairs.setdefault((classes, columns), _Pair(set()))
        pair.places.add((raw.origin, anchors))
        pair.usual |= usual

    for raw in maps:
        if raw.box:
            continue
        for other in known or maps:
            if other is not raw:
                for anchors, classes, columns in _shares(raw, other):
                    if raw.table is None and any(one.table is None and one.width % anchors for one in maps):
                        continue  # every map of a grid has as many anchors
                    usual = _usual(classes, columns, bool(widths & {4, 4 * anchors}), bool(known))
                    note(raw, anchors, classes, columns, usual)
        # Centre points: sizes and offsets are a tensor of two channels each.
        if not known and _centre_points(maps, raw):
            note(raw, 1, raw.width, 4, True)
    return pairs


def _shares(raw: RawMap, other: RawMap) -> Iterator[tuple[int, int, int]]:
    """(anchors, classes, columns of a box) if `raw` holds classes and `other` boxes."""
    if raw.table is not None and other.table is not None:
        numbers: Iterable[int] = (1,)
    elif raw.table is not None or other.table is not None:
        numbers = ((raw.table or other.table or ClassTable(((0,),), -1)).anchors,)
    else:
        numbers = range(1, min(raw.width, other.width) + 1)
    for anchors in numbers:
        classes = raw.width if raw.table is not None else raw.width / anchors
        columns = other.width if other.table is not None else other.width / anchors
        if classes == int(classes) >= 1 and columns == int(columns) >= _FEW:
            yield anchors, int(classes), int(columns)


def _usual(classes: int, columns: int, four: bool, known: bool) -> bool:
    """Whether boxes have so many columns, of their own kind or since so few classes are none.

    four: whether some map holds exactly four of them. known: whether the graph itself makes boxes of that map.
    """
    if known or box_width(columns):
        return True
    return not four and (columns % 4 == 0 or (classes < _FEW and columns <= _MANY_COLUMNS))


def _centre_points(maps: list[RawMap], heat: RawMap) -> bool:
    pairs = [raw for raw in maps if raw is not heat and raw.width == 2 and raw.table is None]
    return len(pairs) >= 2


# Everything in one map.


def _joint(grids: Grids, count: int) -> Iterator[Reading]:
    for front in IN_FRONT:
        places = {grid: frozenset(_holding(maps, count + front)) for grid, maps in grids.items()}
        if all(places.values()):
            yield Reading(count, tuple(places.items()), front=front)


def _holding(maps: list[RawMap], width: int) -> Iterator[Place]:
    for raw in maps:
        if raw.table is not None and raw.width == width:
            yield raw.origin, raw.table.anchors
        elif raw.table is None and raw.width % width == 0:
            yield raw.origin, raw.width // width
