"""`manifest.json`: what was written, from which picture, by which model."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import openvino as ov

from ovxai.files import locked_folder, make_folder, whole_file
from ovxai.runtime.predict.facts import ModelFacts
from ovxai.runtime.write.maps import WrittenFile
from ovxai.runtime.write.spool import Spool
from ovxai.text import to_json
from ovxai.version import __version__

NAME = "manifest.json"
#: What JSON documents are made of.
Document = dict[str, Any]
#: Raised when a key changes its meaning or goes; new keys don't raise it.
SCHEMA_VERSION = 1


def versions() -> dict[str, str]:
    """Versions of what made the maps."""
    return {"ovxai": __version__, "openvino": ov.get_version(), "opencv": cv2.__version__}


def model_facts(path: str, facts: ModelFacts) -> Document:
    """The model as `manifest.json` and `--json` tell of it."""
    explained = facts.explained
    return {
        "path": path,
        "name": facts.name,
        "task": explained.task,
        "method": explained.method,
        "target_layers": list(explained.target_layers),
        "collapse": explained.collapse,
        "scaled": explained.scaled,
        "num_classes": explained.num_classes,
        "inserted_by": explained.version,
    }


def write_manifest(
    folder: Path,
    model: Document,
    written: Iterable[WrittenFile],
    failed: Iterable[tuple[str, str]],
    settings: Mapping[str, Any],
    *,
    page: Path | None = None,
    truth: Document | None = None,
    force: bool = False,
) -> Path:
    """Write the manifest of `folder`; entries of earlier runs whose files still stand are kept.

    failed: (source, reason). settings: how the maps were made, plain JSON values. page: the report of this run.
    truth: what came of the pictures of this run by their annotations.
    force: take the place of a manifest.json that is none of ours; else the next free name is taken.

    Returns its path. Raises:
        OutputError: the disk refused.
    """
    make_folder(folder)
    with locked_folder(folder):  # another run may be at its end too
        path, older = _place(folder, force)
        stamp = versions()
        head = {"schema_version": SCHEMA_VERSION, "model": model, "versions": stamp, "settings": dict(settings)}
        failures = [{"source": source, "error": reason} for source, reason in failed]
        pages = [name for name in older.pages if (folder / name).exists()]
        pages += [page.name] if page is not None and page.name not in pages else []
        with whole_file(path) as file:
            # Piece by piece: as one string, the manifest of a long run is larger than all else in memory.
            file.write(to_json(head, indent=1)[:-2] + ',\n "files": [')
            comma = ""
            for entry in _entries(folder, older.files, written, {"model": model["path"], "versions": stamp}):
                file.write(f"{comma}\n  {to_json(entry)}")
                comma = ","
            file.write(f'\n ],\n "reports": {to_json(pages)},\n "failed": {to_json(failures, indent=1)}')
            file.write((f',\n "truth": {to_json(truth, indent=1)}' if truth else "") + "\n}\n")
    return path


def _entries(folder: Path, older: list[Document], written: Iterable[WrittenFile], stamp: Document) -> Iterator[Document]:
    if older:
        new = {item.path for item in written}
        yield from (entry for entry in older if entry["path"] not in new and (folder / entry["path"]).exists())
    for item in written:
        yield {**_entry(item), **stamp}


def _entry(item: WrittenFile) -> Document:
    entry = asdict(item)
    if item.score is not None:
        entry["score"] = round(item.score, 6)
    if item.energy_inside is not None:
        entry["energy_inside"] = round(item.energy_inside, 4)
    if item.box is not None:
        entry["box"] = [round(value, 2) for value in item.box]
    return entry


@dataclass(frozen=True)
class Earlier:
    """What the manifest of earlier runs lists: these files are ours, and nothing else in the folder is."""

    files: list[Document] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)


def _place(folder: Path, force: bool) -> tuple[Path, Earlier]:
    """Where the manifest goes, and what it says so far: the first one of ours, else the first free name."""
    for number in itertools.count(1):
        path = folder / (NAME if number == 1 else f"{Path(NAME).stem}_{number}.json")
        if not os.path.lexists(path):
            return path, Earlier()
        earlier = _earlier(path)
        if earlier is not None or force:
            return path, earlier or Earlier()
    raise AssertionError("there is always a free number")


def _earlier(path: Path) -> Earlier | None:
    """What a manifest lists; None where it is none of ours, or damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or "schema_version" not in document or path.is_symlink():
        return None
    files, pages, stamp = document.get("files"), document.get("reports", []), document.get("versions")
    if not isinstance(stamp, dict) or "ovxai" not in stamp:
        return None
    if document["schema_version"] != SCHEMA_VERSION or not isinstance(files, list) or not isinstance(pages, list):
        return Earlier()
    good = [entry for entry in files if isinstance(entry, dict) and isinstance(entry.get("path"), str)]
    return Earlier(good, [page for page in pages if isinstance(page, str)])


# The list of what was written, kept so that a run's memory does not grow with its length.


class Ledger:
    """Append-only list of `WrittenFile` records; may be read again and again, also between appends."""

    def __init__(self) -> None:
        self._lines = Spool()

    def extend(self, records: Iterable[WrittenFile]) -> None:
        """Append records."""
        self._lines.extend(json.dumps(asdict(record)) for record in records)

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[WrittenFile]:
        return (_record(json.loads(line)) for line in self._lines)


def _record(entry: Document) -> WrittenFile:
    shapes = {key: tuple(entry[key]) for key in ("map_shape", "size", "box") if entry[key] is not None}
    return WrittenFile(**{**entry, **shapes})
