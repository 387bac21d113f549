"""The two files of an OpenVINO IR belong together: read as one, and told apart from a pair that was mixed up.

OpenVINO's .xml says nothing of its .bin. The .xml of an explained model names the SHA-256 of the .bin that it was saved
with, as `["ovxai", "weights_sha256"]` of rt_info. It is a fact of the files, not of the model: a model in memory has none,
so that one which is changed and saved by other means does not carry a wrong one along.
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path
from typing import BinaryIO

import openvino as ov

from ovxai.errors import ModelReadError

#: Key in the section "ovxai" of rt_info.
WEIGHTS_HASH = "weights_sha256"
#: Where that section stands in the text of an .xml: once, behind the graph.
_BEGIN, _END = b"<ovxai>", b"</ovxai>"
_ENTRY = re.compile(rb'\s*<%b value="([^"]*)"\s*/>' % WEIGHTS_HASH.encode())
#: Seconds that a pair gets which is just being replaced by another.
_PATIENCE = 0.2


def with_hash(text: bytes, digest: str) -> bytes:
    """The text of an explained model's .xml with `digest` in rt_info; of a plain model's as it is."""
    head, begin, section = _parts(text)
    if not begin:
        return text
    inner, end, tail = _ENTRY.sub(b"", section).rpartition(_END)
    return b"".join((head, begin, inner, f'\t<{WEIGHTS_HASH} value="{digest}" />\n\t\t'.encode(), end, tail))


def read_pair(path: Path) -> tuple[bytes, ov.Tensor]:
    """The text of an .xml and the weights of its .bin, in memory: what happens to the files later does no harm.

    Raises:
        ModelReadError: the .bin is missing, or is not the one that the .xml was saved with.
        OSError: one of them can't be read.
    """
    weights_path = path.with_suffix(".bin")
    while True:
        before = _state(path), _state(weights_path)
        text = path.read_bytes()
        reason = ""
        if weights_path.exists():
            weights = _read_tensor(weights_path)
            text, wanted = _without_hash(text)
            if wanted is not None and wanted != hash_of(weights):
                reason = (
                    f"{path}: {weights_path.name} is not the weights file that it was saved with, by the hash in rt_info; "
                    "put the two files of one insertion beside each other, or insert again"
                )
        else:
            weights = ov.Tensor(ov.Type.u8, ov.Shape([0]))
            # Read without the .bin, an IR with constants fails later and with a less helpful message.
            if b'type="Const"' in text:
                reason = f"{path}: its weights file {weights_path.name} is missing; put it beside the .xml"
        if reason:
            time.sleep(_PATIENCE)
        # Somebody may have been in the middle of replacing both.
        if before == (_state(path), _state(weights_path)):
            if reason:
                raise ModelReadError(reason)
            return text, weights


def hash_of(weights: ov.Tensor) -> str:
    """SHA-256 of the bytes, as hexadecimal digits."""
    return hashlib.sha256(weights.data).hexdigest()


def hash_of_file(path: Path) -> str:
    """SHA-256 of the bytes of a file, as hexadecimal digits.

    Raises:
        OSError: it can't be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _parts(text: bytes) -> tuple[bytes, bytes, bytes]:
    """What stands in front of our section, its first tag, and the rest; the last two empty where there is none."""
    at = text.rfind(_BEGIN)
    return (text, b"", b"") if at < 0 else (text[:at], _BEGIN, text[at + len(_BEGIN) :])


def _without_hash(text: bytes) -> tuple[bytes, str | None]:
    """The text without the entry, and what stood there."""
    head, begin, section = _parts(text)
    found = _ENTRY.search(section)
    if found is None:
        return text, None
    return b"".join((head, begin, _ENTRY.sub(b"", section))), found[1].decode("ascii", "replace")


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _read_tensor(path: Path) -> ov.Tensor:
    """The bytes of a file in memory that OpenVINO owns; a file that shrinks meanwhile is filled up with zeros."""
    with open(path, "rb") as file:
        size = path.stat().st_size
        tensor = ov.Tensor(ov.Type.u8, ov.Shape([size]))
        if size:
            _fill(file, memoryview(tensor.data))
    return tensor


def _fill(file: BinaryIO, room: memoryview) -> None:
    at = 0
    while at < len(room):
        count = file.readinto(room[at:])  # type: ignore[attr-defined]  # every buffered reader has it
        if not count:
            room[at:] = bytes(len(room) - at)
            return
        at += count
