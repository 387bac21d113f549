"""`report.html`: one page to look through a run's maps, with nothing to install and nothing to fetch.

Every picture becomes a card: a small JPEG, its low-resolution grey maps and what was found in it, as
one line of JSON. The page colours and blends the maps itself. Cards are made where pictures are
finished and kept in a temporary file, so that memory stays flat.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np

from ovxai.errors import OutputError, TakenError
from ovxai.files import make_folder, whole_file, write_bytes
from ovxai.runtime.feed.geometry import Geometry
from ovxai.runtime.feed.sources import Broken, Source
from ovxai.runtime.predict.facts import ModelFacts
from ovxai.runtime.predict.formats import Box, Prediction
from ovxai.runtime.show.letters import spoken
from ovxai.runtime.show.picture_maps import BoxKey, Key, PictureMaps, class_of
from ovxai.runtime.show.render import class_color, to_grey
from ovxai.runtime.write.encode import to_bgr
from ovxai.runtime.write.manifest import Document
from ovxai.runtime.write.maps import WrittenFile
from ovxai.runtime.write.page import Page, to_base64, to_json
from ovxai.runtime.write.spool import Spool
from ovxai.runtime.write.truth_card import truth_card
from ovxai.text import without_passwords

NAME = "report.html"
#: Up to so many pictures are part of the page; those of a longer run lie in a folder beside it.
MOST_EMBEDDED = 200
#: Classes named as predicted; every one that has a map is listed besides.
_MOST_PREDICTED = 5


@dataclass(frozen=True)
class Limits:
    """What a card may hold, so that the page opens however long the run was.

    side: longer side of the picture. map_side: of a map; larger maps are made smaller. map_bytes: of
    all maps of a picture as they stand in the page, best classes first; one is always there. found: boxes and outlines.
    """

    side: int
    map_side: int
    map_bytes: int
    found: int


_EMBEDDED = Limits(side=640, map_side=64, map_bytes=64 << 10, found=60)
_BESIDE = Limits(side=480, map_side=32, map_bytes=6 << 10, found=20)


class Report:
    """Collects the cards of one run and writes its page. `card` may be called from several threads.

    folder: the run's output folder. pictures: how many are to come at most; None: unknown. That
    decides whether they are part of the page. force: take the place of an earlier run's page.
    """

    def __init__(self, folder: str | Path, pictures: int | None = None, *, force: bool = False) -> None:
        self.folder = Path(folder)
        self.path = _free_path(self.folder / NAME, force)
        self.embedded = pictures is not None and pictures <= MOST_EMBEDDED
        self._limits = _EMBEDDED if self.embedded else _BESIDE
        self._beside = self.path.with_name(f"{self.path.stem}_files")
        self._force = force
        self._lock = threading.Lock()
        self._made = False
        self._cards = Spool()

    def card(self, explanation: PictureMaps, image: str, files: Sequence[WrittenFile] = ()) -> str:
        """One picture as a line of JSON. image: its name in file names, from `Writer.claim`. files: what was written of it.

        Raises:
            OutputError: the disk refused its small picture.
        """
        limits = self._limits
        small = _small(explanation.picture, limits.side)
        height, width = explanation.picture.shape[:2]
        keys, maps = _maps(explanation, limits, _linked(files))
        card = {
            "name": image,
            "title": _title(explanation.source, image),
            "source": explanation.source or "",
            "size": [width, height],
            "small": [small.shape[1], small.shape[0]],
            "view": view(explanation.geometry),
            "maps": maps,
            "more": len(explanation.raw_maps) - len(maps),
            "found": _all_found(explanation, keys, limits.found),
            "truth": truth_card(explanation.truth, width, height, _outline),
            "predicted": [
                f"{spoken(p.label)} {p.score:.2f}" for p in explanation.predictions[:_MOST_PREDICTED] if not _has_place(p)
            ],
        }
        # The picture is most of the card, and in letters that need no escape: it is not walked through as the rest is.
        return f'{to_json(card)[:-1]},"picture":"{self._store(image, small)}"}}'

    def add(self, card: str) -> None:
        """Append what `card` gave. Cards stand in the page in this order."""
        self._cards.extend([card])

    def write(
        self,
        facts: ModelFacts,
        *,
        model: str,
        settings: Mapping[str, Any],
        failed: Iterable[tuple[str, str]] = (),
        command: str | None = None,
    ) -> Path | None:
        """Write the page; None when there is no picture to show.

        model: its path. settings: how the maps were made, plain JSON values. failed: (source, reason).
        command: the line that made the run; None: this process's own.

        Raises:
            OutputError: the disk refused.
        """
        if not len(self._cards):
            return None
        make_folder(self.folder)
        page = Page(
            facts=facts,
            model=model,
            settings=settings,
            failed=[(source, " ".join(reason.split())) for source, reason in failed],
            command=_redacted(sys.argv[1:]) if command is None else " ".join(map(without_passwords, command.split(" "))),
            count=len(self._cards),
            where=self._where(),
            embedded=self.embedded,
        )
        head, tail = page.halves()
        while True:
            try:
                with whole_file(self.path, force=self._force) as file:
                    file.write(head)
                    for number, card in enumerate(self._cards):
                        file.write((",\n" if number else "") + card)
                    file.write(tail)
                return self.path
            except TakenError:  # by another run, since this one began
                self.path = _free_path(self.folder / NAME, self._force)

    def _store(self, image: str, small: np.ndarray) -> str:
        """The address of a small picture: itself, or a file beside the page."""
        ok, data = cv2.imencode(".jpg", to_bgr(small), (cv2.IMWRITE_JPEG_QUALITY, 85))
        if not ok:
            raise OutputError(f"{image}: its small picture can't be stored as JPEG; run with --no-report")
        if self.embedded:
            return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
        folder = self._own_folder()
        write_bytes(folder / f"{image}.jpg", data.tobytes(), force=self._force)
        return quote(f"{folder.name}/{image}.jpg")

    def _own_folder(self) -> Path:
        """The folder of small pictures, made for this run alone unless it may take the place of an earlier one."""
        with self._lock:
            number = 1
            while not self._made:
                try:
                    make_folder(self.folder)
                    self._beside.mkdir()
                    self._made = True
                except FileExistsError:
                    self._made = self._force and not self._beside.is_symlink()
                    if not self._made:
                        number += 1
                        self._beside = self.path.with_name(f"{self.path.stem}_files_{number}")
                except OSError as error:
                    raise OutputError(f"{self._beside}: can't be made: {error.strerror or error}") from error
            return self._beside

    def _where(self) -> str:
        side = f"pictures are at most {self._limits.side} pixels a side here"
        if self.embedded:
            return f"Everything is in this one file: {side}. Links lead to the run's own files beside it."
        return f"The run is long, so its pictures lie in {self._beside.name}/: keep that folder beside this page; {side}."


def _redacted(words: Sequence[str]) -> str:
    """The line that made the run; pages are passed on, and addresses of cameras often hold a password."""
    return shlex.join(["ovxai", *map(without_passwords, words)])


def start_report(folder: Path, sources: Iterable[Source | Broken], limit: int | None, force: bool) -> Report | None:
    """The report of a run over `sources`; None where there are only videos."""
    pictures = sum(isinstance(source, Source) and source.kind == "image" for source in sources)
    return Report(folder, min(pictures, limit or pictures), force=force) if pictures else None


def _free_path(path: Path, force: bool) -> Path:
    """`path`, or with a number behind its stem where an earlier run has left its page."""
    number = 1
    while not force and os.path.lexists(path):
        number += 1
        path = path.with_name(f"{Path(NAME).stem}_{number}.html")
    return path


def _small(picture: np.ndarray, side: int) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    return cv2.resize(picture, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)


#: Class and box of a map: whose files are whose.
_Whose = tuple[int | None, Box | None]


def _linked(files: Sequence[WrittenFile]) -> dict[_Whose, str]:
    """The file of each map that is worth a link: its overlay, else the map."""
    paths = {(item.class_index, item.box): item.path for item in files if item.kind == "saliency_map"}
    return paths | {(item.class_index, item.box): item.path for item in files if item.kind == "overlay"}


def _maps(explanation: PictureMaps, limits: Limits, files: dict[_Whose, str]) -> tuple[list[Key], list[Document]]:
    """The maps as far as the limits go, and their keys, best score first; those without a score keep their order behind."""
    keys: list[Key] = []
    maps: list[Document] = []
    room = limits.map_bytes
    for key in explanation.best_first(worst=-1.0):
        entry = _map(explanation, key, limits.map_side, files)
        room -= len(to_json(entry))
        if maps and room < 0:
            break
        keys.append(key)
        maps.append(entry)
    return keys, maps


def _map(explanation: PictureMaps, key: Key, side: int, files: dict[_Whose, str]) -> Document:
    index = class_of(key)
    item = explanation.boxes.get(key)
    grey = _bounded(to_grey(explanation.raw_maps[key]), side)
    return {
        "class": index,
        **({} if item is None else {"number": key.number if isinstance(key, BoxKey) else 1}),
        "label": spoken(explanation.label(key) or "whole picture"),
        "guess": explanation.is_guess(key),
        "score": _score(explanation.score(key)),
        "shape": list(explanation.raw_maps[key].shape),
        "grid": list(grey.shape),
        "grey": to_base64(grey),
        "file": files.get((index, None if item is None else item.box), ""),
    }


def _title(source: str | None, image: str) -> str:
    """What a picture is called: its file's name."""
    return re.split(r"[/\\]", source)[-1] or image if source else image


