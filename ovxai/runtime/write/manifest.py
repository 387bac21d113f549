"""`manifest.json`: what was written, from which picture, by which model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import openvino as ov

from ovxai.files import make_folder, whole_file
from ovxai.runtime.predict.facts import ModelFacts
from ovxai.runtime.write.maps import WrittenFile
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
) -> Path:
    """Write `folder`/manifest.json; entries of earlier runs whose files still stand are kept.

    failed: (source, reason). settings: how the maps were made, plain JSON values.
    """
    path = make_folder(folder) / NAME
    stamp = versions()
    head = {"schema_version": SCHEMA_VERSION, "model": model, "versions": stamp, "settings": dict(settings)}
    failures = [{"source": source, "error": reason} for source, reason in failed]
    older = _earlier(path)
    with whole_file(path) as file:
        # Piece by piece: as one string, the manifest of a long run is larger than all else in memory.
        file.write(json.dumps(head, indent=1, ensure_ascii=False)[:-2] + ',\n "files": [')
        comma = ""
        for entry in _entries(folder, older, written, {"model": model["path"], "versions": stamp}):
            file.write(f"{comma}\n  {json.dumps(entry, ensure_ascii=False)}")
            comma = ","
        file.write(f'\n ],\n "failed": {json.dumps(failures, indent=1, ensure_ascii=False)}\n}}\n')
    return path


def _entries(folder: Path, older: list[Document], written: Iterable[WrittenFile], stamp: Document) -> Iterator[Document]:
    if older:
        new = {item.path for item in written}
        yield from (e for e in older if e.get("path") not in new and (folder / e.get("path", "")).exists())
    for item in written:
        yield {**_entry(item), **stamp}


def _entry(item: WrittenFile) -> Document:
    entry = asdict(item)
    if item.score is not None:
        entry["score"] = round(item.score, 6)
    return entry


def _earlier(path: Path) -> list[Document]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return list(document["files"]) if document["schema_version"] == SCHEMA_VERSION else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


# The list of what was written, kept so that a run's memory does not grow with its length.

#: Up to here records stay in memory; beyond, they go to an unnamed temporary file.
_IN_MEMORY = 1 << 20


class Ledger:
    """Append-only list of `WrittenFile` records; may be read again and again, also between appends."""

    def __init__(self) -> None:
        # Open as long as the ledger is.
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8")  # noqa: SIM115
        self._count = 0

    def extend(self, records: Iterable[WrittenFile]) -> None:
        """Append records."""
        self._file.seek(0, 2)
        for record in records:
            self._file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
            self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[WrittenFile]:
        at = 0
        while True:
            self._file.seek(at)
            line = self._file.readline()
            if not line:
                return
            at = self._file.tell()
            yield _record(json.loads(line))


def _record(entry: Document) -> WrittenFile:
    shapes = {key: tuple(entry[key]) for key in ("map_shape", "size") if entry[key] is not None}
    return WrittenFile(**{**entry, **shapes})
