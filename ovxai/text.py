"""Names and values as text that is safe to show, to store and to pass on: for terminals, as JSON, without passwords."""

from __future__ import annotations

import json
import math
import re

#: Keys of an address's query whose values let somebody in.
_SECRET = re.compile(r"([?&;][^=&;#]*(?:pass|pwd|token|secret|key|auth|sig|cred)[^=&;#]*=)[^&;#]*", re.IGNORECASE)
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+://)(.*)", re.IGNORECASE | re.DOTALL)
#: Characters that a terminal, or who looks at one, may take for something else: control characters, halves of pairs
#: (bytes of file names that are no UTF-8), and what turns the direction of writing.
_CONTROL = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff"
_UNPRINTABLE = re.compile(f"[{_CONTROL}]")


def is_address(name: str) -> bool:
    """Whether `name` is a URL and not a path."""
    return _ADDRESS.match(name) is not None


def without_passwords(name: str) -> str:
    """A URL (also behind other words) with its password, and what else in it lets somebody in, as ***."""
    match = _ADDRESS.search(name)
    if match is None:
        return name
    scheme, rest = name[: match.end(1)], match[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    if "@" in authority:
        user, rest = authority.rpartition("@")[0], rest[len(authority) - len(host) :]
    elif re.search(r":\D", host) and "@" in rest and not host.startswith("["):  # a password with a slash in it
        user, _, rest = rest.rpartition("@")
    else:
        return scheme + _SECRET.sub(r"\1***", rest)
    name, colon, _ = user.partition(":")
    return scheme + name + (":***@" if colon else "@") + _SECRET.sub(r"\1***", rest)


def without_user(address: str) -> str:
    """What of a URL is fit for a file name: host and path."""
    rest = without_passwords(address).split("://", 1)[1]
    authority, _, path = rest.partition("/")
    parts = (authority.rpartition("@")[2], path)
    return "/".join(re.split(r"[?#]", part, maxsplit=1)[0] for part in parts).rstrip("/")


def printable(line: str) -> str:
    r"""A line for a terminal: control characters as \xNN or \uNNNN, bytes that are no UTF-8 as \xNN."""
    return _UNPRINTABLE.sub(lambda match: _escaped(ord(match[0])), line)


def _escaped(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is no UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def to_json(value: object, indent: int | None = None, *, compact: bool = False) -> str:
    """Valid JSON whatever `value` holds: numbers that are none become null, odd characters their escapes.

    value: dicts with keys of text, lists, tuples, text, numbers, booleans and None.
    """
    separators = (",", ":") if compact else None
    text = json.dumps(_finite(value), indent=indent, ensure_ascii=False, separators=separators, allow_nan=False)
    return _UNPRINTABLE.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
