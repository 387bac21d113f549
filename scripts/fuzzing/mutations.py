"""Damage to bytes, to the text of an .xml and to values in it."""

from __future__ import annotations

import re

import numpy as np

#: Values that attributes and entries are not made for.
ODD = (
    "", "0", "-1", "1", "2", "7", "1.5", "nan", "inf", "1e30", "-2147483649", "99999999999999999999", "x", "all", "top:0",
    "none", "YES", "exact", "0,0", "1,2", "-1,-1,-1,-1", "0,0,1,1", "a,b", ",", "\\", "ü", "%s", "{}", "[]", "../x", "f16", "i64",
    "1000000", "Softmax", "NCHW",
)  # fmt: skip
_ATTRIBUTE = re.compile(rb'([\w-]+)="([^"]*)"')
_TAG = re.compile(rb"<[^<>]+>")


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes flipped, overwritten, doubled, left out, or the end cut off."""
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if not found:
            break
        at = int(rng.integers(len(found)))
        length = int(2 ** rng.uniform(0, np.log2(len(found) + 1) * 0.7))
        how = rng.integers(6)
        if how == 0:
            found[at] ^= 1 << int(rng.integers(8))
        elif how == 1:
            found[at : at + length] = rng.bytes(min(length, len(found) - at))
        elif how == 2:
            found[at:at] = found[at : at + length]
        elif how == 3:
            del found[at : at + length]
        elif how == 4:
            found[at : at + length] = bytes(min(length, len(found) - at))
        else:
            del found[at:]
    return bytes(found)


def overwritten(data: bytes, rng: np.random.Generator) -> bytes:
    """Other bytes in some places, and as many: numbers that are tiny, huge, none, or of another sign."""
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 20))):
        at = int(rng.integers(len(found) // 4)) * 4
        value = np.float32(rng.choice([0, -1, 1e-40, 1e20, 3e38, np.nan, np.inf, rng.standard_normal() * 10]))
        count = int(rng.choice([1, 1, 1, 8, 100]))
        found[at : at + 4 * count] = (value.tobytes() * count)[: len(found) - at]
    return bytes(found)


def in_the_head(data: bytes, rng: np.random.Generator, length: int = 64) -> bytes:
    """Like `damaged`, where sizes and tables stand."""
    return damaged(data[:length], rng) + data[length:]


def edited(text: bytes, rng: np.random.Generator) -> bytes:
    """An .xml with attributes that say something else, tags left out, doubled or exchanged."""
    for _ in range(int(rng.integers(1, 3))):
        how = int(rng.choice([0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7]))
        spots = list((_ATTRIBUTE if how < 5 else _TAG).finditer(text))
        if not spots:
            return text
        spot, other = (spots[int(i)] for i in rng.integers(len(spots), size=2))
        if how < 2:
            text = _replaced(text, spot, 2, _odd_value(spot[2], rng))
        elif how < 4:  # of the same attribute elsewhere
            alike = [one for one in spots if one[1] == spot[1]]
            text = _replaced(text, spot, 2, alike[int(rng.integers(len(alike)))][2])
        elif how == 4 or how == 5:
            text = _replaced(text, spot, 0, b"")
        elif how == 6:
            text = _replaced(text, spot, 0, other[0])
        else:
            text = damaged(text, rng)
    return text


def odd(rng: np.random.Generator) -> str:
    """A value that nobody expects."""
    return ODD[int(rng.integers(len(ODD)))]


def _odd_value(value: bytes, rng: np.random.Generator) -> bytes:
    numbers = list(re.finditer(rb"-?\d+", value))
    if numbers and rng.random() < 0.6:
        spot = numbers[int(rng.integers(len(numbers)))]
        near = int(spot[0]) + int(rng.choice([-1, 1, 2, 100, -1000, 2**31]))
        return value[: spot.start()] + str(near).encode() + value[spot.end() :]
    return odd(rng).encode()


def _replaced(text: bytes, spot: re.Match[bytes], group: int, by: bytes) -> bytes:
    return text[: spot.start(group)] + by + text[spot.end(group) :]
