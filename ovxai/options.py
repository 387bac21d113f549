"""What may be asked of an insertion: the long options of `ovxai insert`, checked once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ovxai.errors import UsageError

TASKS = ("auto", "classification", "detection", "instance-segmentation")
METHODS = (
    "auto", "reciprocam", "vit-reciprocam", "det-class-probability-map", "inst-seg", "activation-map",
)  # fmt: skip


@dataclass(frozen=True)
class InsertOptions:
    """Keyword for keyword the long options of `ovxai insert`, with `_` for `-`.

    target_layer: friendly node names or tensor names, `name:port` where the port is not 0.
    output: name or index of the output to explain; None: the one that looks like the task's scores.
    classes: "all", "top:K" or "0,3,7". map_size: "HxW". memory_budget: MB for what is done densely.
    class_activation, levels: detection only. labels: class names (or a file that holds one a line).
    """

    task: str = "auto"
    method: str = "auto"
    target_layer: tuple[str, ...] = ()
    output: str | int | None = None
    mask: str = "auto"
    blocks: int = 1
    scale: bool = True
    classes: str = "all"
    embed: str | None = None
    feature_vector: bool = False
    feature_map: bool | None = None
    labels: tuple[str, ...] | None = None
    num_classes: int | None = None
    map_size: str | None = None
    class_activation: str | None = None
    levels: str = "mean"
    memory_budget: int = 512
    probe: bool = True

    def __post_init__(self) -> None:
        _one_of("task", self.task, TASKS)
        _one_of("method", self.method, METHODS)
        _one_of("mask", self.mask, ("auto", "point", "gaussian"))
        _one_of("embed", self.embed, (None, "map", "overlay"))
        _one_of("class_activation", self.class_activation, (None, "softmax", "sigmoid", "none"))
        _one_of("levels", self.levels, ("mean", "max"))
        if self.blocks < 1:
            raise UsageError(f"blocks: {self.blocks} is below 1; give how many transformer blocks before the end to gate")
        if self.memory_budget < 1:
            raise UsageError(f"memory budget: {self.memory_budget} MB is below 1")
        if self.map_size is not None:
            parse_size(self.map_size)
        parse_classes(self.classes)


def _one_of(name: str, value: object, allowed: tuple) -> None:
    if value not in allowed:
        names = ", ".join(str(item) for item in allowed if item is not None)
        raise UsageError(f"{name.replace('_', ' ')}: there is no {value!r}; choose one of {names}")


def parse_size(text: str) -> tuple[int, int]:
    """ "HxW" -> (H, W).

    Raises:
        UsageError: not two positive whole numbers with an x between them.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or 0 in (size := (int(match[1]), int(match[2]))):
        raise UsageError(f"map size: {text!r} is not HxW, such as 40x40")
    return size


def parse_classes(text: str) -> int | tuple[int, ...] | None:
    """ "all" -> None, "top:K" -> K, "0,3,7" -> (0, 3, 7).

    Raises:
        UsageError: none of these, K below 1, or a class named twice.
    """
    if text == "all":
        return None
    if match := re.fullmatch(r"top:(\d+)", text):
        if int(match[1]) < 1:
            raise UsageError("classes: top:0 would explain nothing; K starts at 1")
        return int(match[1])
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise UsageError(f"classes: {text!r} is neither all, top:K nor a list such as 0,3,7")
    indices = tuple(int(word) for word in text.split(","))
    if len(set(indices)) != len(indices):
        raise UsageError(f"classes: {text!r} names a class twice")
    return indices
