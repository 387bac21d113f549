"""A search either finds a site or says why not; nothing in between."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class No:
    """Why nothing was found: what was looked for, where it failed, which option would settle it."""

    reason: str

    def __bool__(self) -> bool:
        return False
