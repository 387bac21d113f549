"""Types and groups of options that several commands take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ovxai.options import METHODS, TASKS

Decorator = Callable[[Callable], Callable]


class Numbers(click.ParamType):
    """One number, or several with commas or spaces between them."""

    name = "numbers"

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        try:
            return tuple(float(word) for word in value.replace(",", " ").split())
        except ValueError:
            self.fail(f"{value!r} is not a number, nor numbers with commas between them", param, ctx)


class HeightWidth(click.ParamType):
    """HxW."""

    name = "HxW"

    def convert(self, value, param, ctx):
        words = value.lower().split("x") if isinstance(value, str) else value
        if len(words) == 2 and all(str(word).isdigit() and int(word) > 0 for word in words):
            return int(words[0]), int(words[1])
        self.fail(f"{value!r} is not HxW, such as 320x416", param, ctx)


#: How pictures get into the model, where rt_info does not say it.
FEEDING = (
    click.option("--mean", type=Numbers(), help="Subtracted from 0..255 values; one number or one a channel."),
    click.option("--scale-values", type=Numbers(), help="What the result is divided by."),
    click.option("--resize-type", type=click.Choice(["standard", "fit_to_window", "fit_to_window_letterbox", "crop"]),
                 help="How pictures are fitted into the model's input."),
    click.option("--pad-value", type=click.IntRange(0, 255), help="Grey of the padding."),
    click.option("--reverse-input-channels/--no-reverse-input-channels", default=None, help="Feed BGR instead of RGB."),
    click.option("--input-size", type=HeightWidth(), metavar="HxW", help="For models with a dynamic input.  [default: the picture's own size]"),
)  # fmt: skip

#: Where the model leaves height and width open, and pictures are made up.
OPEN_SIZE = (click.option("--size", type=HeightWidth(), metavar="HxW", help="Where the model leaves height and width open."),)


def with_options(*groups: Sequence[Decorator]) -> Decorator:
    """Add the options of `groups` to a command, in the order in which `--help` lists them."""

    def decorate(function: Callable) -> Callable:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


# The options that say how to insert, for every command that inserts.


def insert_options(function: Callable) -> Callable:
    """Add them to a command; they arrive as the keywords of `ovxai.insert`."""
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


_OPTIONS = [
    click.option("--task", type=click.Choice(TASKS), default="auto", show_default=True),
    click.option("--method", type=click.Choice(METHODS), default="auto", show_default=True),
    click.option("--target-layer", multiple=True, metavar="NAME", help="Gate this tensor (friendly node name, name:port or tensor name); repeatable."),
    click.option("--output", metavar="NAME|INDEX", help="Which output is explained."),
    click.option("--mask", type=click.Choice(["auto", "point", "gaussian"]), default="auto", show_default=True),
    click.option("--blocks", "-k", type=int, default=1, show_default=True, help="How many transformer blocks before the end the gate sits."),
    click.option("--scale/--raw", default=True, show_default=True, help="u8 maps scaled to 0..255 each, or f32 as they are."),
    click.option("--classes", default="all", show_default=True, metavar="all|top:K|0,3,7"),
    click.option("--embed", type=click.Choice(["map", "overlay"]), help="Also put the map at input size, or the finished overlay, into the graph."),
    click.option("--feature-vector/--no-feature-vector", default=False, show_default=True),
    click.option("--feature-map/--no-feature-map", default=None, help="Default: on; off for instance segmentation."),
    click.option("--labels", type=click.Path(path_type=Path), metavar="FILE", help="Class names, one a line."),
    click.option("--num-classes", type=int, metavar="K"),
    click.option("--map-size", metavar="HxW", help="Detection and instance segmentation: the map's grid."),
    click.option("--class-activation", type=click.Choice(["softmax", "sigmoid", "none"]), help="Detection; default softmax, as OTX."),
    click.option("--levels", type=click.Choice(["mean", "max"]), default="mean", show_default=True, help="Detection: how pyramid levels are joined."),
    click.option("--memory-budget", type=int, default=512, show_default=True, metavar="MB", help="For what can only be done densely."),
    click.option("--probe/--no-probe", default=True, show_default=True, help="Look at the maps of a probe picture and warn if they say nothing."),
]  # fmt: skip


def read_labels(options: dict[str, Any]) -> dict[str, Any]:
    """Replace the labels file by the names in it.

    Raises:
        OptionError: the file can't be read or is empty.
    """
    from ovxai.errors import OptionError

    path = options.get("labels")
    if path is None:
        return options
    try:
        names = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"labels: {path} can't be read: {error}") from error
    if not names:
        raise OptionError(f"labels: {path} holds no names; give one a line")
    return {**options, "labels": tuple(names)}
