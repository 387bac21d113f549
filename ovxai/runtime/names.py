"""File names of what is written: safe everywhere, and never two the same."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

_WRITTEN = re.compile(r"^(.+?)_(?:class_.+|map_per_image)_(?:saliency_map|overlay)\.\w+$")
_VIDEO = re.compile(r"^(.+)_overlay\.\w+$")
_LONGEST = 100


def sanitize(text: str) -> str:
    """Every character that is not one of A-Z a-z 0-9 - _ becomes `_`."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)[:_LONGEST] or "_"


class ImageNames:
    """Gives every source a name of its own: its stem, then stem_2, stem_3 ...

    folders: where earlier runs may have left files; their names are taken unless `force`.
    """

    def __init__(self, *folders: Path, force: bool) -> None:
        standing = [] if force else [folder for folder in folders if folder.is_dir()]
        self._taken = set().union(*(_names_in(folder) for folder in standing))
        self._next: Counter[str] = Counter()
        self._lock = threading.Lock()

    def claim(self, stem: str) -> str:
        """A name that nobody has yet. Ignores case, as some file systems do."""
        base = sanitize(stem)
        with self._lock:
            while True:
                self._next[base.lower()] += 1
                number = self._next[base.lower()]
                name = base if number == 1 else f"{base}_{number}"
                if name.lower() not in self._taken:
                    self._taken.add(name.lower())
                    return name


def _names_in(folder: Path) -> set[str]:
    taken = set()
    for path in folder.iterdir():
        name = path.name.lower()
        # A class name may hold "_class_" too, so every reading of the file name is taken.
        parts = name.split("_class_")
        taken.update("_class_".join(parts[:i]) for i in range(1, len(parts)))
        if match := _WRITTEN.match(name) or _VIDEO.match(name):
            taken.add(match[1])
    return taken


def class_words(names: Mapping[int, str]) -> dict[int, str]:
    """Class index -> its word in file names; classes whose names look the same there get their index behind it."""
    words = {index: sanitize(name) for index, name in names.items() if name}
    count = Counter(word.lower() for word in words.values())
    return {index: word if count[word.lower()] == 1 else f"{word}_{index}" for index, word in words.items()}
