"""What is compared: ways to make maps of one model, by what is in its graph or by a baseline on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.anew import recorded_options
from ovxai.errors import OptionError, UnsupportedModelError, UsageError
from ovxai.evaluation.baselines import BASELINES, Effort
from ovxai.evaluation.judge import Judge, Target, View
from ovxai.evaluation.metrics import SAME_OBJECT, overlaps
from ovxai.evaluation.shapes import unit_map
from ovxai.evaluation.ways import Asked, Way, chosen_ways, inserted
from ovxai.explainer import Explainer
from ovxai.graph.graph import numbers_of
from ovxai.graph.read import read_model
from ovxai.graph.surgery import strip_model
from ovxai.insertion import insert_with_report
from ovxai.metadata import GRADIENT, ExplainedInfo, is_explained
from ovxai.options import AUTO, PER_CLASS, InsertOptions
from ovxai.runtime.config import ExplainConfig
from ovxai.runtime.explanation import BoxMap
from ovxai.runtime.feed.engine import DeviceOptions
from ovxai.runtime.feed.geometry import Geometry
from ovxai.runtime.feed.preprocess import PreprocessOptions
from ovxai.runtime.predict.facts import ModelFacts, guessed_classifier, read_facts
from ovxai.runtime.predict.formats import Box, decodable
from ovxai.runtime.show.picture_maps import IMAGE_KEY, Key


@dataclass(frozen=True)
class Name:
    """A column's name. layer, setting, precision: empty where they are the method's or the device's own. setting: other options
    of the insertion, in words."""

    model: str
    method: str
    layer: str = ""
    precision: str = ""
    setting: str = ""

    def __str__(self) -> str:
        more = ", ".join(filter(None, (self.layer, self.setting, self.precision)))
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

    def __init__(
        self, name: Name, explained: ov.Model, options: DeviceOptions, feeding: PreprocessOptions, subject: Subject,
        way: Way | None = None,
    ) -> None:  # fmt: skip
        """explained: with explanation outputs. options, feeding: how it runs, and how pictures get in. way: see `way`."""
        self.name = name
        #: How the maps got into the model; None where it came with them.
        self.way = way
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
        boxes = explanation.any_map.of_boxes(view.geometry) if explanation.any_map is not None else ()
        known: dict[Key, np.ndarray] = {}
        found: list[np.ndarray | None] = []
        for target in targets:
            if boxes and target.box is not None:
                own = _of_box(boxes, target.class_index, target.box)
                found.append(None if own is None else _on_picture(own, explanation.geometry))
                continue
            key: Key = IMAGE_KEY if IMAGE_KEY in explanation.raw_maps else target.class_index
            if key not in explanation.raw_maps:
                found.append(None)
                continue
            if key not in known:
                known[key] = _on_picture(explanation.raw_maps[key], explanation.geometry)
            found.append(known[key])
        return found


def _of_box(boxes: Sequence[BoxMap], class_index: int, box: Box) -> np.ndarray | None:
    """The map of the box of that class that overlaps `box` most; None where none is of the same object."""
    alike = [one for one in boxes if one.class_index == class_index]
    if not alike:
        return None
    shares = overlaps([one.box for one in alike], box)
    best = int(np.argmax(shares))
    return alike[best].values if shares[best] >= SAME_OBJECT else None


def _on_picture(values: np.ndarray, geometry: Geometry) -> np.ndarray:
    """A map as the model gives it -> over the picture, grey levels."""
    grey = values if values.dtype == np.uint8 else 255 * unit_map(values)
    return geometry.map_to_source(grey)


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
    None for the device's own. baselines: of `BASELINES`, and "activation-map". ways: instead of methods and layers."""

    methods: tuple[str, ...] = (AUTO,)
    layers: tuple[str, ...] = ()
    precisions: tuple[str | None, ...] = (None,)
    baselines: tuple[str, ...] = ()
    ways: tuple[Way, ...] = ()


ACTIVATION = "activation-map"
#: Gradients have a map per class and pass, so no more classes than these are asked for at once.
MOST_GRADIENTS = 24
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
    per: str = PER_CLASS,
) -> Bench:
    """Read a model, explain it in every way that is asked for, and compile all of that.

    title: its name; else its file's. classes: for gradients, which have a map per chosen class: "top:1" or numbers. per: "class",
    or "box": then the gradients of a detector are of boxes. A method that does not fit the model is a note, as long as another
    one does.

    Raises:
        ModelReadError: no such model. UnsupportedModelError: nothing that was asked for can explain it.
        UsageError: methods or layers for a model that is explained already.
    """
    title = title or subject.file.stem
    judge, given, notes = open_judge(subject, options, feeding)
    facts, explained = judge.facts, is_explained(given)
    if explained and (wishes.methods not in ((AUTO,), ()) or wishes.layers or wishes.ways):
        raise UsageError(f"{subject.file}: carries its maps already; give the plain model to choose methods and layers")
    columns: list[Column] = []
    if explained and wishes.methods:
        name = Name(title, _own_method(given))
        columns += [_in_graph(name, given, None, one, options, feeding, subject) for one in wishes.precisions]
        ways: tuple[Way, ...] = ()
    else:
        ways = wishes.ways or chosen_ways(wishes.methods, wishes.layers, wishes.precisions)
    if ACTIVATION in wishes.baselines:
        ways += chosen_ways((ACTIVATION,), (), wishes.precisions)
    plain = strip_model(given) if explained else given
    for done in inserted(title, plain, ways, notes, Asked(facts.explained.task, per, classes(facts))):
        name = Name(title, done.info.method, done.way.layer, setting=done.way.setting)
        columns += [_in_graph(name, done.model, done.way, one, options, feeding, subject) for one in done.way.precisions]
    for asked in wishes.baselines:
        baseline = BASELINES.get(asked)
        if baseline is not None and baseline.boxes and judge.classifies:
            notes.append(f"{title}: {asked} is for detectors, left out")
        elif baseline is not None:
            columns.append(OnHost(Name(title, asked), judge, effort))
    if not columns:
        raise UnsupportedModelError(f"{subject.file}: nothing to evaluate: {'; '.join(notes) or 'no method and no baseline'}")
    return Bench(title, judge, tuple(columns), (*notes, *judge.notes, *facts.notes))


