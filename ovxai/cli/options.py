"""Options that several commands take, each with one text, and what they become in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ovxai.labels import given_labels
from ovxai.options import (
    AUTO,
    CLASS_ACTIVATIONS,
    COMBINES,
    EMBEDDINGS,
    LEVELS,
    MASKS,
    METHODS,
    PER_CLASS,
    PERS,
    PRODUCT,
    TASKS,
    InsertOptions,
    given_vector,
    height_width,
)

if TYPE_CHECKING:
    from ovxai.runtime.feed.preprocess import PreprocessOptions

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
Body = TypeVar("Body", bound=Callable[..., Any])


def numbers(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """A click callback: one number, or several with commas or spaces between them."""
    if value is None:
        return None
    try:
        return tuple(float(word) for word in value.replace(",", " ").split())
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a number, nor numbers with commas between them") from None


def sides(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """A click callback: HxW as (H, W)."""
    if value is None:
        return None
    size = height_width(value.lower())
    if size is None:
        raise click.BadParameter(f"{value!r} is not HxW, such as 320x416")
    return size


MODEL = click.argument("model", type=click.Path(path_type=Path))
FORCE = click.option("--force", is_flag=True, help="Overwrite OUT.")
DEVICE = click.option("--device", default="CPU", show_default=True, help="OpenVINO device, such as CPU, GPU, NPU, AUTO.")
TRUST = click.option(
    "--trust", is_flag=True, help="Read a .pt2 that carries more than weights and a graph, and run that as code."
)
LABELS = click.option(
    "--labels", type=click.Path(path_type=Path), metavar="FILE", help="Class names, one per line, instead of those in rt_info."
)
LABELS_OFFSET = click.option("--labels-offset", type=click.IntRange(0), metavar="N",
                             help="How many classes without a name come first, such as 1 for a background.")  # fmt: skip
MASK_COUNT = click.option("--masks", type=click.IntRange(1), default=600, show_default=True, metavar="N",
                          help="How often rise and d-rise ask the model; aise asks a tenth as often.")  # fmt: skip
SEED = click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn.")
SIZE = click.option("--input-size", "--size", "size", callback=sides, metavar="HxW",
                    help="Height and width, where the model leaves them open.")  # fmt: skip

#: How pictures get into the model, where rt_info does not say it: the fields of `PreprocessOptions`.
_FED = (
    click.option("--mean", callback=numbers, metavar="NUMBERS",
                 help="Subtracted from values 0..255: one number, or one per channel."),
    click.option("--scale-values", callback=numbers, metavar="NUMBERS", help="What the result is divided by."),
    click.option("--resize-type", type=click.Choice(["standard", "fit_to_window", "fit_to_window_letterbox", "crop"]),
                 help="How pictures are fitted into the model's input."),
    click.option("--pad-value", type=click.IntRange(0, 255), help="Grey of the padding."),
    click.option("--reverse-input-channels/--no-reverse-input-channels", default=None, help="Feed BGR instead of RGB."),
)  # fmt: skip
FEEDING = (
    *_FED,
    click.option("--input-size", callback=sides, metavar="HxW",
                 help="Height and width of a dynamic input.  [default: the picture's own size]"),
)  # fmt: skip

#: As `ovxai.evaluation.host.HOST_METHODS` has them; spelt out so that --help needs no OpenVINO.
HOST_METHODS = ("rise", "occlusion", "aise", "d-rise")


class Method(click.Choice[str]):
    """The methods that a command takes; of another command's it says where they are taken."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """`value`, if this command takes it."""
        if value not in self.choices and value in HOST_METHODS:
            self.fail(f"{value} asks the model from outside, nothing is inserted: ovxai run MODEL SOURCE -o DIR --method {value}")
        if value not in self.choices and value in METHODS:
            self.fail(f"{value} is inserted first: ovxai insert MODEL --method {value}, then run the model that this writes")
        return super().convert(value, param, ctx)


