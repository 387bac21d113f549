"""Which of the head maps are class scores: sort them into groups, tell classes from objectness, boxes and the rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from ovxai.find.detector.maps import HeadMap
from ovxai.find.detector.tracers import BENT, SOFTMAX
from ovxai.find.detector.trail import (
    ClassTable,
    Trail,
    box_anchors_by_grid,
    class_tables,
    melts,
    score_channels,
    shared_axis,
    single,
    tabulated,
)
from ovxai.find.site import No
from ovxai.graph.dims import Grid

TARGET_HINT = "name the class-logit tensors with --target-layer (once per level)"

#: By origin: the number of a map in the trail.
Tables = dict[int, ClassTable]
#: Of maps with as many classes and the same activation.
Groups = dict[tuple[int, str], Tables]


@dataclass(frozen=True)
class ClassScores:
    """tables: of the maps that hold class scores. activation: what the model itself applies to them."""

    tables: Tables
    activation: str
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        return next(iter(self.tables.values())).classes


def choose(trail: Trail, count: int | None) -> ClassScores | No:
    """The class scores among the head maps; `count` is the number of labels, where anybody gave one."""
    scores = _choose(trail, count)
    if isinstance(scores, No) and trail.missing:
        rules = ", ".join(sorted(trail.missing))
        return No(f"{scores.reason} (channels can't be followed further: no rule for {rules})", scores.near, scores.final)
    return scores


def _choose(trail: Trail, count: int | None) -> ClassScores | No:
    scores: dict[int, frozenset[int]] = {}
    for origin in range(len(trail.maps)):
        declared = trail.declared.get(origin)
        channels = declared.flat if declared else score_channels(trail, origin)
        if channels and origin not in trail.integrated:
            scores[origin] = channels
    if not scores:
        return _choose_raw(trail, count)
    tables: Tables = {}
    notes: list[str] = []
    for origin, table in class_tables(trail, scores, count).items():
        if _together(trail, origin, table):
            kept = _without_objectness(trail, origin, _behind_the_box(trail, origin, table, count), count, notes)
            if kept is not None:
                tables[origin] = kept
    if not tables:
        objectness = next(iter(notes), "scores were found, but not how their channels split into anchors and classes")
        return No(f"{objectness}; give --num-classes, or {TARGET_HINT}", near=True, final=bool(notes))
    return _pick(trail, tables, count, notes)


def _choose_raw(trail: Trail, count: int | None) -> ClassScores | No:
    """Heads that hand out logits: classes and boxes are told apart by what the boxes can't be."""
    tables = raw_tables(trail, count)
    if isinstance(tables, No):
        return No(f"{tables.reason}, or {TARGET_HINT}", near=tables.near)
    return ClassScores(tables, "none")


def _together(trail: Trail, origin: int, table: ClassTable) -> bool:
    """Whether an anchor's classes stand side by side (or, class-major, an anchor's width apart).

    What stands between other values, as the visibility of keypoints between their places, is no list of classes.
    """
    if _is_stated(trail, origin):
        return True
    steps = {after - before for row in table.channels for before, after in zip(sorted(row), sorted(row)[1:])}
    return steps in (set(), {1}, {table.anchors})


def _is_stated(trail: Trail, origin: int) -> bool:
    """Whether an operation itself says which channels are classes."""
    return origin in trail.softmaxed or origin in trail.declared


def _behind_the_box(trail: Trail, origin: int, table: ClassTable, count: int | None) -> ClassTable:
    """Where everything has one activation, box and objectness too, the number of classes says where they begin."""
    head = table.classes - count if count else 0
    if head not in (4, 5) or table.anchors * table.classes != trail.maps[origin].channels:
        return table
    return ClassTable(tuple(row[head:] for row in table.channels), table.node)


def _without_objectness(trail: Trail, origin: int, table: ClassTable, count: int | None, notes: list[str]) -> ClassTable | None:
    """In a tensor that holds boxes too, the score right behind the box columns is the objectness, not a class."""
    rest = set(range(trail.maps[origin].channels)) - table.flat
    boxes_before = any(channel < table.channels[0][0] for channel in rest)
    if _is_stated(trail, origin) or not boxes_before or table.classes == count:
        return table
    if table.classes == 1:
        notes.append("boxes and one score come out of one convolution: objectness only, no class scores")
        return None
    notes.append("boxes, objectness and classes come out of one convolution; the first score per box is taken as objectness")
    return ClassTable(tuple(row[1:] for row in table.channels), table.node)


def _activation(trail: Trail, origin: int) -> str:
    return "softmax" if origin in trail.softmaxed or trail.is_flagged(origin, SOFTMAX) else "sigmoid"


