"""Which of the taps are class scores: sort them into groups, tell classes from objectness, boxes and the rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from ovxai.find.detector.probes import BENT, SOFTMAX
from ovxai.find.detector.taps import Tap
from ovxai.find.detector.trail import (
    Layout,
    Trail,
    box_anchors_by_grid,
    layouts,
    melts,
    score_channels,
    shared_axis,
    single,
    tabulated,
)
from ovxai.find.site import No

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
    notes.append("boxes, objectness and classes come out of one convolution; the first score a box is taken as objectness")
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
                f"{len(own)} scores a box at {grid[0]} x {grid[1]}, and nothing tells class from objectness; {TARGET_HINT}",
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


# Heads whose class logits leave the graph without any activation: what is left when the boxes are taken out.
#
# Where the graph lays a tensor out as rows, the columns of a row speak (4 are a box's); else the channels do. Whatever
# fits two readings is refused: `--num-classes` or the labels settle it.

#: Columns in front of the classes in a row that holds everything: none; box and objectness; a box alone.
HEADS = (0, 5, 4)
#: Channels of four sides as distributions over 8, 16 or 17 bins, the numbers in use.
DISTRIBUTIONS = (32, 64, 68)


@dataclass(frozen=True)
class Reading:
    """A tap as the graph reads it. width: columns of a row, or channels where nothing makes rows of it.

    layout: None where nothing makes rows. box: whether its values are bent (exp) or summed over bins, as sides are.
    """

    tap: int
    width: int
    layout: Layout | None
    box: bool


def raw_scores(trail: Trail, count: int | None) -> dict[int, Layout] | No:
    """Tap -> layout of the class logits, told from boxes by NMS, by the number of labels, or by elimination."""
    anchors = box_anchors_by_grid(trail, {})
    hints = shared_axis(trail, list(range(len(trail.taps))), dict(enumerate(map(_whole, trail.taps))))
    readings = [_reading(trail, number, anchors.get(tap.grid), hints.get(number), count) for number, tap in enumerate(trail.taps)]
    groups: dict[int, list[Reading]] = defaultdict(list)
    for reading in readings:
        if not reading.box:
            groups[reading.width].append(reading)
    width = _class_width(trail, groups, any(r.box for r in readings), count)
    if not width:
        return width
    found = {}
    for reading in groups[width]:
        layout = _layout(trail, reading, readings, count)
        if not layout:
            return layout
        found[reading.tap] = layout
    return found


def _whole(tap: Tap) -> frozenset[int]:
    return frozenset(range(tap.channels))


def _reading(trail: Trail, tap: int, anchors: int | None, hint: int | None, count: int | None) -> Reading:
    """anchors: of the boxes on the tap's grid, where the graph makes rows of them. hint: see `tabulated`."""
    total, whole = trail.taps[tap].channels, _whole(trail.taps[tap])
    box = tap in trail.integrated or any((probes.flags[probes.tap == tap] & BENT).any() for probes in trail.known.values())
    if total == anchors and melts(trail, tap, whole):
        return Reading(tap, 1, single(whole), box)
    layout = tabulated(trail, tap, whole, hint, count)
    if layout is None or (layout.anchors == 1 and not _in_rows(trail, tap, layout)):
        return Reading(tap, total, None, box)
    return Reading(tap, layout.classes, layout, box)


def _in_rows(trail: Trail, tap: int, layout: Layout) -> bool:
    """Whether the layout was seen further down than on the map itself."""
    return layout.node != trail.taps[tap].port[0]


def _class_width(trail: Trail, groups: dict[int, list[Reading]], boxes: bool, count: int | None) -> int | No:
    """The width of the group that holds classes. boxes: whether other taps are known to be boxes."""
    if not groups:
        return No("no tensor holds one score a position and class")
    read = {width for width, group in groups.items() if any(r.tap in trail.nms for r in group)}
    if len(read) == 1:
        return read.pop()
    once = {width: group for width, group in groups.items() if _one_a_grid(trail, group)}
    if count is not None:
        fitting = _fitting(once, count)
        joint = len(groups) == 1 and all(width % (count + 5) == 0 for width in fitting)
        if len(fitting) == 1 and (count > 1 or len(groups) == 2 or boxes or joint):
            return fitting[0]
    left = _without_boxes(trail, groups, once, boxes)
    several = [width for width in left if width > 1]
    if len(several) == 1:
        return several[0]
    if left == [1]:
        return 1
    if len(groups) == 1 and not boxes and _one_a_grid(trail, next(iter(groups.values()))):
        return No(
            f"one tensor of {next(iter(groups))} channels a level and no activation: no boxes beside it (a "
            "segmentation model?), or boxes in it, then give --num-classes",
            near=True,
        )
    widths = " and ".join(str(width) for width in sorted(groups))
    return No(
        f"tensors of {widths} channels leave the graph without an activation, and which are classes can't be "
        "told; give --num-classes",
        near=True,
    )


def _one_a_grid(trail: Trail, group: list[Reading]) -> bool:
    """Classes are one tensor a level; two alike on one grid are sizes and offsets, or classes and boxes."""
    return max(Counter(trail.taps[r.tap].grid for r in group).values()) == 1


def _fitting(groups: dict[int, list[Reading]], count: int) -> list[int]:
    """Widths that `count` classes explain, the plainest explanation first."""
    for fits in (
        lambda width: width == count,
        lambda width: _tables({width: groups[width]}) and width == count + 1,
        lambda width: width in (count + 5, count + 4),
        lambda width: width % (count + 5) == 0 and len(groups) == 1,
        lambda width: width % count == 0 and width != 4 and not _tables({width: groups[width]}),
    ):
        found = [width for width in groups if fits(width)]
        if found:
            return found
    return []


def _tables(groups: dict[int, list[Reading]]) -> bool:
    return any(r.layout is not None for group in groups.values() for r in group)


def _without_boxes(trail: Trail, groups: dict, once: dict, boxes: bool) -> list[int]:
    """Widths that may be classes once the boxes are known; none where nothing says which are boxes."""
    if boxes or (len(groups.get(2, [])) == 2 and 2 not in once):  # centre points: sizes and offsets
        return list(once)
    if 4 in once and len(once) > 1:
        # Four classes beside sides as distributions look just like many classes beside four sides.
        unclear = not _tables(once) and any(width in DISTRIBUTIONS for width in once)
        return [] if unclear else [width for width in once if width != 4]
    return [width for width in once if width % 4]


def _layout(trail: Trail, reading: Reading, readings: list[Reading], count: int | None) -> Layout | No:
    total, layout = trail.taps[reading.tap].channels, reading.layout
    if count is not None:
        head = next((head for head in HEADS if reading.width == count + head), None)
        if head is not None:
            rows = layout.channels if layout is not None else (tuple(range(total)),)
            return Layout(tuple(row[head:] for row in rows), -1)
        if layout is None and total % (count + 5) == 0 and _alone(trail, reading, readings):
            return _blocks(total, count + 5, 5)
        if layout is None and total % count == 0:
            return _blocks(total, count, 0)
    if layout is not None:
        return layout
    grid = trail.taps[reading.tap].grid
    sides = {trail.taps[r.tap].channels for r in readings if r.tap != reading.tap and trail.taps[r.tap].grid == grid}
    anchors = {side // 4 for side in sides if side % 4 == 0}
    if any(number > 1 and total % number == 0 for number in anchors) and 1 not in anchors:
        return No(f"{total} channels may be classes of several anchors; give --num-classes", near=True)
    return Layout((tuple(range(total)),), -1)


def _alone(trail: Trail, reading: Reading, readings: list[Reading]) -> bool:
    grid = trail.taps[reading.tap].grid
    return not any(r.tap != reading.tap and trail.taps[r.tap].grid == grid for r in readings)


def _blocks(total: int, width: int, head: int) -> Layout:
    """Anchor by anchor, `width` channels each, of which the first `head` are box and objectness."""
    return Layout(tuple(tuple(range(a * width + head, (a + 1) * width)) for a in range(total // width)), -1)
