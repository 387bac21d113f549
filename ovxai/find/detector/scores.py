"""Which of the head maps are class scores: sort them into groups, tell classes from objectness, boxes and the rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace

from ovxai.find.detector.boxes import box_anchors_by_grid, box_evidence, holds_boxes
from ovxai.find.detector.raw import raw_tables
from ovxai.find.detector.tracers import ACTIVATED, SOFTMAX
from ovxai.find.detector.trail import ClassTable, Trail, class_tables, score_channels
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


def choose(trail: Trail, count: int | None, among: frozenset[int] | None = None) -> ClassScores | No:
    """The class scores among the head maps.

    count: the number of labels, where anybody gave one; it is held against every way to read the maps. among: origins of
    the maps from which the output that somebody named is made; None where nobody did.
    """
    within = frozenset(range(len(trail.maps))) if among is None else among
    scores = _choose_activated(trail, count, within)
    if count is not None and not (isinstance(scores, ClassScores) and _agrees(scores, count)):
        # A model may activate its objectness, and leave its classes as they are.
        raw = _choose_raw(trail, count, within, frozenset(i for i in range(len(trail.maps)) if score_channels(trail, i)))
        scores = raw if scores is None or isinstance(raw, ClassScores) else scores
    if scores is None:
        scores = _choose_raw(trail, count, within, frozenset())
    if not trail.missing:
        return scores
    ends = f"channels can't be followed further: no rule for {', '.join(sorted(trail.missing))}"
    if isinstance(scores, No):
        return replace(scores, reason=f"{scores.reason} ({ends})")
    return replace(scores, notes=(*scores.notes, f"{ends}; what stands behind it was not looked at"))


def _agrees(scores: ClassScores, count: int) -> bool:
    return scores.classes == count or (scores.activation != "sigmoid" and scores.classes == count + 1)


def _choose_activated(trail: Trail, count: int | None, among: frozenset[int]) -> ClassScores | No | None:
    """Class scores behind a sigmoid or softmax; None where nothing is activated."""
    scores: dict[int, frozenset[int]] = {}
    for origin in range(len(trail.maps)):
        declared = trail.declared.get(origin)
        channels = declared.flat if declared else score_channels(trail, origin)
        if channels and origin not in trail.integrated:
            scores[origin] = channels
    if not scores:
        return None
    tables: Tables = {}
    notes: list[str] = []
    for origin, table in class_tables(trail, scores, box_anchors_by_grid(trail, scores), count).items():
        if _together(trail, origin, table):
            kept = _without_objectness(trail, origin, _behind_the_box(trail, origin, table, count), count, notes)
            if kept is not None:
                tables[origin] = kept
    if not tables:
        objectness = next(iter(notes), "scores were found, but not how their channels split into anchors and classes")
        return No(f"{objectness}; give --num-classes, or {TARGET_HINT}", near=True, final=bool(notes))
    return _pick(trail, tables, count, among, notes)


def _choose_raw(trail: Trail, count: int | None, among: frozenset[int], without: frozenset[int]) -> ClassScores | No:
    """Heads that hand out logits: classes and boxes are told apart by what the boxes can't be."""
    tables = raw_tables(trail, count, among, without)
    if isinstance(tables, No):
        return replace(tables, reason=f"{tables.reason}, or {TARGET_HINT}")
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
    """In a tensor that holds boxes too, the first score behind them may be the objectness: told by how it is used."""
    rest = set(range(trail.maps[origin].channels)) - table.flat
    boxes_before = any(channel < table.channels[0][0] for channel in rest)
    if _is_stated(trail, origin) or not boxes_before or table.classes == count:
        return table
    if table.classes == 1:
        notes.append("boxes and one score come out of one convolution: objectness only, no class scores")
        return None
    if not _has_objectness(trail, origin, table) and table.classes - 1 != count:
        every, fewer = table.classes, table.classes - 1
        notes.append(
            f"boxes and {every} scores come out of one convolution: {every} classes, or objectness and {fewer} class"
            f"{'es' if fewer > 1 else ''}; --num-classes {every} or {fewer} says which"
        )
        return None
    notes.append("boxes, objectness and classes come out of one convolution; the first score per box is taken as objectness")
    return ClassTable(tuple(row[1:] for row in table.channels), table.node)


