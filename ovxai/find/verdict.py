"""A search either finds a site or says why not; nothing in between."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class No:
    """Why nothing was found: what was looked for, where it failed, which option would settle it.

    near: the model looks like what was looked for, so that this reason is worth more than those of other searches.
    final: so much so that no other search shall be asked.
    """

    reason: str
    near: bool = False
    final: bool = False

    def __bool__(self) -> bool:
        return False
