"""Write an IR so that OUT is either whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import openvino as ov

from ovxai.errors import OutputError
from ovxai.graph.read import first_reason


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
    taken = next((p for p in (path, path.with_suffix(".bin")) if p.exists()), None)
    if taken is not None and not force:
        raise OutputError(f"{taken} exists; give another -o, or --force to overwrite it")
    return path


def save_model(model: ov.Model, path: str | Path, *, force: bool = False) -> Path:
    """Save `model` as OpenVINO IR (.xml + .bin) in the precision it came in.

    Both files are written under other names in the same folder and renamed when they are whole.

    Raises:
        OutputError: see `check_destination`, or the disk refused.
    """
    path = check_destination(path, force=force)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
            draft = Path(folder) / path.name
            ov.save_model(model, draft, compress_to_fp16=False)
            os.replace(draft.with_suffix(".bin"), path.with_suffix(".bin"))
            os.replace(draft, path)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path}: can't be written: {first_reason(error)}") from error
    return path
