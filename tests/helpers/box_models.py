"""Tiny detectors whose boxes have maps of their own: with a neck and without, one of each form of outputs."""

from collections.abc import Callable

import numpy as np
import openvino as ov
from openvino import opset13 as op

from helpers import detectors as toys
from helpers.detectors import const, conv, model, pyramid, rows

CLASSES = 3


def with_neck(size=(32, 48), batch=1):
    """Levels that a neck joins: coarse ones are enlarged and set beside finer ones. Returns input and features."""
    x, features = pyramid(size, 3, batch)
    found = [op.swish(conv(features[-1], 6))]
    for lateral in reversed(features[:-1]):
        large = op.interpolate(found[0], op.constant(np.array([2.0, 2.0], np.float32)), "nearest", "scales",
                               axes=op.constant(np.array([2, 3])))  # fmt: skip
        found.insert(0, op.swish(conv(op.concat([large, lateral], 1), 6, 3)))
    return x, found


def yolox(batch=1):
    """[N, P, 5 + K]: offsets, logarithms of sizes, objectness, classes."""
    x, features = with_neck(batch=batch)
    parts = []
    for number, feature in enumerate(features):
        box, cls = op.swish(conv(feature, 8, 3)), op.swish(conv(feature, 8, 3))
        scores = op.sigmoid(conv(cls, CLASSES, name=f"cls{number}"))
        parts.append(rows(op.concat([conv(box, 4), op.sigmoid(conv(box, 1)), scores], 1), 5 + CLASSES))
    return model(x, [op.concat(parts, 1)])


def nanodet(bins=4):
    """Class scores and distances over bins, a pair of outputs per level."""
    x, features = with_neck()
    outputs = []
    for number, feature in enumerate(features):
        tower = op.relu(conv(feature, 8, 3))
        outputs.append(op.sigmoid(rows(conv(tower, CLASSES, name=f"cls{number}"), CLASSES)))
        outputs.append(rows(conv(tower, 4 * bins), 4 * bins))
    return model(x, outputs)


def boxes_scores():
    """YOLOv8's table in two: [N, P, 4] boxes and [N, K, P] scores."""
    plain = toys.yolo_v8(CLASSES)
    y = op.transpose(plain.get_results()[0].input_value(0), const(0, 2, 1))
    boxes, scores = op.variadic_split(y, op.constant(np.int64(2)), const(4, CLASSES)).outputs()
    return model(plain.get_parameters(), [boxes, op.transpose(scores, const(0, 2, 1))])


def queries(activated=True, joined=False):
    """RT-DETR: the scores of picked tokens, boxes as shares of the picture. joined: each looks at all others."""
    plain = toys.queries(CLASSES, joined=joined)
    scores, boxes = (result.input(0).get_source_output() for result in plain.get_results())
    return model(plain.get_parameters(), [scores if activated else scores.get_node().input_value(0), op.sigmoid(boxes)])


def candidates():
    """A plain model, its boxes as centre and size and as corners, [N, P, 4] in pixels, and its scores [N, K, P]."""
    plain = boxes_scores()
    given, scores = (result.input_value(0) for result in plain.get_results())
    given = op.multiply(given, np.float32(8))  # pixels, and not to be taken for shares
    centre, size = op.split(given, op.constant(np.int64(2)), 2).outputs()
    half = op.multiply(size, np.float32(0.5))
    return plain, given, op.concat([op.subtract(centre, half), op.add(centre, half)], 2), scores


