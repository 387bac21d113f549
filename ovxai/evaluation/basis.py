"""What a record of an evaluation holds for: by which a run that goes on tells what it still knows from what has changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import openvino as ov

from ovxai.annotations.files import picture_size
from ovxai.errors import AnnotationError
from ovxai.evaluation.cases import Annotated
from ovxai.graph.pair import hash_of_file
from ovxai.runtime.predict.facts import ModelFacts
from ovxai.runtime.write.manifest import versions

#: Digits of the digests: enough for nothing to be taken for another by chance.
_DIGITS = 24
#: Files that belong to a model's by their suffix.
_PARTNERS = {".xml": ".bin", ".pdmodel": ".pdiparams"}
#: How an ONNX file names one with its weights: the entry `location` of a tensor's external_data, and the length of its value.
_LOCATION = re.compile(rb"\n\x08location\x12([\x01-\x7f])")


@dataclass(frozen=True)
class Basis:
    """Of one picture in one column, besides the settings and the column's name, which hold method, layer and precision.

    model: the contents of its files. classes: its labels, how pictures are fed, and which of its classes the data's names are.
    device: and the versions of what computes. picture: the contents of its file. annotation: its objects, with their pixels.
    """

    model: str
    classes: str
    device: str
    picture: str
    annotation: str

    def other(self, before: Basis | None) -> tuple[str, ...]:
        """Names of what has changed; all where nothing is known of before."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) != getattr(before, field.name, None))

    @classmethod
    def from_dict(cls, values: object) -> Basis:
        """Raises: ValueError: not the fields of one, as text."""
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != names or not all(isinstance(one, str) for one in values.values()):
            raise ValueError("no basis")
        return cls(**values)


def of_model(file: Path) -> str:
    """The contents of a model's files: weights beside it are looked for as its format names them; of a folder all."""
    paths = sorted(path for path in file.rglob("*") if path.is_file()) if file.is_dir() else [file, *_weights(file)]
    parts = [part for path in paths for part in (path.name, hash_of_file(path))]
    return _digest(parts)


def _weights(file: Path) -> list[Path]:
    suffix = file.suffix.lower()
    if suffix == ".onnx":
        content = file.read_bytes()
        spans = {content[match.end() : match.end() + match[1][0]] for match in _LOCATION.finditer(content)}
        found = [file.parent / span.decode("utf-8", "replace") for span in sorted(spans)]
    else:
        found = [file.with_suffix(_PARTNERS[suffix])] if suffix in _PARTNERS else []
    return [path for path in found if path.is_file()]


def of_classes(facts: ModelFacts, index_of: Mapping[str, int]) -> str:
    """Labels and feeding as they are used, wherever they come from, and the names of the data that fit."""
    return _digest([repr(facts.names), repr(facts.info), repr(sorted(index_of.items()))])


def of_device(device: str) -> str:
    """The device by its full name, as far as OpenVINO tells it: bf16 is one CPU's own choice and not another's. And versions."""
    try:
        name = str(ov.Core().get_property(device, "FULL_DEVICE_NAME"))
    except RuntimeError:  # of several devices, or of one that is not there, which is said when it is used
        name = ""
    return ", ".join([device, name, *(f"{program} {version}" for program, version in versions().items())])


def of_picture(item: Annotated) -> tuple[str, str]:
    """(the picture, its annotation). Of what can't be read "": there is no record of it that could hold."""
    try:
        picture = hash_of_file(item.path)[:_DIGITS]
    except OSError:
        return "", ""
    size = picture_size(item.path)
    try:
        return picture, "" if size is None else _objects(item, size)
    except AnnotationError:
        return picture, ""


def _objects(item: Annotated, size: tuple[int, int]) -> str:
    objects = item.at(*size)
    if objects is None:
        return _digest(["another size"])
    parts: list[str] = []
    for one in objects:
        region = one.inside(*size)
        place = "" if region is None else hashlib.sha256(np.packbits(region).tobytes()).hexdigest()
        parts += [one.name, str(one.crowd), place]
    return _digest([str(size), *parts])


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:_DIGITS]