def _pick(trail: Trail, tables: Tables, count: int | None, notes: list[str]) -> ClassScores | No:
    groups: Groups = defaultdict(dict)
    for origin, table in tables.items():
        groups[(table.classes, _activation(trail, origin))][origin] = table
    many = {key: group for key, group in groups.items() if key[0] > 1}
    if len(many) > 1:
        many = _preferred(trail, many, count)
    if len(many) > 1:
        sizes = " and ".join(f"{key[0]} ({key[1]}, {len(group)} tensors)" for key, group in many.items())
        return No(f"several sets of tensors could be the class scores: {sizes} channels; {TARGET_HINT}")
    if many:
        (_, activation), group = next(iter(many.items()))
        return ClassScores(group, activation, tuple(notes))
    return _one_class(trail, {origin: table for group in groups.values() for origin, table in group.items()}, notes)


def _preferred(trail: Trail, groups: Groups, count: int | None) -> Groups:
    """Of several sets the one that NMS reads, else the one with as many classes as there are labels."""
    read = {key: group for key, group in groups.items() if trail.nms & set(group)}
    if len(read) == 1:
        return read
    fitting = {key: group for key, group in groups.items() if key[0] == count}
    return fitting if len(fitting) == 1 else groups


def _one_class(trail: Trail, group: Tables, notes: list[str]) -> ClassScores | No:
    """One score per box: where there are two such tensors, the one that grows on the box tower is the objectness."""
    by_grid: dict[Grid, list[int]] = defaultdict(list)
    for origin in group:
        by_grid[trail.maps[origin].grid].append(origin)
    kept: Tables = {}
    for grid, origins in by_grid.items():
        sources = {head.source for i, head in enumerate(trail.maps) if head.grid == grid and i not in group}
        own = [origin for origin in origins if trail.maps[origin].source not in sources] or origins
        if len(own) != 1:
            return No(
                f"{len(own)} scores per box at {grid[0]} x {grid[1]}, and nothing tells class from objectness; {TARGET_HINT}",
                final=any(head.grid == grid and head.channels % 4 == 0 for head in trail.maps),
            )
        kept[own[0]] = group[own[0]]
    notes.append("one score per box: a detector of a single class")
    return ClassScores(kept, _activation(trail, next(iter(kept))), tuple(notes))


def box_evidence(trail: Trail, scores: ClassScores) -> str:
    """Why this is a detector and not a segmentation model: beside the scores stand boxes; '' when nothing does."""
    for origin, table in scores.tables.items():
        head = trail.maps[origin]
        rest = head.channels - table.anchors * table.classes
        if rest >= 4 * table.anchors:
            return f"{rest} more channels in the same tensor hold boxes"
        beside = [other.channels for i, other in enumerate(trail.maps) if i not in scores.tables and other.grid == head.grid]
        boxes = [channels for channels in beside if channels % 4 == 0]
        if boxes:
            return f"a tensor of {boxes[0]} channels on the same {head.grid[0]} x {head.grid[1]} grid holds boxes"
        # Centre points: sizes and offsets are a tensor of two channels each.
        if len(scores.tables) == 1 and beside.count(2) >= 2:
            return f"tensors of two channels on the same {head.grid[0]} x {head.grid[1]} grid hold sizes and offsets"
    return ""


# Heads whose class logits leave the graph without any activation: what is left when the boxes are taken out.
#
# Where the graph lays a tensor out as rows, the columns of a row speak (4 are a box's); else the channels do. Whatever
# fits two readings is refused: `--num-classes` or the labels settle it.

#: Columns in front of the classes in a row that holds everything: none; box and objectness; a box alone.
IN_FRONT = (0, 5, 4)
#: Channels of four sides as distributions over 8, 16 or 17 bins, the numbers in use.
DISTRIBUTIONS = (32, 64, 68)


@dataclass(frozen=True)
class Reading:
    """A head map as the graph reads it. width: columns of a row, or channels where nothing makes rows of it.

    table: None where nothing makes rows. box: whether its values are bent (exp) or summed over bins, as sides are.
    """

    origin: int
    width: int
    table: ClassTable | None
    box: bool


#: By width.
Readings = dict[int, list[Reading]]


def raw_tables(trail: Trail, count: int | None) -> Tables | No:
    """The tables of the class logits, told from boxes by NMS, by the number of labels, or by elimination."""
    anchors = box_anchors_by_grid(trail, {})
    hints = shared_axis(trail, dict(enumerate(map(_whole, trail.maps))))
    readings = [_reading(trail, i, anchors.get(head.grid), hints.get(i), count) for i, head in enumerate(trail.maps)]
    groups: Readings = defaultdict(list)
    for reading in readings:
        if not reading.box:
            groups[reading.width].append(reading)
    width = _class_width(trail, groups, any(reading.box for reading in readings), count)
    if isinstance(width, No):
        return width
    tables: Tables = {}
    for reading in groups[width]:
        table = _raw_table(trail, reading, readings, count)
        if isinstance(table, No):
            return table
        tables[reading.origin] = table
    return tables


def _whole(head: HeadMap) -> frozenset[int]:
    return frozenset(range(head.channels))


