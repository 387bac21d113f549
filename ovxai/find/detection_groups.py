"""Which of the taps are class scores: sort them into groups, tell classes from objectness, boxes and the rest."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ovxai.find.detection_layouts import layouts
from ovxai.find.detection_raw import raw_scores
from ovxai.find.detection_probes import SOFTMAX
from ovxai.find.detection_trail import Layout, Trail, score_channels
from ovxai.find.verdict import No

TARGET_HINT = "name the class-logit tensors with --target-layer (once a level)"


@dataclass(frozen=True)
class Chosen:
    """layouts: tap number -> layout of its class channels. boxes: taps on the same grids that are not scores."""

    layouts: dict[int, Layout]
    activation: str
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        return next(iter(self.layouts.values())).classes


def choose(trail: Trail, count: int | None) -> Chosen | No:
    """The class scores among the taps; `count` is the number of labels, where anybody gave one."""
    scores = {}
    for tap in range(len(trail.taps)):
        layout = trail.declared.get(tap)
        channels = frozenset(c for row in layout.channels for c in row) if layout else score_channels(trail, tap)
        if channels and tap not in trail.integrated:
            scores[tap] = channels
    if not scores:
        return choose_raw(trail, count)
    found = {tap: layout for tap, layout in layouts(trail, scores, count).items() if _together(trail, tap, layout)}
    found = {tap: _behind_the_box(trail, tap, layout, count) for tap, layout in found.items()}
    notes: list[str] = []
    found = {tap: _without_objectness(trail, tap, layout, count, notes) for tap, layout in found.items()}
    found = {tap: layout for tap, layout in found.items() if layout is not None}
    if not found:
        objectness = next(iter(notes), "scores were found, but not how their channels split into anchors and classes")
        return No(f"{objectness}; give --num-classes, or {TARGET_HINT}", near=True, final=bool(notes))
    return _pick(trail, found, count, notes)


def choose_raw(trail: Trail, count: int | None) -> Chosen | No:
    """Heads that hand out logits: classes and boxes are told apart by what the boxes can't be."""
    found = raw_scores(trail, count)
    if not found:
        return No(f"{found.reason}, or {TARGET_HINT}", near=found.near)
    return Chosen(found, "none")


def _together(trail: Trail, tap: int, layout: Layout) -> bool:
    """Whether an anchor's classes stand side by side (or, class-major, an anchor's width apart).

    What stands between other values, as the visibility of keypoints between their places, is no list of classes.
    """
    if tap in trail.softmaxed or tap in trail.declared:
        return True
    steps = {after - before for row in layout.channels for before, after in zip(sorted(row), sorted(row)[1:])}
    return steps in (set(), {1}, {layout.anchors})


def _behind_the_box(trail: Trail, tap: int, layout: Layout, count: int | None) -> Layout:
    """Where everything has one activation, box and objectness too, the number of classes says where they begin."""
    head = layout.classes - count if count else 0
    if head not in (4, 5) or layout.anchors * layout.classes != trail.taps[tap].channels:
        return layout
    return Layout(tuple(row[head:] for row in layout.channels), layout.node)


def _without_objectness(trail: Trail, tap: int, layout: Layout, count: int | None, notes: list[str]) -> Layout | None:
    """In a tensor that holds boxes too, the score right behind the box columns is the objectness, not a class."""
    rest = set(range(trail.taps[tap].channels)) - {channel for row in layout.channels for channel in row}
    if (
        tap in trail.softmaxed
        or tap in trail.declared
        or not any(channel < layout.channels[0][0] for channel in rest)
        or layout.classes == count
    ):
        return layout
    if layout.classes == 1:
        notes.append("boxes and one score come out of one convolution: objectness only, no class scores")
        return None
    notes.append(
        "boxes, objectness and classes come out of one convolution; the first score a box is taken as objectness"
    )
    return Layout(tuple(row[1:] for row in layout.channels), layout.node)


def _activation(trail: Trail, tap: int) -> str:
    return "softmax" if tap in trail.softmaxed or _flagged(trail, tap, SOFTMAX) else "sigmoid"


def _flagged(trail: Trail, tap: int, flag: int) -> bool:
    return any((probes.flags[probes.tap == tap] & flag).any() for probes in trail.known.values())


def _pick(trail: Trail, found: dict[int, Layout], count: int | None, notes: list[str]) -> Chosen | No:
    groups: dict[tuple[int, str], dict[int, Layout]] = defaultdict(dict)
    for tap, layout in found.items():
        groups[(layout.classes, _activation(trail, tap))][tap] = layout
    many = {key: group for key, group in groups.items() if key[0] > 1}
    if len(many) > 1:
        many = _preferred(trail, many, count)
    if len(many) > 1:
        sizes = " and ".join(f"{key[0]} ({key[1]}, {len(group)} tensors)" for key, group in many.items())
        return No(f"several sets of tensors could be the class scores: {sizes} channels; {TARGET_HINT}")
    if many:
        (classes, activation), group = next(iter(many.items()))
        return Chosen(group, activation, tuple(notes))
    return _one_class(trail, {tap: layout for group in groups.values() for tap, layout in group.items()}, notes)


def _preferred(trail: Trail, groups: dict, count: int | None) -> dict:
    """Of several sets the one that NMS reads, else the one with as many classes as there are labels."""
    read = {key: group for key, group in groups.items() if trail.nms & set(group)}
    if len(read) == 1:
        return read
    fitting = {key: group for key, group in groups.items() if key[0] == count}
    return fitting if len(fitting) == 1 else groups


def _one_class(trail: Trail, group: dict[int, Layout], notes: list[str]) -> Chosen | No:
    """One score a box: where there are two such tensors, the one that grows on the box tower is the objectness."""
    by_grid: dict[tuple[int, int], list[int]] = defaultdict(list)
    for tap in group:
        by_grid[trail.taps[tap].grid].append(tap)
    kept: dict[int, Layout] = {}
    for grid, taps in by_grid.items():
        sources = {tap.source for i, tap in enumerate(trail.taps) if tap.grid == grid and i not in group}
        own = [tap for tap in taps if trail.taps[tap].source not in sources] or taps
        if len(own) != 1:
            return No(
                f"{len(own)} scores a box at {grid[0]} x {grid[1]}, and nothing tells class from objectness; "
                f"{TARGET_HINT}",
                final=any(tap.grid == grid and tap.channels % 4 == 0 for tap in trail.taps),
            )
        kept[own[0]] = group[own[0]]
    notes.append("one score a box: a detector of a single class")
    return Chosen(kept, _activation(trail, next(iter(kept))), tuple(notes))


def box_evidence(trail: Trail, chosen: Chosen) -> str:
    """Why this is a detector and not a segmentation model: beside the scores stand boxes; '' when nothing does."""
    for tap, layout in chosen.layouts.items():
        one = trail.taps[tap]
        rest = one.channels - layout.anchors * layout.classes
        if rest >= 4 * layout.anchors:
            return f"{rest} more channels in the same tensor hold boxes"
        beside = [t.channels for i, t in enumerate(trail.taps) if i not in chosen.layouts and t.grid == one.grid]
        boxes = [channels for channels in beside if channels % 4 == 0]
        if boxes:
            return f"a tensor of {boxes[0]} channels on the same {one.grid[0]} x {one.grid[1]} grid holds boxes"
        # Centre points: sizes and offsets are a tensor of two channels each.
        if len(chosen.layouts) == 1 and beside.count(2) >= 2:
            return f"tensors of two channels on the same {one.grid[0]} x {one.grid[1]} grid hold sizes and offsets"
    return ""
