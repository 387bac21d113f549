"""From the picture input to the last tensor: the tags of everything that is computed from the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovxai.graph.graph import Graph, Port
from ovxai.graph.picture import PictureInput
from ovxai.trace.field import BATCH, HEIGHT, WIDTH, Field, Lost
from ovxai.trace.table import RULES
from ovxai.trace.tags import NOTHING, Step, Tags


@dataclass(frozen=True)
class Trace:
    """Of one picture input. sides: (H, W) of the picture as it is fed; batch: how many pictures at once."""

    graph: Graph
    sides: tuple[int, int]
    batch: int
    tags: tuple[tuple[Tags, ...], ...]

    def of(self, port: Port) -> Tags:
        return self.tags[port[0]][port[1]]

    def sides_of(self, port: Port) -> set[str]:
        """Along which sides of the picture the tensor's entries differ."""
        return {field.side for field in self.of(port).fields if field.side != BATCH and field.axes}


def trace(graph: Graph, picture: PictureInput) -> Trace:
    """Follow the entries of `picture` through all of `graph`, on witness shapes.

    Raises:
        UnsupportedModelError: the picture's own size is not known.
    """
    start = graph.position(graph.model.inputs[picture.index].get_node())
    shape = graph.known_shape((start, 0))
    sizes = dict(zip(picture.layout, shape, strict=True))
    tags: list[tuple[Tags, ...]] = []
    for index, node in enumerate(graph.ops):
        if index == start:
            tags.append((Tags(tuple(_own_fields(picture.layout, shape))),))
            continue
        given = tuple(tags[feed][number] for feed, number in graph.inputs[index])
        tags.append(_passed(Step(graph, index, given), node.get_output_size()))
    return Trace(graph, (sizes["H"], sizes["W"]), sizes.get("N", 1), tuple(tags))


def _own_fields(layout: str, shape: tuple[int, ...]) -> list[Field]:
    fields = []
    for axis, (letter, size) in enumerate(zip(layout, shape, strict=True)):
        if letter in (HEIGHT, WIDTH, BATCH):
            line = [1] * len(shape)
            line[axis] = size
            fields.append(Field(letter, (np.arange(size) + 0.5).reshape(line), 1.0))
    return fields


def _passed(step: Step, outputs: int) -> tuple[Tags, ...]:
    if not any(tags.fields or tags.lost for tags in step.given) or step.kind == "ShapeOf":
        return (NOTHING,) * outputs
    rule = RULES.get(step.kind)
    fed = any(tags.fields for tags in step.given)
    lost = next((tags.lost for tags in step.given if tags.lost), "")
    if not fed:
        return (Tags(lost=lost),) * outputs
    if rule is None:
        return (Tags(lost=lost or step.reason("there is no rule for where its results lie")),) * outputs
    try:
        found = rule(step)
    except Lost as reason:
        return (Tags(lost=lost or step.reason(str(reason))),) * outputs
    every = found if isinstance(found, list) else [found] * outputs
    return tuple(_named(tags, lost, step) for tags in every)


def _named(tags: Tags, before: str, step: Step) -> Tags:
    """With the place in the graph where coordinates ended, if that was here."""
    return Tags(tags.fields, before or step.reason(tags.lost)) if tags.lost != before else tags
