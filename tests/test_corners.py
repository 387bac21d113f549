"""Whatever the architecture: a bright patch in a corner of the picture lights that corner of the map that is painted.

The weights are made so that only bright cells have features, and class 0 is what they speak for: every other answer than
the patch's corner is a map of something else. Graphs that crop, pad, turn or exchange the picture are those of
tests/runtime/test_map_frames.py.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

import ovxai
from ovxai.insertion import insert_with_report
from ovxai.options import InsertOptions

H, W, CELL, WIDE = 64, 96, 8, 8
ROWS, COLUMNS = H // CELL, W // CELL
CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
#: How a bright cell speaks: its channels have mean 0, so that a layer norm leaves them as they are.
VOICE = np.tile([1.0, -1.0], WIDE // 2).astype(np.float32)


def ints(*values: int) -> ov.Node:
    return op.constant(np.array(values, np.int64))


def floats(values: object) -> ov.Node:
    return op.constant(np.asarray(values, np.float32))


def entry(height: int = H, width: int = W) -> ov.Node:
    return op.parameter([1, 3, height, width], np.float32, name="image")


def cells(image: ov.Node, stride: tuple[int, int] = (CELL, CELL), channels: int = 1) -> ov.Node:
    """[1, channels, rows, columns]: 0 where it is dark, up to 1 where it is bright."""
    weight = np.full((channels, 3, *stride), 1 / (3 * 255 * stride[0] * stride[1]), np.float32)
    dark = op.subtract(op.convolution(image, weight, list(stride), [0, 0], [0, 0], [1, 1]), floats(0.2))
    return op.relu(dark)


def features(image: ov.Node, stride: tuple[int, int] = (CELL, CELL)) -> ov.Node:
    """[1, WIDE, rows, columns], none of it negative."""
    return cells(image, stride, WIDE)


def voiced(image: ov.Node) -> ov.Node:
    """[1, WIDE, rows, columns] of mean 0."""
    return op.convolution(cells(image), VOICE.reshape(-1, 1, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])


def conv(x: ov.Node, kernel: int = 3, groups: int = 1) -> ov.Node:
    """WIDE to WIDE channels, a blur with positive weights."""
    pad = [kernel // 2] * 2
    if groups > 1:
        weight = np.full((WIDE, 1, 1, kernel, kernel), 1 / kernel**2, np.float32)
        return op.group_convolution(x, weight, [1, 1], pad, pad, [1, 1])
    return op.convolution(x, np.full((WIDE, WIDE, kernel, kernel), 1 / (WIDE * kernel**2), np.float32), [1, 1], pad, pad, [1, 1])


def pooled(x: ov.Node, *axes: int) -> ov.Node:
    return op.reduce_mean(x, ints(*axes), False)


def scores(x: ov.Node, voice: np.ndarray | None = None) -> ov.Node:
    """[1, 3] of [1, n]: class 0 is for what bright cells say, class 1 against it."""
    own = np.ones(x.get_output_partial_shape(0)[1].get_length(), np.float32) if voice is None else voice
    return op.add(op.matmul(x, np.stack([own, -own, 0 * own], 1), False, False), floats([0.1, 0.2, 0.3]))


def tokens(image: ov.Node, voice: np.ndarray = VOICE) -> ov.Node:
    """[1, positions, WIDE], row by row."""
    flat = op.reshape(cells(image), ints(1, 1, -1), False)
    return op.multiply(op.transpose(flat, ints(0, 2, 1)), floats(voice))


def norm(x: ov.Node) -> ov.Node:
    return op.multiply(op.mvn(x, ints(-1), True, 1e-3, "inside_sqrt"), floats(np.ones(WIDE)))


def linear(x: ov.Node, size: float = 1.0) -> ov.Node:
    return op.add(op.matmul(x, size * np.eye(WIDE, dtype=np.float32), False, False), floats(np.zeros(WIDE)))


def attention(q: ov.Node, k: ov.Node, v: ov.Node) -> ov.Node:
    return op.matmul(op.softmax(op.multiply(op.matmul(q, k, False, True), floats(0.1)), -1), v, False, False)


def block(x: ov.Node) -> ov.Node:
    inner = norm(x)
    x = op.add(x, linear(attention(linear(inner, 0.3), linear(inner, 0.3), linear(inner))))
    return op.add(x, linear(op.gelu(linear(norm(x)), "erf"), 0.5))


def first_token(x: ov.Node) -> ov.Node:
    return op.gather(x, op.constant(np.int64(0)), op.constant(np.int64(1)))


def model(result: ov.Node, image: ov.Node) -> ov.Model:
    return ov.Model([op.result(result)], [image], "corners")


# CNNs.


def plain_cnn() -> ov.Model:
    image = entry()
    return model(scores(pooled(op.relu(conv(features(image))), 2, 3)), image)


def channels_last() -> ov.Model:
    image = entry()
    return model(scores(pooled(op.transpose(op.relu(conv(features(image))), ints(0, 2, 3, 1)), 1, 2)), image)


def fully_connected() -> ov.Model:
    """VGG: a layer over all positions, one hidden unit for each class."""
    image = entry()
    flat = op.reshape(op.relu(conv(features(image))), ints(1, -1), False)
    weight = np.full((WIDE * ROWS * COLUMNS, WIDE), 0.01, np.float32)
    return model(scores(op.relu(op.matmul(flat, weight, False, False))), image)


def squeeze_and_excite() -> ov.Model:
    image = entry()
    x = op.relu(conv(features(image), groups=WIDE))
    gate = op.sigmoid(conv(op.reduce_mean(x, ints(2, 3), True), 1))
    return model(scores(pooled(op.relu(conv(op.multiply(x, gate), 1)), 2, 3)), image)


def residual_max_pool() -> ov.Model:
    image = entry()
    x = features(image)
    x = op.relu(op.add(x, conv(op.relu(conv(x)), groups=WIDE)))
    return model(scores(op.reduce_max(x, ints(2, 3), False)), image)


def strides_of_their_own() -> ov.Model:
    image = entry()
    return model(scores(pooled(op.relu(features(image, (16, 4))), 2, 3)), image)


def one_side_after_the_other() -> ov.Model:
    image = entry()
    return model(scores(pooled(pooled(op.relu(conv(features(image))), 3), 2)), image)


def convnext() -> ov.Model:
    image = entry()
    x = voiced(image)
    inner = op.gelu(linear(norm(op.transpose(conv(x, groups=WIDE), ints(0, 2, 3, 1)))), "erf")
    x = op.add(x, op.transpose(linear(inner, 0.5), ints(0, 3, 1, 2)))
    return model(scores(norm(pooled(x, 2, 3)), VOICE), image)


# Transformers.


def class_token(prefix: int = 1) -> ov.Model:
    image = entry()
    x = op.concat([floats(np.zeros((1, prefix, WIDE))), tokens(image)], 1)
    return model(scores(first_token(norm(block(x))), VOICE), image)


def two_tokens_before() -> ov.Model:
    return class_token(2)


def mean_of_tokens() -> ov.Model:
    image = entry()
    return model(scores(pooled(norm(block(tokens(image))), 1), VOICE), image)


def class_attention() -> ov.Model:
    image = entry()
    x, token = block(tokens(image)), floats(np.zeros((1, 1, WIDE)))
    joined = norm(op.concat([token, x], 1))
    query = op.slice(joined, ints(0), ints(1), ints(1), ints(1))
    token = op.add(token, linear(attention(linear(query, 0.3), linear(joined, 0.3), linear(joined))))
    return model(scores(first_token(norm(op.concat([token, x], 1))), VOICE), image)


def attention_pool() -> ov.Model:
    image = entry()
    x = norm(block(tokens(image)))
    query = floats(np.zeros((1, 1, WIDE)))
    return model(scores(first_token(linear(attention(query, linear(x), linear(x)))), VOICE), image)


def latents() -> ov.Model:
    """As many learned queries as a square has places: none of them is one of the picture."""
    image = entry()
    x = norm(tokens(image))
    queries = floats(np.zeros((1, 16, WIDE)))
    return model(scores(pooled(linear(attention(queries, linear(x), linear(x))), 1), VOICE), image)


def windows(x: ov.Node, side: int) -> ov.Node:
    """[1, h, w, c] -> [windows, side * side, c]."""
    x = op.reshape(x, ints(ROWS // side, side, COLUMNS // side, side, WIDE), False)
    return op.reshape(op.transpose(x, ints(0, 2, 1, 3, 4)), ints(-1, side * side, WIDE), False)


def whole(x: ov.Node, side: int) -> ov.Node:
    x = op.reshape(x, ints(ROWS // side, COLUMNS // side, side, side, WIDE), False)
    return op.reshape(op.transpose(x, ints(0, 2, 1, 3, 4)), ints(1, ROWS, COLUMNS, WIDE), False)


def rolled(x: ov.Node, axis: int, by: int) -> ov.Node:
    """By slices put together the other way round, as exporters write torch.roll."""
    end = np.iinfo(np.int64).max
    parts = [op.slice(x, ints(by), ints(end), ints(1), ints(axis)), op.slice(x, ints(0), ints(by), ints(1), ints(axis))]
    return op.concat(parts, axis)


def swin(shift: int = 0) -> ov.Model:
    image = entry()
    x = op.transpose(voiced(image), ints(0, 2, 3, 1))
    inner = norm(x)
    if shift:
        inner = rolled(rolled(inner, 1, shift), 2, shift)
    inner = whole(linear(attention(*(linear(windows(inner, 4), size) for size in (0.3, 0.3, 1.0)))), 4)
    if shift:
        inner = rolled(rolled(inner, 1, ROWS - shift), 2, COLUMNS - shift)
    x = op.add(x, inner)
    x = op.add(x, linear(op.gelu(linear(norm(x)), "erf"), 0.5))
    return model(scores(pooled(norm(x), 1, 2), VOICE), image)


def shifted_swin() -> ov.Model:
    return swin(2)


def patches_without_a_convolution() -> ov.Model:
    """Cut and laid in rows, then one matrix: how some frameworks embed patches."""
    image = entry()
    x = op.reshape(image, ints(1, 3, ROWS, CELL, COLUMNS, CELL), False)
    x = op.reshape(op.transpose(x, ints(0, 2, 4, 3, 5, 1)), ints(1, ROWS * COLUMNS, -1), False)
    x = op.relu(
        op.subtract(op.matmul(x, np.full((3 * CELL**2, 1), 1 / (3 * 255 * CELL**2), np.float32), False, False), floats(0.2))
    )
    return model(scores(pooled(norm(block(op.multiply(x, floats(VOICE)))), 1), VOICE), image)


# Hybrids.


def tokens_back_to_a_map() -> ov.Model:
    """MobileViT: attention over positions in the middle of a CNN."""
    image = entry()
    back = op.reshape(op.transpose(block(tokens(image)), ints(0, 2, 1)), ints(1, WIDE, ROWS, COLUMNS), False)
    heard = op.relu(op.multiply(back, floats(VOICE.reshape(1, -1, 1, 1))))
    return model(scores(pooled(op.relu(conv(heard)), 2, 3)), image)


def convolutions_before_a_class_token() -> ov.Model:
    image = entry()
    one = op.reduce_mean(op.relu(conv(features(image))), ints(1), True)
    x = op.multiply(op.transpose(op.reshape(one, ints(1, 1, -1), False), ints(0, 2, 1)), floats(VOICE))
    x = op.concat([floats(np.zeros((1, 1, WIDE))), x], 1)
    return model(scores(first_token(norm(block(x))), VOICE), image)


# Detectors and instances.


def classes_of(x: ov.Node, anchors: int = 1) -> ov.Node:
    weight = np.zeros((3 * anchors, WIDE, 1, 1), np.float32)
    weight[0::3], weight[1::3] = 2, -2
    return op.add(op.convolution(x, weight, [1, 1], [0, 0], [0, 0], [1, 1]), floats(np.full((1, 3 * anchors, 1, 1), -1)))


def boxes_of(x: ov.Node, anchors: int = 1) -> ov.Node:
    weight = np.random.default_rng(0).normal(0, 0.1, (4 * anchors, WIDE, 1, 1)).astype(np.float32)
    return op.convolution(x, weight, [1, 1], [0, 0], [0, 0], [1, 1])


def in_rows(x: ov.Node, columns: int) -> ov.Node:
    return op.reshape(op.transpose(x, ints(0, 2, 3, 1)), ints(1, -1, columns), False)


def levels(image: ov.Node) -> list[ov.Node]:
    fine = op.relu(conv(features(image), 1))
    return [fine, op.relu(conv(op.max_pool(fine, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0), 1))]


def detector() -> ov.Model:
    image = entry()
    maps = levels(image)
    boxes = op.concat([in_rows(boxes_of(each), 4) for each in maps], 1)
    classes = op.concat([in_rows(op.sigmoid(classes_of(each)), 3) for each in maps], 1)
    return ov.Model([op.result(boxes), op.result(classes)], [image], "detector")


def anchored_detector() -> ov.Model:
    image = entry()
    maps = levels(image)
    boxes = op.concat([in_rows(boxes_of(each, 2), 4) for each in maps], 1)
    classes = op.concat([in_rows(classes_of(each, 2), 3) for each in maps], 1)
    return ov.Model([op.result(boxes), op.result(op.sigmoid(classes))], [image], "anchored")


def instances() -> ov.Model:
    """One object for each cell, as sure as the cell is bright, its mask all of its box."""
    image = entry()
    sure = op.reshape(cells(image), ints(1, -1, 1), False)
    y, x = (CELL * place.ravel() for place in np.mgrid[:ROWS, :COLUMNS])
    boxes = np.stack([x, y, x + CELL, y + CELL], 1)[None].astype(np.float32)
    count = ROWS * COLUMNS
    nothing = op.multiply(sure, floats(0))
    labels = op.convert(op.reshape(nothing, ints(1, -1), False), "i64")
    masks = op.add(op.reshape(nothing, ints(1, count, 1, 1), False), floats(np.ones((1, count, 7, 7))))
    results = [op.result(each) for each in (op.concat([op.add(nothing, floats(boxes)), sure], 2), labels, masks)]
    for result, name in zip(results, ("boxes", "labels", "masks")):
        result.output(0).get_tensor().set_names({name})
    return ov.Model(results, [image], "instances")


ARCHITECTURES: dict[Callable[[], ov.Model], InsertOptions] = {
    **dict.fromkeys((plain_cnn, channels_last, fully_connected, squeeze_and_excite, residual_max_pool, strides_of_their_own,
                     one_side_after_the_other, convnext, class_token, two_tokens_before, mean_of_tokens, class_attention,
                     attention_pool, latents, swin, shifted_swin, patches_without_a_convolution, tokens_back_to_a_map,
                     convolutions_before_a_class_token, detector, anchored_detector), InsertOptions()),
    instances: InsertOptions(num_classes=2),
}  # fmt: skip


def bright_patch(corner: tuple[int, int]) -> np.ndarray:
    """[H, W, 3], dark but for two cells by two in a corner."""
    picture = np.full((H, W, 3), 20, np.uint8)
    y, x = (end * (side - 2 * CELL) for end, side in zip(corner, (H, W)))
    picture[y : y + 2 * CELL, x : x + 2 * CELL] = 255
    return picture


@pytest.mark.parametrize("build", ARCHITECTURES, ids=lambda build: build.__name__)
def test_the_corner_of_the_patch_is_the_corner_of_the_map(build):
    explained = insert_with_report(build(), ARCHITECTURES[build]).model
    config = ovxai.ExplainConfig(classes=(0,), postprocess=True, colormap="grey")
    explain = ovxai.Explainer(explained, config, precision="f32")
    for corner in CORNERS:
        level = explain(bright_patch(corner)).maps[0][..., 0].astype(float)
        y, x = np.argwhere(level == level.max()).mean(0)
        assert level.max() > 100
        assert (y < 3 * CELL, x < 3 * CELL) == (corner[0] == 0, corner[1] == 0), (corner, y, x)
        assert (y > H - 3 * CELL, x > W - 3 * CELL) == (corner[0] == 1, corner[1] == 1), (corner, y, x)
        inside = level[bright_patch(corner)[..., 0] == 255].mean()
        assert inside > 2 * level.mean()
