"""Class names: where they come from, and which name belongs to which channel."""

from __future__ import annotations

import difflib

from ovxai.errors import OptionError
from ovxai.labels import BACKGROUND, EMPTY_LABEL, fit_names, fitted_names
from ovxai.metadata import ModelInfo


def class_names(
    given: tuple[str, ...] | None, stored: tuple[str, ...] | None, count: int | None, task: str, info: ModelInfo
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of `count` classes (None: unknown) and notes. `given` beats `stored`, hierarchies have their own.

    Raises:
        OptionError: the number of `given` names fits no reading.
    """
    if given is not None:
        names = fitted_names(given, count, task)
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
