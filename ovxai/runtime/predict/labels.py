"""Class names: where they come from, and which name belongs to which channel."""

from __future__ import annotations

import difflib
from pathlib import Path

from ovxai.errors import OptionError
from ovxai.metadata import CLASSIFICATION, INSTANCE_SEGMENTATION, ModelInfo

#: OTX puts this in front of the labels of instance segmentation models; no channel belongs to it.
EMPTY_LABEL = "otx_empty_lbl"
BACKGROUND = "background"


def class_names(
    given: tuple[str, ...] | None, stored: tuple[str, ...] | None, count: int | None, task: str, info: ModelInfo
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of `count` classes (None: unknown) and notes. `given` beats `stored`, hierarchies have their own.

    Raises:
        OptionError: the number of `given` names fits no reading.
    """
    if given is not None:
        names = fit_names(given, count, task)
        if names is None:
            raise OptionError(f"labels: {len(given)} names for a model with {count} classes; give one a class")
        return names, _on_background(given, names)
    if info.hierarchical and info.hierarchy:
        names = hierarchy_names(info.hierarchy)
        if count in (None, len(names)):
            return names, ()
    if stored is None:
        return ("",) * (count or 0), ()
    names = fit_names(stored, count, task)
    if names is None:
        note = f"rt_info names {len(stored)} labels for {count} classes, so classes go by their index (--labels FILE sets names)"
        return ("",) * (count or 0), (note,)
    return names, _on_background(stored, names)


def _on_background(labels: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) <= len(labels) or EMPTY_LABEL in labels:
        return ()
    place = "first" if names[0] == BACKGROUND else "last"
    return (f"{len(labels)} labels for {len(names)} classes: the {place} class is taken for a background",)


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Class names from a text file, one a line.

    Raises:
        OptionError: the file can't be read or holds none.
    """
    try:
        with open(path, encoding="utf-8") as file:
            names = tuple(line.strip() for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"labels: {path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    if not names:
        raise OptionError(f"labels: {path} is empty; give one name a line")
    return names


def fit_names(names: tuple[str, ...], count: int | None, task: str) -> tuple[str, ...] | None:
    """`names` brought to one a channel; None when their number fits no known habit.

    Habits: OTX's empty label stands in front of an instance segmenter's; 1001-class ImageNet models
    have their background first, and so have torchvision's; OTX's SSD has it last.
    """
    shifted = names[:1] == (EMPTY_LABEL,) and (task == INSTANCE_SEGMENTATION or len(names) == (count or 0) + 1)
    if shifted:
        names = names[1:]
    if count is None or len(names) == count:
        return names
    if len(names) != count - 1:
        return None
    first = not shifted and task in (CLASSIFICATION, INSTANCE_SEGMENTATION)
    return (BACKGROUND, *names) if first else (*names, BACKGROUND)


def hierarchy_names(hierarchy: dict) -> tuple[str, ...]:
    """The label of each logit of an OTX hierarchical classifier; rt_info `labels` has another order."""
    heads = hierarchy["cls_heads_info"]
    groups = heads["all_groups"]
    multiclass = heads["num_multiclass_heads"]
    names = {}
    for head in range(multiclass):
        begin, _end = heads["head_idx_to_logits_range"][str(head)]
        names.update({begin + i: label for i, label in enumerate(groups[head])})
    begin = heads["num_single_label_classes"]
    names.update({begin + i: group[0] for i, group in enumerate(groups[multiclass:])})
    return tuple(names.get(i, "") for i in range(max(names, default=-1) + 1))


def find_class(wanted: str | int, names: tuple[str, ...], count: int) -> int:
    """Index of a class given by name or index; a name that is a number wins over an index.

    Raises:
        OptionError: no such class; names the nearest ones.
    """
    if isinstance(wanted, str):
        if wanted in names:
            return names.index(wanted)
        plain = [_plain(name) for name in names]
        if _plain(wanted) in plain and _plain(wanted):
            return plain.index(_plain(wanted))
        if not wanted.lstrip("-").isdigit():
            near = difflib.get_close_matches(wanted, [name for name in names if name], 3, 0.5)
            hint = f"did you mean {', '.join(near)}?" if near else "give a name or an index"
            raise OptionError(f"class: there is no {wanted!r} among the model's {count} classes; {hint}")
    index = int(wanted)
    if not 0 <= index < count:
        raise OptionError(f"class: {index} is outside 0..{count - 1}")
    return index


def _plain(name: str) -> str:
    return name.replace("_", " ").casefold().strip()
