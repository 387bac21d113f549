"""The sizes that a trunk's map goes through, and the last tensor of each: where gradients are asked for."""

from __future__ import annotations

from ovxai.find.classifier.trunk import Trunk
from ovxai.graph.dims import Grid, Tap

#: How many sizes are looked at, from the coarsest on.
LEVELS = 3


def cells(tap: Tap) -> int:
    return tap.grid[0] * tap.grid[1]


def coarsest_levels(trunk: Trunk, count: int = LEVELS) -> tuple[Tap, ...]:
    """The last tensor of each of the coarsest sizes that all of the picture passes, coarse to fine; of tokens, the last that
    the scores read positions of. Empty where there is none."""
    last: dict[Grid, Tap] = {}
    for port in trunk.ports:
        taps = trunk.taps(port)
        if taps:
            last[taps[0].grid] = taps[0]
    found = [_read(trunk, tap) for tap in sorted(last.values(), key=cells)]
    return tuple(tap for tap in found if tap is not None)[:count]


def _read(trunk: Trunk, tap: Tap) -> Tap | None:
    """`tap`, or where the scores only read tokens beside its grid, the last one above with positions that they read."""
    if not tap.is_tokens:
        return tap
    same = [
        other
        for port in trunk.ports
        for other in trunk.taps(port)
        if (other.layout, other.grid, other.prefix) == (tap.layout, tap.grid, tap.prefix)
    ]
    return next((other for other in reversed(same) if trunk.trial(other).read), None)
