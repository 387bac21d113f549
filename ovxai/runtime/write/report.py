"""`report.html`: one page to look through a run's maps, with nothing to install and nothing to fetch.

Every picture becomes a card: a small JPEG, its low-resolution grey maps and what was found in it, as
one line of JSON. The page colours and blends the maps itself. Cards are made where pictures are
finished and kept in a temporary file, so that memory stays flat. The page's own files are in
`report_page/`; docs/report.md describes the page.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np

from ovxai.errors import OutputError
from ovxai.runtime.facts import ModelFacts
from ovxai.runtime.feed.geometry import Geometry
from ovxai.runtime.feed.sources import Broken, Source
from ovxai.runtime.predict.predictions import Prediction
from ovxai.runtime.show.colours import COLORMAPS, class_color, table
from ovxai.runtime.show.explanation import IMAGE_KEY, Explanation, Key
from ovxai.runtime.show.render import to_grey
from ovxai.runtime.write.files import make_folder, to_bgr, whole_file, write_bytes
from ovxai.runtime.write.manifest import versions
from ovxai.runtime.write.maps import WrittenFile

NAME = "report.html"
#: Up to so many pictures are part of the page; those of a longer run lie in a folder beside it.
MOST_EMBEDDED = 200
#: Up to here cards stay in memory; beyond, they go to an unnamed temporary file.
_IN_MEMORY = 1 << 20
#: Classes named as predicted; every one that has a map is listed besides.
_MOST_PREDICTED = 5
#: Failures listed in the page; manifest.json has them all.
_MOST_FAILURES = 100
_SCRIPTS = ("maps.js", "state.js", "gallery.js", "viewer.js", "page.js")


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
        self._cards = tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8")
        self._count = 0

    def card(self, explanation: Explanation, image: str, files: Sequence[WrittenFile] = ()) -> str:
        """One picture as a line of JSON. image: its name in file names, from `Writer.claim`. files: what was written of it.

        Raises:
            OutputError: the disk refused its small picture.
        """
        limits = self._limits
        small = _small(explanation.picture, limits.side)
        height, width = explanation.picture.shape[:2]
        maps = _maps(explanation, limits, _linked(files))
        card = {
            "name": image,
            "source": explanation.source or "",
            "size": [width, height],
            "picture": self._store(image, small),
            "small": [small.shape[1], small.shape[0]],
            "view": _view(explanation.geometry),
            "maps": maps,
            "more": len(explanation.raw_maps) - len(maps),
            "found": [_found(item, width, height) for item in explanation.predictions[: limits.found] if _has_place(item)],
            "predicted": [f"{p.label} {p.score:.2f}" for p in explanation.predictions[:_MOST_PREDICTED] if not _has_place(p)],
        }
        return _json(card)

    def add(self, card: str) -> None:
        """Append what `card` gave. Cards stand in the page in this order."""
        self._cards.write((",\n" if self._count else "") + card)
        self._count += 1

    def write(
        self,
        facts: ModelFacts,
        *,
        model: str,
        settings: dict,
        failed: Iterable[tuple[str, str]] = (),
        command: str | None = None,
    ) -> Path | None:
        """Write the page; None when there is no picture to show.

        model: its path. settings: how the maps were made, plain JSON values. failed: (source, reason).
        command: the line that made the run; None: this process's own.

        Raises:
            OutputError: the disk refused.
        """
        if not self._count:
            return None
        make_folder(self.folder)
        failed = [(source, " ".join(reason.split())) for source, reason in failed]
        command = shlex.join(["ovxai", *sys.argv[1:]]) if command is None else command
        page = {
            "colormaps": {name: _base64(table(name)) for name in COLORMAPS},
            "colormap": settings.get("colormap", "jet"),
            "opacity": settings.get("opacity", 0.5),
            "interpolation": settings.get("interpolation", "linear"),
        }
        script, style = _script(), _text("style.css")
        parts = {
            "policy": _policy(script, style, self.embedded),
            "style": style,
            "script": script,
            "title": html.escape(f"{facts.name or Path(model).stem}: maps of {_count(self._count, 'picture')}"),
            "brief": html.escape(", ".join(filter(None, (facts.explained.task, facts.explained.method)))),
            "facts": _facts_table(_facts(facts, model, settings, command)),
            "where": html.escape(self._where()),
            "failed": _failures(failed),
            "page": _json(page),
        }
        head, tail = _text("page.html").split("{{cards}}")
        with whole_file(self.path) as file:
            file.write(_fill(head, parts))
            self._cards.seek(0)
            shutil.copyfileobj(self._cards, file)
            file.write(_fill(tail, parts))
        return self.path

    def _store(self, image: str, small: np.ndarray) -> str:
        """The address of a small picture: itself, or a file beside the page."""
        ok, data = cv2.imencode(".jpg", to_bgr(small), (cv2.IMWRITE_JPEG_QUALITY, 85))
        if not ok:
            raise OutputError(f"{image}: its small picture can't be stored as JPEG; run with --no-report")
        if self.embedded:
            return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
        write_bytes(make_folder(self._beside) / f"{image}.jpg", data.tobytes())
        return f"{self._beside.name}/{image}.jpg"

    def _where(self) -> str:
        side = f"pictures are at most {self._limits.side} pixels a side here"
        if self.embedded:
            return f"Everything is in this one file: {side}. Links lead to the run's own files beside it."
        return f"The run is long, so its pictures lie in {self._beside.name}/: keep that folder beside this page; {side}."


def start_report(folder: Path, sources: Iterable[Source | Broken], limit: int | None, force: bool) -> Report | None:
    """The report of a run over `sources`; None where there are only videos."""
    pictures = sum(isinstance(source, Source) and source.kind == "image" for source in sources)
    return Report(folder, min(pictures, limit or pictures), force=force) if pictures else None


def _free_path(path: Path, force: bool) -> Path:
    """`path`, or with a number behind its stem where an earlier run has left its page."""
    number = 1
    while not force and path.exists():
        number += 1
        path = path.with_name(f"{Path(NAME).stem}_{number}.html")
    return path


def _small(picture: np.ndarray, side: int) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    return cv2.resize(picture, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)


def _linked(files: Sequence[WrittenFile]) -> dict[int | None, str]:
    """Class -> the file that is worth a link: its overlay, else its map."""
    paths = {item.class_index: item.path for item in files if item.kind == "saliency_map"}
    return paths | {item.class_index: item.path for item in files if item.kind == "overlay"}


def _maps(explanation: Explanation, limits: Limits, files: dict[int | None, str]) -> list[dict]:
    """The maps as far as the limits go, best score first; those without a score keep their order behind."""
    keys = sorted(explanation.raw_maps, key=lambda key: -explanation.scores.get(key, -1.0))
    maps, room = [], limits.map_bytes
    for key in keys:
        entry = _map(explanation, key, limits.map_side, files)
        room -= len(_json(entry))
        if maps and room < 0:
            break
        maps.append(entry)
    return maps


def _map(explanation: Explanation, key: Key, side: int, files: dict[int | None, str]) -> dict:
    index = None if key == IMAGE_KEY else int(key)
    grey = _bounded(to_grey(explanation.raw_maps[key]), side)
    return {
        "class": index,
        "label": "whole picture" if index is None else explanation.labels[index],
        "score": _score(explanation.scores.get(key)),
        "shape": list(explanation.raw_maps[key].shape),
        "grid": list(grey.shape),
        "grey": _base64(grey),
        "file": files.get(index, ""),
    }


def _score(score: float | None) -> float | None:
    return None if score is None or not np.isfinite(score) else round(float(score), 4)


def _bounded(grey: np.ndarray, side: int) -> np.ndarray:
    height, width = grey.shape
    if max(height, width) <= side:
        return grey
    return cv2.resize(grey, (min(width, side), min(height, side)), interpolation=cv2.INTER_AREA)


def _view(geometry: Geometry) -> list[list[float]]:
    """What the network saw: x1, y1, x2, y2 in shares of the picture; x, y, width, height on its input, in shares of that."""
    (height, width), (canvas_height, canvas_width) = geometry.source, geometry.canvas
    window = np.float64(geometry.window_box()) / (width, height, width, height)
    content = np.float64(geometry.content) / (canvas_width, canvas_height, canvas_width, canvas_height)
    return [[round(value, 5) for value in rectangle.tolist()] for rectangle in (window, content)]


def _has_place(prediction: Prediction) -> bool:
    return prediction.box is not None or prediction.mask is not None


def _found(prediction: Prediction, width: int, height: int) -> dict:
    """Box and outline of an object, in shares of the picture."""
    box = None if prediction.box is None else np.nan_to_num(np.float64(prediction.box)) / (width, height, width, height)
    return {
        "class": prediction.class_index,
        "label": prediction.label,
        "score": _score(prediction.score),
        "color": "#{:02x}{:02x}{:02x}".format(*class_color(prediction.class_index)),
        "box": None if box is None else [round(value, 4) for value in box.tolist()],
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


def _facts(facts: ModelFacts, model: str, settings: dict, command: str) -> dict[str, str]:
    """What the page says about model and run, in order; empty values are left out."""
    explained, stamp = facts.explained, versions()
    classes = settings.get("classes")
    target = f"classes {', '.join(map(str, classes))}" if classes else str(settings.get("target", ""))
    shown = {
        "Model": facts.name,
        "File": model,
        "Task": explained.task,
        "Method": explained.method,
        "Target layers": ", ".join(explained.target_layers),
        "Feature map": explained.feature_layer,
        "Mask": explained.mask,
        "Collapse": explained.collapse,
        "Maps": "scaled to 0..255 each" if explained.scaled else "unscaled (--raw), scaled for this page",
        "Mapped classes": explained.classes
        if explained.num_classes is None
        else f"{explained.classes} of {explained.num_classes}",
        "Explained": target,
        "Threshold": _threshold(settings),
        "Device": str(settings.get("device", "")),
        "Precision": settings.get("precision") or "the device's own",
        "Hint": str(settings.get("hint", "")),
        "Versions": ", ".join(f"{name} {version}" for name, version in stamp.items()),
        "Inserted by": f"ovxai {explained.version}" if explained.version else "another tool",
        "Made": time.strftime("%Y-%m-%d %H:%M"),
        "Command": _without_passwords(command),
    }
    return {name: value for name, value in shown.items() if value}


def _threshold(settings: dict) -> str:
    """Empty where classes are explained whatever their score."""
    if settings.get("classes") or settings.get("target", "predictions") != "predictions":
        return ""
    return str(settings.get("threshold", "the model's own, else 0.3"))


def _without_passwords(command: str) -> str:
    """Addresses of cameras often hold a password; pages are passed on."""
    return re.sub(r"(://[^/\s:@']*):[^/\s@']*@", r"\1:***@", command)


def _facts_table(facts: dict[str, str]) -> str:
    return "\n".join(f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>" for name, value in facts.items())


def _failures(failed: list[tuple[str, str]]) -> str:
    if not failed:
        return ""
    lines = [f"<li>{html.escape(reason)}</li>" for _, reason in failed[:_MOST_FAILURES]]
    if len(failed) > _MOST_FAILURES:
        lines.append(f"<li>and {len(failed) - _MOST_FAILURES} more; manifest.json lists them</li>")
    summary = f"{_count(len(failed), 'source')} could not be explained"
    return f'<details id="failed"><summary>{summary}</summary><ul>{"".join(lines)}</ul></details>'


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _policy(script: str, style: str, embedded: bool) -> str:
    """A browser that honours it runs this page's own script, and fetches nothing from a network."""
    pictures = "data:" if embedded else "data: 'self' file:"
    return (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src {pictures}; "
        f"script-src '{_hash(script)}'; style-src '{_hash(style)}'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _fill(template: str, parts: dict[str, str]) -> str:
    """Put `parts` in place of {{name}}; what they hold is not looked at again."""
    return _writable(re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template))


def _script() -> str:
    return "\n'use strict';\n(() => {\n" + "\n".join(_text(name) for name in _SCRIPTS) + "\n})();\n"


def _text(name: str) -> str:
    return resources.files("ovxai.runtime").joinpath("report_page", name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """JSON that may stand inside of a script element: it can't end it."""
    text = _writable(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _writable(text: str) -> str:
    """File names may hold bytes that are no UTF-8; they become `?`."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array)).decode("ascii")