#: How to insert, for every command that inserts: the fields of `InsertOptions`, but for --verify.
INSERTING = (
    click.option("--task", type=click.Choice(TASKS), default=AUTO, show_default=True, help="What the model is taken for."),
    click.option("--method", type=Method(METHODS), default=AUTO, show_default=True, help="How it is explained."),
    click.option("--target-layer", multiple=True, metavar="NAME",
                 help="Gate this tensor (node name, name:port or tensor name); of detectors, it holds class logits. Repeatable."),
    click.option("--output", metavar="NAME|INDEX",
                 help="Classifiers and detectors: which output is explained.  [default: the first that looks like scores]"),
    click.option("--input", metavar="NAME|INDEX",
                 help="Which input's picture is explained, where there are several.  [default: the likeliest]"),
    click.option("--mask", type=click.Choice(MASKS), default=AUTO, show_default=True,
                 help="Classifiers: what is left of the feature map, one position or its neighbourhood too."),
    click.option("--blocks", "-k", type=int, default=1, show_default=True, metavar="K",
                 help="ViT Recipro-CAM: how many transformer blocks before the end the gate sits."),
    click.option("--scale/--raw", default=True, show_default=True,
                 help="Maps as u8, scaled to 0..255 each, or as f32, as they are."),
    click.option("--classes", metavar="all|top:K|0,3,7", help="Which classes have maps.  [default: all; of gradients top:1]"),
    click.option("--embed", type=click.Choice(EMBEDDINGS),
                 help="Also put the map at the input's size, or the finished overlay, into the graph."),
    click.option("--feature-vector/--no-feature-vector", default=False, show_default=True,
                 help="Also put out the feature vector."),
    click.option("--feature-map/--no-feature-map", default=None,
                 help="Also put out the feature map.  [default: yes; no for instance segmentation]"),
    LABELS,
    LABELS_OFFSET,
    click.option("--num-classes", type=click.IntRange(1), metavar="K",
                 help="How many classes there are, where the graph leaves that open."),
    click.option("--map-size", metavar="HxW", help="Detection and instance segmentation: the map's grid."),
    click.option("--class-activation", type=click.Choice(CLASS_ACTIVATIONS),
                 help="Detection: over the class logits [default: softmax]. With --per box, of queries: under softmax the last "
                      "score says that there is nothing [default: as labels tell, else sigmoid]."),
    click.option("--levels", type=click.Choice(LEVELS), default="mean", show_default=True,
                 help="Detection: how pyramid levels are joined."),
    click.option("--combine", type=click.Choice(COMBINES), default=PRODUCT, show_default=True,
                 help="Gradients: the product over several levels of the trunk, or the map at one layer."),
    click.option("--per", type=click.Choice(PERS), default=PER_CLASS, show_default=True,
                 help="Gradients of detectors: one map for each of the best boxes (--classes top:K, default 5)."),
    click.option("--pixel", metavar="Y,X",
                 help="Semantic segmentation: explain the scores of this pixel of the input."),
    click.option("--toward", type=click.Path(path_type=Path), metavar="FILE.npy",
                 help="Embeddings: explain the cosine similarity to this vector."),
    click.option("--memory-budget", type=click.IntRange(1), default=512, show_default=True, metavar="MB",
                 help="Classifiers: memory for what can only be computed densely."),
    *_FED,
    click.option("--probe/--no-probe", default=True, show_default=True,
                 help="Look at the maps of probe pictures and warn if they say nothing."),
    TRUST,
)  # fmt: skip


def with_options(*groups: Sequence[Decorator]) -> Callable[[Body], Body]:
    """Add the options of `groups` to a command, in the order in which `--help` lists them."""

    def decorate(function: Body) -> Body:
        for option in reversed([option for group in groups for option in group]):
            option(function)  # click notes its options on the function itself
        return function

    return decorate


def insert_options(values: Mapping[str, Any]) -> InsertOptions:
    """What the values of `INSERTING` (and --verify) ask for.

    Raises:
        OptionError: the labels file can't be read. UsageError: options that do not go together.
    """
    return InsertOptions(**{**values, "labels": given_labels(values["labels"]), "toward": given_vector(values["toward"])})


def preprocess_options(values: Mapping[str, Any]) -> PreprocessOptions:
    """What the values of `FEEDING` ask for.

    Raises:
        UsageError: values that do not go together.
    """
    from ovxai.runtime.feed.preprocess import PreprocessOptions

    return PreprocessOptions(**values)
