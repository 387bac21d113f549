"""The list of what was written, kept so that a run's memory does not grow with its length."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from ovxai.runtime.write import WrittenFile

#: Up to here records stay in memory; beyond, they go to an unnamed temporary file.
_IN_MEMORY = 1 << 20


class Ledger:
    """Append-only list of `WrittenFile` records; may be read again and again, also between appends."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8")
        self._count = 0

    def extend(self, records: Iterable[WrittenFile]) -> None:
        """Append records."""
        self._file.seek(0, 2)
        for record in records:
            self._file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
            self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[WrittenFile]:
        at = 0
        while True:
            self._file.seek(at)
            line = self._file.readline()
            if not line:
                return
            at = self._file.tell()
            yield _record(json.loads(line))


def _record(entry: dict) -> WrittenFile:
    shapes = {key: tuple(entry[key]) for key in ("map_shape", "size") if entry[key] is not None}
    return WrittenFile(**{**entry, **shapes})
