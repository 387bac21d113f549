"""A PaddlePaddle inference model (.pdmodel, .pdiparams) written byte by byte: no PaddlePaddle needed.

ProgramDesc, BlockDesc, VarDesc and OpDesc are used with the few fields that follow. The parameters lie in
the second file one behind the other, in the order of their names.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from helpers.wire import block, number, single

#: VarType.Type and AttrType.
FP32, LOD_TENSOR, FEED, FETCH = 5, 7, 9, 10
INT, FLOAT, STRING, INTS, BOOL = 0, 1, 2, 3, 6


def tensor(sizes) -> bytes:
    return number(1, FP32) + b"".join(number(2, size) for size in sizes)


def variable(name: str, sizes=(), kind: int = LOD_TENSOR, stored: bool = False) -> bytes:
    content = number(1, kind)
    if kind == LOD_TENSOR:
        content += block(3, block(1, tensor(sizes)) + number(2, 0))
    return block(3, block(1, name) + block(2, content) + number(3, int(stored)))


def attribute(name: str, value) -> bytes:
    if isinstance(value, bool):
        kind, content = BOOL, number(10, int(value))
    elif isinstance(value, int):
        kind, content = INT, number(3, value)
    elif isinstance(value, float):
        kind, content = FLOAT, single(4, value)
    elif isinstance(value, str):
        kind, content = STRING, block(5, value)
    else:
        kind, content = INTS, b"".join(number(6, one) for one in value)
    return block(4, block(1, name) + number(2, kind) + content)


def operation(kind: str, inputs: dict[str, str], outputs: dict[str, str], **attributes) -> bytes:
    ports = [(1, inputs), (2, outputs)]
    words = [block(field, block(1, port) + block(2, name)) for field, table in ports for port, name in table.items()]
    return block(4, b"".join(words) + block(3, kind) + b"".join(attribute(*item) for item in attributes.items()))


def stored(values: np.ndarray) -> bytes:
    description = tensor(values.shape)
    return struct.pack("<IQIi", 0, 0, 0, len(description)) + description + values.tobytes()


def write_paddle(path: Path, weights: dict[str, np.ndarray], image: tuple[int, ...]) -> Path:
    """The small network of `architecture.py`; its input is `image` [N, 3, H, W]."""
    table = {**weights, "matrix": np.ascontiguousarray(weights["matrix"].T)}
    names = ["image"]
    ops = [operation("feed", {"X": "feed"}, {"Out": "image"}, col=0)]

    def then(kind: str, inputs: dict[str, str], port: str = "Out", **attributes) -> None:
        names.append(f"x{len(names)}")
        ops.append(operation(kind, inputs, {port: names[-1]}, **attributes))

    for i, step in ((1, 2), (2, 2), (3, 1)):
        then("conv2d", {"Input": names[-1], "Filter": f"kernel{i}"}, "Output", strides=[step, step], paddings=[1, 1],
             dilations=[1, 1], groups=1, padding_algorithm="EXPLICIT", data_format="NCHW")  # fmt: skip
        then("elementwise_add", {"X": names[-1], "Y": f"bias{i}"}, axis=1)
        then("relu6", {"X": names[-1]}, threshold=6.0)
    then("pool2d", {"X": names[-1]}, pooling_type="avg", ksize=[1, 1], adaptive=True, strides=[1, 1], paddings=[0, 0],
         global_pooling=False, exclusive=True, ceil_mode=False, padding_algorithm="EXPLICIT", data_format="NCHW")  # fmt: skip
    then("flatten_contiguous_range", {"X": names[-1]}, start_axis=1, stop_axis=3)
    then("matmul_v2", {"X": names[-1], "Y": "matrix"}, trans_x=False, trans_y=False)
    then("elementwise_add", {"X": names[-1], "Y": "offset"}, axis=-1)
    ops.append(operation("fetch", {"X": names[-1]}, {"Out": "fetch"}, col=0))
    variables = [variable("feed", kind=FEED), variable("fetch", kind=FETCH), variable("image", image)]
    variables += [variable(name) for name in names[1:]]
    variables += [variable(name, values.shape, stored=True) for name, values in table.items()]
    whole = number(1, 0) + number(2, -1) + b"".join(variables) + b"".join(ops)
    path.write_bytes(block(1, whole) + block(4, number(1, 0)))
    path.with_suffix(".pdiparams").write_bytes(b"".join(stored(table[name]) for name in sorted(table)))
    return path