def _in_graph(
    name: Name, model: ov.Model, way: Way | None, precision: str | None, options: DeviceOptions, feeding: PreprocessOptions,
    subject: Subject,
) -> InGraph:  # fmt: skip
    return InGraph(replace(name, precision=precision or ""), model, replace(options, precision=precision), feeding, subject, way)


def _own_method(explained: ov.Model) -> str:
    info = ExplainedInfo.read(explained)
    return info.method if info is not None and info.method else "its own maps"


def open_judge(subject: Subject, options: DeviceOptions, feeding: PreprocessOptions) -> tuple[Judge, ov.Model, list[str]]:
    """Read a model and make it a judge, in f32; with what was read, and notes.

    Where nothing can be inserted, a model with one output of class scores is taken for a classifier.

    Raises:
        ModelReadError: no such model. UnsupportedModelError: how its predictions are read is unknown, or its maps were
            inserted by another tool.
    """
    given = read_model(subject.file, trust=subject.trust)
    if is_explained(given) and ExplainedInfo.read(given) is None:
        raise UnsupportedModelError(
            f"{subject.file}: its maps were inserted by another tool, and what the model is without them is unknown; give the "
            "plain model"
        )
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
) -> tuple[dict[str, Column], list[str]]:  # fmt: skip
    """The columns of `bench` once more, by name, of the model with its weights shuffled, by the same options; and notes.

    A model that carries its maps says its options itself. Columns on the host are left out.

    Adebayo et al., "Sanity Checks for Saliency Maps" (arXiv 1810.03292): maps that hardly change do not explain this model.
    """
    given = read_model(subject.file, trust=subject.trust)
    plain = strip_model(given) if is_explained(given) else given
    said = ExplainedInfo.read(given)
    recorded = None if said is None else recorded_options(plain, said, given)
    if not shuffle_weights(plain, seed):
        return {}, [f"{bench.model}: randomisation left out: the model has no weights that could be shuffled"]
    found: dict[str, Column] = {}
    notes = []
    for column in bench.columns:
        if not isinstance(column, InGraph):
            continue
        name = column.name
        wanted = column.way.options if column.way else recorded
        assert wanted is not None  # only maps that came with the model have no way
        wanted, more = _of_any_class(wanted, bench.judge.facts)
        notes += [f"{name}: {line}" for line in more]
        try:
            made = insert_with_report(plain, wanted).model
        except (UnsupportedModelError, OptionError) as error:
            notes.append(f"{name}: randomisation left out: {error}")
            continue
        found[str(name)] = _in_graph(name, made, column.way, name.precision or None, options, feeding, subject)
    return found, notes


def _of_any_class(options: InsertOptions, facts: ModelFacts) -> tuple[InsertOptions, list[str]]:
    """Options by which a model with other weights has maps of the same classes, though others are its best ones; and notes."""
    if options.method != GRADIENT or options.per != PER_CLASS or not options.asked_classes.startswith("top:"):
        return options, []
    count = facts.explained.num_classes or len(facts.names)
    if 0 < count <= MOST_GRADIENTS:
        return replace(options, classes="all"), []
    return options, ["randomisation only where the shuffled weights put the same class first; --target annotated asks for all"]


def shuffle_weights(model: ov.Model, seed: int) -> int:
    """Put every weight of rank 2 or more in another place of its tensor, in place: the same numbers, and nothing learnt.

    Weights are numbers with a point, or of eight bits and fewer that are converted to such. How many tensors were shuffled.
    """
    random, count = np.random.default_rng(seed), 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or len(node.shape) < 2 or not _are_weights(node):
            continue
        values = numbers_of(node)
        if values.size >= _FEW:
            flat = values.reshape(-1).copy()
            random.shuffle(flat)
            other = op.constant(flat.reshape(values.shape), node.get_element_type())
            other.set_friendly_name(node.get_friendly_name())
            node.output(0).replace(other.output(0))
            count += 1
    return count


def _are_weights(constant: ov.Node) -> bool:
    """Tables of whole numbers, such as indices, are none."""
    kind = constant.get_element_type()
    if kind.is_real():
        return True
    readers = [wire.get_node() for wire in constant.output(0).get_target_inputs()]
    small = kind.bitwidth <= _COMPRESSED and kind != ov.Type.boolean
    return small and all(
        reader.get_type_name() == "Convert" and reader.get_output_element_type(0).is_real() for reader in readers
    )


#: Smaller constants are shapes, scales and offsets, which make no sense in another order.
_FEW = 64
#: Bits of a weight that stands for another number.
_COMPRESSED = 8
