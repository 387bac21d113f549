"""A TensorFlow Lite file (.tflite) written byte by byte: no TensorFlow needed.

A FlatBuffer is a tree of tables. A table begins with the distance back to its vtable, which says where
each field lies; fields that are tables, strings or vectors hold the distance on to those. Tables are
dicts here (field number -> value), `Scalar` says how wide a number is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FLOAT32, INT32 = 0, 2
#: BuiltinOperator -> (its number, the number of its options in the union BuiltinOptions).
OPERATORS = {"CONV_2D": (3, 1), "FULLY_CONNECTED": (9, 8), "PAD": (34, 22), "MEAN": (40, 27)}
RELU6, VALID = 3, 1


@dataclass(frozen=True)
class Scalar:
    """form: of struct, such as "<b"."""

    form: str
    value: int


def byte(value: int) -> Scalar:
    return Scalar("<b", value)


def whole(value: int) -> Scalar:
    return Scalar("<i", value)


class Flat:
    """Writes front to back; what a distance leads to is always written after it."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def put(self, value) -> int:
        """Write one value, return where it lies."""
        if isinstance(value, dict):
            return self._table(value)
        if isinstance(value, str):
            return self._counted(value.encode() + b"\0", len(value.encode()))
        if isinstance(value, np.ndarray):
            return self._counted(value.tobytes(), len(value))
        start = self._counted(b"\0" * 4 * len(value), len(value))
        for i, item in enumerate(value):
            self._point(start + 4 + 4 * i, self.put(item))
        return start

    def _align(self, size: int, ahead: int = 0) -> None:
        self.bytes += b"\0" * (-(len(self.bytes) + ahead) % size)

    def _counted(self, content: bytes, count: int) -> int:
        self._align(16, ahead=4)  # weights are read in place
        start = len(self.bytes)
        self.bytes += struct.pack("<I", count) + content
        return start

    def _point(self, place: int, target: int) -> None:
        struct.pack_into("<I", self.bytes, place, target - place)

    def _table(self, fields: dict) -> int:
        size = 2 * (max(fields, default=-1) + 3)
        self._align(4, ahead=size)
        vtable, table = len(self.bytes), len(self.bytes) + size
        slots = {field: 4 + 4 * i for i, field in enumerate(fields)}
        places = [slots.get(field, 0) for field in range(max(fields, default=-1) + 1)]
        length = 4 + 4 * len(fields)
        self.bytes += struct.pack(f"<HH{len(places)}H", size, length, *places) + struct.pack("<i", table - vtable)
        self.bytes += b"\0" * (length - 4)
        for field, value in fields.items():
            if isinstance(value, Scalar):
                struct.pack_into(value.form, self.bytes, table + slots[field], value.value)
            else:
                self._point(table + slots[field], self.put(value))
        return table


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


class Network:
    """Tensors, their buffers and operators, in the order of their making."""

    def __init__(self) -> None:
        self.tensors: list[dict] = []
        self.buffers: list[dict] = [{}]
        self.operators: list[dict] = []

    def tensor(self, name: str, sizes, values: np.ndarray | None = None) -> int:
        if values is not None:
            self.buffers.append({0: np.frombuffer(values.tobytes(), np.uint8)})
        kind = INT32 if values is not None and values.dtype == np.int32 else FLOAT32
        place = 0 if values is None else len(self.buffers) - 1
        self.tensors.append({0: ints(*sizes), 1: byte(kind), 2: whole(place), 3: name})
        return len(self.tensors) - 1

    def constant(self, name: str, values: np.ndarray) -> int:
        return self.tensor(name, values.shape, np.ascontiguousarray(values))

    def operator(self, kind: str, inputs, output: int, options: dict) -> int:
        which = list(OPERATORS).index(kind)
        union = OPERATORS[kind][1]
        self.operators.append({0: whole(which), 1: ints(*inputs), 2: ints(output), 3: byte(union), 4: options})
        return output

    def file(self, image: int, logits: int) -> bytes:
        graph = {0: self.tensors, 1: ints(image), 2: ints(logits), 3: self.operators, 4: "main"}
        codes = [{0: byte(code), 2: whole(1), 3: whole(code)} for code, _ in OPERATORS.values()]
        flat = Flat()
        flat.bytes += b"\0\0\0\0TFL3"
        root = flat.put({0: whole(3), 1: codes, 2: [graph], 3: "small", 4: self.buffers})
        struct.pack_into("<I", flat.bytes, 0, root)
        return bytes(flat.bytes)


def write_tflite(path: Path, weights: dict[str, np.ndarray], image: tuple[int, ...]) -> Path:
    """The small network of `architecture.py`; its input is `image` [N, H, W, 3]."""
    net = Network()
    first = last = net.tensor("image", image)
    batch, height, width, _ = image
    for i, step in ((1, 2), (2, 2), (3, 1)):
        kernel = weights[f"kernel{i}"].transpose(0, 2, 3, 1)
        pads = net.constant(f"pads{i}", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
        padded = net.tensor(f"pad{i}", (batch, height + 2, width + 2, kernel.shape[3]))
        last = net.operator("PAD", [last, pads], padded, {})
        height, width = (height - 1) // step + 1, (width - 1) // step + 1
        inputs = [last, net.constant(f"kernel{i}", kernel), net.constant(f"bias{i}", weights[f"bias{i}"])]
        out = net.tensor(f"act{i}", (batch, height, width, len(kernel)))
        last = net.operator("CONV_2D", inputs, out, {0: byte(VALID), 1: whole(step), 2: whole(step), 3: byte(RELU6)})
    pooled = net.tensor("pool", (batch, len(kernel)))
    last = net.operator("MEAN", [last, net.constant("axes", ints(1, 2))], pooled, {0: byte(0)})
    inputs = [last, net.constant("matrix", weights["matrix"]), net.constant("offset", weights["offset"])]
    last = net.operator("FULLY_CONNECTED", inputs, net.tensor("logits", (batch, len(weights["offset"]))), {0: byte(0)})
    path.write_bytes(net.file(first, last))
    return path
