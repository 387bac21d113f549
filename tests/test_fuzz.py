"""A short part of `scripts/fuzz.py`: cases of every kind, by seed, none of them unexpected."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from fuzz import table
from fuzzing.cases import COLUMNS, CRASH, PATIENCE, REFUSED, RIGHT, UNEXPECTED, Cases, judged, run_case
from fuzzing.kinds import KINDS
from helpers.crash import crash

#: kind -> so many cases, some hundred in well under a minute.
SOME = {
    "pictures": 200,
    "manifests": 60,
    "labels": 60,
    "xml": 20,
    "explained": 20,
    "mixed-pair": 10,
    "heads": 4,
    "rt-info": 4,
    "weights": 2,
    "two-writers": 5,
    "full-disk": 5,
    "killed-writer": 2,
    "run-on-a-full-disk": 2,
}


def crashing(_rng, _folder):
    crash()


def wrong(_rng, _folder):
    raise AssertionError("a wrong map")


@pytest.fixture(scope="module")
def run():
    with Cases() as cases:
        yield cases


@pytest.mark.parametrize("kind", SOME)
def test_nothing_is_unexpected(kind, run):
    found = [(seed, *run(KINDS[kind][0], seed)) for seed in range(SOME[kind])]
    assert [case for case in found if case[1] == UNEXPECTED] == []
    assert any(case[1] == RIGHT for case in found) or any(case[1] == REFUSED for case in found)


def test_what_is_not_right_is_noticed(tmp_path):
    assert run_case(wrong, 0)[0] == UNEXPECTED
    assert judged("two\nlines")[0] == UNEXPECTED and judged("a line")[0] == REFUSED
    assert PATIENCE > 0 and UNEXPECTED in COLUMNS


def test_a_crash_is_told_and_the_next_case_runs(run):
    assert run(crashing, 0)[0] == CRASH
    assert run(KINDS["labels"][0], 1)[0] in (RIGHT, REFUSED)


def test_the_table_adds_up():
    text = table({"a": Counter({RIGHT: 2, CRASH: 1}), "b": Counter({REFUSED: 3})})
    assert text.splitlines()[-1] == "| all | 6 | 3 | 2 | 1 | 0 |"


def test_a_seed_repeats_its_case():
    draws = []
    for _ in range(2):

        def case(rng, _folder):
            draws.append(rng.integers(1 << 40))

        run_case(case, 7)
    assert draws[0] == draws[1] and np.issubdtype(type(draws[0]), np.integer)
