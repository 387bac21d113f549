"""Class names of data and of a model: the same class, however its name is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovxai.errors import AnnotationError

#: In a file of names: this class of the data is left out on purpose.
LEFT_OUT = "-"
#: What Pascal VOC and COCO call otherwise, either way.
_SAME = (("aeroplane", "airplane"), ("motorbike", "motorcycle"), ("sofa", "couch"), ("tvmonitor", "tv"))
_OTHERWISE = {**dict(_SAME), **{b: a for a, b in _SAME}}
_SEPARATOR = re.compile(r"\s*(?:\t|=>|->|=|:)\s*")


@dataclass(frozen=True)
class NameMatch:
    """Which class of a model a name of the data stands for.

    index: name of the data -> class index. unmatched: names that the model does not know, each of them once.
    left_out: names that the file of names leaves out on purpose. notes: lines for the person who runs it.
    """

    index: dict[str, int]
    unmatched: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def match_names(classes: Iterable[str], model_labels: Sequence[str], names_file: Path | None = None) -> NameMatch:
    """Match the names of data to a model's labels, by index in `model_labels`.

    Case, spaces, underscores, hyphens don't matter, and Pascal VOC's names find COCO's where the two differ. A label
    that is a list of synonyms with commas between, as WordNet's are, answers to each of them; a synonym that several
    labels share, to none.
    names_file: lines `name of the data = label or index of the model` (also with : -> or a tab between), for what no
    rule can know; `-` leaves a class out.

    Raises:
        AnnotationError: the file can't be read, or names a class that the model does not have.
    """
    known, shared = _known(model_labels)
    given = _given(names_file, known, len(model_labels)) if names_file is not None else {}
    index: dict[str, int] = {}
    unmatched, left_out, notes = [], [], []
    for name in dict.fromkeys(classes):
        key = plain(name)
        found = given[key] if key in given else known.get(key, known.get(_OTHERWISE.get(key, key)))
        if key in given and found is None:
            left_out.append(name)
        elif found is not None:
            index[name] = found
        else:
            unmatched.append(name)
            if key in shared:
                notes.append(f"{name}: several labels of the model have this name; a file of names says which (--names)")
    return NameMatch(index, tuple(unmatched), tuple(left_out), tuple(notes))


def plain(name: str) -> str:
    """A name without what people write differently: case, spaces, underscores, hyphens, dots."""
    kept = re.sub(r"[\s_\-.]+", "", name.casefold())
    return kept or name


def _known(labels: Sequence[str]) -> tuple[dict[str, int], set[str]]:
    """Plain name -> index; and the names that several labels share. A whole label wins over another's synonym."""
    whole: dict[str, set[int]] = {}
    synonyms: dict[str, set[int]] = {}
    for number, label in enumerate(labels):
        if label:
            whole.setdefault(plain(label), set()).add(number)
        for word in label.split(",") if "," in label else ():
            synonyms.setdefault(plain(word), set()).add(number)
    every = {**synonyms, **whole}
    shared = {key for key, numbers in every.items() if len(numbers) > 1}
    return {key: min(numbers) for key, numbers in every.items() if key not in shared}, shared


def _given(path: Path, known: dict[str, int], count: int) -> dict[str, int | None]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"names: {path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    given: dict[str, int | None] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = _SEPARATOR.split(line.strip(), maxsplit=1)
        if len(parts) != 2 or not all(parts):
            raise AnnotationError(f"{path}:{number}: give `name of the data = label or index of the model`")
        name, label = parts
        if label == LEFT_OUT:
            given[plain(name)] = None
        elif plain(label) in known:
            given[plain(name)] = known[plain(label)]
        elif label.isdecimal() and len(label) < 10 and int(label) < count:
            given[plain(name)] = int(label)
        else:
            raise AnnotationError(f"{path}:{number}: the model has no class {label!r}; give one of its labels or an index")
    return given
