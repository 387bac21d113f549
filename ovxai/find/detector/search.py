"""Where a detector's class scores are, read off a bare graph: levels, anchors, classes, channel order, activation.

From the outputs upward to the last convolutions that still have a map (`maps`), from there downward again with tracers
that show how the graph itself reads their channels (`tracers`, `trail`), then which of them are classes (`scores`),
and what the outputs are made of (`outputs`). Query detectors have no such convolutions: their tokens are in `maps`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ovxai.errors import OptionError
from ovxai.find.detector.assemble import assemble, ingredients
from ovxai.find.detector.boxes import box_evidence, holds_boxes
from ovxai.find.detector.features import narrowed, shared_feature, upright
from ovxai.find.detector.finished import activation_of, query_outputs, query_scores
from ovxai.find.detector.maps import HeadMap, TokenScores, behind_regions, find_token_scores, head_maps, is_resized, last_linear
from ovxai.find.detector.named import find_named
from ovxai.find.detector.outputs import QUERIES, Ingredients
from ovxai.find.detector.scores import TARGET_HINT, ClassScores, Tables, choose
from ovxai.find.detector.trail import Trail, follow
from ovxai.find.site import ClassLevel, DetectionSite, No, Request
from ovxai.graph.graph import Graph
from ovxai.graph.names import output_name
from ovxai.metadata import PER_BOX

FOR_DETECTORS = f"for a detector {TARGET_HINT}"


def find_detection(request: Request) -> DetectionSite | No:
    """The class-logit tensors of a one-stage or query detector; the model is only read.

    Returns a reason instead where the model is something else, or where only the user can settle it.
    """
    search = _Search(request.graph, request.classes, request.output)
    if request.layers and request.options.per != PER_BOX:
        return find_named(request)
    site = search.on_maps()
    if isinstance(site, No):
        tokens = find_token_scores(request.graph)
        if not isinstance(tokens, No):
            site = search.on_tokens(tokens)
        elif request.options.per == PER_BOX:
            site = search.on_queries() or site
    if isinstance(site, DetectionSite) and request.options.per == PER_BOX:
        site = _with_scores_read(site, request)
    return site if isinstance(site, No) else _checked(site, request)


def _with_scores_read(site: DetectionSite, request: Request) -> DetectionSite | No:
    """Of queries, with what their scores mean, which graph and labels say together, or somebody."""
    asked = request.options.class_activation
    if site.prediction_format != QUERIES:
        words = "class activation: for boxes it is read of the class scores of queries, which this model has not; leave it out"
        return site if asked is None else No(words, final=True, error=OptionError)
    found = query_scores(request.graph, request.graph.results[site.output], request.classes, asked)
    if isinstance(found, str):
        return No(found, final=True, error=OptionError)
    return replace(
        site, classes=found.classes, activation=found.done or "none", score_activation=found.due, no_object=found.no_object,
        notes=(*site.notes, *([found.note] if found.note else [])),
    )  # fmt: skip


def _checked(site: DetectionSite, request: Request) -> DetectionSite | No:
    """Refuse where the number of labels and the number of scores can't both be right."""
    count, labels = request.classes, request.model_info.labels
    allowed = {site.classes}
    if site.activation in ("softmax", "none") and not site.no_object:
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
        return assemble(
            self.graph, self.output, levels, scores.activation, ingredients(self.graph, trail, scores.tables, scores.activation),
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
        return assemble(
            self.graph, self.output, levels, "sigmoid",
            Ingredients(scores.classes, len(levels), cells=sum(v.grid[0] * v.grid[1] for v in levels), queries=True),
            why=f"{name} scores every position before queries are picked",
            candidates=(f"{name}: class scores of {len(levels)} level(s) before queries are picked",), notes=(),
        )  # fmt: skip

    def on_queries(self) -> DetectionSite | None:
        """Query detectors that score no positions: boxes can be explained by gradients. None where there are no queries."""
        answers = query_outputs(self.graph, output=self.output)
        if answers is None:
            return None
        port = self.graph.results[answers[0]]
        _, count, classes = self.graph.known_shape(self.graph.output_of(port))
        level = ClassLevel(
            port=self.graph.output_of(port),
            axes=(0, 2, 1, 1),
            channels=(tuple(range(classes)),),
            grid=(count, 1),
            rows=(0, count),
        )
        done = activation_of(self.graph, port)
        name = output_name(self.graph.model, answers[0])
        return DetectionSite(
            (level,), classes, 0, done or "none",
            score_output=name, score_activation="none" if done else "sigmoid", prediction_format=QUERIES, output=answers[0],
            why=f"output {answers[0]} holds {classes} class scores of {count} queries, output {answers[1]} their boxes",
            candidates=(f"{name}: class scores of {count} queries",),
        )  # fmt: skip

    def _facts(self, trail: Trail, tables: Tables, evidence: str) -> tuple[str, ...]:
        lines = []
        for origin, head in enumerate(trail.maps):
            name = self.graph.ops[head.port[0]].get_friendly_name()
            table = tables.get(origin)
            role = f"class scores: {table.anchors} x {table.classes}" if table else "not class scores"
            lines.append(f"{name} [{head.channels}, {head.grid[0]}, {head.grid[1]}]: {role}")
        return (*lines, f"a detector because {evidence}")
