"""Writing on pictures: OpenCV's own letters for ASCII, Pillow's for every other script where a font has them.

Pillow is not needed to run (`pip install "ovxai[text]"` brings it), nor is a font: a name that can't be written as it is
gives way to what is known of it besides, its class's number.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Color = tuple[int, int, int]
_FONT = cv2.FONT_HERSHEY_SIMPLEX
#: Height in pixels of a capital at font scale 1; of a Pillow font, as a share of its size.
_CAPITAL, _CAPITAL_SHARE = 22, 0.72
#: Smaller letters can't be read; where they don't fit, none are written.
_SMALLEST = 8
_FONT_FOLDERS = {
    "win32": (Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts",),
    "darwin": (Path("/System/Library/Fonts"), Path("/Library/Fonts"), Path("~/Library/Fonts")),
}
_USUAL_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path("~/.local/share/fonts"), Path("~/.fonts"))
#: Words in the names of font files that are not for plain text, from bad to worse.
_ODD_FACES = ("serif", "condensed", "mono", "light", "oblique", "italic", "bold", "math", "emoji")
_MOST_FONTS = 400
#: FreeType's faces are not for several threads at a time.
_FACES = threading.RLock()


def spoken(label: str, index: int | None = None) -> str:
    """A class's name as it is shown to people, underscores as spaces; "class 7" where this machine has not its letters."""
    name = " ".join(label.replace("_", " ").split()) or label
    return name if index is None or writable(name) else f"class {index}"


def writable(text: str) -> bool:
    """Whether every letter of `text` can be written here, be it without its accents."""
    return to_ascii(text).isascii() or _font(text) is not None


def fit_text(text: str, room: int, capital: int) -> tuple[str, int] | None:
    """`text`, and the height of capitals at which it takes at most `room` pixels; shortened if need be."""
    for height in range(capital, _SMALLEST - 1, -1):
        if text_width(text, height) <= room:
            return text, height
    height = min(capital, _SMALLEST)
    while len(text) > 3 and text_width(text + "..", height) > room:
        text = text[:-1]
    return (text + "..", height) if text_width(text + "..", height) <= room else None


def text_width(text: str, capital: int) -> int:
    """Pixels that a line of text takes."""
    if not text.isascii() and (path := _font(text)) is not None:
        return _mask(text, capital, path).shape[1]
    return int(cv2.getTextSize(to_ascii(text), _FONT, capital / _CAPITAL, _stroke(capital))[0][0])


def write(picture: np.ndarray, text: str, origin: tuple[int, int], capital: int, color: Color) -> None:
    """One line of text into [H, W, 3] u8 RGB; `origin` is the left end of the line it stands on."""
    if not text.isascii() and (path := _font(text)) is not None:
        _blend(picture, _mask(text, capital, path), (origin[0], origin[1] - round(1.45 * capital)), color)
        return
    plain = to_ascii(text).encode("ascii", "replace").decode()
    cv2.putText(picture, plain, origin, _FONT, capital / _CAPITAL, color, _stroke(capital), cv2.LINE_AA)


def to_ascii(text: str) -> str:
    """`text` with the accents dropped that ASCII lacks; other letters stay."""
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return plain if plain.isascii() else text


def _stroke(capital: int) -> int:
    return max(1, round(capital / 11))


def _blend(picture: np.ndarray, mask: np.ndarray, corner: tuple[int, int], color: Color) -> None:
    """Paint `color` where the mask is, as far as it lies in the picture."""
    left, top = max(0, corner[0]), max(0, corner[1])
    mask = mask[top - corner[1] :, left - corner[0] :][: max(0, picture.shape[0] - top), : max(0, picture.shape[1] - left)]
    if mask.size:
        part = picture[top : top + mask.shape[0], left : left + mask.shape[1]]
        share = mask[:, :, None].astype(np.float32) / 255
        part[:] = (part * (1 - share) + np.array(color, np.float32) * share + 0.5).astype(np.uint8)


# Fonts of the system, looked for when a text needs one.


@functools.lru_cache(maxsize=256)
def _mask(text: str, capital: int, path: str) -> np.ndarray:
    """[2 * capital, w] u8: how much ink each pixel gets; the line stands at 1.45 capitals from the top."""
    from PIL import Image, ImageDraw

    with _FACES:
        font = _open(path, max(1, round(capital / _CAPITAL_SHARE)))
        canvas = Image.new("L", (max(1, int(font.getlength(text)) + 2), 2 * capital), 0)
        ImageDraw.Draw(canvas).text((0, round(1.45 * capital)), text, fill=255, font=font, anchor="ls")
        return np.asarray(canvas, np.uint8)


@functools.lru_cache(maxsize=64)
def _font(text: str) -> str | None:
    """The first font with every letter of `text`; "" for Pillow's own; None without Pillow, or where none has them."""
    try:
        from PIL import features
    except ImportError:
        return None
    if not features.check("freetype2") or (_needs_shaping(text) and not features.check("raqm")):
        return None
    letters = "".join(sorted(set(text) - set(" ")))
    with _FACES:
        return next((path for path in _fonts() if _has(path, letters)), None)


def _needs_shaping(text: str) -> bool:
    """Whether letters change with their neighbours or run from right to left: without a shaper they would be wrong."""
    return any(unicodedata.bidirectional(c) in ("R", "AL") or unicodedata.category(c) == "Mc" for c in text)


def _has(path: str, letters: str) -> bool:
    try:
        font = _open(path, 20)
        absent = bytes(font.getmask("\U0010fffe"))
        return all(bytes(font.getmask(letter)) != absent for letter in letters)
    except (OSError, ValueError, UnicodeError):  # a font file that is none, or of pixels alone
        return False


@functools.lru_cache(maxsize=64)
def _open(path: str, size: int) -> FreeTypeFont:
    from PIL import ImageFont

    if path:
        return ImageFont.truetype(path, size)
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise OSError("Pillow without FreeType")
    return font


@functools.cache
def _fonts() -> tuple[str, ...]:
    """Pillow's own font, then those of the system, plain faces first."""

    def oddness(path: Path) -> tuple[int, str]:
        name = path.name.lower()
        return max((i + 1 for i, word in enumerate(_ODD_FACES) if word in name), default=0), name

    return ("", *(str(path) for path in sorted(_font_files(), key=oddness)[:_MOST_FONTS]))


def _font_files() -> Iterator[Path]:
    for folder in _FONT_FOLDERS.get(sys.platform, _USUAL_FOLDERS):
        for root, _, names in os.walk(folder.expanduser()):
            yield from (Path(root) / name for name in names if name.lower().endswith((".ttf", ".otf", ".ttc")))
