"""How facts stand in rt_info, which holds nothing but text: written and read back, with one line for what is mangled."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

from ovxai.errors import ModelReadError

Value = TypeVar("Value")
#: Of a part of the picture: top, left, bottom, right.
_SIDES = 4


def to_text(value: object) -> str:
    """A field's value as it is written; "" for None, which is not."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "YES" if value else "NO"
    if isinstance(value, tuple):
        return ",".join(f"{item:g}" if isinstance(item, float) else _joined(str(item)) for item in value)
    return str(value)


#: Pairs of whole numbers that count from 0; the others are sizes.
_PLACES = ("pixel",)


def from_text(name: str, kind: str, text: str) -> Any:
    """The value of the field `name`, whose annotation is `kind`.

    Raises:
        ValueError: the text is none of that kind.
    """
    if kind == "bool":
        return text == "YES"
    if kind.startswith("int"):
        return int(text)
    if kind.startswith(("tuple[int", "tuple[float")):
        form = int if kind.startswith("tuple[int") else number
        values = tuple(form(item) for item in text.split(","))
        # The sides of a part of the picture, or a pair.
        whole = len(values) == (_SIDES if "..." in kind else 2)
        if not whole or not (min(values) >= 0 if name in _PLACES else _has_extent(values, kind)):
            raise ValueError(text)
        return values
    if kind.startswith("tuple"):
        # A name that holds a comma has a backslash before it.
        return tuple(re.sub(r"\\([\\,])", r"\1", item) for item in re.findall(r"(?:\\[\\,]|[^,])+", text))
    return text


def _has_extent(numbers: tuple[float, ...], kind: str) -> bool:
    """Whether a part of the picture, a size, or a range holds anything."""
    if "..." in kind:
        top, left, bottom, right = numbers
        return top < bottom and left < right
    return min(numbers) > 0 if kind.startswith("tuple[int") else numbers[0] != numbers[1]


def _joined(name: str) -> str:
    """A name as it stands between commas."""
    return re.sub(r"\\(?=[\\,]|$)|,", r"\\\g<0>", name)


def entry(section: str, key: str) -> str:
    """An entry as Python asks for it, for messages."""
    return f'["{section}", "{key}"]'


def parsed(section: str, key: str, text: str, read: Callable[[str], Value]) -> Value:
    """What `read` makes of the text of an entry.

    Raises:
        ModelReadError: it can't be read.
    """
    try:
        return read(text)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise ModelReadError(
            f"rt_info {entry(section, key)} is {shown!r}, which is not of that form; mend it (model.set_rt_info)"
        ) from error


def words(text: str | None) -> tuple[str, ...] | None:
    """Names with spaces between them."""
    return tuple(text.split()) if text else None


def numbers(text: str) -> tuple[float, ...]:
    """Numbers with spaces or commas between them."""
    return tuple(number(word) for word in text.replace(",", " ").split())


def number(text: str) -> float:
    """A finite number."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def table(text: str) -> dict[str, Any]:
    """A JSON object."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(text)
    return found


def flag(text: str | None) -> bool | None:
    """A truth value, as OTX and Model API write it."""
    return None if text is None else text.strip().lower() in ("yes", "true", "1")