def _score(score: float | None) -> float | None:
    return None if score is None or not np.isfinite(score) else round(float(score), 4)


def _bounded(grey: np.ndarray, side: int) -> np.ndarray:
    height, width = grey.shape
    if max(height, width) <= side:
        return grey
    return cv2.resize(grey, (min(width, side), min(height, side)), interpolation=cv2.INTER_AREA)


def view(geometry: Geometry) -> list[list[float]]:
    """What the network saw: x1, y1, x2, y2 in shares of the picture; x, y, width, height on its input, in shares of that."""
    (height, width), (canvas_height, canvas_width) = geometry.source, geometry.canvas
    window = np.array(geometry.window_box(), np.float64) / (width, height, width, height)
    content = np.array(geometry.content, np.float64) / (canvas_width, canvas_height, canvas_width, canvas_height)
    return [[round(value, 5) for value in rectangle.tolist()] for rectangle in (window, content)]


def _all_found(explanation: PictureMaps, keys: Sequence[Key], most: int) -> list[Document]:
    """Boxes and outlines: first those that have a map of their own, with its place among the maps, then all that is predicted."""
    height, width = explanation.picture.shape[:2]
    owned = [(place, explanation.boxes[key]) for place, key in enumerate(keys) if key in explanation.boxes]
    found = [{**_found(item, width, height), "map": place} for place, item in owned]
    others = [item for item in explanation.predictions[:most] if _has_place(item)]
    others = [item for item in others if not any(_is_same(item, other) for _, other in owned)]
    return found + [_found(item, width, height) for item in others]


