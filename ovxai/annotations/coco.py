"""COCO's json: boxes, polygons and runs of pixels of many pictures in one file (Lin et al., arXiv 1405.0312)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ovxai.annotations.facts import AnnotatedPicture, AnnotationSet, MaskMaker, Tally, TrueObject, as_size, box_of, clipped
from ovxai.annotations.files import Finder, picture_size, read_text
from ovxai.annotations.masks import FAR, is_far, of_polygons, of_runs
from ovxai.errors import AnnotationError

#: What json documents are made of.
Record = dict[str, Any]


def read_coco(path: Path, finder: Finder, tally: Tally) -> AnnotationSet:
    """Annotations of a COCO json file; pictures by `finder`.

    Raises:
        AnnotationError: not such a file, or damaged.
    """
    document = _document(path)
    names: dict[Any, str] = {}
    for i, entry in enumerate(_records(document, "categories", path)):
        names[_id(entry, "id", path, f"categories[{i}]")] = str(entry.get("name", entry["id"]))
    objects: dict[Any, list[tuple[int, Record]]] = {}
    images = _records(document, "images", path)
    for i, image in enumerate(images):
        objects[_id(image, "id", path, f"images[{i}]")] = []
    for i, entry in enumerate(_records(document, "annotations", path)):
        found = objects.get(_id(entry, "image_id", path, f"annotations[{i}]"))
        if found is None:
            tally.add("annotations of pictures that the file does not list, left out", path)
        else:
            found.append((i, entry))
    pictures = []
    for image in images:
        name = _file_name(image)
        file = finder.find((name or str(image["id"]),), tally)
        if file is None:
            continue
        size = as_size(image.get("height"), image.get("width")) or picture_size(file)
        read = (_object(entry, names, size, f"{path}: annotations[{i}]", file, tally) for i, entry in objects[image["id"]])
        pictures.append(AnnotatedPicture(file, tuple(item for item in read if item is not None), size))
    return AnnotationSet(tuple(dict.fromkeys(names.values())), tuple(pictures))


#: What says no where a tool has written text.
_NO = ("0", "0.0", "false", "False")


def _object(
    entry: Record, names: dict[Any, str], size: tuple[int, int] | None, where: str, file: Path, tally: Tally
) -> TrueObject | None:
    known = entry.get("category_id")
    name = names.get(known) if isinstance(known, (int, str)) else None
    if name is None:
        tally.add("objects of a category that the file does not name, left out", file)
        return None
    crowd = bool(entry.get("iscrowd")) and entry["iscrowd"] not in _NO
    if crowd:
        tally.add("crowd regions", file)
    maker = _mask(entry.get("segmentation"), size, where, file, tally)
    bounds = entry.get("bbox")
    if bounds:
        left, top, width, height = _numbers(bounds, 4, f"{where}: bbox")
        box = clipped((left, top, left + width, top + height), size, file, tally)
        return None if box is None else TrueObject(name, box, maker, crowd)
    if maker is None:  # a class of the picture, as label-only data say it
        return TrueObject(name, None, None, crowd)
    if size is None:  # the picture can't be read either
        return TrueObject(name, None, maker, crowd)
    around = box_of(maker(*size))
    if around is None:
        tally.add("empty masks, left out", file)
        return None
    return TrueObject(name, around, maker, crowd)


def _mask(value: Any, size: tuple[int, int] | None, where: str, file: Path, tally: Tally) -> MaskMaker | None:
    if not value:
        return None
    if isinstance(value, dict):
        height, width = (int(number) for number in _numbers(value.get("size"), 2, f"{where}: segmentation size"))
        if as_size(height, width) is None:
            raise AnnotationError(f"{where}: segmentation size {height:g} x {width:g} is no picture's; the file is damaged")
        counts = value.get("counts")
        if not isinstance(counts, (str, list)):
            raise AnnotationError(f"{where}: segmentation has no counts")
        if size is not None and size != (height, width):
            tally.add("masks of another size than their picture, resized", file)
        return of_runs(counts, (height, width), where)
    if not isinstance(value, list):
        raise AnnotationError(f"{where}: segmentation is neither polygons nor runs")
    polygons = []
    for polygon in value:
        points = _numbers(polygon, None, f"{where}: segmentation")
        if len(points) < 6 or len(points) % 2:
            tally.add("polygons of fewer than three corners, left out", file)
        elif is_far(points):
            tally.add(FAR, file)
        else:
            polygons.append(points)
    return of_polygons(polygons) if polygons else None


# The parts of the document, and what is wrong with them.


def is_coco(path: Path) -> bool:
    """By its first and last bytes, so that other json files are passed over unread."""
    try:
        with open(path, "rb") as file:
            head = file.read(1 << 16)
            file.seek(max(0, path.stat().st_size - (1 << 16)))
            ends = head + file.read()
    except OSError:
        return False
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and any(
        key in ends for key in (b'"annotations"', b'"categories"', b'"images"')
    )


def _document(path: Path) -> Record:
    try:
        document = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: is no valid json ({error}); export the annotations again") from error
    if not isinstance(document, dict) or "images" not in document or "annotations" not in document:
        what = "a list, as detectors' results are" if isinstance(document, list) else "without images and annotations"
        raise AnnotationError(f"{path}: json {what}; give COCO annotations")
    return document


def _records(document: Record, key: str, path: Path) -> list[Record]:
    entries = document.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise AnnotationError(f"{path}: {key} is not a list of objects; give COCO annotations")
    return entries


def _id(entry: Record, key: str, path: Path, place: str) -> int | str:
    value = entry.get(key)
    if not isinstance(value, (int, str)):
        raise AnnotationError(f"{path}: {place} has no {key}; the file is damaged")
    return value


def _numbers(value: Any, count: int | None, where: str) -> list[float]:
    found = [_number(one) for one in value] if isinstance(value, list) else [None]
    good = [one for one in found if one is not None]
    if len(good) != len(found) or (count is not None and len(good) != count):
        raise AnnotationError(f"{where} is not {count or 'a list of'} numbers; the file is damaged")
    return good


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def _file_name(image: Record) -> str:
    name = image.get("file_name") or str(image.get("coco_url") or "").rpartition("/")[2]
    return name if isinstance(name, str) else ""
