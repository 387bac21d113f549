"""Heads whose class logits leave the graph without any activation: what is left when the boxes are taken out.

Where the graph lays a tensor out as rows, the columns of a row speak (4 are a box's); else the channels do. Whatever
fits two readings is refused: `--num-classes` or the labels settle it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from ovxai.find.detection_layouts import box_anchors_by_grid, melts, shared_axis, single, tabulated
from ovxai.find.detection_probes import BENT
from ovxai.find.detection_taps import Tap
from ovxai.find.detection_trail import Layout, Trail
from ovxai.find.verdict import No

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
    readings = [
        _reading(trail, number, anchors.get(tap.grid), hints.get(number), count)
        for number, tap in enumerate(trail.taps)
    ]
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
    box = tap in trail.integrated or any(
        (probes.flags[probes.tap == tap] & BENT).any() for probes in trail.known.values()
    )
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
