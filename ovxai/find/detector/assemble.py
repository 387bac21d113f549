"""From levels of class scores to a site: whose size the map has, and what the model's outputs look like."""

from __future__ import annotations

from ovxai.find.detector.outputs import Ingredients, class_columns, is_bare, is_decoded, prediction_form
from ovxai.find.detector.scores import Tables
from ovxai.find.detector.trail import Trail
from ovxai.find.site import ClassLevel, DetectionSite
from ovxai.graph.dims import Grid
from ovxai.graph.graph import Graph
from ovxai.graph.names import output_name

#: Forms whose scores are what the model itself made of them.
FINISHED = ("boxes-labels", "boxes-labels-scores", "boxes-labels-masks")


def assemble(
    graph: Graph, output: int | None, levels: tuple[ClassLevel, ...], activation: str, made_from: Ingredients, *,
    why: str, candidates: tuple[str, ...], notes: tuple[str, ...],
) -> DetectionSite:  # fmt: skip
    """The site of these levels. output: the number of the one that was named; None where nobody did."""
    form = prediction_form(graph, made_from)
    raw = activation == "none" and form.name not in FINISHED
    return DetectionSite(
        levels, len(levels[0].channels[0]), _size_level_of(levels), activation,
        score_output="" if form.scores is None else output_name(graph.model, form.scores),
        score_activation=form.due or ("sigmoid" if raw else "none"),
        prediction_format=form.name,
        output=output if output is not None else form.scores or 0,
        why=why, candidates=candidates, notes=notes,
    )  # fmt: skip


def ingredients(graph: Graph, trail: Trail, tables: Tables, activation: str) -> Ingredients:
    """What the outputs are made from, where the class scores stand in `tables`."""
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
