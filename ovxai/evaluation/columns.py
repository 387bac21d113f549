"""What is compared: ways to make maps of one model, by what is in its graph or by a baseline on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.errors import OptionError, UnsupportedModelError, UsageError
from ovxai.evaluation.baselines import BASELINES, Effort
from ovxai.evaluation.judge import Judge, Target, View
from ovxai.evaluation.shapes import unit_map
from ovxai.explainer import Explainer
from ovxai.graph.read import read_model
from ovxai.graph.surgery import strip_model
from ovxai.insertion import insert_with_report
from ovxai.metadata import GRADIENT, ExplainedInfo, is_explained
from ovxai.options import AUTO, InsertOptions
from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.feed.engine import DeviceOptions
from ovxai.runtime.feed.preprocess import PreprocessOptions
from ovxai.runtime.predict.facts import ModelFacts, guessed_classifier, read_facts
from ovxai.runtime.predict.formats import decodable
from ovxai.runtime.show.picture_maps import IMAGE_KEY, Key


@dataclass(frozen=True)
class Name:
    """A column's name. layer, precision: empty where they are the method's or the device's own."""

    model: str
    method: str
    layer: str = ""
    precision: str = ""

    def __str__(self) -> str:
        more = ", ".join(filter(None, (self.layer, self.precision)))
        return f"{self.model} / {self.method}" + (f" ({more})" if more else "")


class Column(Protocol):
    """One way to make maps. host: whether the maps are made outside of the graph."""

    name: Name
    host: bool

    def maps(self, view: View, targets: Sequence[Target]) -> list[np.ndarray | None]:
        """One map per target, f32 [H, W] over the picture, not negative; None where this column has none of it."""


class InGraph:
    """Maps that the model gives itself."""

    host = False

    def __init__(self, name: Name, explained: ov.Model, options: DeviceOptions, feeding: PreprocessOptions, subject: Subject):
        """explained: with explanation outputs. options, feeding: how it runs, and how pictures get in."""
        self.name = name
        self._options, self._feeding, self._subject = options, feeding, subject
        self._explainer = Explainer(
            explained, ExplainConfig(target="all"), options.device, hint=options.hint, precision=options.precision,
            labels=subject.labels, labels_offset=subject.labels_offset, mean=feeding.mean, scale_values=feeding.scale_values,
            resize_type=feeding.resize_type, pad_value=feeding.pad_value, reverse_input_channels=feeding.reverse_input_channels,
            input_size=feeding.input_size,
        )  # fmt: skip

    def maps(self, view: View, targets: Sequence[Target]) -> list[np.ndarray | None]:
        """See `Column`. A map that stands for no class is every target's."""
        explanation = self._explainer(view.pixels)
        known: dict[Key, np.ndarray] = {}
        found: list[np.ndarray | None] = []
        for target in targets:
            key: Key = IMAGE_KEY if IMAGE_KEY in explanation.raw_maps else target.class_index
            if key not in explanation.raw_maps:
                found.append(None)
                continue
            if key not in known:
                values = explanation.raw_maps[key]
                grey = values if values.dtype == np.uint8 else 255 * unit_map(values)
                known[key] = explanation.geometry.map_to_source(grey)
            found.append(known[key])
        return found


class OnHost:
    """Maps of a baseline."""

    def __init__(self, name: Name, judge: Judge, effort: Effort) -> None:
        """judge: asked, where the baseline asks. effort: how often, and with which seed."""
        self.name = name
        self.host = True
        self._judge, self._effort = judge, effort

    def maps(self, view: View, targets: Sequence[Target]) -> list[np.ndarray | None]:
        """See `Column`; scaled to 0..1."""
        made = BASELINES[self.name.method].make(self._judge, view, targets, self._effort)
        return [view.on_picture(unit_map(one)) for one in made]


@dataclass(frozen=True)
class Subject:
    """A model that is looked at: its file, and the class names that stand in for its own."""

    file: Path
    labels: tuple[str, ...] | None = None
    labels_offset: int | None = None
    trust: bool = False


@dataclass(frozen=True)
class Wishes:
    """Which columns there are. methods: of insertion. layers: one column each; none: the methods' own. precisions: "f32", ...,
    None for the device's own. baselines: of `BASELINES`, and "activation-map"."""

    methods: tuple[str, ...] = (AUTO,)
    layers: tuple[str, ...] = ()
    precisions: tuple[str | None, ...] = (None,)
    baselines: tuple[str, ...] = ()


ACTIVATION = "activation-map"
#: What --baseline takes.
BASELINE_NAMES = (*BASELINES, ACTIVATION)


@dataclass(frozen=True)
class Bench:
    """A model with its judge and its columns. notes: what could not be had, and why."""

    model: str
    judge: Judge
    columns: tuple[Column, ...]
    notes: tuple[str, ...]


