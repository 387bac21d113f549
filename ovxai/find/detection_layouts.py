"""From trails to layouts: how many anchors and classes each tap has, and in which order its channels stand."""

from __future__ import annotations

from collections import defaultdict

from ovxai.find.detection_graph import Port
from ovxai.find.detection_trail import Layout, Trail, channel_axes, layout_along, mixed_axes, probes_of


def single(channels: frozenset[int]) -> Layout:
    """One class, every channel an anchor."""
    return Layout(tuple((channel,) for channel in sorted(channels)), -1)


def box_anchors(trail: Trail, tap: int, channels: frozenset[int], columns: int = 4) -> int | None:
    """How many anchors a box tap has: its channels over the columns that each row of its last table keeps."""
    layout = tabulated(trail, tap, channels)
    if layout is not None and layout.classes == columns:
        return layout.anchors
    return None


def tabulated(
    trail: Trail, tap: int, channels: frozenset[int], hint: int | None = None, count: int | None = None
) -> Layout | None:
    """The layout in the last tensor that keeps all these channels apart along exactly one axis.

    Going down, anchors melt into the rows (an axis that channel and position move together) and classes
    stay a column each; in a list of all (row, class) pairs no axis is left and the tensor before it counts.
    Where anchors never melt, two axes are left, and only the number of labels tells which is which.
    """
    for port in sorted(trail.ports_of(tap), reverse=True):
        probes = probes_of(trail, tap, port, channels)
        if set(probes.channel.tolist()) != channels:
            continue
        axes = channel_axes(probes)
        if hint is not None and hint in axes:
            axes = {hint: axes[hint]}
        if len(axes) > 1 and count is not None:
            # With objectness in front (YOLO) or a background, the axis is one longer than the labels are many; with
            # the box in front, too, four or five.
            sizes = (count, count + 1, count + 4, count + 5)
            axes = {axis: column for axis, column in axes.items() if len(set(column.values())) in sizes}
        if len(axes) == 1:
            return layout_along(probes, next(iter(axes)), port[0])
        if len(axes) > 1:
            return None
    return None


def melts(trail: Trail, tap: int, channels: frozenset[int]) -> bool:
    """Whether channels end as rows of a table with a single column: one class, several anchors."""
    for port in trail.ports_of(tap):
        probes = probes_of(trail, tap, port, channels)
        if set(probes.channel.tolist()) == channels and not channel_axes(probes) and mixed_axes(probes):
            return True
    return False


def softmax_layout(trail: Trail, tap: int) -> Layout | None:
    """Softmax says itself which axis is classes; a background that is cut off later is still in it."""
    port, axis = trail.softmaxed[tap]
    probes = trail.known[port]
    return layout_along(probes.only(probes.tap == tap), axis, port[0])


def shared_axis(trail: Trail, taps: list[int], channels: dict[int, frozenset[int]]) -> dict[int, int]:
    """For taps of a single position, where anchors and classes look alike: the axis its neighbours use.

    Levels are joined along the rows, so in the tensor where they meet the classes of all stand along one axis.
    """
    by_port: dict[Port, list[int]] = defaultdict(list)
    for tap in taps:
        for port in trail.ports_of(tap):
            by_port[port].append(tap)
    hints: dict[int, int] = {}
    for port in sorted(by_port):
        axes = [
            set(channel_axes(probes_of(trail, tap, port, channels[tap])))
            for tap in by_port[port]
            if trail.taps[tap].cells > 1
        ]
        common = set.intersection(*axes) if axes else set()
        if len(common) == 1:
            hints.update({tap: next(iter(common)) for tap in by_port[port] if trail.taps[tap].cells == 1})
    return hints


def layouts(trail: Trail, scores: dict[int, frozenset[int]], count: int | None = None) -> dict[int, Layout]:
    """The layout of every tap that carries scores; boxes of the same grid settle what the scores alone leave open."""
    boxes = box_anchors_by_grid(trail, scores)
    hints = shared_axis(trail, list(scores), scores)
    found: dict[int, Layout] = {}
    for tap, channels in scores.items():
        layout = trail.declared.get(tap)
        if layout is None and tap in trail.softmaxed:
            layout = softmax_layout(trail, tap)
        if layout is None and len(channels) == 1:
            layout = single(channels)
        if layout is None:
            layout = tabulated(trail, tap, channels, hints.get(tap), count)
        anchors = boxes.get(trail.taps[tap].grid) or _own_anchors(trail, tap, channels)
        stated = tap in trail.softmaxed or tap in trail.declared
        if anchors == len(channels) and melts(trail, tap, channels) and not stated:
            layout = single(channels)
        if layout is not None:
            found[tap] = layout
    return found


def _own_anchors(trail: Trail, tap: int, channels: frozenset[int]) -> int | None:
    """Anchors of a tensor that holds boxes beside its scores: its rows keep the columns of one anchor."""
    whole = frozenset(range(trail.taps[tap].channels))
    layout = tabulated(trail, tap, whole) if whole != channels else None
    return layout.anchors if layout else None


def box_anchors_by_grid(trail: Trail, scores: dict[int, frozenset[int]]) -> dict[tuple[int, int], int]:
    """Anchors of the boxes on each grid; channels that are `scores` aside."""
    found = {}
    for tap, one in enumerate(trail.taps):
        rest = frozenset(range(one.channels)) - scores.get(tap, frozenset())
        if tap not in scores and rest:
            anchors = box_anchors(trail, tap, rest)
            if anchors:
                found[one.grid] = anchors
    return found
