"""What the model hands out: where the scores are among its outputs, and in which of the known forms."""

from __future__ import annotations

from dataclasses import dataclass

import openvino as ov

INTEGERS = ("i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")


def output_name(outputs: list[ov.Output], number: int | None) -> str:
    """A tensor name of an output; `output_<number>` where it has none; '' for no output."""
    if number is None:
        return ""
    return next(iter(sorted(outputs[number].get_names())), f"output_{number}")


def sizes(output: ov.Output) -> tuple[int | None, ...]:
    shape = output.get_partial_shape()
    if shape.rank.is_dynamic:
        return ()
    return tuple(dim.get_length() if dim.is_static else None for dim in shape)


def is_integer(output: ov.Output) -> bool:
    return output.get_element_type().get_type_name() in INTEGERS


@dataclass(frozen=True)
class Form:
    """name: as in `prediction_format`, "" for none that is known. scores: number of the output that holds them."""

    name: str
    scores: int | None


def prediction_form(outputs: list[ov.Output], classes: int, levels: int, *, decoded: bool, heatmap: bool) -> Form:
    """decoded: whether box columns have met strides or anchors inside the graph."""
    boxed = boxes_and_labels(outputs)
    if boxed is not None:
        return boxed
    if len(outputs) == 1:
        return Form(_single_form(sizes(outputs[0]), classes, decoded), 0)
    rows = [
        i for i, output in enumerate(outputs) if sizes(output)[-1:] == (classes,) and len(sizes(output)) in (2, 3)
    ]
    if levels > 1 and len(rows) == levels and len(outputs) == 2 * levels:
        return Form("nanodet", max(rows, key=lambda i: sizes(outputs[i])[-2] or 0))
    if heatmap:
        maps = [i for i, output in enumerate(outputs) if len(sizes(output)) == 4 and sizes(output)[1] == classes]
        return Form("heatmap" if maps else "", maps[0] if maps else None)
    return Form("", rows[0] if len(rows) == 1 else None)


def _single_form(shape: tuple[int | None, ...], classes: int, decoded: bool) -> str:
    if len(shape) == 3 and shape[2] == 5 + classes:
        return "yolo-v5" if decoded else "yolox"
    if len(shape) == 3 and shape[1] == 4 + classes:
        return "yolo-v8"
    return "fastestdet" if len(shape) == 4 and shape[1] == 5 + classes else ""


def boxes_and_labels(outputs: list[ov.Output]) -> Form | None:
    """The forms of detectors that finish their boxes in the graph; None where boxes or labels are missing."""
    ranks = [len(sizes(output)) for output in outputs]
    whole = [is_integer(output) for output in outputs]
    labels = [i for i in range(len(outputs)) if whole[i] and ranks[i] in (1, 2)]
    if len(labels) != 1:
        return None
    wanted = ranks[labels[0]] + 1
    boxes = [
        i for i in range(len(outputs)) if not whole[i] and ranks[i] == wanted and sizes(outputs[i])[-1] in (4, 5)
    ]
    if len(boxes) != 1:
        return None
    masks = [i for i in range(len(outputs)) if not whole[i] and i != boxes[0] and ranks[i] in (3, 4)]
    if sizes(outputs[boxes[0]])[-1] == 5:
        return Form("boxes-labels-masks" if masks else "boxes-labels", boxes[0])
    scores = [i for i in range(len(outputs)) if not whole[i] and ranks[i] == ranks[labels[0]]]
    if len(scores) != 1:
        return None
    return Form("boxes-labels-masks" if masks else "boxes-labels-scores", scores[0])
