"""Every operation of the table on a graph where it keeps positions, and every rule on one where it must not."""

from functools import partial

import numpy as np
import pytest
from openvino import opset13 as op
from openvino.utils.node_factory import NodeFactory

from helpers.traced import SIZE, Build, off, place_of, tags_of
from ovxai.graph.kinds import BINARY, UNARY
from ovxai.trace.field import Lost, reshaped
from ovxai.trace.place import Place
from ovxai.trace.table import REDUCTIONS, RULES


def ints(*values):
    return op.constant(np.array(values, np.int64))


def floats(*shape, seed=0):
    return op.constant(np.random.default_rng(seed).random(shape, np.float32))


def mean_kernel(*shape):
    """Weights of a convolution that averages."""
    return op.constant(np.full(shape, 1 / np.prod(shape[-3:]), np.float32))


def depthwise(groups, *kernel):
    return op.constant(np.full((groups, 1, 1, *kernel), 1 / np.prod(kernel), np.float32))


def conv(x, weights, stride=(1, 1), pad=(0, 0)):
    return op.convolution(x, weights, list(stride), list(pad), list(pad), [1, 1])


def tokens(x):
    """[N, H * W, C], row by row."""
    shape = [SIZE[0], SIZE[2] * SIZE[3], SIZE[1]]
    return op.reshape(op.transpose(x, ints(0, 2, 3, 1)), ints(*shape), False)


def reverse(x, axis):
    return NodeFactory("opset1").create("Reverse", [x, ints(axis).output(0)], {"mode": "index"})


def planes(x, kind):
    """The picture's eight rows as brightness and colour: four rows of pixels, and four that a plane of its own has."""
    plane = op.transpose(op.slice(x, ints(0, 0), ints(1, 6), ints(1, 1), ints(1, 2)), ints(0, 2, 3, 1))
    return NodeFactory("opset8").create(kind, [plane.output(0)], {})


def pooled(x):
    return op.reduce_mean(x, ints(2, 3), True)


#: Gates per kind of recurrent layer.
RECURRENT = {"LSTMSequence": 4, "GRUSequence": 3, "RNNSequence": 1}


def recurrent(x, kind, output=0):
    """Over the rows of the picture, each averaged to one step."""
    steps, hidden, rows = SIZE[2], 5, RECURRENT[kind] * 5
    made = op.transpose(op.reduce_mean(x, ints(3), False), ints(0, 2, 1))
    state = op.constant(np.zeros((1, 1, hidden), np.float32))
    states = [state] * (1 + (kind == "LSTMSequence"))
    weights = floats(1, rows, 3), floats(1, rows, hidden), floats(1, rows)
    make = {"LSTMSequence": op.lstm_sequence, "GRUSequence": op.gru_sequence, "RNNSequence": op.rnn_sequence}[kind]
    node = make(made, *states, ints(steps), *weights, hidden, "forward")
    return node.output(output) if output else op.squeeze(node.output(0), ints(1))