def _is_same(a: Prediction, b: Prediction) -> bool:
    """Whether two boxes are one: what the graph decodes and what the runner does differ by rounding."""
    if a.class_index != b.class_index or a.box is None or b.box is None:
        return False
    side = max(a.box[2] - a.box[0], a.box[3] - a.box[1], 1.0)
    return max(abs(x - y) for x, y in zip(a.box, b.box)) <= 0.05 * side


def _has_place(prediction: Prediction) -> bool:
    return prediction.box is not None or prediction.mask is not None


def _found(prediction: Prediction, width: int, height: int) -> Document:
    """Box and outline of an object, in shares of the picture."""
    box = None
    if prediction.box is not None:
        box = (np.nan_to_num(np.array(prediction.box, np.float64)) / (width, height, width, height)).tolist()
    return {
        "class": prediction.class_index,
        "label": spoken(prediction.label),
        "score": _score(prediction.score),
        "color": "#{:02x}{:02x}{:02x}".format(*class_color(prediction.class_index)),
        "box": None if box is None else [round(value, 4) for value in box],
        "outline": [] if prediction.mask is None else _outline(prediction.mask),
    }


def _outline(mask: np.ndarray) -> list[list[float]]:
    """Polygons around a mask, x and y in turn, as shares of the picture; crumbs are left out."""
    height, width = mask.shape
    lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = sorted(lines, key=len, reverse=True)[:8]
    slack = max(height, width) / 400
    polygons = (cv2.approxPolyDP(line, slack, True)[:, 0] for line in largest)
    return [np.round((points + 0.5) / (width, height), 4).reshape(-1).tolist() for points in polygons if len(points) > 2]
