"""Where does a classifier read its feature map, and by which method is it explained?

The tensors that everything passes between picture and scores are tried from the scores upwards: the
first of which positions are read is where the readout begins. If the trunk carries prefix tokens and
only they are read, it is a class-token transformer (ViT Recipro-CAM); else Recipro-CAM.
"""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from ovxai.collapse.masks import GAUSSIAN, POINT
from ovxai.errors import TargetLayerError
from ovxai.find.classifier.readout import Readout, find_readout, has_unit_length
from ovxai.find.classifier.trunk import Trial, Trunk, as_tap, branch_trial, cells, coarsest_levels, dominators, token_block
from ovxai.find.site import RECIPRO_CAM, VIT_RECIPRO_CAM, ClassifierSite, No, Request
from ovxai.graph.dims import Tap
from ovxai.graph.graph import Graph, source
from ovxai.graph.names import output_name
from ovxai.graph.picture import input_name
from ovxai.metadata import GRADIENT, REGRESSION, WHOLE
from ovxai.options import AUTO, PRODUCT
from ovxai.trace.candidates import named_maps
from ovxai.trace.walk import trace


def find_classifier(request: Request) -> ClassifierSite | No:
    """The site of a classifier, or why there is none.

    Raises:
        TargetLayerError: a layer that was named can't be gated.
    """
    readout = find_readout(request)
    if isinstance(readout, No):
        return readout
    trunk = _trunk(request, readout)
    return trunk if isinstance(trunk, No) else _Search(request, readout, trunk).site()


def _trunk(request: Request, readout: Readout) -> Trunk | No:
    graph = request.graph
    goal = readout.logits.get_node()
    above = graph.ancestors([goal])
    pictures = request.pictures(above)
    if not pictures:
        return No(request.no_picture())
    fed = _fed_classes(graph, readout, pictures[0].index)
    if fed:
        return No(
            f"how many classes output {readout.index} has depends on what is fed to input {fed}, whose size is open; give that "
            "input a fixed size (ov.Model.reshape)",
            final=True,
        )
    picture = graph.model.inputs[pictures[0].index].get_node()
    traced = trace(graph, pictures[0])
    answers = graph.known_shape(readout.logits)[0]
    if answers != traced.batch:
        return No(
            f"output {readout.index} holds {answers} answer(s) for {traced.batch} pictures fed at once (frames of a video?): "
            "no map belongs to one picture"
        )
    if traced.sides_of(graph.port_of(readout.logits)):
        return No(f"output {readout.index} holds a number per position of the picture (a detector's boxes?), not one per class")
    return Trunk(graph, picture, readout.logits, traced, dominators(graph, picture, goal))


def _fed_classes(graph: Graph, readout: Readout, picture: int) -> str:
    """The input beside the picture on whose open size the number of classes depends (texts, say); "" where there is none."""
    shape = readout.logits.get_partial_shape()
    if shape.rank.is_static and all(dim.is_static for dim in list(shape)[1:]):
        return ""
    for index, port in enumerate(graph.model.inputs):
        if index == picture or port.get_partial_shape().is_static or port.get_partial_shape().rank.is_dynamic:
            continue
        counts = {_shape_fed(graph, readout.index, picture, index, size) for size in (5, 6)}
        if None not in counts and len(counts) > 1:
            return input_name(port)
    return ""


def _shape_fed(graph: Graph, output: int, picture: int, index: int, size: int) -> str | None:
    """All but the batch of an output's shape where open sides of input `index` are of `size`; None where that does not fit."""
    twin = graph.model.clone()
    for number, parameter in enumerate(twin.get_parameters()):
        known = graph.known_shape(graph.model.inputs[number])
        own = [size if dim.is_dynamic else dim.get_length() for dim in parameter.get_partial_shape()]
        parameter.set_partial_shape(ov.PartialShape(own if number == index and index != picture else list(known)))
    try:
        twin.validate_nodes_and_infer_types()
    except RuntimeError:
        return None
    shape = twin.outputs[output].get_partial_shape()
    return None if shape.rank.is_dynamic else str(list(shape)[1:])