def open_bench(
    subject: Subject,
    wishes: Wishes,
    options: DeviceOptions,
    feeding: PreprocessOptions,
    effort: Effort,
    title: str = "",
    classes: Callable[[ModelFacts], str | None] = lambda _facts: None,
) -> Bench:
    """Read a model, explain it in every way that is asked for, and compile all of that.

    title: its name; else its file's. classes: for gradients, which have a map per chosen class: "top:1" or numbers. A method
    that does not fit the model is a note, as long as another one does.

    Raises:
        ModelReadError: no such model. UnsupportedModelError: nothing that was asked for can explain it.
        UsageError: methods or layers for a model that is explained already.
    """
    title = title or subject.file.stem
    judge, given, notes = open_judge(subject, options, feeding)
    facts, explained = judge.facts, is_explained(given)
    if explained and (wishes.methods not in ((AUTO,), ()) or wishes.layers):
        raise UsageError(f"{subject.file}: carries its maps already; give the plain model to choose methods and layers")
    made: list[tuple[Name, ov.Model]] = []
    if explained and wishes.methods:
        made.append((Name(title, _own_method(given)), given))
    elif wishes.methods:
        made += _inserted(title, given, wishes, classes(facts), notes)
    if ACTIVATION in wishes.baselines:
        made += _inserted(title, strip_model(given) if explained else given, Wishes((ACTIVATION,)), None, notes)
    columns: list[Column] = [
        InGraph(replace(name, precision=precision or ""), model, replace(options, precision=precision), feeding, subject)
        for name, model in made
        for precision in wishes.precisions
    ]
    for name in wishes.baselines:
        baseline = BASELINES.get(name)
        if baseline is not None and baseline.boxes and judge.classifies:
            notes.append(f"{title}: {name} is for detectors, left out")
        elif baseline is not None:
            columns.append(OnHost(Name(title, name), judge, effort))
    if not columns:
        raise UnsupportedModelError(f"{subject.file}: nothing to evaluate: {'; '.join(notes) or 'no method and no baseline'}")
    return Bench(title, judge, tuple(columns), (*notes, *judge.notes, *facts.notes))


def _own_method(explained: ov.Model) -> str:
    info = ExplainedInfo.read(explained)
    return info.method if info is not None and info.method else "its own maps"


def _inserted(
    title: str, plain: ov.Model, wishes: Wishes, classes: str | None, notes: list[str]
) -> Iterable[tuple[Name, ov.Model]]:  # fmt: skip
    for method in wishes.methods:
        for layer in wishes.layers or ("",):
            options = InsertOptions(
                method=method,
                target_layer=(layer,) if layer else (),
                probe=False,
                classes=classes if method == GRADIENT else None,
            )
            try:
                done = insert_with_report(plain, options)
            except (UnsupportedModelError, OptionError) as error:
                if isinstance(error, UsageError):
                    raise
                notes.append(f"{title}: method {method}{f' at {layer}' if layer else ''} left out: {error}")
                continue
            yield Name(title, done.info.method, layer), done.model


def open_judge(subject: Subject, options: DeviceOptions, feeding: PreprocessOptions) -> tuple[Judge, ov.Model, list[str]]:
    """Read a model and make it a judge, in f32; with what was read, and notes.

    Where nothing can be inserted, a model with one output of class scores is taken for a classifier.

    Raises:
        ModelReadError: no such model. UnsupportedModelError: how its predictions are read is unknown.
    """
    given = read_model(subject.file, trust=subject.trust)
    if not given.get_friendly_name():
        given.set_friendly_name(subject.file.stem)
    base, facts, notes = _readable(subject, given)
    return Judge(base, facts, replace(options, precision="f32"), feeding), given, notes


def _readable(subject: Subject, given: ov.Model) -> tuple[ov.Model, ModelFacts, list[str]]:
    """A form of the model, and the facts that say how its predictions are read."""
    reason = ""
    for method in (AUTO, ACTIVATION):
        try:
            made = given if is_explained(given) else insert_with_report(given, InsertOptions(method=method, probe=False)).model
        except (UnsupportedModelError, OptionError) as error:
            reason = reason or str(error)
            continue
        facts = read_facts(made, subject.labels, subject.labels_offset)
        if decodable(facts):
            return made, facts, []
        reason = reason or f"{subject.file}: the form of its predictions is unknown"
    plain = strip_model(given) if is_explained(given) else given
    facts_of_plain = guessed_classifier(plain, subject.labels, subject.labels_offset)
    if facts_of_plain is None:
        raise UnsupportedModelError(reason)
    return plain, facts_of_plain, [f"{subject.file.stem}: taken for a classifier by its one output of scores, as {reason}"]


def shuffled_columns(
    subject: Subject, bench: Bench, options: DeviceOptions, feeding: PreprocessOptions, seed: int
) -> dict[str, Column]:  # fmt: skip
    """The columns of `bench` once more, by name, of the model with its weights shuffled; those on the host are left out.

    Adebayo et al., "Sanity Checks for Saliency Maps" (arXiv 1810.03292): maps that hardly change do not explain this model.
    """
    given = read_model(subject.file, trust=subject.trust)
    plain = strip_model(given) if is_explained(given) else given
    shuffle_weights(plain, seed)
    found: dict[str, Column] = {}
    for column in bench.columns:
        if column.host:
            continue
        name = column.name
        layer = (name.layer,) if name.layer else ()
        try:
            made = insert_with_report(plain, InsertOptions(method=name.method, target_layer=layer, probe=False)).model
        except (UnsupportedModelError, OptionError):
            continue
        found[str(name)] = InGraph(name, made, replace(options, precision=name.precision or None), feeding, subject)
    return found


def shuffle_weights(model: ov.Model, seed: int) -> None:
    """Put every weight of rank 2 or more in another place of its tensor, in place: the same numbers, and nothing learnt."""
    random = np.random.default_rng(seed)
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or len(node.shape) < 2 or not node.get_element_type().is_real():
            continue
        values = node.data
        if values.size >= _FEW:
            flat = values.reshape(-1).copy()
            random.shuffle(flat)
            other = op.constant(flat.reshape(values.shape), node.get_element_type())
            node.output(0).replace(other.output(0))


#: Smaller constants are shapes, scales and offsets, which make no sense in another order.
_FEW = 64
