"""Work that waits until somebody asks for it, is done once, and may wait for more such work however deep.

A head is a chain of lazy values; in Python's own calls a chain of some hundred operations would end in a
RecursionError. Here a call that stands too deep gives up, is finished from an explicit stack, and what had
waited for it starts again. Work must therefore have no effect but its result.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
#: A lazy Shared is a lazy Value.
T_co = TypeVar("T_co", covariant=True)

#: Lazy calls inside one another. Each takes up to a dozen of Python's own, of which a thread has 1000 by default.
DEPTH = 24

_clock = itertools.count()


class _TooDeep(Exception):
    """`waiting`, each of which was called by the next, have to be worked out from an emptier stack."""

    def __init__(self, deepest: Lazy[object]) -> None:
        super().__init__("lazy calls too deep")
        self.waiting = [deepest]


class _Depth(threading.local):
    """How many lazy calls the present thread is inside, and how many it may be."""

    inside = 0
    room = DEPTH


_depth = _Depth()


class Lazy(Generic[T_co]):
    """`work()`, done at the first call only."""

    __slots__ = ("_made", "_result", "_work")

    def __init__(self, work: Callable[[], T_co]) -> None:
        self._made = next(_clock)
        self._work: Callable[[], T_co] | None = work
        self._result: list[T_co] = []

    def __call__(self) -> T_co:
        if not self._result:
            if _depth.inside >= _depth.room:
                raise _TooDeep(self)
            if _depth.inside:
                self._finish()
            else:
                _from_the_bottom(self)
        return self._result[0]

    def was_there(self, moment: int) -> bool:
        """Whether it had been made by then."""
        return self._made < moment

    def _finish(self) -> None:
        work = self._work  # once: another thread may be finishing the same
        if work is None:
            return
        _depth.inside += 1
        try:
            self._result.append(work())
        except _TooDeep as deeper:
            deeper.waiting.append(self)
            raise
        finally:
            _depth.inside -= 1
        self._work = None  # and with it what the work holds


def _from_the_bottom(first: Lazy[object]) -> None:
    """Work out `first` from a stack of our own: what it waits for is finished before it starts again.

    What a work makes and calls by itself is made anew when it starts again, so finishing that first would not help; a
    work with nothing else between it and the deepest call gets more room instead. Either way no start is in vain twice.
    """
    stack = [(first, DEPTH)]
    while stack:
        lazy, room = stack[-1]
        start, _depth.room = next(_clock), room
        try:
            lazy._finish()
        except _TooDeep as deeper:
            kept = [waiting for waiting in deeper.waiting[-2::-1] if waiting.was_there(start)]  # the last is `lazy`
            if kept:
                stack.extend((waiting, DEPTH) for waiting in kept)
            else:
                stack[-1] = lazy, 2 * room
        else:
            stack.pop()


def once(work: Callable[[], T]) -> Lazy[T]:
    """`work` as something that is called as often as one likes and done once."""
    return Lazy(work)