@dataclass(frozen=True)
class _Search:
    """One readout and the trunk above it."""

    request: Request
    readout: Readout
    trunk: Trunk

    def site(self) -> ClassifierSite | No:
        if self.request.options.method == GRADIENT:
            return self._levels()
        if self.request.layers:
            return self._asked_for()
        trials = self._read_upwards()
        whole = trials and trials[0].exact and not trials[0].mixed
        # Where the trunk forks, what everything passes lies far above the readout: look into the branches first.
        forks = not whole and self.request.options.method in (AUTO, RECIPRO_CAM)
        branch = branch_trial(self.trunk) if forks else None
        if branch is not None:
            why = "the patches that attentions read in a branch of the trunk; the branch with the most positions"
            return self._made((branch.tap,), RECIPRO_CAM, why, (_line(branch),))
        if trials:
            return self._choose(trials)
        index = self.readout.index
        return No(f"no tensor with positions that all pass lies between the picture and output {index}; {self._candidates()}")

    def _candidates(self) -> str:
        return named_maps(self.trunk.trace, self.trunk.graph.between(self.trunk.picture, self.trunk.logits.get_node()))

    def _read_upwards(self) -> list[Trial]:
        """Trials from the scores upwards: from the first that is read, as long as positions do not mix.

        The list ends before the first tensor below which positions mix; if already the first one that is
        read has no exact collapse, it alone is returned.
        """
        read: list[Trial] = []
        for port in reversed(self.trunk.ports):
            tap = self.trunk.tap(port)
            trial = self.trunk.trial(tap) if tap else None
            if trial is None or not trial.read:
                continue
            if read and (trial.dense or trial.mixed):
                break
            read.append(trial)
            if trial.dense or trial.mixed or (not trial.tap.prefix and not trial.attended):
                break  # a pool reads this tensor: nothing above can be a later feature map
        return read

    def _choose(self, trials: list[Trial]) -> ClassifierSite | No:
        lines = tuple(_line(trial) for trial in trials)
        whole = next((trial for trial in trials if not trial.tap.prefix), None)
        method = self.request.options.method
        if method == AUTO:
            method = VIT_RECIPRO_CAM if whole is None and trials[0].attended else RECIPRO_CAM
        if method == VIT_RECIPRO_CAM:
            return self._last_block(lines)
        first = whole or trials[0]
        tap = self._before_projection(first.tap) if first.attended else first.tap
        why = "what pools or attends to positions reads this tensor, and nothing after it mixes them"
        return self._made((tap,), RECIPRO_CAM, why, lines)

    def _before_projection(self, tap: Tap) -> Tap:
        """Keys and values of an attention pool are projections of the feature map: take what they project."""
        graph, node = self.trunk.graph, tap.port.get_node()
        while node.get_type_name() in ("Add", "Reshape", "Transpose") and _has_one_live_input(graph, node):
            node = source(node, 0).get_node()
        if node.get_type_name() != "MatMul" or not graph.is_constant(source(node, 1)):
            return tap
        above = self.trunk.tap(source(node, 0))
        return above if above and above.grid == tap.grid else tap

    def _last_block(self, lines: tuple[str, ...]) -> ClassifierSite | No:
        blocks = self.request.options.blocks
        taps = token_block(self.trunk, blocks)
        if isinstance(taps, No):
            return taps
        block = "a transformer block: its normalised input and its residual input"
        if len(taps) == 1:
            block = "a transformer block without a separate normalised input: its one input"
        why = f"{block}; the gate sits before {'the last block' if blocks == 1 else f'the last {blocks} blocks'}"
        return self._made(taps, VIT_RECIPRO_CAM, why, lines)

    def _asked_for(self) -> ClassifierSite:
        names = self.request.options.target_layer
        alone = len(names) == 1
        above = self.trunk.graph.ancestors([self.readout.logits.get_node()])
        taps = tuple(self._tap_at(name, port, above, alone) for name, port in zip(names, self.request.layers, strict=True))
        method = self.request.options.method
        if method == AUTO:
            method = RECIPRO_CAM if alone else VIT_RECIPRO_CAM
        return self._made(taps, method, "asked for by --target-layer", ())

    def _tap_at(self, name: str, port: ov.Output, above: set[str], alone: bool) -> Tap:
        """The tap at a port that the user named, as its positions lie on the picture.

        Raises:
            TargetLayerError: the scores do not depend on it, it has no positions, or none that they read.
        """
        trial = self.trunk.trial(self._tap_named(name, port, above))
        if not trial.read and alone:
            raise TargetLayerError(f"target layer: of {name!r} the scores read no patch, only tokens beside the grid")
        return trial.tap

    def _tap_named(self, name: str, port: ov.Output, above: set[str]) -> Tap:
        """A named port as a feature map.

        Raises:
            TargetLayerError: the scores do not depend on it, or it has no positions.
        """
        if port.get_node().get_name() not in above:
            raise TargetLayerError(f"target layer: the scores do not depend on {name!r}")
        found = self.trunk.place(port)
        if isinstance(found, str):
            shape = port.get_partial_shape()
            raise TargetLayerError(f"target layer: {name!r} of shape {shape} {found}; {self._candidates()}")
        return as_tap(port, found)

    def _levels(self) -> ClassifierSite | No:
        """Where gradients are asked for: any tensor with positions that the scores depend on."""
        options = self.request.options
        if self.request.layers:
            above = self.trunk.graph.ancestors([self.readout.logits.get_node()])
            names = zip(options.target_layer, self.request.layers, strict=True)
            taps = tuple(sorted((self._tap_named(*each, above) for each in names), key=cells))
            return self._made(taps, GRADIENT, "asked for by --target-layer", ())
        found = coarsest_levels(self.trunk)
        taps = found if options.combine == PRODUCT else found[:1]
        if not taps:
            index = self.readout.index
            return No(f"no tensor with positions lies between the picture and output {index}; {self._candidates()}")
        lines = tuple(f"{tap.name} [{tap.layout}, {tap.grid[0]}x{tap.grid[1]}]: the last tensor of this size" for tap in found)
        sizes = "each of the coarsest sizes" if len(taps) > 1 else "the coarsest size"
        return self._made(taps, GRADIENT, f"the last tensor of {sizes} that everything passes", lines)

    def _made(self, taps: tuple[Tap, ...], method: str, why: str, lines: tuple[str, ...]) -> ClassifierSite:
        mask = self.request.options.mask
        if mask == AUTO:
            mask = "" if method == GRADIENT else GAUSSIAN if method == VIT_RECIPRO_CAM else POINT
        readout = self.readout
        model = self.request.model
        scores = output_name(model, readout.index)
        numbers = "" if readout.number is None else output_name(model, readout.number)
        found = self.trunk.place(taps[0].port)
        frame, notes = (WHOLE, ()) if isinstance(found, str) else (found.frame, found.notes)
        due = self._due()
        return ClassifierSite(
            readout.logits, readout.classes, taps, method, mask, readout.index, scores, due, why, lines, notes, frame,
            number_output=numbers, exclusive=not self._apart and "sigmoid" not in (readout.activation, due),
        )  # fmt: skip

    @property
    def _values(self) -> bool:
        """Whether the output holds numbers as they are: what they mean, only their user knows."""
        return self.readout.classes == 1 or self.request.options.task == REGRESSION

    @property
    def _apart(self) -> bool:
        """Whether no value takes anything from another, as classes of a softmax do: values as they are, an embedding's."""
        return self._values or (self.readout.classes != self.request.classes and has_unit_length(self.readout.logits))

    def _due(self) -> str:
        """What the scores still need when the model hands them out."""
        if self.readout.activation in ("softmax", "sigmoid") or self._values:
            return "none"
        return "sigmoid" if self.request.model_info.multilabel else "softmax"


def _has_one_live_input(graph: Graph, node: ov.Node) -> bool:
    return all(graph.is_constant(source(node, port)) for port in range(1, node.get_input_size()))


def _line(trial: Trial) -> str:
    tap = trial.tap
    size = f"{tap.grid[0]}x{tap.grid[1]}" + (f" + {tap.prefix} prefix tokens" if tap.prefix else "")
    state = "exact" if trial.exact else "tokens mix below it"
    if trial.dense:
        state = f"{trial.dense[0].kind} {trial.dense[0].name}: {trial.dense[0].reason}"
    return f"{tap.name} [{tap.layout}, {size}]: {state}"
