"""Where a detector's class scores are, read off a bare graph: levels, anchors, classes, channel order, activation.

From the outputs upward to the last convolutions that still have a map (`detection_taps`), from there downward again
with probes that show how the graph itself reads their channels (`detection_trail`, `detection_layouts`), then
which of them are classes (`detection_groups`). Query detectors have no such convolutions: `detection_queries`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import openvino as ov

from ovxai.find.detector.axes import upright
from ovxai.find.detector.outputs import Head, class_columns, is_bare, is_decoded, output_name, prediction_form
from ovxai.find.detector.queries import TokenScores, find_token_scores
from ovxai.find.detector.scores import TARGET_HINT, Chosen, box_evidence, choose
from ovxai.find.detector.site import NCHW, ClassLevel, DetectionSite, size_level
from ovxai.find.detector.taps import Tap, behind_regions, grid_tap, last_linear, narrowed, resized, shared_feature
from ovxai.find.detector.trail import Layout, Trail, follow, layouts, score_channels
from ovxai.find.site import No
from ovxai.graph.witness import Graph, Port, snapshot

if TYPE_CHECKING:
    from ovxai.metadata import ModelInfo
    from ovxai.options import InsertOptions

FOR_DETECTORS = f"for a detector {TARGET_HINT}"
#: Forms whose scores are what the model itself made of them.
FINISHED = ("boxes-labels", "boxes-labels-scores", "boxes-labels-masks")


def find_detection(model: ov.Model, options: InsertOptions, model_info: ModelInfo) -> DetectionSite | No:
    """The class-logit tensors of a one-stage or query detector; the model is only read.

    Returns a reason instead where the model is something else, or where only the user can settle it.
    """
    graph, count = snapshot(model), label_count(options, model_info)
    search = _Search(model, graph, count)
    if options.target_layer:
        given = from_names(model, graph, options.target_layer, count)
        return search.finished(*given) if given else given
    site = search.grids()
    if not site and (tokens := find_token_scores(graph)):
        site = search.tokens(tokens)
    return _checked(site, count, model_info) if site else site


def label_count(options: InsertOptions, model_info: ModelInfo) -> int | None:
    """How many classes anybody says there are: options first, then rt_info."""
    if options.num_classes:
        return options.num_classes
    labels = options.labels or model_info.labels
    return len(labels) if labels else None


def _checked(site: DetectionSite, count: int | None, model_info: ModelInfo) -> DetectionSite | No:
    """Refuse where the number of labels and the number of scores can't both be right."""
    allowed = {site.classes}
    if site.activation in ("softmax", "none"):
        allowed.add(site.classes - 1)  # a background channel that labels leave out
    if model_info.labels and model_info.labels[0] == "otx_empty_lbl":
        allowed.add(site.classes + 1)
    if count is None or count in allowed:
        return site
    what = "is one score a box (class-agnostic?)" if site.classes == 1 else f"are {site.classes} class scores a box"
    return No(f"there {what} but {count} labels; give the right --labels or --num-classes, or {TARGET_HINT}", final=True)


