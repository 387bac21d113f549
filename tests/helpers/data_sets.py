"""One small annotated data set, written in every format: shapes on grey, or whatever objects a test gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

#: Picture stem -> (class, box) of each object; two pictures of two sizes, and one that is empty.
OBJECTS: dict[str, list[tuple[str, tuple[int, int, int, int]]]] = {
    "a": [("dining table", (4, 6, 20, 26)), ("dog", (30, 10, 60, 40))],
    "b": [("dog", (0, 0, 16, 8))],
    "c": [],
}
SIZES = {"a": (48, 64), "b": (32, 40), "c": (32, 32)}
Objects = Mapping[str, Sequence[tuple[str, Sequence[int]]]]
Sizes = Mapping[str, tuple[int, int]]


def write_pictures(folder: Path, sizes: Sizes = SIZES) -> Path:
    """Grey pictures with some noise, `folder`/STEM.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (stem, (height, width)) in enumerate(sizes.items()):
        pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8)
        cv2.imwrite(str(folder / f"{stem}.png"), pixels)
    return folder


def class_names(objects: Objects) -> list[str]:
    return sorted({name for items in objects.values() for name, _ in items})


def write_coco(path: Path, objects: Objects = OBJECTS, sizes: Sizes = SIZES, suffix: str = ".png") -> Path:
    """One json; boxes as x, y, width, height."""
    names = class_names(objects)
    annotations: list[dict[str, object]] = []
    for number, items in enumerate(objects.values()):
        for name, (x1, y1, x2, y2) in items:
            annotations.append({
                "id": len(annotations), "image_id": number, "category_id": names.index(name) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0,
            })  # fmt: skip
    images = [
        {"id": number, "file_name": stem + suffix, "height": sizes[stem][0], "width": sizes[stem][1]}
        for number, stem in enumerate(objects)
    ]
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}), encoding="utf-8")
    return path


def write_voc(folder: Path, objects: Objects = OBJECTS, sizes: Sizes = SIZES, suffix: str = ".png") -> Path:
    """One xml per picture."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, items in objects.items():
        height, width = sizes[stem]
        entries = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for name, (x1, y1, x2, y2) in items
        )
        head = f"<filename>{stem}{suffix}</filename><size><width>{width}</width><height>{height}</height></size>"
        (folder / f"{stem}.xml").write_text(f"<annotation>{head}{entries}</annotation>", encoding="utf-8")
    return folder


def write_yolo(root: Path, objects: Objects = OBJECTS, sizes: Sizes = SIZES, split: str = "val") -> Path:
    """data.yaml and `labels/SPLIT/STEM.txt`; pictures belong into `images/SPLIT`."""
    names = class_names(objects)
    folder = root / "labels" / split
    folder.mkdir(parents=True, exist_ok=True)
    for stem, items in objects.items():
        height, width = sizes[stem]
        lines = [
            f"{names.index(name)} {(x1 + x2) / 2 / width:.9f} {(y1 + y2) / 2 / height:.9f} "
            f"{(x2 - x1) / width:.9f} {(y2 - y1) / height:.9f}"
            for name, (x1, y1, x2, y2) in items
        ]
        (folder / f"{stem}.txt").write_text("\n".join(lines), encoding="utf-8")
    listed = "\n".join(f"  {i}: {name}" for i, name in enumerate(names))
    (root / "data.yaml").write_text(f"path: .\n{split}: images/{split}  # pictures\nnames:\n{listed}\n", encoding="utf-8")
    return root / "data.yaml"


def write_boxes(folder: Path, objects: Objects = OBJECTS) -> Path:
    """`class x1 y1 x2 y2`, a text file per picture."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, items in objects.items():
        lines = [f"{name} {x1} {y1} {x2} {y2}" for name, (x1, y1, x2, y2) in items]
        (folder / f"{stem}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder
