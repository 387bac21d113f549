"""Annotations in whatever usual form -> one form: which format a file or folder is in, and where its pictures lie."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ovxai.annotations import yolo
from ovxai.annotations.coco import is_coco, read_coco
from ovxai.annotations.facts import AnnotatedPicture, AnnotationSet, Tally
from ovxai.annotations.files import IMAGE_FOLDERS, Finder, class_list, pictures_in, places, read_text
from ovxai.annotations.folders import class_folders, has_masks, read_class_folders, read_masks
from ovxai.annotations.lines import kind_of, read_boxes, read_yolo
from ovxai.annotations.voc import read_voc
from ovxai.errors import AnnotationError

#: Of a root with several parts the first of these that is there is read: what a model was not trained on.
SPLITS = ("test", "val", "valid", "validation", "train", "training")
_FOLDERS = ("", "annotations", "Annotations", "labels", "boxes", "ground-truth", "ground_truth")
_MASKS = ("masks", "mask", "SegmentationClass")
#: Text files that lie beside annotations and are none.
_NO_ANNOTATIONS = ("classes", "labels", "labelmap", "names", "readme", "notes", "license", "requirements")
#: So many text files are looked into to learn their kind; those of pictures without objects are empty.
_LOOKED_INTO = 50
KNOWN = "COCO json, Pascal VOC xml, YOLO's data.yaml, text files of `class x1 y1 x2 y2`, masks/, or folders named after classes"


@dataclass(frozen=True)
class Layout:
    """A form that was recognised. kind: its name. read: reads it, counting what is odd."""

    kind: str
    read: Callable[[Tally], AnnotationSet]


def read_annotations(path: Path, pictures: Path | None = None) -> AnnotationSet:
    """Read a file or a data root: COCO json, Pascal VOC xml, YOLO (data.yaml, or labels with classes.txt), text files of
    `class x1 y1 x2 y2`, masks, folders named after classes.

    A root with parts (test, val, train; folders of it, or of its images and labels, or files of annotations/) is read by
    the first of these that is there; a note says which. pictures: the folder of the picture files; None: they are looked
    for beside the annotations.

    Raises:
        AnnotationError: nothing of that kind, damaged, or not one of the pictures is there.
    """
    path = Path(path)
    if not path.exists():
        raise AnnotationError(f"{path}: no such file or folder of annotations")
    if pictures is not None and not Path(pictures).is_dir():
        raise AnnotationError(f"{pictures}: no such folder of pictures")
    tally = Tally()
    try:
        layout = _file(path, pictures) if path.is_file() else _folder(path, pictures)
        if layout is None:
            raise AnnotationError(f"{path}: no annotations that are known here; give {KNOWN}")
        found = layout.read(tally)
    except OSError as error:
        raise AnnotationError(f"{error.filename or path}: can't be read: {error.strerror or error}") from error
    return _finished(path, found, tally, alone=layout.kind == "folders")


def is_data_root(path: Path) -> bool:
    """Whether a folder holds pictures and their annotations, by what lies in it. Folders named after classes are none:
    any folder of folders could be that."""
    try:
        layout = _folder(Path(path), None) if os.path.isdir(path) else None
    except (AnnotationError, OSError):
        return False
    return layout is not None and layout.kind != "folders"


def _finished(path: Path, found: AnnotationSet, tally: Tally, *, alone: bool) -> AnnotationSet:
    merged: dict[Path, AnnotatedPicture] = {}
    for picture in found.pictures:
        if (other := merged.get(picture.path)) is not None:
            tally.add("pictures that are annotated twice, put together", picture.path)
            picture = replace(other, objects=(*other.objects, *picture.objects))
        merged[picture.path] = picture
    if not merged:
        what = "; ".join(tally.notes()) or "it is empty"
        raise AnnotationError(
            f"{path}: there is no annotated picture to read ({what}); give the folder of the pictures (of ovxai eval: --images)"
        )
    beside = () if alone else _beside(merged)
    for picture in merged.values():
        if not picture.objects:
            tally.add("pictures with nothing in them", picture.path)
    for file in beside:
        tally.add("pictures without an annotation", file)
    ordered = tuple(merged[key] for key in sorted(merged))
    return AnnotationSet(found.classes, ordered, (*found.notes, *tally.notes()), beside)


def _beside(merged: dict[Path, AnnotatedPicture]) -> tuple[Path, ...]:
    folders = sorted({path.parent for path in merged})
    return tuple(path for folder in folders for path in pictures_in(folder) if path not in merged)


# One file.


def _file(path: Path, pictures: Path | None) -> Layout | None:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _coco(path, pictures)
    if suffix == ".xml":
        return Layout("voc", lambda tally: read_voc([path], Finder(places(path.parent, pictures)), tally))
    if suffix in (".yaml", ".yml"):
        return _yolo(path, pictures)
    if suffix == ".txt" and kind_of(path) is not None:
        return _texts([path], path.parent, pictures)
    return None


def _coco(path: Path, pictures: Path | None) -> Layout:
    finder = Finder(places(path.parent, pictures, _of_part(path.parent, path.stem)))
    return Layout("coco", lambda tally: read_coco(path, finder, tally))


def _of_part(folder: Path, name: str) -> list[Path]:
    """Where the pictures of one part lie: other parts may have pictures of the same names."""
    words = [name.rpartition("_")[2], *(split for split in SPLITS if split in name.lower())]
    bases = [base / images for base in (folder, folder.parent) for images in (*IMAGE_FOLDERS, "")]
    return [base / word for word in words for base in bases if word]


def _yolo(path: Path, pictures: Path | None) -> Layout:
    def read(tally: Tally) -> AnnotationSet:
        names = yolo.read_names(path)
        parts = yolo.splits(path)
        split = next((name for name in ("test", "val", "train") if name in parts), None)
        if split is None and pictures is None:
            raise AnnotationError(
                f"{path}: none of its train, val, test is there; correct them, or give the folder of the pictures"
            )
        chosen = [pictures] if pictures is not None else parts[split or ""]
        pairs = [(file, label) for place in chosen for file, label in yolo.label_files(place)]
        there = [(file, label) for file, label in pairs if file.is_file()]
        if len(there) < len(pairs):
            missing = [file for file, _ in pairs if not file.is_file()]
            for file in missing:
                tally.add("annotated pictures that are not there", file)
        found = read_yolo(there, names, tally)
        if pictures is None and len(parts) > 1:
            found = replace(found, notes=(_part_note(split or "", parts),))
        return found

    return Layout("yolo", read)


def _texts(paths: Sequence[Path], folder: Path, pictures: Path | None) -> Layout | None:
    """Text files of one kind, one per picture."""
    kind = next((kind for path in paths[:_LOOKED_INTO] if (kind := kind_of(path)) is not None), None)
    if kind is None:
        return None
    split = [folder.parent.parent / images / folder.name for images in IMAGE_FOLDERS]
    finder = Finder(places(folder, pictures, [*split, *([folder.parent.parent / "images"] if folder.name in SPLITS else [])]))
    if kind == "boxes":
        return Layout("boxes", lambda tally: read_boxes(paths, finder, tally))

    def read(tally: Tally) -> AnnotationSet:
        names = class_list([folder, folder.parent, folder.parent.parent])
        if names is None:
            raise AnnotationError(f"{folder}: YOLO labels without names of classes; put a data.yaml or classes.txt beside them")
        pairs = []
        for path in paths:
            file = finder.find((path.stem,), tally)
            if file is not None:
                pairs.append((file, path))
        return read_yolo(pairs, names, tally)

    return Layout("yolo", read)


# A folder.


def _folder(folder: Path, pictures: Path | None) -> Layout | None:
    named = [path for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]) if _names_classes(path)]
    if named:
        return _yolo(named[0], pictures)
    for name in _FOLDERS:
        inner = folder / name
        if inner.is_dir() and (layout := _jsons(inner, pictures) or _xmls(inner, pictures)) is not None:
            return layout
    for name in _FOLDERS:
        inner = folder / name
        if inner.is_dir() and (layout := _text_folder(inner, pictures)) is not None:
            return layout
    masks = next((folder / name for name in _MASKS if has_masks(folder / name)), None)
    if masks is not None:
        return _masks(folder, masks, pictures)
    return _split(folder, pictures) or _classes(folder)


def _jsons(folder: Path, pictures: Path | None) -> Layout | None:
    found = [path for path in sorted(folder.glob("*.json")) if is_coco(path)]
    if not found:
        return None
    instances = [path for path in found if "instances" in path.stem] or found
    if len(instances) == 1:
        return _coco(instances[0], pictures)
    parts = {split: [path for path in instances if split in path.stem.lower()] for split in SPLITS}
    split = next((split for split, paths in parts.items() if len(paths) == 1), None)
    if split is None:
        names = ", ".join(path.name for path in instances[:5])
        raise AnnotationError(f"{folder}: several annotation files ({names}); give the one that is meant")
    return _noted(_coco(parts[split][0], pictures), f"{parts[split][0].name} is read, of {_listed(p.name for p in instances)}")


def _xmls(folder: Path, pictures: Path | None) -> Layout | None:
    found = [path for path in sorted(folder.glob("*.xml")) if _begins_with(path, b"<annotation")]
    finder = Finder(places(folder, pictures))
    parts = _image_sets(folder.parent)
    part = next((split for split in SPLITS if split in parts), None)
    if part is not None and (chosen := [path for path in found if path.stem in parts[part]]):
        layout = Layout("voc", lambda tally: read_voc(chosen, finder, tally))
        return _noted(layout, _part_note(part, parts)) if len(parts) > 1 else layout
    return Layout("voc", lambda tally: read_voc(found, finder, tally)) if found else None


def _image_sets(root: Path) -> dict[str, set[str]]:
    """Pascal VOC's own parts: the stems in `ImageSets/Main/test.txt` and so on."""
    paths = {split: root / "ImageSets" / "Main" / f"{split}.txt" for split in SPLITS}
    return {split: set(read_text(path).split()) for split, path in paths.items() if path.is_file()}