class _Search:
    """One model, one picture of its graph; `ports` turns indices back into ports of the model itself."""

    def __init__(self, model: ov.Model, graph: Graph, count: int | None) -> None:
        self.model, self.graph, self.count = model, graph, count
        self.nodes = model.get_ordered_ops()

    def port(self, port: Port) -> ov.Output:
        return self.nodes[port[0]].output(port[1])

    def grids(self) -> DetectionSite | No:
        """Detectors whose last weighted sums are maps."""
        graph = self.graph
        results = [graph.inputs[i][0] for i, kind in enumerate(graph.kinds) if kind == "Result"]
        linear, _ = last_linear(graph, results)
        regional = behind_regions(graph)
        if any(regional[node] for node in linear):
            return No("two-stage detector: classes are scored region by region, there is no map of class scores", final=True)
        taps = [tap for node in linear if (tap := grid_tap(graph, node))]
        enlarged = [tap for tap in taps if resized(graph, tap)]
        taps = [tap for tap in taps if tap not in enlarged]
        taps = [tap for tap in taps if tap.cells > 1 or any(other.cells > 1 for other in taps)]
        if not any(tap.cells > 1 for tap in taps):
            if enlarged:
                return No(f"its maps are resized to the picture (a segmentation model?); {FOR_DETECTORS}", near=True)
            return No("no detector: no output is made from a convolution that keeps one vector a position")
        trail = follow(graph, taps)
        chosen = choose(trail, self.count)
        if not chosen:
            return chosen
        return self._site(trail, chosen)

    def _site(self, trail: Trail, chosen: Chosen) -> DetectionSite | No:
        grids = {trail.taps[tap].grid for tap in chosen.layouts}
        if all(h * w == 1 for h, w in grids):
            return No("no detector: the class scores have no positions left (a classifier)")
        evidence = box_evidence(trail, chosen)
        if not evidence:
            return No(
                f"scores a position and class, but no boxes beside them (a segmentation model?); {FOR_DETECTORS}",
                near=True,
            )
        order = sorted(chosen.layouts, key=lambda tap: -trail.taps[tap].cells)
        levels = tuple(self._level(trail, tap, chosen) for tap in order)
        heads = f"{chosen.classes} class scores a box on {len(levels)} level(s); {evidence}"
        return self._filled(
            levels, chosen.activation, head=self._head(trail, chosen, levels), why=heads,
            candidates=self._facts(trail, chosen, evidence), notes=chosen.notes,
        )  # fmt: skip

    def _head(self, trail: Trail, chosen: Chosen, levels: tuple[ClassLevel, ...]) -> Head:
        cells = sum(len(layout.channels) * trail.taps[tap].cells for tap, layout in chosen.layouts.items())
        return Head(
            chosen.classes, len(levels), softmax=chosen.activation == "softmax", heatmap=len(levels) == 1,
            decoded=is_decoded(trail), bare=is_bare(trail, chosen.layouts), cells=cells,
            columns=class_columns(self.graph, self.model, trail, chosen.layouts),
        )  # fmt: skip

    def _filled(self, levels: tuple[ClassLevel, ...], activation: str, *, head: Head, **texts) -> DetectionSite:
        """The site, with what its outputs look like."""
        outputs, classes = self.model.outputs, len(levels[0].channels[0])
        form = prediction_form(outputs, head)
        raw = activation == "none" and form.name not in FINISHED
        return DetectionSite(
            levels, classes, self._size_level(levels), activation,
            score_output=output_name(outputs, form.scores),
            score_activation="sigmoid" if raw else "none",
            prediction_format=form.name,
            output=form.scores or 0,
            **texts,
        )  # fmt: skip

    def _level(self, trail: Trail, number: int, chosen: Chosen) -> ClassLevel:
        tap = trail.taps[number]
        port, channels = narrowed(self.graph, tap, chosen.layouts[number].channels)
        boxes = [t for i, t in enumerate(trail.taps) if i not in chosen.layouts and t.grid == tap.grid and t.channels % 4 == 0]
        feature = shared_feature(self.graph, tap, boxes)
        axes = upright(self.graph, tap.port, tap.axes)
        return ClassLevel(
            port=self.port(port),
            axes=axes,
            channels=channels,
            grid=tap.grid if axes == tap.axes else tap.grid[::-1],
            feature=self.port(feature[0]) if feature else None,
            feature_axes=upright(self.graph, *feature) if feature else tap.axes,
        )

    def _size_level(self, levels: tuple[ClassLevel, ...]) -> int:
        first = levels[0]
        shape = first.port.get_partial_shape()
        places = (1,) if first.rows else first.axes[2:]
        return size_level([level.grid for level in levels], open_size=any(shape[axis].is_dynamic for axis in places))

    def _facts(self, trail: Trail, chosen: Chosen, evidence: str) -> tuple[str, ...]:
        lines = []
        for number, tap in enumerate(trail.taps):
            name = self.nodes[tap.port[0]].get_friendly_name()
            layout = chosen.layouts.get(number)
            role = f"class scores: {layout.anchors} x {layout.classes}" if layout else "not class scores"
            lines.append(f"{name} [{tap.channels}, {tap.grid[0]}, {tap.grid[1]}]: {role}")
        return (*lines, f"a detector because {evidence}")

    def tokens(self, scores: TokenScores) -> DetectionSite | No:
        """Query detectors: dense class scores of the encoder, split level by level."""
        order = sorted(scores.levels, key=lambda level: -level.grid[0] * level.grid[1])
        levels = tuple(
            ClassLevel(
                port=self.port(scores.port),
                axes=(0, 2, 1, 1),
                channels=(tuple(range(scores.classes)),),
                grid=level.grid,
                rows=(level.start, level.start + level.grid[0] * level.grid[1]),
                feature=self.port(level.port),
                feature_axes=level.axes,
            )
            for level in order
        )
        name = levels[0].port.get_node().get_friendly_name()
        cells = sum(height * width for height, width in (level.grid for level in levels))
        return self._filled(
            levels, "sigmoid", head=Head(scores.classes, len(levels), cells=cells),
            why=f"{name} scores every position before queries are picked",
            candidates=(f"{name}: class scores of {len(levels)} level(s) before queries are picked",),
        )  # fmt: skip

    def finished(self, levels: tuple[ClassLevel, ...], trail: Trail, layouts: dict[int, Layout]) -> DetectionSite:
        """A site from tensors that the user named."""
        facts = tuple(f"{level.port.get_node().get_friendly_name()}: named by the user" for level in levels)
        head = self._head(trail, Chosen(layouts, "none"), levels)
        return self._filled(levels, "none", head=head, why="named by the user", candidates=facts)


