"""Work that waits until somebody asks for it, is done once, and may wait for more such work however deep.

A head is a chain of lazy values; in Python's own calls a chain of some hundred operations would end in a
RecursionError. Here a call that stands too deep gives up, is finished from an explicit stack, and what had
waited for it starts again. Work must therefore have no effect but its result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

#: Lazy calls inside one another. Each takes up to a dozen of Python's own, of which a thread has 1000 by default.
DEPTH = 24


class _TooDeep(Exception):
    """`waiting`, each of which was called by the next, have to be worked out from an emptier stack.

    All of them, since work may call what it has just made: that is made anew when the work starts again, and
    would be as deep as before if only the deepest had been done in the meantime.
    """

    def __init__(self, deepest: Lazy[object]) -> None:
        super().__init__("lazy calls too deep")
        self.waiting = [deepest]


class _Depth(threading.local):
    """How many lazy calls the present thread is inside."""

    inside = 0


_depth = _Depth()


class Lazy(Generic[T]):
    """`work()`, done at the first call only."""

    __slots__ = ("_result", "_work")

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._result: list[T] = []

    def __call__(self) -> T:
        if not self._result:
            if _depth.inside >= DEPTH:
                raise _TooDeep(self)  # type: ignore[arg-type]  # a Lazy of anything
            if _depth.inside:
                self._finish()
            else:
                _from_the_bottom(self)
        return self._result[0]

    def _finish(self) -> None:
        if self._work is None:
            return
        _depth.inside += 1
        try:
            self._result.append(self._work())
        except _TooDeep as deeper:
            deeper.waiting.append(self)  # type: ignore[arg-type]  # a Lazy of anything
            raise
        finally:
            _depth.inside -= 1
        self._work = None  # and with it what the work holds


def _from_the_bottom(first: Lazy[T]) -> None:
    stack: list[Lazy[object]] = [first]  # type: ignore[list-item]  # of any results
    while stack:
        try:
            stack[-1]._finish()
        except _TooDeep as deeper:
            stack.extend(deeper.waiting[-2::-1])  # the last is on top of the stack already
        else:
            stack.pop()


def once(work: Callable[[], T]) -> Lazy[T]:
    """`work` as something that is called as often as one likes and done once."""
    return Lazy(work)
