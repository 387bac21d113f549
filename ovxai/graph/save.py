"""Write an IR so that its two files are there whole and belong together, or are not there."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import openvino as ov

from ovxai.errors import OutputError
from ovxai.files import draft_folder, publish, sweep, why_not_longer
from ovxai.graph.natives import first_reason
from ovxai.graph.pair import hash_of_file, with_hash

#: Where the bytes of a constant lie in the .bin.
_EXTENT = re.compile(rb'offset="(\d+)" size="(\d+)"|size="(\d+)" offset="(\d+)"')


def check_destination(path: str | Path, *, force: bool) -> Path:
    """Refuse early what `save_model` would refuse after the work.

    Raises:
        OutputError: not an .xml, the folder is missing or not writable, or OUT exists and `force` is off.
    """
    path = Path(path)
    if path.suffix.lower() == ".onnx":
        raise OutputError(f"{path}: OpenVINO can read ONNX but not write it; give an .xml")
    if path.suffix.lower() != ".xml":
        raise OutputError(f"{path}: the explained model is an OpenVINO IR; give a name that ends in .xml")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the folder {path.parent} can't be written")
    taken = next((p for p in (path, path.with_suffix(".bin")) if os.path.lexists(p)), None)
    if taken is not None and not force:
        raise OutputError(f"{taken} exists; give another -o, or --force to overwrite it")
    return path


def save_model(model: ov.Model, path: str | Path, *, force: bool = False) -> Path:
    """Save `model` as OpenVINO IR (.xml + .bin) in the precision it came in.

    Both files are written in a folder of their own beside `path`, and get their names when both are whole.

    Raises:
        OutputError: see `check_destination`, or the disk refused.
    """
    return save_models({Path(path): model}, force=force)[0]


def save_models(models: Mapping[Path, ov.Model], *, force: bool = False) -> tuple[Path, ...]:
    """Like `save_model`, for several that belong together, by their paths in one folder: all of them, or none.

    Raises:
        OutputError: see `check_destination`, or the disk refused.
    """
    paths = tuple(check_destination(path, force=force) for path in models)
    folder, shown = paths[0].parent, ", ".join(map(str, paths))
    sweep(folder)
    try:
        with draft_folder(folder) as room:
            drafts = [room / f"model{i}.xml" for i in range(len(paths))]
            for draft, model in zip(drafts, models.values()):
                _write(model, draft)
            publish(_both(drafts), _both(paths), force=force)
    except OSError as error:
        raise OutputError(f"{shown}: can't be written: {error.strerror or error}") from error
    except RuntimeError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{shown}: can't be written: {first_reason(error)}") from error
    return paths


def _both(paths: Sequence[Path]) -> list[Path]:
    """The files of IRs, in the order in which they get their names."""
    return [file for path in paths for file in (path.with_suffix(".bin"), path)]


def _write(model: ov.Model, draft: Path) -> None:
    """An .xml and its .bin, whole.

    Raises:
        RuntimeError, OSError: they are not; says why.
    """
    weights = draft.with_suffix(".bin")
    try:
        ov.save_model(model, draft, compress_to_fp16=False)
        text = draft.read_bytes()
        whole = text.rstrip().endswith(b"</net>") and weights.stat().st_size >= _extent(text)
    except RuntimeError as error:
        # OpenVINO says basic_ios::clear of every disk that refuses.
        unsaid = "the disk took no more; is it full, or are files limited in size?" if "basic_ios" in str(error) else ""
        raise RuntimeError(_refusal(weights, draft) or unsaid or first_reason(error)) from error
    if not whole:
        raise RuntimeError(_refusal(weights, draft) or "OpenVINO wrote a part of it only; is there room on the disk?")
    draft.write_bytes(with_hash(text, hash_of_file(weights)))


def _extent(text: bytes) -> int:
    """How long the .bin has to be for the constants of an .xml."""
    found = (match.groups() for match in _EXTENT.finditer(text))
    return max((int(a or d) + int(b or c) for a, b, c, d in found), default=0)


def _refusal(*files: Path) -> str:
    """What the disk says against more bytes in one of these; "" where nothing."""
    return next((reason for file in files if (reason := why_not_longer(file))), "")