#: Graphs that only move and average: the trace is held against what they make of pictures of coordinates.
MOVING: dict[str, Build] = {
    "Reshape": tokens,
    "Reshape: windows": lambda x: op.reshape(
        op.transpose(op.reshape(x, ints(1, 3, 2, 4, 3, 4), False), ints(0, 2, 4, 3, 5, 1)), ints(6, 16, 3), False
    ),
    "Reshape: and back": lambda x: op.reshape(op.reshape(x, ints(1, 3, 2, 4, 12), False), ints(1, 3, 8, 12), False),
    "Reshape: into channels": lambda x: op.reshape(op.transpose(x, ints(0, 1, 2, 3)), ints(1, 24, 12), False),
    "Squeeze": lambda x: op.squeeze(op.unsqueeze(x, ints(2)), ints(2)),
    "Unsqueeze": lambda x: op.unsqueeze(x, ints(0, 4)),
    "Transpose": lambda x: op.transpose(x, ints(0, 3, 2, 1)),
    "Concat": lambda x: op.concat([x, op.relu(x)], 1),
    "Concat: behind": lambda x: op.concat(
        [op.slice(x, ints(4), ints(8), ints(1), ints(2)), op.slice(x, ints(0), ints(4), ints(1), ints(2))], 2
    ),
    "Split": lambda x: op.split(x, op.constant(np.int64(2)), 2).output(1),
    "VariadicSplit": lambda x: op.variadic_split(x, op.constant(np.int64(-1)), ints(5, 7)).output(1),
    "Slice": lambda x: op.slice(x, ints(2, 11), ints(7, 2), ints(1, -1), ints(2, 3)),
    "StridedSlice": lambda x: op.strided_slice(
        x, ints(0, 1, -3), ints(0, 2, 99), ints(1, 1, 1), [1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]
    ),
    "Gather": lambda x: op.gather(x, ints(5, 4, 0), op.constant(np.int64(3))),
    "Gather: one": lambda x: op.gather(x, op.constant(np.int64(2)), op.constant(np.int64(1))),
    "Roll": lambda x: op.roll(x, ints(3, -2), ints(2, 3)),
    "Reverse": lambda x: reverse(x, 3),
    "ReverseSequence": lambda x: op.reverse_sequence(x, ints(8), 0, 2),
    "Tile": lambda x: op.tile(x, ints(1, 1, 2, 1)),
    "Broadcast": lambda x: op.broadcast(x, ints(2, 3, 8, 12)),
    "DepthToSpace": lambda x: op.depth_to_space(op.concat([x, x, x, x], 1), "blocks_first", 2),
    "DepthToSpace: depth first": lambda x: op.depth_to_space(op.space_to_depth(x, "depth_first", 2), "depth_first", 2),
    "SpaceToDepth": lambda x: op.space_to_depth(x, "blocks_first", 2),
    "SpaceToDepth: depth first": lambda x: op.space_to_depth(x, "depth_first", 4),
    "ShuffleChannels": lambda x: op.shuffle_channels(op.space_to_depth(x, "blocks_first", 2), 1, 4),
    "Convolution": lambda x: conv(x, mean_kernel(5, 3, 4, 4), (4, 4)),
    "Convolution: of blocks": lambda x: conv(op.space_to_depth(x, "blocks_first", 2), mean_kernel(5, 12, 1, 1)),
    "GroupConvolution": lambda x: op.group_convolution(x, depthwise(3, 1, 3), [1, 3], [0, 0], [0, 0], [1, 1]),
    "MaxPool": lambda x: op.max_pool(x, [1, 1], [1, 1], [0, 0], [0, 0], [1, 1]).output(0),
    "AvgPool": lambda x: op.avg_pool(x, [2, 4], [0, 0], [0, 0], [2, 4], True),
    "AdaptiveAvgPool": lambda x: op.adaptive_avg_pool(x, ints(4, 3)),
    "Interpolate": lambda x: op.interpolate(
        x, ints(4, 6), "linear_onnx", "sizes", coordinate_transformation_mode="half_pixel", axes=ints(2, 3)
    ),
    "ReduceMean": lambda x: op.reduce_mean(op.reshape(x, ints(1, 3, 2, 4, 12), False), ints(3), False),
    "MatMul": lambda x: op.matmul(tokens(x), op.constant(np.full((3, 5), 1 / 3, np.float32)), False, False),
    "Einsum": lambda x: op.einsum([x, op.constant(np.full((3, 5), 1 / 3, np.float32))], "nchw,cd->nhwd"),
    "TopK": lambda x: op.topk(x, op.constant(np.int64(3)), 1, "max", "value").output(0),
}


@pytest.mark.parametrize("name", MOVING)
def test_where_entries_go(name):
    """Half a cell is what a block's middle may be off its first entry."""
    tags = tags_of(MOVING[name])
    assert {field.side for field in tags.fields if field.axes} >= {"H", "W"} and not tags.lost
    assert off(MOVING[name]) <= 1e-3


def grid_of(build):
    found = place_of(build)
    assert isinstance(found, Place), found
    return found


def test_convolutions_keep_what_the_map_covers():
    """Within the borders' padding: a strided convolution's cells stand for their part of the picture."""
    strided = grid_of(lambda x: conv(x, mean_kernel(4, 3, 3, 3), (2, 4), (1, 1)))
    assert (strided.grid, strided.frame.plain) == ((4, 3), True)
    larger = grid_of(lambda x: op.convolution_backprop_data(x, floats(3, 4, 2, 2), [2, 2]))
    assert (larger.grid, larger.frame.plain) == ((16, 24), True)


