"""What may be shown, stored and passed on."""

from __future__ import annotations

import json
import math

import pytest

from ovxai.text import is_address, printable, to_json, without_passwords, without_user


@pytest.mark.parametrize(("address", "shown"), [
    ("rtsp://me:secret@cam/1", "rtsp://me:***@cam/1"),
    ("rtsp://me:s@ecret@cam:554/1", "rtsp://me:***@cam:554/1"),
    ("rtsp://me:se/cret@cam/1", "rtsp://me:***@cam/1"),
    ("rtsp://me:se?cret@cam/1", "rtsp://me:***@cam/1"),
    ("rtsp://:secret@cam", "rtsp://:***@cam"),
    ("rtsp://me@cam/1", "rtsp://me@cam/1"),
    ("http://cam:80/a@b.mp4", "http://cam:80/a@b.mp4"),
    ("http://cam/v?user=me&Password=secret&fps=3", "http://cam/v?user=me&Password=***&fps=3"),
    ("https://cam/v?access_token=secret#x", "https://cam/v?access_token=***#x"),
    ("photo:secret@home.png", "photo:secret@home.png"),
])  # fmt: skip
def test_what_lets_somebody_in_is_not_shown(address, shown):
    assert without_passwords(address) == shown
    assert without_passwords(shown) == shown
    if is_address(address):
        assert "cret" not in without_user(address) and "me" not in without_user(address)


def test_a_line_for_a_terminal():
    assert printable("a\x1b[31mb\nc\x9bd\u202ee\udce9é ü\u3000") == "a\\x1b[31mb\\x0ac\\x9bd\\u202ee\\xe9é ü\u3000"


@pytest.mark.parametrize("indent", [None, 1])
def test_json_is_valid_whatever_it_holds(indent):
    value = {"a": [math.nan, math.inf, -math.inf, 1.5], "b": ("x\x1b\x9b\udce9\n", None, True), "NaN": {"c": "é"}}
    text = to_json(value, indent)
    assert text.encode("utf-8").decode("utf-8") == text and not set("\x1b\x9b") & set(text) and "é" in text

    def refuse(word):
        raise AssertionError(word)

    read = json.loads(text, parse_constant=refuse)
    assert read == {"a": [None, None, None, 1.5], "b": ["x\x1b\x9b\udce9\n", None, True], "NaN": {"c": "é"}}
