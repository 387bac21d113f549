"""Where does a classifier read its feature map, and by which method is it explained?

The tensors that everything passes between picture and scores are tried from the scores upwards: the
first of which positions are read is where the readout begins. If the trunk carries prefix tokens and
only they are read, it is a class-token transformer (ViT Recipro-CAM); else Recipro-CAM.
"""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

from ovxai.collapse.masks import GAUSSIAN, POINT
from ovxai.find.classifier.branches import branch_taps
from ovxai.find.classifier.layouts import Grids, known_grids, possible_taps
from ovxai.find.classifier.readout import Readout, find_readout, picture_input, picture_sides
from ovxai.find.classifier.trial import Trial, attempt, named_taps
from ovxai.find.classifier.trunk import TokenBlock, dominators, token_block
from ovxai.find.site import ClassifierSite, No
from ovxai.graph.graph import PICTURE_CHANNELS, Graph, source
from ovxai.graph.tap import Tap
from ovxai.options import InsertOptions

RECIPRO_CAM = "reciprocam"
VIT_RECIPRO_CAM = "vit-reciprocam"


@dataclass(frozen=True)
class Search:
    """Everything that the steps below share."""

    graph: Graph
    readout: Readout
    picture: ov.Node
    batch: int
    grids: Grids
    trunk: list[ov.Output]  # the dominators, picture to scores

    def taps(self, port: ov.Output) -> list[Tap]:
        shape = self.graph.shape(port)
        return [] if shape is None else possible_taps(port, shape, self.batch, self.grids)

    def trial(self, tap: Tap, mask: str = POINT) -> Trial:
        return attempt(self.graph, tap, self.readout.logits, mask)


def find_classifier(model: ov.Model, graph: Graph, options: InsertOptions, labels: int | None = None) -> ClassifierSite | No:
    """The site of a classifier, or why there is none. labels: how many class names are known."""
    readout = find_readout(model, graph, options.output, labels)
    if isinstance(readout, No):
        return readout
    search = _prepare(model, graph, readout)
    if isinstance(search, No):
        return search
    if options.target_layer:
        return _asked_for(search, options)
    candidates = _read_upwards(search)
    whole = candidates and candidates[0].exact and not candidates[0].mixed
    # Where the trunk forks, what everything passes lies far above the readout: look into the branches first.
    branches = [] if whole or options.method not in ("auto", RECIPRO_CAM) else branch_taps(search)
    if branches:
        why = "the patches that attentions read in a branch of the trunk; the branch with the most positions"
        lines = tuple(_line(trial) for trial in branches)
        return _site(search, (branches[0].tap,), RECIPRO_CAM, _mask(options, POINT), why, lines)
    if candidates:
        return _choose(search, candidates, options)
    return No(f"no tensor with positions lies between the picture and output {readout.index}; name one with --target-layer")


def _prepare(model: ov.Model, graph: Graph, readout: Readout) -> Search | No:
    above = graph.ancestors([readout.logits.get_node()])
    picture = picture_input(model, graph, above)
    if isinstance(picture, No):
        return picture
    live = graph.descendants([picture]) & above
    trunk = dominators(graph, picture, readout.logits.get_node())
    batch = graph.shape(readout.logits)[0]
    grids = known_grids(graph, live, _sides_as_it_enters(graph, picture, trunk, live), batch)
    return Search(graph, readout, picture, batch, grids, trunk)


def _sides_as_it_enters(graph: Graph, picture: ov.Node, trunk: list[ov.Output], live: set[str]) -> tuple[int, int]:
    """(H, W) of the picture when the first weights meet it: colours may be converted and sides resized before that."""
    weighing = ("Convolution", "GroupConvolution", "MatMul")
    first = next((i for i, node in enumerate(graph.ops) if node.get_name() in live and node.get_type_name() in weighing), 0)
    sides = picture_sides(graph.shape(picture.output(0)))
    for port in trunk:
        shape = graph.shape(port)
        if graph.position(port.get_node()) >= first or shape is None:
            break
        if len(shape) == 4 and {shape[1], shape[3]} & set(PICTURE_CHANNELS):
            sides = picture_sides(shape)
    return sides


