"""The backward walk: from target scores up to the tensors that are asked for, along the paths between them only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import openvino as ov
from openvino import opset13 as op

from ovxai.backward.step import Negated, Refusal, Step
from ovxai.backward.table import RULES
from ovxai.backward.targets import Targets
from ovxai.backward.windows import Region, regions, through
from ovxai.errors import UnsupportedModelError
from ovxai.graph.graph import Graph, Port


def derivatives(
    graph: Graph,
    seeds: Mapping[Port, ov.Output],
    taps: Sequence[ov.Output],
    targets: Targets,
    *,
    held: bool = False,
    heads: Sequence[ov.Output] = (),
) -> list[ov.Output | None]:
    """The derivative of every target by each tap, as new operations that read the model's own forward tensors.

    seeds: port -> its adjoint, the derivative of the targets by it: [K, ...shape], or the port's own shape where K is 1.
    taps: output ports of the graph. Returns one adjoint per tap, in the tap's layout behind the axis of targets; None
    where no target depends on the tap in a way that has a derivative. held: each tap is a variable of its own, and what
    changes in one does not change the others; else a tap's derivative holds what goes on through others. heads: maps below
    which each target stands on one cell, so that windows around it may do.

    Reverse-mode differentiation, as in JAX's vjp rules, with the graph itself as the tape.

    Raises:
        UnsupportedModelError: an operation on the way has no rule, or its rule refuses; names it.
    """
    ends = {graph.port_of(tap)[0] for tap in taps} if held else set()
    tapped = [graph.port_of(tap) for tap in taps]
    below = regions(graph, [graph.port_of(head) for head in heads], seeds, tapped) if targets.lead else {}
    walk = _Walk(graph, targets, dict(seeds), carriers(graph, taps), ends, below)
    walk.back()
    return [walk.adjoint(graph.port_of(tap)) for tap in taps]


def carriers(graph: Graph, taps: Sequence[ov.Output]) -> set[Port]:
    """Ports through which a small change of a tap goes on; whole numbers and shapes carry none."""
    found = {graph.port_of(tap) for tap in taps}
    for node, kind in enumerate(graph.kinds):
        if kind != "ShapeOf" and any(feed in found for feed in graph.inputs[node]):
            outputs = graph.ops[node].outputs()
            found |= {(node, port.get_index()) for port in outputs if port.get_element_type().is_real()}
    return found


class _Walk:
    """adjoints: what is known so far of the derivative by each port; of those in `negated` with the wrong sign. carriers: the
    ports that it is worth knowing of. ends: operations behind which it stops. below: regions that are walked as
    windows, by their first operation, which is the last that is visited; left: all their operations."""

    def __init__(
        self,
        graph: Graph,
        targets: Targets,
        adjoints: dict[Port, ov.Output],
        carriers: set[Port],
        ends: set[int],
        below: dict[int, Region],
    ) -> None:
        self.graph = graph
        self.targets = targets
        self.adjoints = adjoints
        self.negated: set[Port] = set()
        self.carriers = carriers
        self.ends = ends
        self.below = below
        self.left = {node for region in below.values() for node in region.nodes}

    def adjoint(self, port: Port) -> ov.Output | None:
        """The derivative by a port, as far as it is known."""
        known = self.adjoints.get(port)
        return op.negative(known).output(0) if known is not None and port in self.negated else known

    def back(self) -> None:
        """Visit operations from the last to the first: every reader of a tensor comes before what made it."""
        for node in reversed(range(len(self.graph.ops))):
            ports = [(node, number) for number in range(self.graph.ops[node].get_output_size())]
            known = {port for port in ports if port in self.adjoints}
            if node in self.below:
                self._through(self.below[node])
            if not known or node in self.ends or node in self.left:
                continue
            if known <= self.negated:  # rules are linear: the sign passes through
                self._visit(node, tuple(self.adjoints.get(port) for port in ports), negated=True)
            else:
                self._visit(node, tuple(self.adjoint(port) for port in ports), negated=False)

    def _through(self, region: Region) -> None:
        """All of a region at once: every reader of its exits has been visited."""
        given = {port: adjoint for port in region.exits if (adjoint := self.adjoint(port)) is not None}
        if not given or region.entry not in self.carriers:
            return
        found = through(self.graph, region, given, lambda graph, seeds, tap: derivatives(graph, seeds, [tap], Targets(1))[0])
        if found is not None:
            self._add(region.entry, found, False)

    def _visit(self, node: int, given: tuple[ov.Output | None, ...], *, negated: bool) -> None:
        feeds = self.graph.inputs[node]
        wanted = frozenset(number for number, feed in enumerate(feeds) if feed in self.carriers)
        if not wanted:
            return
        operation, kind = self.graph.ops[node], self.graph.kinds[node]
        rule = RULES.get(kind)
        try:
            if rule is None:
                raise Refusal("there is no rule for it")
            found = rule(Step(self.graph, operation, given, wanted, self.targets))
        except Refusal as reason:
            name = operation.get_friendly_name()
            raise UnsupportedModelError(
                f"no derivative through {kind} {name}: {reason}; a --target-layer behind it does without"
            ) from None
        for number in sorted(wanted & set(found)):
            part = found[number]
            tensor = part.tensor if isinstance(part, Negated) else part
            self._add(feeds[number], tensor, negated != isinstance(part, Negated))

    def _add(self, port: Port, part: ov.Output, negated: bool) -> None:
        """One more reader's share of the derivative by a port."""
        known = self.adjoints.get(port)
        if known is None:
            self.adjoints[port] = part
            self.negated |= {port} if negated else set()
        elif negated == (port in self.negated):
            self.adjoints[port] = self.targets.plus(known, part)
        else:
            one, other = (part, known) if port in self.negated else (known, part)
            self.adjoints[port] = self.targets.minus(one, other)
            self.negated.discard(port)
