"""Several derivatives at once: K targets stand in one more axis in front of every tensor's own axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import openvino as ov

from ovxai.graph import emit
from ovxai.graph.dims import Dim, Dims
from ovxai.graph.graph import Key, key_of


class Targets:
    """K scores per picture that are derived at once.

    The adjoint of a tensor [N, ...] is [K, N, ...]; of one target alone it is [N, ...], as the tensor itself. So forward
    tensors broadcast into it wherever the batch stands in them. Convolutions and pools want one batch axis: for them
    adjoints are `folded` to [K * N, ...].
    """

    def __init__(self, count: int) -> None:
        self.count = count
        #: How many axes stand in front of a tensor's own.
        self.lead = 0 if count == 1 else 1
        self._folded: dict[Key, tuple[ov.Output, Dims]] = {}

    def dims(self, dims: Sequence[Dim]) -> Dims:
        """The extents of the adjoint of a tensor of these extents."""
        return (Dim(self.count), *dims) if self.lead else tuple(dims)

    def axes(self, axes: Sequence[int]) -> list[int]:
        """Where the axes of a tensor stand in its adjoint."""
        return [axis + self.lead for axis in axes]

    def order(self, order: Sequence[int]) -> list[int]:
        """A permutation of a tensor's axes as one of its adjoint's."""
        return [*range(self.lead), *self.axes(order)]

    def reshaped(self, adjoint: ov.Output, dims: Sequence[Dim]) -> ov.Output:
        """The adjoint with other extents behind the targets' axis."""
        return emit.reshape(adjoint, self.dims(dims))

    def fold(self, adjoint: ov.Output, dims: Dims) -> ov.Output:
        """[K, N, ...] -> [K * N, ...]. dims: extents of the tensor whose adjoint it is."""
        if not self.lead:
            return adjoint
        known = self._folded.get(key_of(adjoint))
        return known[0] if known else emit.reshape(adjoint, [Dim(self.count) * dims[0], *dims[1:]])

    def unfold(self, folded: ov.Output, dims: Dims) -> ov.Output:
        """[K * N, ...] -> [K, N, ...]. dims: extents of the tensor whose adjoint it is."""
        if not self.lead:
            return folded
        adjoint = emit.reshape(folded, self.dims(dims))
        self._folded[key_of(adjoint)] = folded, dims
        return adjoint

    def times(self, adjoint: ov.Output, factor: ov.Output) -> ov.Output:
        """An adjoint times a tensor that broadcasts into what it is the adjoint of.

        Between convolutions on one picture it stays folded, so that the device need not change its order in memory.
        """
        known = self._folded.get(key_of(adjoint))
        if known is not None and _same_for_all(factor, len(known[1])):
            return self.unfold(emit.multiply(known[0], factor), known[1])
        return emit.multiply(adjoint, factor)

    def plus(self, one: ov.Output, other: ov.Output) -> ov.Output:
        """The sum of two adjoints of one tensor."""
        return self._joined(one, other, emit.add)

    def minus(self, one: ov.Output, other: ov.Output) -> ov.Output:
        """The difference of two adjoints of one tensor."""
        return self._joined(one, other, emit.subtract)

    def _joined(self, one: ov.Output, other: ov.Output, join: Callable[[ov.Output, ov.Output], ov.Output]) -> ov.Output:
        first, second = self._folded.get(key_of(one)), self._folded.get(key_of(other))
        if first is not None and second is not None:
            return self.unfold(join(first[0], second[0]), first[1])
        return join(one, other)


def _same_for_all(factor: ov.Output, rank: int) -> bool:
    """Whether a factor has no batch axis longer than 1, so that it may meet targets and pictures in one axis."""
    shape = factor.get_partial_shape()
    if shape.rank.is_dynamic or len(shape) > rank:
        return False
    return len(shape) < rank or (shape[0].is_static and shape[0].get_length() == 1)
