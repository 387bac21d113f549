"""Where a detector's class scores are, read off a bare graph: levels, anchors, classes, channel order, activation.

From the outputs upward to the last convolutions that still have a map (`maps`), from there downward again with tracers
that show how the graph itself reads their channels (`tracers`, `trail`), then which of them are classes (`scores`),
and what the outputs are made of (`outputs`). Query detectors have no such convolutions: their tokens are in `maps`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ovxai.errors import TargetLayerError
from ovxai.find.detector.boxes import box_anchors_by_grid, box_evidence, holds_boxes
from ovxai.find.detector.maps import (
    HeadMap,
    TokenScores,
    behind_regions,
    behind_weights,
    find_token_scores,
    head_maps,
    is_resized,
    last_linear,
)
from ovxai.find.detector.outputs import Ingredients, class_columns, is_bare, is_decoded, prediction_form
from ovxai.find.detector.scores import TARGET_HINT, ClassScores, Tables, choose
from ovxai.find.detector.tracers import Tracers, step
from ovxai.find.detector.trail import ClassTable, Trail, class_tables, follow, score_channels
from ovxai.find.site import Channels, ClassLevel, DetectionSite, No, Request
from ovxai.graph.dims import CHANNELS_FIRST, CHANNELS_LAST, Grid, MapAxes
from ovxai.graph.graph import Graph, Port
from ovxai.graph.names import output_name

FOR_DETECTORS = f"for a detector {TARGET_HINT}"
#: Forms whose scores are what the model itself made of them.
FINISHED = ("boxes-labels", "boxes-labels-scores", "boxes-labels-masks")


def find_detection(request: Request) -> DetectionSite | No:
    """The class-logit tensors of a one-stage or query detector; the model is only read.

    Returns a reason instead where the model is something else, or where only the user can settle it.
    """
    search = _Search(request.graph, request.classes, request.output)
    if request.layers:
        return search.named(request)
    site = search.on_maps()
    if isinstance(site, No):
        tokens = find_token_scores(request.graph)
        if isinstance(tokens, No):
            return site
        site = search.on_tokens(tokens)
    return site if isinstance(site, No) else _checked(site, request)


def _checked(site: DetectionSite, request: Request) -> DetectionSite | No:
    """Refuse where the number of labels and the number of scores can't both be right."""
    count, labels = request.classes, request.model_info.labels
    allowed = {site.classes}
    if site.activation in ("softmax", "none"):
        allowed.add(site.classes - 1)  # a background channel that labels leave out
    if labels and labels[0] == "otx_empty_lbl":
        allowed.add(site.classes + 1)
    if count is None or count in allowed:
        return site
    what = "is one score per box (class-agnostic?)" if site.classes == 1 else f"are {site.classes} class scores per box"
    return No(f"there {what} but {count} labels; give the right --labels or --num-classes, or {TARGET_HINT}", final=True)