def _text_folder(folder: Path, pictures: Path | None) -> Layout | None:
    found = [path for path in sorted(folder.glob("*.txt")) if path.stem.lower() not in _NO_ANNOTATIONS]
    if found:
        return _texts(found, folder, pictures)
    inner = [split for split in SPLITS if (folder / split).is_dir()] if folder.name == "labels" else []
    layout = _text_folder(folder / inner[0], pictures) if inner else None
    return _noted(layout, _part_note(inner[0], inner)) if layout is not None and len(inner) > 1 else layout


def _masks(folder: Path, masks: Path, pictures: Path | None) -> Layout:
    finder = Finder(_without(masks, places(folder, pictures)))
    return Layout("masks", lambda tally: read_masks(masks, class_list([folder, masks]), finder, tally))


def _split(folder: Path, pictures: Path | None) -> Layout | None:
    parts = [split for split in SPLITS if (folder / split).is_dir()]
    for split in parts:
        layout = _folder(folder / split, pictures)
        if layout is not None:
            return _noted(layout, _part_note(split, parts)) if len(parts) > 1 else layout
    return None


def _classes(folder: Path) -> Layout | None:
    names = (*IMAGE_FOLDERS, *_MASKS, *SPLITS)
    found = [path for path in class_folders(folder) if path.name not in names]
    return Layout("folders", lambda _tally: read_class_folders(found)) if found else None


def _noted(layout: Layout, note: str) -> Layout:
    def read(tally: Tally) -> AnnotationSet:
        found = layout.read(tally)
        return replace(found, notes=(note, *found.notes))

    return Layout(layout.kind, read)


def _part_note(split: str, parts: Iterable[str]) -> str:
    return f"the part {split} is read, of {_listed(parts)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _names_classes(path: Path) -> bool:
    try:
        return bool(yolo.read_names(path))
    except AnnotationError:
        return False


def _begins_with(path: Path, mark: bytes) -> bool:
    with open(path, "rb") as file:
        return mark in file.read(1024)


def _without(folder: Path, folders: Iterable[Path]) -> list[Path]:
    """Folders to look for pictures in that don't hold the masks as well, which have their names."""
    found = [place for place in folders if place.is_dir() and place not in folder.parents and place != folder]
    return found or [folder.parent]
