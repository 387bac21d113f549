"""Lines that are kept until the end of a run, without its memory growing with its length."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator

#: Up to so many bytes stay in memory; beyond, they go to an unnamed temporary file.
_IN_MEMORY = 1 << 20


class Spool:
    """Append-only list of texts without line ends; may be read again and again, also between appends.

    Where no temporary file can be had, or its disk is full, what comes stays in memory: a run does not end for it.
    """

    def __init__(self) -> None:
        # Open as long as the spool is.
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+b")  # noqa: SIM115
        self._length = 0  # of what is whole in the file
        self._rest: list[str] | None = None
        self._count = 0

    def extend(self, lines: Iterable[str]) -> None:
        """Append `lines`."""
        for line in lines:
            if self._rest is None and not self._stored(line):
                self._rest = []
            if self._rest is not None:
                self._rest.append(line)
            self._count += 1

    def _stored(self, line: str) -> bool:
        data = line.encode("utf-8", "surrogatepass") + b"\n"
        try:
            self._file.seek(self._length)
            self._file.write(data)
            self._file.flush()
        except OSError:
            return False
        self._length += len(data)
        return True

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        at = 0
        while at < self._length:
            self._file.seek(at)
            line = self._file.readline()
            at = self._file.tell()
            yield line[:-1].decode("utf-8", "surrogatepass")
        yield from self._rest or ()
