"""Probes: where single elements of a head's last convolution end up in the tensors behind it.

A probe is one channel at one of up to four positions of one tap. Reshapes, transposes, slices and concatenations
only move it, so its coordinates in any later tensor say how the graph itself reads the channels: which axis is
classes, whether anchors or classes run faster, which columns are boxes. Nothing is guessed from sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

#: What has happened to a probe on its way.
#: PLACED: met constants that differ from position to position (grids, strides): boxes being made, or made.
SIGMOID, SOFTMAX, SHIFTED, RESCALED, BENT, PLACED = 1, 2, 4, 8, 16, 32
ACTIVATED = SIGMOID | SOFTMAX


@dataclass(frozen=True)
class Probes:
    """coords [M, rank]; tap, channel, place [M]: which element it was; flags [M]: what it has been through."""

    coords: np.ndarray
    tap: np.ndarray
    channel: np.ndarray
    place: np.ndarray
    flags: np.ndarray

    def __len__(self) -> int:
        return len(self.tap)

    def at(self, coords: np.ndarray, keep: np.ndarray | None = None) -> Probes:
        """The same probes at other coordinates; with `keep`, only those (coords are already thinned out)."""
        if keep is None:
            return replace(self, coords=coords)
        return Probes(coords, self.tap[keep], self.channel[keep], self.place[keep], self.flags[keep])

    def only(self, keep: np.ndarray) -> Probes:
        return self.at(self.coords[keep], keep)

    def marked(self, flag: int) -> Probes:
        return replace(self, flags=self.flags | flag)

    @classmethod
    def of_tap(cls, tap: int, shape: tuple[int, ...], axes: tuple[int, int, int, int]) -> Probes:
        """Every channel at the corners of the map. axes: where batch, channel, height and width stand."""
        batch, channel, row, column = axes
        places = sorted({(y, x) for y in (0, min(1, shape[row] - 1)) for x in (0, min(1, shape[column] - 1))})
        total = shape[channel] * len(places)
        coords = np.zeros((total, len(shape)), np.int64)
        channels = np.repeat(np.arange(shape[channel]), len(places))
        place = np.tile(np.arange(len(places)), shape[channel])
        coords[:, channel] = channels
        coords[:, row] = np.array(places)[place, 0]
        coords[:, column] = np.array(places)[place, 1]
        return cls(coords, np.full(total, tap), channels, place, np.zeros(total, np.int64))


def joined(parts: list[Probes]) -> Probes:
    return Probes(*(np.concatenate([getattr(part, name) for part in parts]) for name in Probes.__dataclass_fields__))


def reshaped(probes: Probes, old: tuple[int, ...], new: tuple[int, ...]) -> Probes:
    flat = np.ravel_multi_index(tuple(probes.coords.T), old) if old else np.zeros(len(probes), np.int64)
    if not new:
        return probes.at(np.zeros((len(probes), 0), np.int64))
    return probes.at(np.stack(np.unravel_index(flat, new), axis=1))


def shifted(probes: Probes, axis: int, by: int) -> Probes:
    coords = probes.coords.copy()
    coords[:, axis] += by
    return probes.at(coords)


def cut(probes: Probes, axis: int, start: int, stop: int, step: int = 1) -> Probes:
    """The probes inside [start, stop) of one axis, counted from `start` in steps."""
    where = probes.coords[:, axis]
    if step < 0:
        inside = (where <= start) & (where > stop) & ((start - where) % -step == 0)
    else:
        inside = (where >= start) & (where < stop) & ((where - start) % step == 0)
    coords = probes.coords[inside].copy()
    coords[:, axis] = (coords[:, axis] - start) // step
    return probes.at(coords, inside)


def taken(probes: Probes, axis: int, indices: np.ndarray) -> Probes:
    """Gather with known indices along `axis` (indices of any rank; each probe may appear several times)."""
    flat = indices.reshape(-1)
    hits = probes.coords[:, axis][:, None] == flat[None, :]
    which, slot = np.nonzero(hits)
    inner = (
        np.stack(np.unravel_index(slot, indices.shape), axis=1)
        if indices.ndim
        else np.zeros((len(slot), 0), np.int64)
    )
    before, after = probes.coords[which, :axis], probes.coords[which, axis + 1 :]
    return probes.at(np.concatenate([before, inner, after], axis=1), which)


def aligned(probes: Probes, own: tuple[int, ...], out: tuple[int, ...]) -> Probes:
    """An operand of an elementwise op in the output's coordinates; where it is repeated, it is dropped.

    A value that is spread over several elements (objectness over the classes) is no longer one element.
    """
    pad = len(out) - len(own)
    if any(mine == 1 and theirs != 1 for mine, theirs in zip((1,) * pad + own, out)):
        return probes.only(np.zeros(len(probes), bool))
    return probes.at(np.concatenate([np.zeros((len(probes), pad), np.int64), probes.coords], axis=1))
