"""What the first bytes of a picture file promise: its size before it is decoded, and whether its end is there."""

from __future__ import annotations

import re
import struct

#: Markers of JPEG that begin a picture and hold its size: SOF0 to SOF15 without DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WIDTH, _HEIGHT = 256, 257  # TIFF's numbers of the tags


def pixels_of(content: bytes) -> int | None:
    """Width times height as the header says; None where the format is not known here, or the header is cut off."""
    for signature, read in _READERS:
        if content.startswith(signature):
            try:
                return read(content)
            except (struct.error, IndexError, ValueError):
                return None
    if content[4:8] == b"ftyp":  # AVIF: the largest picture in the box of sizes
        sizes = re.finditer(rb"ispe\0\0\0\0(.{4})(.{4})", content[:65536], re.DOTALL)
        return max((_big(match[1]) * _big(match[2]) for match in sizes), default=None)
    return None


def is_cut_off(content: bytes) -> bool:
    """Whether a JPEG or GIF lacks its end; some versions of OpenCV fill such pictures up with grey."""
    if content.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in content[_jpeg_scan(content) :]
    if content.startswith(b"GIF8"):
        return _is_cut_gif(content)
    return False


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _png(content: bytes) -> int:
    width, height = struct.unpack_from(">II", content, 16)
    return int(width * height)


def _gif(content: bytes) -> int:
    width, height = struct.unpack_from("<HH", content, 6)
    return int(width * height)


def _bmp(content: bytes) -> int:
    if _little(content[14:18]) == 12:  # the oldest header
        width, height = struct.unpack_from("<HH", content, 18)
    else:
        width, height = struct.unpack_from("<ii", content, 18)
    return int(abs(width * height))


def _webp(content: bytes) -> int:
    kind = content[12:16]
    if kind == b"VP8X":
        return (1 + _little(content[24:27])) * (1 + _little(content[27:30]))
    if kind == b"VP8L":
        bits = _little(content[21:25])
        return (1 + (bits & 0x3FFF)) * (1 + (bits >> 14 & 0x3FFF))
    width, height = struct.unpack_from("<HH", content, 26)
    return int((width & 0x3FFF) * (height & 0x3FFF))


def _pnm(content: bytes) -> int:
    if content[1:2] == b"7":
        named = dict(re.findall(rb"(WIDTH|HEIGHT)\s+(\d+)", content[:1024]))
        return int(named.get(b"WIDTH", 0)) * int(named.get(b"HEIGHT", 0))
    words = re.sub(rb"#[^\n]*", b"", content[2:1024]).split()
    return int(words[0]) * int(words[1])


def _jpeg(content: bytes) -> int:
    at = 2
    while at + 9 <= len(content):
        if content[at] != 0xFF:
            at += 1
            continue
        if content[at + 1] in _FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 5)
            return int(width * height)
        alone = content[at + 1] in (0x01, 0xFF, *range(0xD0, 0xD9))  # markers without a length, and fill bytes
        at += (1 if content[at + 1] == 0xFF else 2) if alone else 2 + _big(content[at + 2 : at + 4])
    raise ValueError("no frame")


def _tiff(content: bytes) -> int:
    order = "<" if content.startswith(b"II") else ">"
    at = struct.unpack_from(order + "I", content, 4)[0]
    sizes = {}
    for index in range(struct.unpack_from(order + "H", content, at)[0]):
        place = at + 2 + 12 * index
        tag, kind = struct.unpack_from(order + "HH", content, place)
        sizes[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), content, place + 8)[0]
    return int(sizes.get(_WIDTH, 0) * sizes.get(_HEIGHT, 0))


def _jpeg2000(content: bytes) -> int:
    at = content.index(b"\xff\x4f\xff\x51")
    right, bottom, left, top = struct.unpack_from(">IIII", content, at + 8)
    return int((right - left) * (bottom - top))


def _sun(content: bytes) -> int:
    width, height = struct.unpack_from(">II", content, 4)
    return int(width * height)


def _radiance(content: bytes) -> int:
    match = re.search(rb"\n[+-][XY] (\d+) [+-][XY] (\d+)\n", content[:8192])
    if match is None:
        raise ValueError("no size")
    return int(match[1]) * int(match[2])


_READERS = (
    (b"\x89PNG", _png), (b"GIF8", _gif), (b"BM", _bmp), (b"RIFF", _webp), (b"\xff\xd8", _jpeg), (b"II*\0", _tiff),
    (b"MM\0*", _tiff), (b"\0\0\0\x0cjP", _jpeg2000), (b"\xff\x4f\xff\x51", _jpeg2000), (b"Y\xa6j\x95", _sun), (b"#?", _radiance),
    *((b"P%d" % number, _pnm) for number in range(1, 8)),
)  # fmt: skip


def _jpeg_scan(content: bytes) -> int:
    """Where the coded picture begins."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != 0xDA:
        at += 2 + _big(content[at + 2 : at + 4])  # a thumbnail has an end of its own: skip it
    return at


def _is_cut_gif(content: bytes) -> bool:
    """Block by block. Some writers leave out the last byte, which says that it is the end: that alone is no cut."""
    at, pictures = 13 + _table(content[10:11]), 0
    while at < len(content):
        kind = content[at]
        if kind == 0x3B:
            return False
        if kind == 0x21:
            at += 2
        elif kind == 0x2C:
            at += 11 + _table(content[at + 9 : at + 10])
            pictures += 1
        else:
            return False  # damaged otherwise: for the decoder to say
        while at < len(content) and content[at]:
            at += 1 + content[at]
        at += 1
    return at > len(content) or not pictures


def _table(flags: bytes) -> int:
    """Bytes of the colour table that follows."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
