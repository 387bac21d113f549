"""The wire format of protocol buffers, as bytes: what the writers of Paddle and TensorFlow files are made of.

A field is (number << 3 | wire type), then the value.
"""

from __future__ import annotations

import struct


def varint(value: int) -> bytes:
    """Seven bits per byte, the lowest first."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    """A whole number."""
    return varint(field << 3) + varint(value)


def single(field: int, value: float) -> bytes:
    """An f32."""
    return varint(field << 3 | 5) + struct.pack("<f", value)


def block(field: int, content: bytes | str) -> bytes:
    """A text, packed numbers or a message inside."""
    content = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(content)) + content