def _has_objectness(trail: Trail, origin: int, table: ClassTable) -> bool:
    """Whether the first score is multiplied with the others, or the box is activated along with them, as YOLO does it."""
    first = {row[0] for row in table.channels}
    activated = {
        channel
        for tracers in trail.known.values()
        for channel in tracers.channel[(tracers.origin == origin) & (tracers.flags & ACTIVATED != 0)].tolist()
    }
    return first <= trail.factors.get(origin, set()) or len(activated - table.flat) >= 2 * table.anchors


def _activation(trail: Trail, origin: int) -> str:
    return "softmax" if origin in trail.softmaxed or trail.is_flagged(origin, SOFTMAX) else "sigmoid"


def _pick(trail: Trail, tables: Tables, count: int | None, among: frozenset[int], notes: list[str]) -> ClassScores | No:
    groups: Groups = defaultdict(dict)
    for origin, table in tables.items():
        groups[(table.classes, _activation(trail, origin))][origin] = table
    # Where a model does more than detect, what stands beside boxes is of its detector.
    held = {key: {o: group[o] for o in box_evidence(trail, group)} for key, group in groups.items()}
    boxed = {key: group for key, group in held.items() if group}
    # Of an output that somebody named, all levels count: each may be an output of its own.
    named = {key: group for key, group in (boxed or groups).items() if among & set(group)}
    if not named:
        return No(f"the output that was named holds no class scores beside boxes (segmentation?); {TARGET_HINT}", near=True)
    groups = _fitting(named, count)
    many = {key: group for key, group in groups.items() if key[0] > 1}
    if len(many) > 1:
        many = _preferred(trail, many, count)
    if len(many) > 1:
        sizes = " and ".join(f"{key[0]} ({key[1]}, {len(group)} tensors)" for key, group in many.items())
        return No(f"several sets of tensors could be the class scores: {sizes} channels; {TARGET_HINT}", near=bool(boxed))
    if many:
        (classes, activation), group = next(iter(many.items()))
        twice = _twice(trail, group, among)
        if twice is None:
            return No(
                f"{len(group)} tensors hold {classes} scores per box, several on one grid, and which are the classes can't be "
                f"told; name an output that holds them with --output, or {TARGET_HINT}",
                near=True,
            )
        return ClassScores(twice, activation, tuple(notes))
    group = {origin: table for group in groups.values() for origin, table in group.items()}
    return _one_class(trail, group, among, notes)


def _fitting(groups: Groups, count: int | None) -> Groups:
    """Those with as many classes as are known to be, with a background that labels leave out; else all of them."""
    exact = {key: group for key, group in groups.items() if key[0] == count}
    behind = {key: group for key, group in groups.items() if count and key == (count + 1, "softmax")}
    return exact or behind or groups


def _twice(trail: Trail, group: Tables, among: frozenset[int]) -> Tables | None:
    """One tensor per grid: of several on one, those that the named output is made of; None where that settles nothing."""
    kept = {
        origin: table
        for origin, table in group.items()
        if origin in among or not any(o in among and trail.maps[o].grid == trail.maps[origin].grid for o in group)
    }
    return kept if max(Counter(trail.maps[origin].grid for origin in kept).values()) == 1 else None


def _preferred(trail: Trail, groups: Groups, count: int | None) -> Groups:
    """Of several sets the one that NMS reads, else the one with as many classes as there are labels."""
    read = {key: group for key, group in groups.items() if trail.nms & set(group)}
    if len(read) == 1:
        return read
    fitting = {key: group for key, group in groups.items() if key[0] == count}
    return fitting if len(fitting) == 1 else groups


def _one_class(trail: Trail, group: Tables, among: frozenset[int], notes: list[str]) -> ClassScores | No:
    """One score per box: where there are two such tensors, the one that grows on the box tower is the objectness."""
    by_grid: dict[Grid, list[int]] = defaultdict(list)
    for origin in group:
        by_grid[trail.maps[origin].grid].append(origin)
    kept: Tables = {}
    for grid, origins in by_grid.items():
        sources = {head.source for i, head in enumerate(trail.maps) if head.grid == grid and i not in group}
        own = [origin for origin in origins if trail.maps[origin].source not in sources] or origins
        if len(own) > 1 and len(among) < len(trail.maps):
            own = [origin for origin in origins if origin in among] or own
        if len(own) != 1:
            return No(
                f"{len(own)} scores per box at {grid[0]} x {grid[1]}, and nothing tells class from objectness; {TARGET_HINT}",
                final=any(head.grid == grid and holds_boxes(head, 1) for head in trail.maps),
            )
        kept[own[0]] = group[own[0]]
    notes.append("one score per box: a detector of a single class")
    return ClassScores(kept, _activation(trail, next(iter(kept))), tuple(notes))
