"""Class names: where they come from, and which name belongs to which channel."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ovxai.errors import ModelReadError, UnknownClassError
from ovxai.labels import BACKGROUND, EMPTY_LABEL, fit_names, fitted_names
from ovxai.metadata import ModelInfo


@dataclass(frozen=True)
class Hierarchy:
    """The logits of an OTX hierarchical classifier.

    exclusive: (begin, end) of each group of which exactly one holds. rest: where the labels begin that hold or
    not by themselves. names: one per logit; rt_info `labels` has another order. parents: label -> the label above it.
    """

    exclusive: tuple[tuple[int, int], ...]
    rest: int
    names: tuple[str, ...]
    parents: Mapping[str, str]

    @classmethod
    def read(cls, info: ModelInfo) -> Hierarchy | None:
        """None for a model that is not hierarchical.

        Raises:
            ModelReadError: what rt_info says of the hierarchy is not of the form that OTX writes.
        """
        if not info.hierarchical or not info.hierarchy:
            return None
        try:
            return cls._of(info.hierarchy)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ModelReadError(
                'rt_info ["model_info", "hierarchical_config"] is not of the form that OTX writes: '
                f"{type(error).__name__} {error}; mend it (model.set_rt_info)"
            ) from error

    @classmethod
    def _of(cls, config: Mapping[str, Any]) -> Hierarchy:
        heads: Mapping[str, Any] = config["cls_heads_info"]
        groups = heads["all_groups"]
        ranges = [heads["head_idx_to_logits_range"][str(head)] for head in range(heads["num_multiclass_heads"])]
        rest = int(heads["num_single_label_classes"])
        names: dict[int, str] = {}
        for (begin, _end), group in zip(ranges, groups):
            names.update({begin + i: label for i, label in enumerate(group)})
        names.update({rest + i: group[0] for i, group in enumerate(groups[len(ranges) :])})
        return cls(
            exclusive=tuple((int(begin), int(end)) for begin, end in ranges),
            rest=rest,
            names=tuple(names.get(i, "") for i in range(max(names, default=-1) + 1)),
            parents=dict(config.get("label_tree_edges", ())),
        )


def class_names(
    given: tuple[str, ...] | None,
    stored: tuple[str, ...] | None,
    count: int | None,
    task: str,
    hierarchy: Hierarchy | None = None,
    offset: int | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of `count` classes (None: unknown) and notes. `given` beats `stored`, hierarchies have their own.
    offset: how many classes without a name come first; None: as is usual.

    Raises:
        OptionError: the number of `given` names fits no reading.
    """
    if given is not None:
        names = fitted_names(given, count, task, offset)
        return names, _on_background(given, names)
    if hierarchy is not None and count in (None, len(hierarchy.names)):
        return hierarchy.names, ()
    if stored is None:
        return ("",) * (count or 0), ()
    fitting = fit_names(stored, count, task, offset)
    if fitting is None:
        note = f"rt_info names {len(stored)} labels for {count} classes, so classes go by their index (--labels FILE sets names)"
        return ("",) * (count or 0), (note,)
    return fitting, _on_background(stored, fitting)


def _on_background(labels: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) <= len(labels) or EMPTY_LABEL in labels:
        return ()
    place = "first" if names[0] == BACKGROUND else "last"
    return (f"{len(labels)} labels for {len(names)} classes: the {place} class is taken for a background",)


def find_class(wanted: str | int, names: tuple[str, ...], count: int) -> int:
    """Index of a class given by name or index; a name that is a number wins over an index.

    Raises:
        UnknownClassError: no such class; names the nearest ones.
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
            raise UnknownClassError(f"class: there is no {wanted!r} among the model's {count} classes; {hint}")
    index = int(wanted)
    if not 0 <= index < count:
        raise UnknownClassError(f"class: {index} is outside 0..{count - 1}")
    return index


def _plain(name: str) -> str:
    return name.replace("_", " ").casefold().strip()
