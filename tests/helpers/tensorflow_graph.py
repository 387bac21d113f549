"""A frozen TensorFlow graph (.pb) and a SavedModel written byte by byte: no TensorFlow needed.

GraphDef, NodeDef, AttrValue and TensorProto are used with the few fields that follow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.wire import block, number, varint

FLOAT, INT32 = 1, 3
_TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.int32): INT32}


def shape(sizes) -> bytes:
    return b"".join(block(2, number(1, size)) for size in sizes)


def attribute(name: str, content: bytes) -> bytes:
    return block(5, block(1, name) + block(2, content))


def of_type(kind: int) -> bytes:
    return number(6, kind)


def ints(values) -> bytes:
    return block(1, block(3, b"".join(varint(value) for value in values)))


def node(name: str, kind: str, inputs=(), **attributes: bytes) -> bytes:
    words = [block(1, name), block(2, kind), *(block(3, one) for one in inputs)]
    return block(1, b"".join(words + [attribute(key, value) for key, value in attributes.items()]))


def constant(name: str, values: np.ndarray) -> bytes:
    kind = _TYPES[values.dtype]
    tensor = number(1, kind) + block(2, shape(values.shape)) + block(4, values.tobytes())
    return node(name, "Const", dtype=of_type(kind), value=block(8, tensor))


def graph(weights: dict[str, np.ndarray], image: tuple[int, ...]) -> bytes:
    """The small network of `architecture.py`, NHWC inside; its input is `image` [N, H, W, 3]."""
    t = {"T": of_type(FLOAT)}
    nodes = [node("image", "Placeholder", dtype=of_type(FLOAT), shape=block(7, shape(image)))]
    last = "image"
    for i, step in ((1, 2), (2, 2), (3, 1)):
        nodes += [
            constant(f"kernel{i}", np.ascontiguousarray(weights[f"kernel{i}"].transpose(2, 3, 1, 0))),
            constant(f"bias{i}", weights[f"bias{i}"]),
            constant(f"pads{i}", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)),
            node(f"pad{i}", "Pad", [last, f"pads{i}"], **t, Tpaddings=of_type(INT32)),
            node(f"conv{i}", "Conv2D", [f"pad{i}", f"kernel{i}"], **t, strides=ints([1, step, step, 1]),
                 padding=block(2, "VALID"), data_format=block(2, "NHWC")),
            node(f"sum{i}", "BiasAdd", [f"conv{i}", f"bias{i}"], **t, data_format=block(2, "NHWC")),
            node(f"act{i}", "Relu6", [f"sum{i}"], **t),
        ]  # fmt: skip
        last = f"act{i}"
    nodes += [
        constant("axes", np.array([1, 2], np.int32)),
        node("pool", "Mean", [last, "axes"], **t, Tidx=of_type(INT32), keep_dims=number(5, 0)),
        constant("matrix", np.ascontiguousarray(weights["matrix"].T)),
        constant("offset", weights["offset"]),
        node("product", "MatMul", ["pool", "matrix"], **t, transpose_a=number(5, 0), transpose_b=number(5, 0)),
        node("logits", "BiasAdd", ["product", "offset"], **t, data_format=block(2, "NHWC")),
    ]
    return b"".join(nodes) + block(4, number(1, 1087))


def write_frozen(path: Path, weights: dict[str, np.ndarray], image: tuple[int, ...]) -> Path:
    path.write_bytes(graph(weights, image))
    return path


def write_saved_model(folder: Path, weights: dict[str, np.ndarray], image: tuple[int, ...]) -> Path:
    """A folder with saved_model.pb: MetaInfoDef, GraphDef and one signature."""
    folder.mkdir()

    def entry(field: int, key: str, tensor: str, sizes) -> bytes:
        info = block(1, tensor) + number(2, FLOAT) + block(3, shape(sizes))
        return block(field, block(1, key) + block(2, info))

    signature = entry(1, "image", "image:0", image) + entry(2, "logits", "logits:0", (image[0], len(weights["offset"])))
    signature += block(3, "tensorflow/serving/predict")
    meta = block(1, block(4, "serve")) + block(2, graph(weights, image))
    meta += block(5, block(1, "serving_default") + block(2, signature))
    (folder / "saved_model.pb").write_bytes(number(1, 1) + block(2, meta))
    return folder
