"""What the model hands out: where the scores are among its outputs, and in which of the known forms."""

from __future__ import annotations

import openvino as ov

INTEGERS = ("i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")


def output_name(output: ov.Output) -> str:
    """A tensor name of an output, or the name of the node that makes it."""
    names = sorted(output.get_names())
    return names[0] if names else output.get_node().input(0).get_source_output().get_node().get_friendly_name()


def sizes(output: ov.Output) -> tuple[int | None, ...]:
    shape = output.get_partial_shape()
    if shape.rank.is_dynamic:
        return ()
    return tuple(dim.get_length() if dim.is_static else None for dim in shape)


def is_integer(output: ov.Output) -> bool:
    return output.get_element_type().get_type_name() in INTEGERS


def without_ones(output: ov.Output) -> tuple[int | None, ...]:
    return tuple(size for size in sizes(output) if size != 1)


def prediction_form(outputs: list[ov.Output], classes: int, levels: int, *, decoded: bool, heatmap: bool) -> tuple[str, ov.Output | None]:
    """(form, output with the scores). decoded: whether box columns have met strides or anchors inside the graph."""
    boxed = _boxes_and_labels(outputs)
    if boxed is not None:
        return boxed
    if len(outputs) == 1:
        shape = sizes(outputs[0])
        if len(shape) == 3 and shape[2] == 5 + classes:
            return ("yolo-v5" if decoded else "yolox"), outputs[0]
        if len(shape) == 3 and shape[1] == 4 + classes:
            return "yolo-v8", outputs[0]
        if len(shape) == 4 and shape[1] == 5 + classes:
            return "fastestdet", outputs[0]
        return "", outputs[0]
    scores = [output for output in outputs if sizes(output)[-1:] == (classes,) and len(sizes(output)) in (2, 3)]
    if levels > 1 and len(scores) == levels and len(outputs) == 2 * levels:
        return "nanodet", max(scores, key=lambda output: (sizes(output)[-2] or 0))
    if heatmap:
        maps = [output for output in outputs if len(sizes(output)) == 4 and sizes(output)[1] == classes]
        return "heatmap", maps[0] if maps else None
    return "", scores[0] if len(scores) == 1 else None


def _boxes_and_labels(outputs: list[ov.Output]) -> tuple[str, ov.Output] | None:
    labels = [output for output in outputs if is_integer(output) and len(sizes(output)) in (1, 2)]
    boxes = [output for output in outputs if not is_integer(output) and sizes(output)[-1:] in ((4,), (5,)) and len(sizes(output)) in (2, 3)]
    if len(labels) != 1 or len(boxes) != 1:
        return None
    masks = [output for output in outputs if not is_integer(output) and output is not boxes[0] and len(sizes(output)) in (3, 4)]
    if sizes(boxes[0])[-1] == 5:
        return ("boxes-labels-masks" if masks else "boxes-labels"), boxes[0]
    scores = [output for output in outputs if not is_integer(output) and len(sizes(output)) == len(sizes(labels[0]))]
    if len(scores) == 1:
        return ("boxes-labels-scores-masks" if masks else "boxes-labels-scores"), scores[0]
    return None