def _read_upwards(search: Search) -> list[Trial]:
    """Trials from the scores upwards: from the first that is read, as long as positions do not mix.

    The list ends before the first tensor below which positions mix; if already the first one that is
    read has no exact collapse, it alone is returned.
    """
    found: list[Trial] = []
    for port in reversed(search.trunk):
        trials = [search.trial(tap) for tap in search.taps(port)]
        trials = [trial for trial in trials if trial.read]
        if not trials:
            continue
        best = min(trials, key=lambda trial: len(trial.dense) + trial.mixed)
        if found and (best.dense or best.mixed):
            break
        found.append(best)
        if best.dense or best.mixed or (not best.tap.prefix and not best.attended):
            break  # a pool reads this tensor: nothing above can be a later feature map
    return found


def _choose(search: Search, trials: list[Trial], options: InsertOptions) -> ClassifierSite | No:
    lines = tuple(_line(trial) for trial in trials)
    whole = next((trial for trial in trials if not trial.tap.prefix), None)
    carried = whole is None and trials[0].attended
    method = options.method
    if method == "auto":
        method = VIT_RECIPRO_CAM if carried else RECIPRO_CAM
    if method == VIT_RECIPRO_CAM:
        return _last_block(search, options, lines)
    first = whole or trials[0]
    tap = _before_projection(search, first.tap) if first.attended else first.tap
    why = "what pools or attends to positions reads this tensor, and nothing after it mixes them"
    return _site(search, (tap,), RECIPRO_CAM, _mask(options, POINT), why, lines)


def _before_projection(search: Search, tap: Tap) -> Tap:
    """Keys and values of an attention pool are projections of the feature map: take what they project."""
    node = tap.port.get_node()
    while node.get_type_name() in ("Add", "Reshape", "Transpose") and _one_live_input(search, node):
        node = source(node, 0).get_node()
    if node.get_type_name() != "MatMul" or not search.graph.is_constant(source(node, 1)):
        return tap
    above = [one for one in search.taps(source(node, 0)) if one.grid == tap.grid]
    return above[0] if above else tap


def _one_live_input(search: Search, node: ov.Node) -> bool:
    return all(search.graph.is_constant(source(node, port)) for port in range(1, node.get_input_size()))


def _last_block(search: Search, options: InsertOptions, lines: tuple[str, ...]) -> ClassifierSite | No:
    block = token_block(search.graph, search.trunk, search.taps, search.readout.logits, options.blocks)
    if isinstance(block, No):
        return block
    why = f"{_words(block)}; the gate sits before {'the last block' if options.blocks == 1 else f'the last {options.blocks} blocks'}"
    return _site(search, block.taps, VIT_RECIPRO_CAM, _mask(options, GAUSSIAN), why, lines)


def _words(block: TokenBlock) -> str:
    if len(block.taps) == 2:
        return "a transformer block: its normalised input and its residual input"
    return "a transformer block without a separate normalised input: its one input"


def _asked_for(search: Search, options: InsertOptions) -> ClassifierSite | No:
    taps = named_taps(search.graph, options.target_layer, search.taps, search.readout.logits)
    if isinstance(taps, No):
        return taps
    method = options.method
    if method == "auto":
        method = VIT_RECIPRO_CAM if len(taps) > 1 else RECIPRO_CAM
    default = GAUSSIAN if method == VIT_RECIPRO_CAM else POINT
    return _site(search, taps, method, _mask(options, default), "asked for by --target-layer", ())


def _mask(options: InsertOptions, default: str) -> str:
    return default if options.mask == "auto" else options.mask


def _site(search: Search, taps: tuple[Tap, ...], method: str, mask: str, why: str, lines: tuple[str, ...]) -> ClassifierSite:
    readout = search.readout
    return ClassifierSite(readout.logits, taps, method, mask, readout.index, readout.activation, why, lines)


def _line(trial: Trial) -> str:
    tap = trial.tap
    size = f"{tap.grid[0]}x{tap.grid[1]}" + (f" + {tap.prefix} prefix tokens" if tap.prefix else "")
    state = (
        "exact"
        if trial.exact
        else f"{trial.dense[0].kind} {trial.dense[0].name}: {trial.dense[0].reason}"
        if trial.dense
        else "tokens mix below it"
    )
    return f"{tap.name} [{tap.layout}, {size}]: {state}"
