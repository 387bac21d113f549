"""Work that waits: done once, however deep, and whatever it makes on its way."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

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


@pytest.mark.parametrize("levels", [2 * DEPTH, 5 * DEPTH])
def test_work_made_anew_at_every_start_is_not_started_for_ever(levels):
    """Deeper than there is room for at first, and again behind a chain that stays."""
    started = []

    def nested(number: int, left: int) -> int:
        started.append(number)
        assert len(started) < 100 * levels, "it starts again and again"
        return once(lambda: nested(number, left - 1))() if left else number + behind()

    behind = chain(LENGTH, [])
    assert once(lambda: nested(1, levels))() == 1 + sum(range(LENGTH))


def test_pythons_own_limit_is_left_alone():
    limit = sys.getrecursionlimit()
    assert chain(5000, [])() == sum(range(5000))
    assert sys.getrecursionlimit() == limit


def test_three_threads_at_once():
    """Each with a chain of its own, and all with the same one."""
    common = chain(3 * LENGTH, [])
    ready = threading.Barrier(3)

    def work(number: int) -> tuple[int, int]:
        own = chain(2000 + number, [])
        ready.wait()
        return own(), common()

    limit = sys.getrecursionlimit()
    with ThreadPoolExecutor(3) as pool:
        totals = list(pool.map(work, range(3)))
    assert totals == [(sum(range(2000 + number)), sum(range(3 * LENGTH))) for number in range(3)]
    assert sys.getrecursionlimit() == limit


@pytest.mark.parametrize("place", [0, 2 * DEPTH, 5 * DEPTH - 1])
def test_work_that_fails_fails_again_and_succeeds_when_it_can(place):
    """Nothing half done is left behind, and what had been done already is not done twice."""
    done: list[int] = []
    broken = True

    def fragile() -> int:
        if broken:
            raise KeyError("not there")
        return 1

    before = chain(place, done) if place else None
    middle = once(lambda: fragile() + (before() if before else 0))

    def link(inner: Lazy[int]) -> Lazy[int]:
        return once(lambda: inner() + 1)

    last = middle
    for _ in range(5 * DEPTH - place):
        last = link(last)
    for _ in range(2):
        with pytest.raises(KeyError, match="not there"):
            last()
    assert once(lambda: 7)() == 7, "the thread stands at the bottom again"
    broken = False
    assert last() == last() == 1 + sum(range(place)) + 5 * DEPTH - place
    assert sorted(done) == list(range(place))