def finished(apart=False, each_class=True, encoding="corner"):
    """Suppressed inside: boxes, labels, and scores in the same table or apart. each_class: class by class."""
    plain, given, corners, scores = candidates()
    read = scores if each_class else op.reduce_max(scores, const(1), True)
    limits = [op.constant(np.int64(10)), op.constant(np.float32(0.6)), op.constant(np.float32(0.1))]
    nms = op.non_max_suppression(corners if encoding == "corner" else given, read, *limits, box_encoding=encoding)
    chosen = op.convert(nms.output(0), "i64")  # picture, class, row
    kind, row = (op.gather(chosen, op.constant(np.int64(i)), op.constant(np.int64(1))) for i in (1, 2))
    boxes = op.unsqueeze(op.gather(op.squeeze(corners, const(0)), row, op.constant(np.int64(0))), const(0))
    best, labels = op.unsqueeze(op.gather_nd(read, chosen), const(0)), op.unsqueeze(kind, const(0))
    if apart:
        return model(plain.inputs[0].get_node(), [boxes, labels, best], ("boxes", "labels", "scores"))
    return model(plain.inputs[0].get_node(), [op.concat([boxes, op.unsqueeze(best, const(2))], 2), labels], ("boxes", "labels"))


def one_picture(doubled=False, branched=False):
    """Torchvision: of each class the best over a threshold, boxes of classes moved apart, one suppression over all; and no axis
    of pictures. doubled: the scores of those that are left are made into others. branched: suppression stands in an If."""
    plain, _, corners, scores = candidates()
    zero, parts = op.constant(np.int64(0)), []
    for kind in range(CLASSES):
        column = op.gather(op.squeeze(scores, zero), op.constant(np.int64(kind)), zero)
        over = op.transpose(op.non_zero(op.greater(column, np.float32(0.1)), "i64"), const(1, 0))
        found = op.gather_nd(column, over)
        most = op.minimum(op.squeeze(op.shape_of(found, "i64"), zero), op.constant(np.int64(6)))
        best = op.topk(found, most, 0, "max", "value", index_element_type="i64")
        row = op.gather(op.squeeze(over, const(1)), best.output(1), zero)
        names = op.broadcast(op.constant(np.int64(kind)), op.shape_of(row, "i64"))
        parts.append((op.gather(op.squeeze(corners, zero), row, zero), names, best.output(0)))
    boxes, labels, best = (op.concat(list(each), 0) for each in zip(*parts, strict=True))
    apart = op.add(boxes, op.unsqueeze(op.multiply(op.convert(labels, "f32"), np.float32(1000)), const(1)))
    row = suppressed_in_a_branch(apart, best) if branched else suppressed(apart, best)
    chosen = op.slice(row, const(0), const(10), const(1))
    left = [op.gather(each, chosen, zero) for each in (boxes, labels, best)]
    left[2] = op.multiply(left[2], np.float32(0.5)) if doubled else left[2]
    return model(plain.inputs[0].get_node(), left, ("boxes", "labels", "scores"))


def suppressed(boxes, scores):
    """i64 [I]: rows that are left."""
    limits = [op.constant(np.int64(100)), op.constant(np.float32(0.6)), op.constant(np.float32(0.0))]
    nms = op.non_max_suppression(op.unsqueeze(boxes, const(0)), op.unsqueeze(scores, const(0, 1)), *limits, output_type="i64")
    return op.gather(nms.output(0), op.constant(np.int64(2)), op.constant(np.int64(1)))


def suppressed_in_a_branch(boxes, scores):
    """The same; of none there are none, without asking."""
    nothing = ov.Model([op.result(op.constant(np.zeros(0, np.int64)))], [], "nothing")
    inside = [op.parameter([-1, 4], np.float32), op.parameter([-1], np.float32)]
    some = ov.Model([op.result(suppressed(*inside))], inside, "some")
    branch = op.if_op(op.equal(op.reduce_prod(op.shape_of(scores, "i64"), const(0), False), op.constant(np.int64(0))).output(0))
    branch.set_then_body(nothing)
    branch.set_else_body(some)
    for value, parameter in zip((boxes, scores), inside, strict=True):
        branch.set_input(value.output(0), None, parameter)
    return branch.set_output(nothing.get_results()[0], some.get_results()[0])


