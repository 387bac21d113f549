"""YOLO's data.yaml: where pictures and labels lie, and what the classes are called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ovxai.annotations.files import is_picture, read_text, walk
from ovxai.errors import AnnotationError

#: The only part of YAML that these files use: keys with a value, a list or a map behind them.
_KEY = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^\s:#'"\[{][^:]*?))\s*:(?:\s+(.*))?$""")


def read_names(path: Path) -> tuple[str, ...]:
    """The classes of a data.yaml, in order.

    Raises:
        AnnotationError: it can't be read, or names none.
    """
    names = _settings(path).get("names")
    if isinstance(names, dict):
        try:
            numbered = {int(key): value for key, value in names.items()}
        except ValueError:
            raise AnnotationError(f"{path}: names: a class without a number; give `0: name`") from None
        if min(numbered, default=-1) < 0 or max(numbered, default=0) > 10 * len(numbered) + 1000:
            raise AnnotationError(f"{path}: names: class numbers count from 0")
        return tuple(numbered.get(i, str(i)) for i in range(max(numbered) + 1))
    if isinstance(names, list) and names:
        return tuple(names)
    raise AnnotationError(f"{path}: has no names of classes; give `names: [first, second]`")


def splits(path: Path) -> dict[str, list[Path]]:
    """train, val, test as far as a data.yaml has them: folders of pictures, or text files that list them."""
    settings = _settings(path)
    base = settings.get("path")
    root = path.parent / base if isinstance(base, str) and base else path.parent
    roots = [root, path.parent] if root.is_dir() else [path.parent]
    found = {}
    for name in ("train", "val", "test"):
        value = settings.get(name)
        entries = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        paths = [place for entry in entries if entry and (place := _place(entry, roots)) is not None]
        if paths:
            found[name] = paths
    return found


def label_files(place: Path) -> Iterator[tuple[Path, Path]]:
    """(picture, its label file) of a folder of pictures or of a file that lists them.

    Raises:
        AnnotationError: the list can't be read.
    """
    if place.is_dir():
        for picture in walk(place):
            yield picture, label_of(picture)
        return
    for line in read_text(place).splitlines():
        name = line.strip().replace("\\", "/")
        if name and is_picture(Path(name).name):
            picture = place.parent / name
            yield picture, label_of(picture)


def label_of(picture: Path) -> Path:
    """`labels/x.txt` for `images/x.jpg`, by the last `images` of the path; where that is not there, beside the picture."""
    parts = list(picture.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            there = Path(*parts[:i], "labels", *parts[i + 1 :]).with_suffix(".txt")
            if there.is_file() or not picture.with_suffix(".txt").is_file():
                return there
            break
    return picture.with_suffix(".txt")


def _place(entry: str, roots: list[Path]) -> Path | None:
    """Roboflow writes `../train/images` into a file that lies beside `train`."""
    candidates = [root / entry for root in roots]
    candidates += [root / entry[3:] for root in roots if entry.startswith("../")]
    return next((place for place in candidates if place.exists()), None)


Settings = dict[str, "str | list[str] | dict[str, str]"]


def _settings(path: Path) -> Settings:
    """The keys of the outermost level, with text, a list or a map of text behind each."""
    found: Settings = {}
    last: str | None = None
    lines = [_uncommented(line) for line in read_text(path).splitlines()]
    text = iter([line for line in lines if line.strip() and not line.startswith("---")])
    for line in text:
        indented = line[0] in " \t" or line.lstrip().startswith("- ")
        if indented:
            if last is not None:
                _more(found, last, line)
            continue
        match = _KEY.match(line)
        if match is None:
            raise AnnotationError(f"{path}: the line `{line.strip()[:40]}` is not understood; give `key: value`")
        last = match[1] or match[2] or match[3]
        value = (match[4] or "").strip()
        while value[:1] in ("[", "{") and value[-1] not in ("]", "}"):  # over several lines
            following = next(text, None)
            if following is None:
                raise AnnotationError(f"{path}: {last}: the bracket is not closed")
            value += " " + following.strip()
        found[last] = _value(value)
    return found


def _more(found: Settings, key: str, line: str) -> None:
    """A line of the list or map below `key`; anything deeper is not for us."""
    stripped = line.strip()
    value = found[key]
    if stripped.startswith("- "):
        items = value if isinstance(value, list) else []
        found[key] = [*items, _bare(stripped[2:])]
    elif (match := _KEY.match(stripped)) is not None:
        entries = value if isinstance(value, dict) else {}
        found[key] = {**entries, (match[1] or match[2] or match[3]): _bare(match[4] or "")}


def _value(text: str) -> str | list[str] | dict[str, str]:
    if text.startswith("[") and text.endswith("]"):
        return [_bare(item) for item in _items(text[1:-1])]
    if text.startswith("{") and text.endswith("}"):
        matches = [_KEY.match(item.strip()) for item in _items(text[1:-1])]
        return {(m[1] or m[2] or m[3]): _bare(m[4] or "") for m in matches if m is not None}
    return _bare(text)


def _items(text: str) -> list[str]:
    """Between commas outside of quotes."""
    items = re.findall(r"""(?:"[^"]*"|'(?:[^']|'')*'|[^,])+""", text)
    return [item for item in items if item.strip()]


def _bare(text: str) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        inner = text[1:-1]
        return inner.replace("''", "'") if text[0] == "'" else inner
    return text


def _uncommented(line: str) -> str:
    """Without a comment: a # at the beginning or behind a space, outside of quotes."""
    quote = ""
    for i, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and (i == 0 or line[i - 1] in " [{,:\t"):
            quote = character
        elif character == "#" and (i == 0 or line[i - 1] in " \t"):
            return line[:i].rstrip()
    return line.rstrip()
