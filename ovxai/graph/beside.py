"""What a model's file and the files beside it say of labels, sizes, mean and scale: read into `model_info`, never over it.

Ultralytics' exports (in the ONNX file, or metadata.yaml beside an IR), label files of TFLite (packed into the model, or
beside it), and config.json and preprocessor_config.json of Hugging Face (beside it, or above a folder `onnx`).
"""

from __future__ import annotations

import ast
import json
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import openvino as ov

from ovxai.metadata import MODEL_INFO, adopt_onnx_model_info, joined_labels

#: Larger files are no metadata.
MOST_BYTES = 16 << 20
#: Which model's metadata a folder of this name holds is said one folder up.
_INNER_FOLDERS = ("onnx", "openvino")
#: What only Ultralytics' metadata has together.
_ULTRALYTICS = {"names", "stride", "imgsz", "task"}
#: They belong together.
_NORMALISING = ("mean_values", "scale_values")
_LABEL_FILES = ("labels.txt", "labelmap.txt")


@dataclass(frozen=True)
class Told:
    """Entries of `model_info` as text, by key; source: who says so, for a person."""

    source: str
    entries: Mapping[str, str]


@dataclass(frozen=True)
class Adopted:
    """notes: one line for each source that something was taken from. labels, normalisation: of which one the labels, and mean and
    scale; "" where of none."""

    notes: tuple[str, ...] = ()
    labels: str = ""
    normalisation: str = ""

    def without_labels(self, model: ov.Model) -> Adopted:
        """With the labels taken out of `model` again, which they do not fit."""
        count = len(model.get_rt_info([MODEL_INFO, "labels"]).astype(str).split())
        model.set_rt_info("", [MODEL_INFO, "labels"])
        kept = tuple(note for note in self.notes if not note.startswith(f"{count} labels: "))
        left = f"the {count} labels of {self.labels} do not fit the model's classes and are left out"
        return replace(self, notes=(*kept, left), labels="")

    def without_normalisation(self, model: ov.Model) -> Adopted:
        """With mean and scale taken out of `model` again, which its picture can't have."""
        for key in _NORMALISING:
            if model.has_rt_info([MODEL_INFO, key]):
                model.set_rt_info("", [MODEL_INFO, key])
        left = f"mean and scale of {self.normalisation} do not fit the model's picture and are left out"
        return replace(self, notes=(*self.notes, left), normalisation="")


def adopt_what_is_told(model: ov.Model, path: Path | None) -> Adopted:
    """Write into `model_info` what its file and the files beside it say and it does not say itself.

    path: of the model's file; None where there is none: then its own metadata alone.
    Mean and scale belong together: where the model has one of them, neither is taken. A file that can't be read says nothing.
    """
    adopt_onnx_model_info(model)
    notes, labels, normalisation = [], "", ""
    for told in _all_told(model, path):
        normalised = any(model.has_rt_info([MODEL_INFO, key]) for key in _NORMALISING)
        taken = []
        for key, text in told.entries.items():
            known = normalised if key in _NORMALISING else model.has_rt_info([MODEL_INFO, key])
            if not known and text:
                model.set_rt_info(text, [MODEL_INFO, key])
                if key == "labels":
                    labels = told.source
                    notes.append(f"{len(text.split())} labels: {_from(told)}")
                else:
                    taken.append(f"{key} {text}")
                    normalisation = told.source if key in _NORMALISING else normalisation
        if taken:
            notes.append(f"{', '.join(taken)}: {_from(told)}")
    return Adopted(tuple(notes), labels, normalisation)


def _from(told: Told) -> str:
    return f"from {told.source} (options say otherwise)"


def _all_told(model: ov.Model, path: Path | None) -> list[Told]:
    found = [_ultralytics(_framework(model), "the metadata in the model's file")]
    if path is not None:
        if path.suffix.lower() == ".xml":
            found.append(_ultralytics(flat_yaml(_text(path.parent / "metadata.yaml")), "metadata.yaml beside the model"))
        if path.suffix.lower() == ".tflite":
            found.append(_label_file(path))
        found.append(_hugging_face(path))
    return [told for told in found if told is not None]


