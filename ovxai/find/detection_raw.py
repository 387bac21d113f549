"""Heads whose class logits leave the graph without any activation: what is left when the boxes are taken out."""

from __future__ import annotations

from collections import defaultdict

from ovxai.find.detection_layouts import box_anchors, single, tabulated
from ovxai.find.detection_probes import BENT
from ovxai.find.detection_trail import Layout, Trail
from ovxai.find.verdict import No


def raw_scores(trail: Trail, count: int | None) -> dict[int, Layout] | No:
    """Tap -> layout of the class logits, told from boxes by NMS, by the number of labels, or by elimination."""
    groups: dict[int, list[int]] = defaultdict(list)
    for number, tap in enumerate(trail.taps):
        if number not in trail.integrated and not _bent(trail, number):
            groups[tap.channels].append(number)
    width = _class_width(trail, groups, count)
    if not width:
        return width
    found = {}
    for tap in groups[width]:
        layout = _layout(trail, tap, count)
        if not layout:
            return layout
        found[tap] = layout
    return found


def _bent(trail: Trail, tap: int) -> bool:
    return any((probes.flags[probes.tap == tap] & BENT).any() for probes in trail.known.values())


def _class_width(trail: Trail, groups: dict[int, list[int]], count: int | None) -> int | No:
    """The number of channels of the tensors that hold classes."""
    if not groups:
        return No("no tensor holds one score a position and class")
    read = {width for width, taps in groups.items() if trail.nms & set(taps)}
    if len(read) == 1:
        return read.pop()
    if count is not None:
        fitting = [width for width in groups if width == count] or [w for w in groups if w % count == 0 and w != 4]
        if len(fitting) == 1 and (count > 1 or len(groups) == 2):
            return fitting[0]
    several = {width for width in groups if width > 1}
    not_boxes = {width for width in several if width % 4 and width != 2}
    if len(not_boxes) == 1:
        return not_boxes.pop()
    if not not_boxes and 4 in several and len(several) == 2:
        return (several - {4}).pop()
    widths = " and ".join(str(width) for width in sorted(groups))
    return No(
        f"tensors of {widths} channels leave the graph without an activation, and which are classes can't be told"
    )


def _layout(trail: Trail, tap: int, count: int | None) -> Layout | No:
    whole = frozenset(range(trail.taps[tap].channels))
    layout = tabulated(trail, tap, whole, count=count)
    if len(whole) == 1:
        return single(whole)
    anchors = {
        box_anchors(trail, other, frozenset(range(one.channels)))
        for other, one in enumerate(trail.taps)
        if other != tap and one.grid == trail.taps[tap].grid
    } - {None}
    melted = layout is not None and layout.node != trail.taps[tap].port[0]
    if layout is not None and (melted or anchors == {1} or (count in (layout.classes, layout.classes - 1))):
        return layout
    if count and len(whole) % count == 0:
        rows = len(whole) // count
        return Layout(tuple(tuple(range(a * count, (a + 1) * count)) for a in range(rows)), -1)
    if layout is not None and not anchors:
        return layout
    return No(f"{len(whole)} channels may be classes of several anchors; give --num-classes")