@dataclass(frozen=True)
class _Search:
    """One graph, how many classes anybody says there are, and the output that somebody named."""

    graph: Graph
    count: int | None
    output: int | None = None

    def on_maps(self) -> DetectionSite | No:
        """Detectors whose last weighted sums are maps."""
        graph = self.graph
        regional = behind_regions(graph)
        if any(regional[node] for node in last_linear(graph)):
            return No("two-stage detector: classes are scored region by region, there is no map of class scores", final=True)
        maps = head_maps(graph)
        enlarged = [head for head in maps if is_resized(graph, head)]
        maps = [head for head in maps if head not in enlarged]
        if not any(head.cells > 1 for head in maps):
            if enlarged:
                return No(f"its maps are resized to the picture (a segmentation model?); {FOR_DETECTORS}", near=True)
            return No("no detector: no output is made from a convolution that keeps one vector per position")
        trail = follow(graph, maps)
        scores = choose(trail, self.count, self._among(maps))
        return scores if isinstance(scores, No) else self._site(trail, scores)

    def _among(self, maps: list[HeadMap]) -> frozenset[int] | None:
        """The maps that the named output is made of."""
        if self.output is None:
            return None
        above = [self.graph.above([port]) for port in self.graph.results]
        named = {i for i, head in enumerate(maps) if head.linear in above[self.output]}
        # Where every level has outputs of its own, the others' stand at the same place in their order.
        first = [next(number for number, nodes in enumerate(above) if head.linear in nodes) for head in maps]
        grids = [sorted((i for i, head in enumerate(maps) if head.grid == grid), key=lambda i: (first[i], i))
                 for grid in dict.fromkeys(head.grid for head in maps)]  # fmt: skip
        places = {order.index(i) for order in grids for i in named & set(order)}
        alone = sum(bool(named & set(order)) for order in grids) == 1 and len({len(order) for order in grids}) == 1
        return frozenset(order[place] for order in grids for place in places) if alone else frozenset(named)

    def _site(self, trail: Trail, scores: ClassScores) -> DetectionSite | No:
        if all(trail.maps[origin].cells == 1 for origin in scores.tables):
            return No("no detector: the class scores have no positions left (a classifier)")
        evidence = next(iter(box_evidence(trail, scores.tables).values()), "")
        if not evidence:
            return No(
                f"scores per position and class, but no boxes beside them (a segmentation model?); {FOR_DETECTORS}",
                near=True,
            )
        order = sorted(scores.tables, key=lambda origin: -trail.maps[origin].cells)
        levels = tuple(self._level(trail, origin, scores.tables) for origin in order)
        return self._made(
            levels, scores.activation, _ingredients(self.graph, trail, scores.tables, scores.activation),
            why=f"{scores.classes} class scores per box on {len(levels)} level(s); {evidence}",
            candidates=self._facts(trail, scores.tables, evidence), notes=scores.notes,
        )  # fmt: skip

    def _level(self, trail: Trail, origin: int, tables: Tables) -> ClassLevel:
        graph, head = self.graph, trail.maps[origin]
        port, channels = narrowed(graph, head, tables[origin])
        beside = [o for i, o in enumerate(trail.maps) if i not in tables and o.grid == head.grid]
        boxes = [other for other in beside if holds_boxes(other, tables[origin].anchors)]
        axes = upright(graph, head.port, head.axes)
        feature = shared_feature(graph, head, boxes)
        return ClassLevel(
            port=graph.output_of(port),
            axes=axes,
            channels=channels,
            grid=head.grid if axes == head.axes else head.grid[::-1],
            feature=graph.output_of(feature[0]) if feature else None,
            feature_axes=upright(graph, *feature) if feature else head.axes,
        )

    def on_tokens(self, scores: TokenScores) -> DetectionSite:
        """Query detectors: dense class scores of the encoder, split level by level."""
        port = self.graph.output_of(scores.port)
        order = sorted(scores.levels, key=lambda level: -level.grid[0] * level.grid[1])
        levels = tuple(
            ClassLevel(
                port=port,
                axes=(0, 2, 1, 1),
                channels=(tuple(range(scores.classes)),),
                grid=level.grid,
                rows=level.rows,
                feature=self.graph.output_of(level.port),
                feature_axes=level.axes,
            )
            for level in order
        )
        name = port.get_node().get_friendly_name()
        return self._made(
            levels, "sigmoid",
            Ingredients(scores.classes, len(levels), cells=sum(height * width for height, width in (v.grid for v in levels))),
            why=f"{name} scores every position before queries are picked",
            candidates=(f"{name}: class scores of {len(levels)} level(s) before queries are picked",), notes=(),
        )  # fmt: skip

    def named(self, request: Request) -> DetectionSite | No:
        """A site from maps [N, A * K, h, w] that the user named; how their channels are read, the graph or the labels say."""
        graph, maps = self.graph, []
        strange = self._no_scores(request)
        if strange is not None:
            return strange
        for name, output in zip(request.options.target_layer, request.layers, strict=True):
            port = graph.port_of(output)
            shape = graph.shape(port)
            if shape is None or len(shape) != 4:
                return _unfit(f"{name} is {output.get_partial_shape()}, not a map [N, A * K, h, w] of class logits")
            feed = next(iter(graph.live_inputs(port[0])), port)
            maps.append(HeadMap(port, port[0], feed, CHANNELS_FIRST, shape[1], (shape[2], shape[3])))
        trail = follow(graph, maps)
        scores = {i: score_channels(trail, i) or frozenset(range(head.channels)) for i, head in enumerate(maps)}
        read, levels, tables = class_tables(trail, scores, box_anchors_by_grid(trail, scores), self.count), [], {}
        for origin, head in sorted(enumerate(maps), key=lambda item: -item[1].cells):
            channels = self._channels(head, read.get(origin))
            if isinstance(channels, No):
                return channels
            tables[origin] = ClassTable(channels, -1)
            feature = shared_feature(graph, head, [])
            levels.append(ClassLevel(
                graph.output_of(head.port), head.axes, channels, head.grid,
                feature=graph.output_of(feature[0]) if feature else None,
                feature_axes=feature[1] if feature else CHANNELS_FIRST,
            ))  # fmt: skip
        if len({len(level.channels[0]) for level in levels}) != 1:
            return _unfit("the named tensors have different numbers of classes")
        facts = tuple(f"{level.port.get_node().get_friendly_name()}: named by the user" for level in levels)
        ingredients = _ingredients(graph, trail, tables, "none")
        return self._made(tuple(levels), "none", ingredients, why="named by the user", candidates=facts, notes=())

    def _no_scores(self, request: Request) -> No | None:
        """Why a named tensor can't hold class scores: weights make something else of it, or it leads to boxes alone."""
        graph = self.graph
        by_itself = self.on_maps()
        levels = [] if isinstance(by_itself, No) else [graph.port_of(level.port) for level in by_itself.levels]
        hint = f"; {'class scores' if levels else 'the last maps of the model'}: "
        last = levels or [head.port for head in head_maps(graph)]
        hint += ", ".join(graph.ops[node].get_friendly_name() for node, _ in last) or "none"
        handed_on = behind_weights(graph)
        for name, output in zip(request.options.target_layer, request.layers, strict=True):
            port = graph.port_of(output)
            if port[0] not in handed_on:
                return _unfit(
                    f"the channels of {name} are no class scores of this model: layers with weights come after it{hint}"
                )
            if levels and not any(port[0] in graph.above([level]) or level[0] in graph.above([port]) for level in levels):
                return _unfit(f"the channels of {name} are no class scores of this model{hint}")
        return None

    def _channels(self, head: HeadMap, table: ClassTable | None) -> Channels | No:
        count = self.count
        if count is not None and (table is None or table.classes not in (count, count + 1)):
            if head.channels % count:
                return _unfit(f"{head.channels} channels are no multiple of {count} classes")
            return tuple(tuple(range(a * count, (a + 1) * count)) for a in range(head.channels // count))
        return table.channels if table is not None else (tuple(range(head.channels)),)

    def _made(
        self, levels: tuple[ClassLevel, ...], activation: str, made_from: Ingredients, *,
        why: str, candidates: tuple[str, ...], notes: tuple[str, ...],
    ) -> DetectionSite:  # fmt: skip
        """The site, with what its outputs look like."""
        model = self.graph.model
        form = prediction_form(model.outputs, made_from)
        raw = activation == "none" and form.name not in FINISHED
        return DetectionSite(
            levels, len(levels[0].channels[0]), _size_level_of(levels), activation,
            score_output="" if form.scores is None else output_name(model, form.scores),
            score_activation="sigmoid" if raw else "none",
            prediction_format=form.name,
            output=self.output if self.output is not None else form.scores or 0,
            why=why, candidates=candidates, notes=notes,
        )  # fmt: skip

    def _facts(self, trail: Trail, tables: Tables, evidence: str) -> tuple[str, ...]:
        lines = []
        for origin, head in enumerate(trail.maps):
            name = self.graph.ops[head.port[0]].get_friendly_name()
            table = tables.get(origin)
            role = f"class scores: {table.anchors} x {table.classes}" if table else "not class scores"
            lines.append(f"{name} [{head.channels}, {head.grid[0]}, {head.grid[1]}]: {role}")
        return (*lines, f"a detector because {evidence}")


def _unfit(reason: str) -> No:
    return No(f"target layer: {reason}", near=True, error=TargetLayerError)


def _ingredients(graph: Graph, trail: Trail, tables: Tables, activation: str) -> Ingredients:
    return Ingredients(
        next(iter(tables.values())).classes, len(tables), softmax=activation == "softmax", heatmap=len(tables) == 1,
        decoded=is_decoded(trail), bare=is_bare(trail, tables),
        cells=sum(table.anchors * trail.maps[origin].cells for origin, table in tables.items()),
        columns=class_columns(graph, trail, tables),
    )  # fmt: skip


def _size_level_of(levels: tuple[ClassLevel, ...]) -> int:
    first = levels[0]
    shape = first.port.get_partial_shape()
    places = (1,) if first.rows else first.axes[2:]
    return size_level([level.grid for level in levels], open_size=any(shape[axis].is_dynamic for axis in places))


def size_level(grids: list[Grid], *, open_size: bool) -> int:
    """The middle level; with six levels and more (SSD) one that is large enough to see anything.

    Where the middle one then has a side below 8 cells: the coarsest with 8 on both, else the finest.
    With open height and width always the middle: which level is too small would change with the picture.
    """
    middle = len(grids) // 2
    if open_size or len(grids) < 6 or min(grids[middle]) >= 8:
        return middle
    large = [i for i, grid in enumerate(grids) if min(grid) >= 8]
    return large[-1] if large else 0


# Where the graph itself cuts the class channels out of a wider tensor, that piece is the class-logit tensor.

_CUTS = ("Split", "VariadicSplit", "Slice", "StridedSlice")


def narrowed(graph: Graph, head: HeadMap, table: ClassTable) -> tuple[Port, Channels]:
    """The port of the cut that holds exactly the table's channels, and their numbers in it; the map where there is none."""
    if len(table.flat) == head.channels:
        return head.port, table.channels
    known = {head.port: Tracers.of_map(0, graph.known_shape(head.port), head.axes)}
    for user, _ in graph.consumers.get(head.port, []):
        if graph.kinds[user] not in _CUTS:
            continue
        for number, inside in step(graph, user, known).items():
            shape = graph.known_shape((user, number))
            if set(inside.channel.tolist()) == table.flat and len(shape) == 4 and shape[head.axes[1]] == len(table.flat):
                place: dict[int, int] = dict(zip(inside.channel.tolist(), inside.coords[:, head.axes[1]].tolist()))
                return (user, number), tuple(tuple(place[channel] for channel in row) for row in table.channels)
    return head.port, table.channels


# The neck's features: for each level the last tensor that the class and the box branch both read.

Feature = tuple[Port, MapAxes]


def shared_feature(graph: Graph, head: HeadMap, boxes: list[HeadMap]) -> Feature | None:
    """Port and axes of the feature map under `head`; boxes: the box maps of the same grid."""
    own = graph.above([head.source])
    meeting = [last_map(graph, own & graph.above([box.source]), head) for box in boxes if box.linear != head.linear]
    # Boxes meet the class branch where the towers part; a branch that only joins further up says nothing about that.
    features = [feature for feature in meeting if feature is not None]
    return max(features, default=None, key=lambda feature: feature[0]) or last_map(graph, own, head)


def last_map(graph: Graph, nodes: set[int], head: HeadMap) -> Feature | None:
    """Among `nodes` the last that makes a map on the grid of `head`: its port and axes."""
    orders = (CHANNELS_FIRST, CHANNELS_LAST) if head.axes == CHANNELS_FIRST else (CHANNELS_LAST, CHANNELS_FIRST)
    for node in sorted(nodes, reverse=True):
        for number, shape in enumerate(graph.extents[node]):
            if shape is None or len(shape) != 4 or graph.kinds[node] == "Parameter":
                continue
            for axes in orders:
                channels = shape[axes[1]]
                if (shape[axes[2]], shape[axes[3]]) == head.grid and channels and channels > 1:
                    return (node, number), axes
    return None


# Which of a map's two sides is the picture's height: transposes between the input and the head may swap them.


def upright(graph: Graph, port: Port, axes: MapAxes) -> MapAxes:
    """`axes` with height and width exchanged where the map at `port` lies on its side."""
    batch, channel, row, column = axes
    return (batch, channel, column, row) if _lies_on_its_side(graph, port, row, column) else axes


def _lies_on_its_side(graph: Graph, port: Port, row: int, column: int) -> bool:
    """Follow both sides up to the picture; in a picture rows come before columns, wherever the channels stand."""
    while graph.kinds[port[0]] != "Parameter":
        node = port[0]
        if graph.kinds[node] == "Transpose":
            order = graph.value(graph.inputs[node][1])
            if order is None or order.size <= max(row, column):
                return False
            row, column = int(order.reshape(-1)[row]), int(order.reshape(-1)[column])
        following = _map_above(graph, node)
        if following is None:
            return False
        port = following
    return row > column


def _map_above(graph: Graph, node: int) -> Port | None:
    """The first live input that is still a map of the same rank; None where the positions were flattened."""
    for feed in graph.live_inputs(node):
        if _rank(graph, feed) == 4:
            return feed
    # Group normalisation flattens and restores: look past a pair of reshapes at the next map.
    if graph.kinds[node] == "Reshape":
        for feed in graph.live_inputs(node):
            for above in graph.live_inputs(feed[0]):
                if _rank(graph, above) in (3, 4):
                    return _through(graph, above, node)
    return None


def _rank(graph: Graph, port: Port) -> int:
    return len(graph.extents[port[0]][port[1]] or ())


def _through(graph: Graph, port: Port, node: int) -> Port | None:
    """A few steps up from `port`, what has the shape that `node` makes."""
    for _ in range(6):
        if graph.extents[port[0]][port[1]] == graph.extents[node][0]:
            return port
        feeds = graph.live_inputs(port[0])
        if not feeds:
            return None
        port = feeds[0]
    return None
