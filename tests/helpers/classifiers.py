"""Tiny classifiers of every family, picture to scores, written as exporters write them."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as op

from helpers.values import named, numbers

SIZE = (24, 32)
GRID = (3, 4)
CLASSES = 4


def picture(batch=1, channels=3, size=SIZE, kind=np.float32):
    """The input, [N, 3, 24, 32] unless said otherwise."""
    return named(op.parameter(ov.PartialShape([batch, channels, *size]), kind), "image")


def conv(x, outs, kernel=3, stride=1, seed=0):
    """Convolution and bias."""
    ins = x.output(0).get_partial_shape()[1].get_length()
    pad = (kernel - 1) // 2 if stride < kernel or kernel == 1 else 0
    weight = numbers(outs, ins, kernel, kernel, seed=seed, size=1 / np.sqrt(ins * kernel))
    return op.add(
        op.convolution(x, weight, [stride] * 2, [pad] * 2, [pad] * 2, [1, 1]), numbers(1, outs, 1, 1, seed=seed, size=0.3)
    )


def linear(x, outs=CLASSES, seed=1):
    """Over the last axis, weights as PyTorch keeps them."""
    shape = x.output(0).get_partial_shape()
    ins = shape[len(shape) - 1].get_length()
    return op.add(
        op.matmul(x, numbers(outs, ins, seed=seed, size=1 / np.sqrt(ins)), False, True), numbers(outs, seed=seed + 9, size=0.3)
    )


def trunk(image, channels=6):
    """[N, 3, 24, 32] -> [N, channels, 3, 4]."""
    x = op.relu(conv(image, 5, 4, 4))
    return named(op.relu(conv(x, channels, 3, 2, seed=2)), "features")


def flat(x):
    """[N, everything else]."""
    return op.reshape(x, np.array([0, -1]), True)


def mean(x, axes=(2, 3), keep=False):
    """The pool."""
    return op.reduce_mean(x, np.array(axes, np.int64), keep)


def norm(x, seed=3):
    """LayerNorm over the last axis: MVN, scale, shift."""
    shape = x.output(0).get_partial_shape()
    channels = shape[len(shape) - 1].get_length()
    y = op.mvn(x, np.array([-1]), True, 1e-3, "inside_sqrt")
    return op.add(op.multiply(y, numbers(channels, seed=seed) + np.float32(1)), numbers(channels, seed=seed + 1, size=0.2))


def attention(q, k, v, bias=None):
    """[N, T, C] each, one head."""
    scores = op.multiply(op.matmul(q, k, False, True), np.float32(0.5))
    if bias is not None:
        scores = op.add(scores, bias)
    return op.matmul(op.softmax(scores, -1), v, False, False)


def block(x, index=0, pre_norm=True):
    """x + attention(norm(x)), x + mlp(norm(x)); the first norm and the input are named after the block."""
    x = named(x, f"block{index}_input")
    y = named(norm(x, 20 + index), f"block{index}_norm") if pre_norm else x
    q, k, v = (linear(y, 6, seed=30 + 3 * index + i) for i in range(3))
    x = op.add(x, linear(attention(q, k, v), 6, seed=50 + index))
    hidden = op.gelu(linear(norm(x, 60 + index), 8, seed=70 + index), "erf")
    return op.add(x, linear(hidden, 6, seed=80 + index))


def patches(image, channels=6):
    """[N, h*w, C]."""
    x = conv(image, channels, 8, 8, seed=4)
    return op.transpose(op.reshape(x, np.array([0, channels, -1]), True), [0, 2, 1])


def tokens(image, prefix=1):
    """Class tokens in front, position table."""
    first = op.constant(numbers(1, prefix, 6, seed=5))
    batch = op.gather(op.shape_of(image, "i64"), np.array([0]), np.int64(0))
    first = op.broadcast(first, op.concat([batch, np.array([prefix, 6], np.int64)], 0))
    x = op.concat([first, patches(image)], 1)
    return op.add(x, numbers(1, 12 + prefix, 6, seed=6))


def finished(scores, *images, names=("scores",), more=()):
    """A model of these outputs, tensors named."""
    outputs = [scores, *more]
    for output, name in zip(outputs, names):
        output.output(0).get_tensor().set_names({name})
    return ov.Model([op.result(output) for output in outputs], list(images), "toy")


def cnn(batch=1, size=SIZE, channels=3):
    """Pool and linear behind `features`."""
    image = picture(batch, channels, size)
    return finished(named(linear(mean(trunk(image))), "logits"), image)


def cnn_with_softmax_and_wrapping(activation="softmax"):
    """The activation inside, and what converters put behind it: half precision and a reshape to the same shape."""
    image = picture()
    logits = named(linear(mean(trunk(image))), "logits")
    scores = (
        op.softmax(logits, 1)
        if activation == "softmax"
        else op.sigmoid(logits)
        if activation == "sigmoid"
        else op.log_softmax(logits, 1)
    )
    scores = op.convert(op.reshape(op.convert(scores, "f16"), np.array([-1, CLASSES]), False), "f32")
    return finished(scores, image)


def nhwc():
    """Swin: norm over the last axis, mean over rows and columns."""
    image = picture()
    x = named(norm(op.transpose(trunk(image), [0, 2, 3, 1])), "last_norm")
    return finished(linear(mean(x, (1, 2))), image)


def convnext():
    """Pool, then a norm on [N, 1, 1, C], which is no row of places."""
    image = picture()
    x = op.transpose(mean(trunk(image), keep=True), [0, 2, 3, 1])
    return finished(linear(flat(norm(x))), image)


def vgg():
    """Flattened, then two linear layers."""
    image = picture()
    x = linear(flat(trunk(image)), 8, seed=7)
    return finished(linear(op.relu(x)), image)


def vgg_of_timm():
    """The kernel covers the map; a mean over 1x1 comes last."""
    image = picture()
    x = op.relu(op.convolution(trunk(image), numbers(8, 6, 3, 4, size=0.3), [1, 1], [0, 0], [0, 0], [1, 1]))
    return finished(linear(flat(mean(op.relu(conv(x, 8, 1)), keep=True))), image)


def vit(batch=1, prefix=1, depth=2, pre_norm=True):
    """Class token; with two prefix tokens one head for each, as distilled DeiT has them."""
    image = picture(batch)
    x = tokens(image, prefix)
    for index in range(depth):
        x = block(x, index, pre_norm)
    x = norm(x)
    heads = [linear(op.gather(x, np.int64(i), np.int64(1)), seed=90 + i) for i in range(min(prefix, 2))]
    return finished(heads[0] if len(heads) == 1 else op.multiply(op.add(*heads), np.float32(0.5)), image)


def flipped_too(turned_first=False):
    """A class-token network on the picture and on its mirror image, as at test time; the scores are summed."""
    image = picture()
    mirror = op.slice(image, np.array([-1]), np.array([-(2**31)]), np.array([-1]), np.array([3]))
    passes = []
    for view in (mirror, image) if turned_first else (image, mirror):
        x = op.add(patches(view), numbers(1, 12, 6))
        for index in range(2):
            x = block(x, index)
        query = op.constant(numbers(1, 1, 6, seed=9))
        x = norm(x)
        passes.append(linear(op.squeeze(attention(query, linear(x, 6, seed=60), linear(x, 6, seed=61)), np.array([1]))))
    return finished(op.add(*passes), image)


def clip():
    """A norm before the first block, and the norm of the class token alone."""
    image = picture()
    x = norm(tokens(image), 8)
    for index in range(2):
        x = block(x, index)
    return finished(op.matmul(norm(op.gather(x, np.int64(0), np.int64(1))), numbers(6, CLASSES), False, False), image)


def mean_pooled_vit():
    """The mean over all tokens, then the norm."""
    image = picture()
    x = op.add(patches(image), numbers(1, 12, 6))
    for index in range(2):
        x = block(x, index)
    return finished(linear(norm(mean(named(x, "last"), (1,)))), image)


def class_attention(blocks=2):
    """CaiT, XCiT: a class token that joins behind the trunk and looks at the patches."""
    image = picture()
    x = named(block(op.add(patches(image), numbers(1, 12, 6))), "trunk_end")
    token = op.constant(numbers(1, 1, 6, seed=9))
    for index in range(blocks):
        joined = norm(op.concat([token, x], 1), 100 + index)
        q = linear(op.slice(joined, np.array([0]), np.array([1]), np.array([1]), np.array([1])), 6, seed=110 + index)
        k, v = (linear(joined, 6, seed=120 + 2 * index + i) for i in range(2))
        token = op.add(token, linear(attention(q, k, v), 6, seed=130 + index))
        token = op.add(token, linear(op.relu(linear(norm(token), 7, seed=140 + index)), 6, seed=150 + index))
    x = norm(op.concat([token, x], 1))
    return finished(linear(op.gather(x, np.int64(0), np.int64(1))), image)


def attention_pool():
    """SigLIP: a learned query looks at all tokens."""
    image = picture()
    x = named(norm(block(op.add(patches(image), numbers(1, 12, 6)))), "trunk_end")
    q = op.constant(numbers(1, 1, 6, seed=10))
    k, v = (linear(x, 6, seed=i) for i in (11, 12))
    y = linear(attention(q, k, v), 6, seed=13)
    y = op.add(y, linear(op.relu(linear(norm(y), 7, seed=14)), 6, seed=15))
    return finished(linear(op.gather(y, np.int64(0), np.int64(1))), image)


def two_outputs():
    """An embedding first, then two heads."""
    image = picture()
    pooled = mean(trunk(image))
    coarse, fine = linear(pooled, 3, seed=20), linear(op.relu(linear(pooled, 7, seed=21)), 5, seed=22)
    return finished(coarse, image, names=("coarse", "fine"), more=(fine,))


def several_inputs():
    """Two numbers besides the picture, which stands second."""
    image, extra = picture(), named(op.parameter([1, 2], np.float32), "extra")
    pooled = op.concat([mean(trunk(image)), extra], 1)
    return finished(linear(pooled), extra, image)


def regression():
    """One raw number."""
    image = picture()
    return finished(linear(mean(trunk(image)), 1), image)


def segmentation():
    """A class for every position: no readout at all."""
    image = picture()
    return finished(op.softmax(conv(trunk(image), CLASSES, 1), 1), image)


def without_a_picture():
    """A vector in, scores out."""
    words = named(op.parameter([1, 16], np.float32), "words")
    return finished(linear(op.relu(linear(words, 8))), words)


def two_pictures():
    """A query and a reference; only the first reaches the scores."""
    image, other = picture(), named(op.parameter([1, 3, 48, 64], np.float32), "reference")
    scores = linear(mean(trunk(image)))
    return finished(scores, other, image, names=("scores", "reference_mean"), more=(mean(other),))
