"""The sizes that a trunk's map goes through, and the last tensor of each: where gradients are asked for."""

from __future__ import annotations

from ovxai.find.classifier.trunk import Trunk, token_block
from ovxai.find.site import No
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
        tap = trunk.tap(port)
        if tap:
            last[tap.grid] = tap
    found = [_read(trunk, tap) for tap in sorted(last.values(), key=cells)]
    return tuple(tap for tap in found if tap is not None)[:count]


def _read(trunk: Trunk, tap: Tap) -> Tap | None:
    """`tap`, or where the scores read none of its positions but only tokens beside them, the last tensor before of which they
    do: what the last block looks at, normalised. (Feature times derivative comes to nothing before a normalisation, for its
    result does not change with the size of what it reads.)"""
    if not tap.is_tokens or trunk.trial(tap).read:
        return tap
    taps = token_block(trunk, 1)
    return None if isinstance(taps, No) else taps[0]
