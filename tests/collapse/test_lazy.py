"""Work that waits: done once, however deep, and whatever it makes on its way."""

from __future__ import annotations

import sys

from ovxai.collapse.lazy import DEPTH, Lazy, once

#: Of a chain that Python could not follow by calls.
LENGTH = sys.getrecursionlimit()


def chain(length: int, done: list[int]) -> Lazy[int]:
    def link(before: Lazy[int] | None, number: int) -> Lazy[int]:
        def work() -> int:
            total = number + (before() if before else 0)
            done.append(number)
            return total

        return once(work)

    last = link(None, 0)
    for number in range(1, length):
        last = link(last, number)
    return last


def test_a_chain_longer_than_pythons_stack_is_worked_out_once_each():
    length, done = 3 * LENGTH, list[int]()
    last = chain(length, done)
    assert last() == last() == sum(range(length))
    assert sorted(done) == list(range(length))


def test_work_that_asks_for_many_deep_chains():
    done: list[int] = []
    chains = [chain(LENGTH, done) for _ in range(200)]
    assert once(lambda: sum(one() for one in chains))() == 200 * sum(range(LENGTH))
    assert len(done) == 200 * LENGTH


def test_work_that_makes_lazy_work_and_asks_for_it_at_any_depth():
    """It makes it anew when it starts again."""
    started = []

    def nested(number: int, levels: int = 6) -> int:
        return once(lambda: nested(number, levels - 1))() if levels else number

    def link(before: Lazy[int] | None, number: int) -> Lazy[int]:
        def work() -> int:
            started.append(number)
            return nested(number) + (before() if before else 0)

        return once(work)

    last = link(None, 0)
    for number in range(1, 5 * DEPTH):
        last = link(last, number)
    assert last() == sum(range(5 * DEPTH))
    assert len(started) <= 20 * 5 * DEPTH