# `--target-layer`: the user names the class-logit tensors; how their channels are read, the graph or the labels say.


def resolve(model: ov.Model, name: str) -> Port | No:
    """(index, port) of a friendly node name, `name:port`, or a tensor name."""
    base, _, number = name.rpartition(":")
    for index, node in enumerate(model.get_ordered_ops()):
        if node.get_friendly_name() == name and node.get_output_size():
            return index, 0
        if base and number.isdigit() and node.get_friendly_name() == base and int(number) < node.get_output_size():
            return index, int(number)
        for output in node.outputs():
            if name in output.get_names():
                return index, output.get_index()
    return No(f"target layer: the model has no node or tensor named {name!r}")


def from_names(
    model: ov.Model, graph: Graph, names: tuple[str, ...], count: int | None
) -> tuple[tuple[ClassLevel, ...], Trail, dict[int, Layout]] | No:
    """Levels from maps [N, A * K, h, w] given by name, sorted fine to coarse; the trail, and how each tap is read."""
    taps = []
    for name in names:
        port = resolve(model, name)
        if not port:
            return port
        shape = graph.shape(port)
        if shape is None or len(shape) != 4 or None in shape:
            return No(f"target layer: {name} is {list(shape or ())}, not a map [N, A * K, h, w] of class logits")
        source = next(iter(graph.live_inputs(port[0])), port)
        taps.append(Tap(port, port[0], source, NCHW, shape[1], (shape[2], shape[3])))
    trail = follow(graph, taps)
    scores = {i: score_channels(trail, i) or frozenset(range(tap.channels)) for i, tap in enumerate(taps)}
    read = layouts(trail, scores, count)
    nodes, levels, used = model.get_ordered_ops(), [], {}
    for i, tap in sorted(enumerate(taps), key=lambda item: -item[1].cells):
        channels = _channels(tap, read.get(i), count)
        if not channels:
            return channels
        used[i] = Layout(channels, -1)
        feature = shared_feature(graph, tap, [])
        levels.append(ClassLevel(
            nodes[tap.port[0]].output(tap.port[1]), tap.axes, channels, tap.grid,
            feature=nodes[feature[0][0]].output(feature[0][1]) if feature else None,
            feature_axes=feature[1] if feature else NCHW,
        ))  # fmt: skip
    if len({len(level.channels[0]) for level in levels}) != 1:
        return No("target layer: the named tensors have different numbers of classes")
    return tuple(levels), trail, used


def _channels(tap: Tap, layout, count: int | None):
    if count is not None and (layout is None or layout.classes not in (count, count + 1)):
        if tap.channels % count:
            return No(f"target layer: {tap.channels} channels are no multiple of {count} classes")
        return tuple(tuple(range(a * count, (a + 1) * count)) for a in range(tap.channels // count))
    if layout is not None:
        return layout.channels
    return (tuple(range(tap.channels)),)
