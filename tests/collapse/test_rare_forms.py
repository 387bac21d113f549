"""Legal forms that few exporters write: each was refused wrongly, died, or came out wrong once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset1 as op1
import pytest
from openvino import opset13 as op

from helpers.heads import block, layer_norm, linear, mean, pooled, token
from helpers.oracle import case, collapsed, compare, exact, numbers, refused

MASKS = ("point", "gaussian")


def ints(*values):
    return np.array(values, np.int64)


def attended(x):
    return block(layer_norm(x), x)


def normalised(x, channels):
    """BatchNormInference over axis 1."""
    scale, shift, average, spread = (numbers(channels, seed=seed) for seed in range(4))
    return op.batch_norm_inference(x, scale + 2, shift, average, np.abs(spread) + 1, 1e-3)


def channels_second(x):
    return op.transpose(x, ints(0, 2, 1))


MAPS = {
    "slice that keeps all, ends said": lambda x: pooled(op.slice(op.relu(x), ints(0, 0), ints(3, 4), ints(1, 1), ints(2, -1))),
    "slice of channels and of all rows": lambda x: pooled(op.slice(op.relu(x), ints(1, 0), ints(4, 3), ints(1, 1), ints(1, 2))),
    "strided slice that keeps all": lambda x: pooled(
        op.strided_slice(op.relu(x), ints(0, 0, 0, 0), ints(1, 5, 3, 4), ints(1, 1, 1, 1), [0] * 4, [0] * 4)
    ),
    "strided slice of channels": lambda x: pooled(
        op.strided_slice(op.relu(x), ints(0, 1, 0, 0), ints(0, 4, 3, 4), ints(1, 1, 1, 1), [1, 0, 0, 0], [1, 0, 0, 0])
    ),
    "gather of opset1": lambda x: pooled(op1.gather(op.relu(x), ints(0, 2, 1, 3), np.int64(1))),
    "prelu, a slope per position": lambda x: pooled(op.prelu(x, numbers(1, 1, 3, 4))),
    "a vector times a matrix": lambda x: op.unsqueeze(
        op.matmul(op.reshape(mean(op.relu(x)), ints(-1), False), numbers(5, 4), False, False), ints(0)
    ),
    "a matrix times a vector": lambda x: op.unsqueeze(
        op.matmul(numbers(4, 5), op.reshape(mean(op.relu(x)), ints(-1), False), False, False), ints(0)
    ),
    "a vector, said to be transposed": lambda x: op.unsqueeze(
        op.matmul(op.reshape(mean(op.relu(x)), ints(-1), False), numbers(5, 4), True, False), ints(0)
    ),
    "no batch, flattened": lambda x: op.unsqueeze(
        op.matmul(op.reshape(op.squeeze(op.relu(x), ints(0)), ints(-1), False), numbers(60, 4), False, False), ints(0)
    ),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", MAPS)
def test_maps(name, mask):
    compare(case(MAPS[name], mask=mask))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("grid", [(1, 4), (5, 1)])
def test_flatten_of_a_single_row_or_column(grid, mask):
    count = 5 * grid[0] * grid[1]
    exact(case(lambda x: linear(op.reshape(op.relu(x), ints(0, count), True)), grid=grid, mask=mask, batch=2))


TOKENS = {
    "prelu, a slope per token": lambda x: linear(mean(op.prelu(x, numbers(12)), (1,))),
    "batch norm over tokens": lambda x: linear(mean(normalised(x, 12), (1,))),
    "batch norm behind attention": lambda x: linear(mean(op.relu(normalised(channels_second(attended(x)), 6)), (2,))),
    "depthwise 1x1 behind attention": lambda x: linear(
        mean(op.relu(op.group_convolution(channels_second(attended(x)), numbers(6, 1, 1, 1), [1], [0], [0], [1])), (2,))
    ),
    "slice that keeps all behind attention": lambda x: linear(
        mean(op.slice(attended(x), ints(0), ints(12), ints(1), ints(1)), (1,))
    ),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", TOKENS)
def test_tokens(name, mask):
    compare(case(TOKENS[name], layout="NPC", channels=6, mask=mask))


@pytest.mark.parametrize("mask", MASKS)
def test_a_shift_is_no_way_to_stay_in_place(mask):
    """One position more on the left and one less on the right: the same extent, other places."""

    def shifted(x):
        return op.pad(op.relu(x), ints(0, 0, 0, 1), ints(0, 0, 0, -1), "constant", np.float32(0.5))

    refused(case(lambda x: linear(op.reshape(op.hswish(shifted(x)), ints(0, 60), True)), mask=mask), "Pad", "mixes")


def test_whole_numbers_are_not_linear_in_the_gate():
    exact(case(lambda x: pooled(op.convert(op.convert(op.multiply(x, np.float32(10)), "i32"), "f32")), mask="gaussian"))


@pytest.mark.parametrize("mask", MASKS)
def test_a_condition_laid_out(mask):
    def head(x):
        bright = op.avg_pool(op.convert(op.greater(x, np.float32(0)), "f32"), [1, 1], [1, 1], [1, 1], [2, 2], False)
        return pooled(bright)

    compare(case(head, mask=mask))


def test_places_of_the_largest():
    """MaxPool's second output counts through the batch, so masks can't be folded into it."""

    def head(x):
        best = op.max_pool(op.relu(x), [1, 1], [1, 1], [0, 0], [0, 0], [3, 4])
        places = op.convert(op.reshape(best.output(1), ints(0, -1), True), "f32")
        return linear(op.add(op.reshape(best.output(0), ints(0, -1), True), places))

    compare(case(head))


def test_keys_on_rows_and_columns():
    def head(x):
        scores = op.matmul(op.reduce_mean(x, ints(1, 2), True), op.hswish(x), False, True)  # [1, h, 1, w]
        return linear(op.reshape(op.relu(scores), ints(0, -1), True))

    refused(case(head, layout="NHWC"), "MatMul", "rows and columns")


#: head, and what the case is like.
HALF: dict[str, tuple[Callable[[ov.Node], ov.Node], dict[str, Any]]] = {
    "pool": (lambda x: pooled(op.relu(x)), {}),
    "grid known when it runs": (lambda x: pooled(op.relu(x)), {"dynamic": (0, 2, 3)}),
    "attention": (lambda x: linear(mean(attended(x), (1,))), {"layout": "NPC", "channels": 6}),
    "class token": (lambda x: linear(token(attended(x))), {"layout": "NPC", "channels": 6, "prefix": 1}),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", HALF)
def test_a_model_that_computes_in_f16(name, mask):
    """The graph is made in one type; how near it comes is f16's affair."""
    head, options = HALF[name]
    found = case(head, mask=mask, **options)
    in_half(found.model)
    compiled(found)


def in_half(model):
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and node.get_output_element_type(0) == ov.Type.f32:
            half = op.constant(node.get_data().astype(np.float16)).output(0)
            for reader in list(node.output(0).get_target_inputs()):
                reader.replace_source_output(half)
        elif node.get_type_name() == "Parameter":
            node.set_element_type(ov.Type.f16)
    model.validate_nodes_and_infer_types()


def compiled(found):
    model, _ = collapsed(found)
    request = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    maps = request([one.astype(np.float16) for one in found.feed])[0]
    assert maps.dtype == np.float16 and np.isfinite(maps).all() and maps.std(0).max() > 0


COMPUTED = {
    "gather": lambda x, one: linear(op.gather(op.relu(mean(x)), ints(3, 0, 0), one)),
    "mean": lambda x, one: linear(op.reduce_mean(op.relu(mean(x, (2,))), one, False)),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_an_axis_that_is_computed_from_constants(name):
    """Not a constant itself, so nobody knows which axis it is: done mask by mask."""
    compare(case(lambda x: COMPUTED[name](x, op.subtract(np.int64(3), np.int64(2))), batch=2))
