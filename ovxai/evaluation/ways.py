"""Ways to insert maps into a model: what is tried, in words and as options of `ovxai insert`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import openvino as ov

from ovxai.errors import OptionError, UnsupportedModelError, UsageError
from ovxai.insertion import insert_with_report
from ovxai.metadata import DETECTION, GRADIENT, ExplainedInfo
from ovxai.options import AUTO, PER_CLASS, InsertOptions


@dataclass(frozen=True)
class Way:
    """One insertion. options: its own. precisions: what it runs in, None for the device's own."""

    options: InsertOptions
    precisions: tuple[str | None, ...] = (None,)

    @property
    def layer(self) -> str:
        """The layers that were asked for; empty for the method's own."""
        return " ".join(self.options.target_layer)

    @property
    def setting(self) -> str:
        """What else was asked for, such as "mask gaussian"."""
        kept = [name for name in self.options.given if name in _SETTINGS]
        return ", ".join(f"{name.replace('_', ' ')} {getattr(self.options, name)}" for name in kept)

    def as_options(self, method: str) -> list[str]:
        """Words for the command line of `ovxai insert`. method: the one that the model got."""
        options = self.options
        words = ["--method", method]
        for name in options.target_layer:
            words += ["--target-layer", name]
        for name in options.given:
            if name in _SETTINGS or name == "per":
                words += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
        return words


#: Options that tell columns of one method and layer from each other.
_SETTINGS = ("mask", "blocks", "class_activation", "levels", "combine")


@dataclass(frozen=True)
class Inserted:
    """A model with maps, what its rt_info says, and how they got in."""

    model: ov.Model
    info: ExplainedInfo
    way: Way


def chosen_ways(methods: Sequence[str], layers: Sequence[str], precisions: Sequence[str | None]) -> tuple[Way, ...]:
    """Every method at every layer. layers: none: the methods' own."""
    return tuple(
        Way(InsertOptions(method=method, target_layer=(layer,) if layer else (), probe=False), tuple(precisions))
        for method in methods
        for layer in layers or ("",)
    )


@dataclass(frozen=True)
class Asked:
    """What maps are asked of, which gradients depend on.

    task: of the model. per: "class" or "box". classes: of which a gradient is, as `ovxai insert --classes` takes them.
    """

    task: str = AUTO
    per: str = PER_CLASS
    classes: str | None = None

    def fit(self, options: InsertOptions) -> InsertOptions:
        if options.method != GRADIENT:
            return options
        if self.task == DETECTION:
            return replace(options, task=self.task, per=self.per)
        return replace(options, classes=self.classes)


def inserted(
    title: str, plain: ov.Model, ways: Sequence[Way], notes: list[str], asked: Asked
) -> Iterable[Inserted]:  # fmt: skip
    """A model per way. A way that does not fit the model is a note instead. title: of the model, for notes.

    Raises:
        UsageError: options that no model could take.
    """
    for way in ways:
        try:
            options = asked.fit(way.options)
            done = insert_with_report(plain, options)
        except (UnsupportedModelError, OptionError) as error:
            if isinstance(error, UsageError):
                raise
            at = f" at {way.layer}" if way.layer else ""
            more = f" with {way.setting}" if way.setting else ""
            notes.append(f"{title}: method {way.options.method}{at}{more} left out: {error}")
            continue
        yield Inserted(done.model, done.info, replace(way, options=options))
