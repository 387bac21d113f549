"""Types and groups of options that several commands take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

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