def _reading(trail: Trail, origin: int, anchors: int | None, hint: int | None, count: int | None) -> Reading:
    """anchors: of the boxes on the map's grid, where the graph makes rows of them. hint: see `tabulated`."""
    head = trail.maps[origin]
    total, whole = head.channels, _whole(head)
    box = origin in trail.integrated or trail.is_flagged(origin, BENT)
    if total == anchors and melts(trail, origin, whole):
        return Reading(origin, 1, single(whole), box)
    table = tabulated(trail, origin, whole, hint, count)
    in_rows = table is not None and table.node != head.port[0]  # seen further down than on the map itself
    if table is None or (table.anchors == 1 and not in_rows):
        return Reading(origin, total, None, box)
    return Reading(origin, table.classes, table, box)


def _class_width(trail: Trail, groups: Readings, boxes: bool, count: int | None) -> int | No:
    """The width of the group that holds classes. boxes: whether other maps are known to be boxes."""
    if not groups:
        return No("no tensor holds one score per position and class")
    read = {width for width, group in groups.items() if any(reading.origin in trail.nms for reading in group)}
    if len(read) == 1:
        return read.pop()
    once = {width: group for width, group in groups.items() if _one_per_grid(trail, group)}
    if count is not None:
        fitting = _fitting(once, count)
        joint = len(groups) == 1 and all(width % (count + 5) == 0 for width in fitting)
        if len(fitting) == 1 and (count > 1 or len(groups) == 2 or boxes or joint):
            return fitting[0]
    left = _without_boxes(groups, once, boxes)
    several = [width for width in left if width > 1]
    if len(several) == 1:
        return several[0]
    if left == [1]:
        return 1
    if len(groups) == 1 and not boxes and _one_per_grid(trail, next(iter(groups.values()))):
        return No(
            f"one tensor of {next(iter(groups))} channels per level and no activation: no boxes beside it (a "
            "segmentation model?), or boxes in it, then give --num-classes",
            near=True,
        )
    widths = " and ".join(str(width) for width in sorted(groups))
    return No(
        f"tensors of {widths} channels leave the graph without an activation, and which are classes can't be "
        "told; give --num-classes",
        near=True,
    )


def _one_per_grid(trail: Trail, group: list[Reading]) -> bool:
    """Classes are one tensor per level; two alike on one grid are sizes and offsets, or classes and boxes."""
    return max(Counter(trail.maps[reading.origin].grid for reading in group).values()) == 1


def _fitting(groups: Readings, count: int) -> list[int]:
    """Widths that `count` classes explain, the plainest explanation first."""
    rules: tuple[Callable[[int], bool], ...] = (
        lambda width: width == count,
        lambda width: _tables({width: groups[width]}) and width == count + 1,
        lambda width: width in (count + 5, count + 4),
        lambda width: width % (count + 5) == 0 and len(groups) == 1,
        lambda width: width % count == 0 and width != 4 and not _tables({width: groups[width]}),
    )
    for fits in rules:
        widths = [width for width in groups if fits(width)]
        if widths:
            return widths
    return []


def _tables(groups: Readings) -> bool:
    return any(reading.table is not None for group in groups.values() for reading in group)


def _without_boxes(groups: Readings, once: Readings, boxes: bool) -> list[int]:
    """Widths that may be classes once the boxes are known; none where nothing says which are boxes."""
    if boxes or (len(groups.get(2, [])) == 2 and 2 not in once):  # centre points: sizes and offsets
        return list(once)
    if 4 in once and len(once) > 1:
        # Four classes beside sides as distributions look just like many classes beside four sides.
        unclear = not _tables(once) and any(width in DISTRIBUTIONS for width in once)
        return [] if unclear else [width for width in once if width != 4]
    return [width for width in once if width % 4]


def _raw_table(trail: Trail, reading: Reading, readings: list[Reading], count: int | None) -> ClassTable | No:
    head, table = trail.maps[reading.origin], reading.table
    total, others = head.channels, [r for r in readings if r.origin != reading.origin and trail.maps[r.origin].grid == head.grid]
    if count is not None:
        front = next((front for front in IN_FRONT if reading.width == count + front), None)
        if front is not None:
            rows = table.channels if table is not None else (tuple(range(total)),)
            return ClassTable(tuple(row[front:] for row in rows), -1)
        if table is None and total % (count + 5) == 0 and not others:
            return _blocks(total, count + 5, 5)
        if table is None and total % count == 0:
            return _blocks(total, count, 0)
    if table is not None:
        return table
    sides = {trail.maps[r.origin].channels for r in others}
    anchors = {side // 4 for side in sides if side % 4 == 0}
    if any(number > 1 and total % number == 0 for number in anchors) and 1 not in anchors:
        return No(f"{total} channels may be classes of several anchors; give --num-classes", near=True)
    return ClassTable((tuple(range(total)),), -1)


def _blocks(total: int, width: int, front: int) -> ClassTable:
    """Anchor by anchor, `width` channels each, of which the first `front` are box and objectness."""
    return ClassTable(tuple(tuple(range(a * width + front, (a + 1) * width)) for a in range(total // width)), -1)