#: Graphs that compute more: where the result lies.
KEEPING: dict[str, Build] = {
    "Softmax": lambda x: op.softmax(x, 1),
    "LogSoftmax": lambda x: op.log_softmax(x, 1),
    "MVN": lambda x: op.mvn(x, ints(1), True, 1e-6, "inside_sqrt"),
    "NormalizeL2": lambda x: op.normalize_l2(x, ints(1), 1e-6, "add"),
    "LRN": lambda x: op.lrn(x, ints(1)),
    "GRN": lambda x: op.grn(x, 1e-3),
    "GroupNormalization": lambda x: op.group_normalization(x, floats(3), floats(3), 1, 1e-6),
    "BatchNormInference": lambda x: op.batch_norm_inference(x, floats(3), floats(3), floats(3), floats(3), 1e-6),
    "PRelu": lambda x: op.prelu(x, floats(3)),
    "FakeQuantize": lambda x: op.fake_quantize(x, *(np.float32(v) for v in (0, 9, 0, 9)), 256),
    "CumSum": lambda x: op.cum_sum(x, op.constant(np.int64(2))),
    "Bucketize": lambda x: op.convert(op.bucketize(x, floats(4)), "f32"),
    "Result": lambda x: x,
    "Select": lambda x: op.select(op.greater(x, np.float32(1)), x, np.float32(0)),
    "DeformableConvolution": lambda x: op.deformable_convolution(
        x, conv(x, floats(18, 3, 3, 3), (1, 1), (1, 1)), floats(4, 3, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1]
    ),
    "ConvolutionBackpropData": lambda x: op.convolution_backprop_data(x, floats(3, 4, 2, 2), [2, 2]),
    "GroupConvolutionBackpropData": lambda x: op.group_convolution_backprop_data(x, floats(3, 1, 1, 2, 2), [2, 2]),
    "AdaptiveMaxPool": lambda x: op.adaptive_max_pool(x, ints(4, 3)).output(0),
    "ExtractImagePatches": lambda x: op.extract_image_patches(x, [2, 2], [2, 2], [1, 1], "valid"),
    "Pad": lambda x: op.pad(x, ints(0, 0, 4, 0), ints(0, 0, 4, 0), "constant", np.float32(0)),
    "ScaledDotProductAttention": lambda x: op.scaled_dot_product_attention(tokens(x), tokens(op.relu(x)), tokens(x)),
    **{kind: partial(planes, kind=kind) for kind in ("NV12toRGB", "NV12toBGR", "I420toRGB", "I420toBGR")},
    "ScatterUpdate": lambda x: op.scatter_update(
        x, ints(0), op.constant(np.zeros((1, 1, 8, 12), np.float32)), op.constant(np.int64(1))
    ),
    "ScatterNDUpdate": lambda x: op.scatter_nd_update(x, ints(0, 0, 0, 0), op.constant(np.float32(0))),
    "ScatterElementsUpdate": lambda x: op.scatter_elements_update(
        x,
        op.constant(np.zeros((1, 1, 1, 1), np.int64)),
        op.constant(np.zeros((1, 1, 1, 1), np.float32)),
        op.constant(np.int64(1)),
    ),
    "FakeConvert": lambda x: op.fake_convert(x, np.ones(1, np.float32)),
    **{kind: partial(recurrent, kind=kind) for kind in RECURRENT},
}


@pytest.mark.parametrize("name", KEEPING)
def test_what_keeps_positions(name):
    found = grid_of(KEEPING[name])
    sides = ("H",) if name in RECURRENT else ("H", "W")
    assert found.sides == sides and found.frame.axes == "yx"


