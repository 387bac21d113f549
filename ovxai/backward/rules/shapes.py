"""Where entries stand: reshapes, transposes, copies, parts side by side. The derivative goes back the same way."""

from __future__ import annotations

import itertools

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.backward.step import Refusal, Step
from ovxai.graph import emit
from ovxai.graph.dims import Dim, ints


def reshape(step: Step) -> dict[int, ov.Output]:
    """Reshape, Squeeze and Unsqueeze alike: back to the extents that were there before."""
    step.only(0)
    return {0: step.targets.reshaped(step.adjoint, step.dims(0))}


def transpose(step: Step) -> dict[int, ov.Output]:
    step.only(0)
    rank = len(step.shape(0))
    order = step.fixed(1) or list(range(rank))[::-1]
    return {0: emit.transpose(step.adjoint, step.targets.order([int(axis) for axis in np.argsort(order)]))}


def broadcast(step: Step) -> dict[int, ov.Output]:
    """The sum of all copies."""
    step.only(0)
    if step.word("mode").lower() == "explicit":
        raise Refusal("its axes are named explicitly")
    return {0: step.summed(step.adjoint, 0)}


def tile(step: Step) -> dict[int, ov.Output]:
    """[r1 d1, r2 d2 ...] -> [r1, d1, r2, d2 ...], and the sum over the copies."""
    step.only(0)
    times, dims = step.fixed(1), step.dims(0)
    if len(times) != len(dims):
        raise Refusal("it adds axes")
    apart = list(itertools.chain.from_iterable(zip((Dim(count) for count in times), dims)))
    copies = step.targets.axes([2 * axis for axis in range(len(dims))])
    return {0: emit.reduce_sum(step.targets.reshaped(step.adjoint, apart), copies, False)}


def concat(step: Step) -> dict[int, ov.Output]:
    """Each part its own."""
    ports = range(step.node.get_input_size())
    axis = int(step.number("axis")) % len(step.out_shape)
    edges = [Dim(0)]
    for port in ports:
        edges.append(edges[-1] + step.dims(port)[axis])
    return {
        port: emit.slice_axis(step.adjoint, axis + step.targets.lead, edges[port], edges[port + 1])
        for port in sorted(step.wanted)
    }


def split(step: Step) -> dict[int, ov.Output]:
    """Split and VariadicSplit: all parts side by side again, zeros for those that nobody reads."""
    step.only(0)
    (axis,) = (each % len(step.shape(0)) for each in step.fixed(1))
    parts = [_part(step, number) for number in range(len(step.given))]
    return {0: emit.concat(parts, axis + step.targets.lead)}


def _part(step: Step, number: int) -> ov.Output:
    known, output = step.given[number], step.node.output(number)
    return emit.zeros(step.targets.dims(step.port_dims(output)), output) if known is None else known


# Blocks of a map that become channels, and back. All of them want one batch axis.


def depth_to_space(step: Step) -> dict[int, ov.Output]:
    node = op.space_to_depth(step.folded(), step.word("mode"), int(step.number("block_size")))
    return {0: step.unfolded(node.output(0), 0)}


def space_to_depth(step: Step) -> dict[int, ov.Output]:
    node = op.depth_to_space(step.folded(), step.word("mode"), int(step.number("block_size")))
    return {0: step.unfolded(node.output(0), 0)}


def shuffle_channels(step: Step) -> dict[int, ov.Output]:
    """[g, c / g] turned round; back with the other factor as number of groups."""
    axis, groups = step.axis(), int(step.number("group"))
    extent = step.dims(0)[axis]
    if not extent.is_static:
        raise Refusal("the axis that it shuffles is open")
    return {0: op.shuffle_channels(step.adjoint, axis + step.targets.lead, extent.size // groups).output(0)}


def roll(step: Step) -> dict[int, ov.Output]:
    """Rolled back."""
    step.only(0)
    rank = len(step.shape(0))
    axes = [axis % rank for axis in step.fixed(2)]
    back = op.negative(op.constant(np.array(step.fixed(1) * (len(axes) if len(step.fixed(1)) == 1 else 1), np.int64)))
    return {0: op.roll(step.adjoint, back, ints(step.targets.axes(axes))).output(0)}


def reverse(step: Step) -> dict[int, ov.Output]:
    """Turned round once more: it is its own inverse."""
    step.only(0)
    named = step.fixed(1)
    axes = [axis % len(step.shape(0)) for axis in named] if step.word("mode") == "index" else np.flatnonzero(named).tolist()
    last, beyond, back = ([value] * len(axes) for value in (-1, np.iinfo(np.int32).min, -1))
    return {0: op.slice(step.adjoint, ints(last), ints(beyond), ints(back), ints(step.targets.axes(axes))).output(0)}


def reverse_sequence(step: Step) -> dict[int, ov.Output]:
    """Turned round once more: it is its own inverse."""
    step.only(0)
    rank = len(step.shape(0))
    batch, along = (int(step.number(name)) % rank for name in ("batch_axis", "seq_axis"))
    lead = step.targets.lead
    return {0: op.reverse_sequence(step.adjoint, step.feed(1), batch + lead, along + lead).output(0)}
