"""Feed mutated models, pictures and rt_info, random heads and faults to ovxai, by seed, and count what comes of them.

Every case ends as an error of one line, as what it has to be, or as a crash of OpenVINO that is told in one line; anything
else is unexpected, printed with its seed, and repeated by `scripts/fuzz.py --kind K --seed N`. Exit code 1 if there was any.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("tests", "scripts", "")]

from fuzzing.cases import COLUMNS, UNEXPECTED, Cases  # noqa: E402
from fuzzing.kinds import KINDS  # noqa: E402

Tally = dict[str, Counter[str]]


def main() -> int:
    words = _words()
    seeds: Iterable[tuple[str, int]]
    if words.seed is not None and words.kind:
        seeds = itertools.product(words.kind, range(words.seed, words.seed + (words.cases or 1)))
    else:
        seeds = _in_turn(words.kind or list(KINDS), words.seed or 0)
    tally: Tally = {}
    until = time.monotonic() + words.seconds if words.seconds else None
    with Cases() as run:
        for number, (kind, seed) in enumerate(seeds):
            if (until and time.monotonic() > until) or (words.cases and number >= words.cases * max(len(words.kind), 1)):
                break
            outcome, said = run(KINDS[kind][0], seed)
            tally.setdefault(kind, Counter())[outcome] += 1
            if outcome == UNEXPECTED or words.verbose:
                print(f"{kind} {seed}: {outcome}: {said}", flush=True)
    print(table(tally))
    return 1 if any(count[UNEXPECTED] for count in tally.values()) else 0


def table(tally: Tally) -> str:
    """The counts of every kind, as Markdown."""
    lines = ["| kind | cases | " + " | ".join(COLUMNS) + " |", "| --- |" + " ---: |" * (len(COLUMNS) + 1)]
    total: Counter[str] = Counter()
    for kind, counts in tally.items():
        lines.append(_row(kind, counts))
        total += counts
    return "\n".join([*lines, _row("all", total)])


def _row(name: str, counts: Counter[str]) -> str:
    return f"| {name} | {counts.total()} | " + " | ".join(str(counts[column]) for column in COLUMNS) + " |"


def _in_turn(kinds: list[str], first: int) -> Iterator[tuple[str, int]]:
    """Cases of all `kinds` for ever, cheap kinds more often."""
    for turn in itertools.count():
        for kind in kinds:
            share = KINDS[kind][1]
            for seed in range(turn * share, (turn + 1) * share):
                yield kind, first + seed


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=Path(__file__).name, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", action="append", choices=list(KINDS), default=[], help="this kind only; may be given again")
    parser.add_argument("--seed", type=int, help="the case of this number; without --kind, the first one")
    parser.add_argument("--cases", type=int, help="so many; with --kind, of each")
    parser.add_argument("--seconds", type=float, help="stop after so long")
    parser.add_argument("--verbose", action="store_true", help="print every case")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