def _text(path: Path) -> str:
    """Of a small file of text; "" where there is none."""
    try:
        return path.read_text("utf-8") if path.is_file() and path.stat().st_size <= MOST_BYTES else ""
    except (OSError, UnicodeDecodeError):
        return ""


# Ultralytics.


def _framework(model: ov.Model) -> dict[str, object]:
    """Metadata of an ONNX file, as OpenVINO keeps it."""
    if not model.has_rt_info(["framework"]):
        return {}
    if not all(model.has_rt_info(["framework", key]) for key in _ULTRALYTICS):
        return {}
    return {key: _literal(model.get_rt_info(["framework", key]).astype(str)) for key in _ULTRALYTICS}


def _literal(text: str) -> object:
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text
    return value


def flat_yaml(text: str) -> dict[str, object]:
    """The flat keys of a YAML file: scalars, lists of scalars, and tables of scalars one level down; all else is left out."""
    found: dict[str, object] = {}
    key = ""
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if top := re.match(r"(\w+):\s*(.*)$", line):
            key, value = top[1], top[2].strip()
            found[key] = _scalar(value) if value else None
        elif item := re.match(r"\s*-\s+(.+)$", line):
            values = found.get(key)
            if key and (values is None or isinstance(values, list)):
                found[key] = [*(values or ()), _scalar(item[1].strip())]
        elif inner := re.match(r"\s+(['\"]?)(\w+)\1:\s+(.+)$", line):
            table = found.get(key)
            if key and (table is None or isinstance(table, dict)):
                found[key] = {**(table or {}), _scalar(inner[2]): _scalar(inner[3].strip())}
    return found


def _scalar(text: str) -> object:
    if text[:1] == "'" and text[-1:] == "'" and len(text) > 1:
        return text[1:-1].replace("''", "'")
    plain = re.sub(r"\s+#.*$", "", text)
    value = _literal(plain)
    return plain if isinstance(value, (str, bool)) and plain[:1] != '"' else value


def _ultralytics(said: Mapping[str, object], source: str) -> Told | None:
    """As `ultralytics` feeds pictures: 0..1 RGB; classifiers the centre, all others with borders."""
    if not set(said) >= _ULTRALYTICS:
        return None
    entries = {"labels": _labels_of(said["names"]), "scale_values": "255"}
    if said["task"] == "classify":
        entries["resize_type"] = "crop"
    else:
        entries |= {"resize_type": "fit_to_window_letterbox", "pad_value": "114"}
    return Told(source, entries | _sizes(said["imgsz"]))


def _labels_of(names: object) -> str:
    """Names by their numbers 0, 1 ..., or in a list; "" where one is missing."""
    if isinstance(names, dict):
        by_number = {int(key): name for key, name in names.items() if str(key).isdecimal()}
        names = [by_number[index] for index in sorted(by_number)] if sorted(by_number) == list(range(len(names))) else []
    if not isinstance(names, (list, tuple)):
        return ""
    texts = tuple(str(name).strip() for name in names)
    return joined_labels(texts) if all(texts) else ""


def _sizes(size: object) -> dict[str, str]:
    """The size that pictures are brought to where the model leaves it open."""
    pair = [size, size] if isinstance(size, int) else list(size) if isinstance(size, (list, tuple)) else []
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        return {}
    return {"orig_height": str(pair[0]), "orig_width": str(pair[1])}


# TFLite.


def _label_file(path: Path) -> Told | None:
    """The list of names that TFLite's metadata packs behind the model, or that lies beside it."""
    packed = _packed_labels(path)
    if packed:
        return Told("the label file in the model", {"labels": joined_labels(packed)})
    for name in (f"{path.stem}_labels.txt", f"{path.stem}.txt", *_LABEL_FILES):
        names = _names(_text(path.with_name(name)))
        if names:
            return Told(f"{name} beside the model", {"labels": joined_labels(names)})
    return None