def table():
    """End-to-end YOLO: rows of corners, score and label, the best of all classes; two pictures."""
    x, features = pyramid(batch=2)
    box, scores = (
        op.concat(
            [rows(conv(op.relu(conv(feature, 8, 3)), size, name=f"{name}{i}"), size) for i, feature in enumerate(features)], 1
        )
        for name, size in (("box", 4), ("cls", CLASSES))
    )
    cells = box.get_output_partial_shape(0)[1].get_length()
    low, wide = op.split(op.exp(box), op.constant(np.int64(2)), 2).outputs()
    low = op.add(low, np.random.default_rng(0).uniform(0, 24, (1, cells, 2)).astype(np.float32))
    box = op.concat([low, op.add(low, op.add(wide, np.float32(3)))], 2)
    flat = op.reshape(op.sigmoid(scores), const(0, -1), True)
    best = op.topk(flat, op.constant(np.int64(12)), 1, "max", "value", index_element_type="i64")
    row, label = (make(best.output(1), op.constant(np.int64(CLASSES))) for make in (op.divide, op.floor_mod))
    where = op.broadcast(op.unsqueeze(row, const(2)), const(1, 1, 4), broadcast_spec="BIDIRECTIONAL")
    parts = [op.unsqueeze(best.output(0), const(2)), op.unsqueeze(op.convert(label, "f32"), const(2))]
    return model(x, [op.concat([op.gather_elements(box, where, 1), *parts], 2)])


def learned_queries(more=0, softmax=""):
    """DETR: queries of its own look at a map's cells; none of these has class scores.

    more: scores behind those of classes. softmax: "whole", or "cut" where what is behind is left out.
    """
    x, features = pyramid()
    cells = op.transpose(op.reshape(conv(features[-1], 8), const(0, 8, -1), True), const(0, 2, 1))
    own = toys.RNG.normal(0, 1, (1, 7, 8)).astype(np.float32)
    seen = op.softmax(op.multiply(op.matmul(own, cells, False, True), np.float32(0.3)), 2)
    answers = op.relu(toys.linear(op.add(op.matmul(seen, cells, False, False), own), 12))
    scores = toys.linear(answers, CLASSES + more)
    if softmax:
        scores = op.softmax(scores, 2)
    if softmax == "cut":
        scores = op.slice(scores, const(0), const(CLASSES), const(1), const(2))
    return model(x, [scores, op.sigmoid(toys.linear(answers, 4))])


def _tame(make: Callable[[], ov.Model]) -> Callable[[], ov.Model]:
    """The same numbers in every test, and pictures so dark that no score is 1."""

    def made() -> ov.Model:
        before, toys.RNG = toys.RNG, np.random.default_rng(5)
        found = make()
        toys.RNG = before
        readers = list(found.inputs[0].get_node().output(0).get_target_inputs())
        dark = op.multiply(found.inputs[0].get_node(), op.constant(np.float32(1 / 128)))
        for reader in readers:
            reader.replace_source_output(dark.output(0))
        return found

    return made


MODELS = {name: _tame(make) for name, make in {
    "yolox": yolox, "yolox, two pictures": lambda: yolox(2), "yolo-v5": toys.yolo_v5, "yolo-v8": toys.yolo_v8, "nanodet": nanodet,
    "boxes-scores": boxes_scores, "queries": queries, "queries, logits": lambda: queries(activated=False),
    "queries, joined": lambda: queries(joined=True), "queries, learned": learned_queries, "finished": finished,
    "queries, softmax": lambda: learned_queries(1, "whole"),
    "queries, softmax cut": lambda: learned_queries(1, "cut"),
    "finished, apart": lambda: finished(apart=True), "finished, centres": lambda: finished(encoding="center"),
    "finished, over all classes": lambda: finished(each_class=False), "one picture": one_picture,
    "one picture, branched": lambda: one_picture(branched=True), "table": table,
}.items()}  # fmt: skip

#: One more score than there are classes, and no word of what it says.
NO_OBJECT = _tame(lambda: learned_queries(1))