#: By rule: a graph in whose result no grid of the picture is left, and a word of the reason.
REFUSED: dict[str, tuple[Build, str]] = {
    "same": (lambda x: op.prelu(floats(1, 3, 8, 12), op.reduce_mean(x, ints(0, 2, 3), False)), "no positions"),
    "elementwise": (lambda x: op.add(x, reverse(x, 3)), "different places"),
    "reduction": (pooled, "no positions"),
    "reshape": (MOVING["Reshape: windows"], "first axis"),
    "transpose": (lambda x: op.transpose(x, ints(0, 2, 1, 3)), "no map"),
    "concat": (lambda x: op.concat([tokens(x), tokens(x)], 1), "uneven"),
    "split": (
        lambda x: op.split(op.concat([floats(1, 96, 3), tokens(x)], 1), op.constant(np.int64(1)), 2).output(0),
        "no positions",
    ),
    "slice_": (lambda x: op.slice(x, ints(3, 4), ints(4, 5), ints(1, 1), ints(2, 3)), "no positions"),
    "strided_slice": (lambda x: op.strided_slice(tokens(x), ints(0, 3), ints(1, 4), ints(1, 1), [1, 0], [1, 0]), "no positions"),
    "gather": (
        lambda x: op.gather(
            tokens(x),
            op.reshape(op.topk(pooled(x), op.constant(np.int64(2)), 1, "max", "value").output(1), ints(2), False),
            op.constant(np.int64(1)),
        ),
        "depends on the data",
    ),
    "roll": (MOVING["Roll"], "uneven"),
    "reverse": (lambda x: op.concat([x, reverse(x, 3)], 3), "uneven"),
    "reverse_sequence": (lambda x: op.reverse_sequence(x, ints(4), 0, 2), "turned round"),
    "tile": (MOVING["Tile"], "uneven"),
    "broadcast": (lambda x: op.broadcast(pooled(x), ints(1, 3, 8, 12)), "no positions"),
    "depth_to_space": (lambda x: op.depth_to_space(op.concat([pooled(x)] * 4, 1), "blocks_first", 2), "no positions"),
    "space_to_depth": (lambda x: op.space_to_depth(op.slice(x, ints(0), ints(8), ints(1), ints(3)), "blocks_first", 8), "groups"),
    "shuffle_channels": (lambda x: op.shuffle_channels(x, 2, 2), "uneven"),
    "convolution": (
        lambda x: op.convolution(op.transpose(tokens(x), ints(0, 2, 1)), floats(4, 3, 2), [2], [0], [0], [1]),
        "neighbours",
    ),
    "group_convolution": (
        lambda x: op.group_convolution(op.transpose(tokens(x), ints(0, 2, 1)), floats(3, 1, 1, 2), [2], [0], [0], [1]),
        "neighbours",
    ),
    "pool": (lambda x: op.max_pool(op.transpose(tokens(x), ints(0, 2, 1)), [2], [1], [0], [0], [2]).output(0), "neighbours"),
    "resize": (
        lambda x: op.interpolate(op.transpose(tokens(x), ints(0, 2, 1)), ints(40), "linear_onnx", "sizes", axes=ints(2)),
        "neighbours",
    ),
    "pad": (lambda x: op.pad(tokens(x), ints(0, 0, 0), ints(0, 3, 0), "constant", np.float32(0)), "behind"),
    "matmul": (lambda x: op.matmul(floats(1, 96, 96), tokens(x), False, False), "no positions"),
    "einsum": (lambda x: op.einsum([x, floats(8, 5)], "nchw,hd->ncdw"), "no map"),
    "attention": (lambda x: op.scaled_dot_product_attention(floats(1, 16, 3), tokens(x), tokens(x)), "no positions"),
    "topk": (lambda x: op.topk(tokens(x), op.constant(np.int64(9)), 1, "max", "value").output(0), "no positions"),
    "sequence": (partial(recurrent, kind="LSTMSequence", output=1), "no positions"),
    "planes": (
        lambda x: planes(op.multiply(floats(1, 3, 8, 12), op.reduce_mean(x, ints(0, 1, 2, 3), True)), "NV12toRGB"),
        "no positions",
    ),
    "written_over": (
        lambda x: op.scatter_update(
            op.relu(x), ints(0), op.slice(x, ints(1), ints(2), ints(1), ints(1)), op.constant(np.int64(1))
        ),
        "written over",
    ),
}


@pytest.mark.parametrize("rule", REFUSED)
def test_what_leaves_no_positions(rule):
    build, word = REFUSED[rule]
    found = place_of(build)
    assert isinstance(found, str) and word in found


def test_every_operation_and_every_rule_is_tried():
    families = {*UNARY, *BINARY, *REDUCTIONS}
    assert {name.partition(":")[0] for name in (*MOVING, *KEEPING)} | families == set(RULES)
    assert set(REFUSED) == {rule.__name__ for rule in RULES.values()}


def test_a_plane_of_brightness_is_the_upper_part_of_the_input():
    found = grid_of(partial(planes, kind="NV12toRGB"))
    assert (found.grid, found.layout, found.frame.box) == ((4, 12), "NHWC", (0, 0, 0.5, 1))  # of the plane's six rows of eight


def test_an_operation_without_a_rule_is_named():
    found = place_of(lambda x: op.dft(op.reshape(x, ints(3, 8, 6, 2), False), ints(1, 2)))
    assert isinstance(found, str)
    warp = {"align_corners": False, "mode": "bilinear", "padding_mode": "zeros"}
    found = place_of(lambda x: op.grid_sample(x, floats(1, 8, 12, 2), warp))
    assert isinstance(found, str) and "GridSample" in found and "no rule" in found


@pytest.mark.parametrize("after", [(1, 3, 8, 13), (1, 1, 2**40)])
def test_a_reshape_that_does_not_keep_the_number_of_entries(after):
    across = next(field for field in tags_of(op.relu).fields if field.side == "W")
    with pytest.raises(Lost, match="number of entries"):
        reshaped(across, SIZE, after)