def _packed_labels(path: Path) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(path) as packed:
            files = [info for info in packed.infolist() if info.filename.endswith(".txt") and info.file_size <= MOST_BYTES]
            return _names(packed.read(files[0]).decode("utf-8")) if len(files) == 1 else ()
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError, RuntimeError, NotImplementedError):
        return ()


def _names(text: str) -> tuple[str, ...]:
    """One name per line, with or without its number before it (`0 cat`)."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbered = [re.match(r"(\d+)[ :,\t]+(.+)$", line) for line in lines]
    if all(match and int(match[1]) == index for index, match in enumerate(numbered)):
        return tuple(match[2].strip() for match in numbered if match)
    return tuple(lines)


# Hugging Face.


def _hugging_face(path: Path) -> Told | None:
    folder = path.parent.parent if path.parent.name in _INNER_FOLDERS else path.parent
    config, preprocessing = _json(folder / "config.json"), _json(folder / "preprocessor_config.json")
    entries = {}
    if config.get("model_type") or config.get("architectures"):
        names = _labels_of(config.get("id2label"))
        entries["labels"] = "" if _numbered_only(names) else names
    if preprocessing.get("image_processor_type") or preprocessing.get("feature_extractor_type") or "image_mean" in preprocessing:
        entries |= _normalisation(preprocessing) | _fitting(preprocessing)
    files = [name for name, said in (("config.json", config), ("preprocessor_config.json", preprocessing)) if said]
    return Told(f"{' and '.join(files)} beside the model", entries) if entries else None


def _json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(_text(path) or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _numbered_only(names: str) -> bool:
    """Names that `transformers` gives where nobody gave any."""
    return all(name == f"LABEL_{index}" for index, name in enumerate(names.split()))


def _normalisation(said: Mapping[str, object]) -> dict[str, str]:
    """(pixel * factor - mean) / std as (pixel - mean / factor) / (std / factor)."""
    factor = said.get("rescale_factor", 1 / 255)
    factor = 1.0 if said.get("do_rescale") is False else factor
    if not isinstance(factor, (int, float)) or not 0 < factor < math.inf:
        return {}
    given = [] if said.get("do_normalize") is False else [said[key] for key in ("image_mean", "image_std") if said.get(key)]
    mean, std = (_numbers(value) for value in given) if len(given) == 2 else ([], [])
    if given and not (mean and std and all(std)):
        return {}
    if not given:
        return {"scale_values": f"{1 / factor:.9g}"} if factor != 1 else {}
    words = {"mean_values": mean, "scale_values": std}
    return {key: " ".join(f"{value / factor:.9g}" for value in values) for key, values in words.items()}


def _numbers(value: object) -> list[float]:
    values = [value] if isinstance(value, (int, float)) else value if isinstance(value, list) else []
    return [float(one) for one in values] if all(isinstance(one, (int, float)) and math.isfinite(one) for one in values) else []


def _fitting(said: Mapping[str, object]) -> dict[str, str]:
    """How pictures are fitted, and the size where the model leaves it open."""
    size, crop = said.get("size"), said.get("crop_size")
    cropped = bool(said.get("do_center_crop")) or "crop_pct" in said
    whole = _side_pair(crop if said.get("do_center_crop") and crop else size)
    return ({"resize_type": "crop"} if cropped else {}) | (_sizes(whole) if whole else {})


def _side_pair(size: object) -> list[object] | None:
    """[height, width]; None where only one side of a picture of any aspect is known."""
    if isinstance(size, dict):
        if "longest_edge" in size:
            return None
        edge = size.get("shortest_edge")
        size = edge if edge is not None else [size.get("height"), size.get("width")]
    return [size, size] if isinstance(size, int) else size if isinstance(size, list) else None
