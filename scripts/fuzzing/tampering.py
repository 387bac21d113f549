"""Ways to spoil an explained model: its maps, its plain part, what it says about itself. `verify` has to notice.

Each takes a copy of the model, changes it in place, and says whether there was anything to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.graph.surgery import strip_model
from ovxai.metadata import FEATURE_MAP, SALIENCY_MAP, SECTION, ExplainedInfo

#: Changes a model; False where there is nothing of the kind in it.
Change = Callable[[ov.Model], bool]
#: New values of a tensor.
Make = Callable[[ov.Output], ov.Node]

BRANCH, PLAIN, RT_INFO = "map", "plain part", "rt_info"


@dataclass(frozen=True)
class Mutation:
    """name: what is done, for people. part: where. change: does it."""

    name: str
    part: str
    change: Change


# The outputs of the branch.


def output(name: str, make: Make) -> Change:
    """`name` shows what `make` makes of it."""

    def change(model: ov.Model) -> bool:
        found = [result for result in model.get_results() if name in result.output(0).get_names()]
        if found:
            _behind(found[0], make)
        return bool(found)

    return change


def _behind(result: ov.Node, make: Make) -> None:
    source = result.input_value(0)
    names, element = source.get_names(), source.get_element_type()
    made = make(source)
    if made.get_output_element_type(0) != element:
        made = op.convert(made, element)
    source.get_tensor().set_names(set())
    made.output(0).get_tensor().set_names(names)
    result.input(0).replace_source_output(made.output(0))
    result.validate_and_infer_types()


def rolled(by: int, axis: int) -> Make:
    """Moved along an axis, what leaves at the end comes in at the start."""
    return lambda x: op.roll(x, np.int64(by), np.int64(axis))


def flipped(axis: int) -> Make:
    """Backwards along an axis."""
    return lambda x: op.gather(x, np.arange(_extent(x, axis))[::-1].copy(), np.int64(axis))


def transposed(x: ov.Output) -> ov.Node:
    """Rows and columns exchanged."""
    return op.transpose(x, np.array([0, 1, 3, 2]))


def swapped(x: ov.Output) -> ov.Node:
    """The first two classes exchanged."""
    order = np.arange(_extent(x, 1))
    order[:2] = order[1::-1]
    return op.gather(x, order, np.int64(1))


def copied(x: ov.Output) -> ov.Node:
    """The second class shows the map of the first."""
    order = np.arange(_extent(x, 1))
    order[1] = 0
    return op.gather(x, order, np.int64(1))


def class_times(factor: float) -> Make:
    """The last class weaker."""

    def make(x: ov.Output) -> ov.Node:
        row = np.ones((1, _extent(x, 1), 1, 1), np.float32)
        row[0, -1] = factor
        return op.multiply(op.convert(x, "f32"), row)

    return make


def one_cell_off(by: int) -> Make:
    """The middle cell of every map off by so many grey levels, towards the middle of the range."""

    def make(x: ov.Output) -> ov.Node:
        height, width = _extent(x, 2), _extent(x, 3)
        cell = np.zeros((1, 1, height, width), np.float32)
        cell[0, 0, height // 2, width // 2] = by
        values = op.convert(x, "f32")
        return op.select(op.greater(values, np.float32(127)), op.subtract(values, cell), op.add(values, cell))

    return make


def times(factor: float, power: float = 1.0) -> Make:
    """All values, times `factor`; brighter or darker in between with `power`."""
    return lambda x: op.multiply(
        op.power(op.divide(op.convert(x, "f32"), np.float32(255)), np.float32(power)), np.float32(255 * factor)
    )


def inverted(x: ov.Output) -> ov.Node:
    """Dark where it was bright."""
    return op.subtract(np.float32(255), op.convert(x, "f32"))


def scaled_again(x: ov.Output) -> ov.Node:
    """From its smallest to its largest once more."""
    values, axes = op.convert(x, "f32"), np.array([2, 3])
    low, high = op.reduce_min(values, axes, True), op.reduce_max(values, axes, True)
    span = op.maximum(op.subtract(high, low), np.float32(1))
    return op.floor(op.divide(op.multiply(op.subtract(values, low), np.float32(255)), span))


def scaled_together(x: ov.Output) -> ov.Node:
    """Each class as bright as its place among the classes, as if all were scaled by one largest value."""
    shares = np.linspace(1, 0.5, _extent(x, 1), dtype=np.float32).reshape(1, -1, 1, 1)
    return op.multiply(op.convert(x, "f32"), shares)


def blurred(x: ov.Output) -> ov.Node:
    """Means over three by three cells."""
    return op.avg_pool(op.convert(x, "f32"), [1, 1], [1, 1], [1, 1], [3, 3], True)


def doubled(x: ov.Output) -> ov.Node:
    """Twice the rows and columns, each cell four times."""
    return op.gather(
        op.gather(x, np.repeat(np.arange(_extent(x, 2)), 2), np.int64(2)), np.repeat(np.arange(_extent(x, 3)), 2), np.int64(3)
    )


def _extent(x: ov.Output, axis: int) -> int:
    return int(x.get_partial_shape()[axis].get_length())


def frozen(model: ov.Model) -> bool:
    """The map of the picture that verify makes up by itself, for every picture."""
    from ovxai.verification.engine import Engine
    from ovxai.verification.pictures import make_batches
    from ovxai.verification.plain import take_apart

    case = take_apart(model)
    (batch, *_), _ = make_batches(case.plain, case.place, None, 1, 0, None)
    index = next(i for i, port in enumerate(model.outputs) if SALIENCY_MAP in port.get_names())
    value = Engine(model)(batch.feeds(case.plain, case.place))[index]
    return output(SALIENCY_MAP, lambda _: op.constant(value))(model)


def branch_constant(model: ov.Model) -> bool:
    """The largest float constant that only the branch reads, the first half of it by five per cent."""
    own = {node.get_friendly_name() for node in strip_model(model).get_ops()}
    found = [node for node in _constants(model) if node.get_friendly_name() not in own]
    if not found:
        return False
    constant = max(found, key=_size)
    values = np.array(constant.data)
    values.reshape(-1)[: values.size // 2] *= np.asarray(1.05, values.dtype)
    _replace(constant, values)
    return True


# The plain part.


def first_kernel(factor: float) -> Change:
    """The weights of the first convolution."""
    return lambda model: _changed(_kernel(model), factor)


def _kernel(model: ov.Model) -> ov.op.Constant | None:
    node = next((one for one in model.get_ordered_ops() if one.get_type_name() == "Convolution"), None)
    while node is not None and not isinstance(node, ov.op.Constant):
        node = node.input_value(1 if node.get_type_name() == "Convolution" else 0).get_node()
    return node


def a_bias(model: ov.Model) -> bool:
    """The first constant that is added to channels: one of them moves by a hundredth."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Add":
            for port in node.input_values():
                constant = port.get_node()
                constant = constant.input_value(0).get_node() if constant.get_type_name() == "Convert" else constant
                if isinstance(constant, ov.op.Constant) and _size(constant) > 2:
                    moved = np.array(constant.data)
                    moved.reshape(-1)[0] += np.asarray(0.01, moved.dtype)
                    _replace(constant, moved)
                    return True
    return False


def last_weights(model: ov.Model) -> bool:
    """The largest of the last ten float constants in front of the outputs."""
    plain = {node.get_friendly_name() for node in strip_model(model).get_ops()}
    found = [node for node in _constants(model) if node.get_friendly_name() in plain]
    return _changed(max(found[-10:], key=_size, default=None), 1.001)


def _constants(model: ov.Model) -> list[ov.op.Constant]:
    return [
        node
        for node in model.get_ordered_ops()
        if isinstance(node, ov.op.Constant) and node.get_element_type().is_real() and _size(node) > 2
    ]


def _size(node: ov.op.Constant) -> int:
    return int(np.prod(node.get_output_shape(0)))


def _changed(constant: ov.op.Constant | None, factor: float) -> bool:
    if constant is None:
        return False
    values = np.asarray(constant.data)
    _replace(constant, values * np.asarray(factor, values.dtype))
    return True


def _replace(constant: ov.op.Constant, values: np.ndarray) -> None:
    changed = op.constant(values)
    for reader in list(constant.output(0).get_target_inputs()):
        reader.replace_source_output(changed.output(0))


def own_output(factors: Sequence[float]) -> Change:
    """The first output of the plain part: boxes [..., 5] times factors for box and score, or scores times the last."""

    def change(model: ov.Model) -> bool:
        result = model.get_results()[0]
        last = result.get_output_partial_shape(0)[-1]
        table = last.is_static and last.get_length() == 5 and len(result.get_output_partial_shape(0)) == 3
        row = np.array([*[factors[0]] * 4, factors[1]], np.float32)[None, None] if is_table(model) and table else None
        if row is None and factors[1] == 1:
            return False
        _behind(result, lambda x: op.multiply(x, np.array(factors[1], np.float32) if row is None else row))
        return True

    return change


def is_table(model: ov.Model) -> bool:
    """Whether the model says that it hands out boxes."""
    return str(model.get_rt_info([SECTION, "task"]).astype(str)) not in ("classification", "regression")


def without_activation(model: ov.Model) -> bool:
    """The first activation of the network is left out."""
    kinds = ("Relu", "Swish", "Gelu", "HSwish", "PRelu", "Sigmoid")
    node = next((one for one in model.get_ordered_ops() if one.get_type_name() in kinds), None)
    if node is not None:
        for reader in list(node.output(0).get_target_inputs()):
            reader.replace_source_output(node.input_value(0))
    return node is not None


def renamed_output(model: ov.Model) -> bool:
    """The first output has another name, where no entry says its name."""
    result = model.get_results()[0]
    result.input_value(0).get_tensor().set_names({"renamed"})
    if model.has_rt_info([SECTION, "score_output"]):
        model.set_rt_info("renamed", [SECTION, "score_output"])
    return True


def other_mean(model: ov.Model) -> bool:
    """Somebody else's mean in model_info."""
    model.set_rt_info("1 2 3", ["model_info", "mean_values"])
    return True


# What it says about itself.

#: entry -> a value of its form that is wrong for the model, and what is taken where that is what it has.
WRONG: dict[str, tuple[str, str]] = {
    "version": ("9.9.9", "9.9.8"), "task": ("classification", "detection"), "method": ("reciprocam", "vit-reciprocam"),
    "mask": ("point", "gaussian"), "grid": ("4,36", "12,12"), "prefix_tokens": ("0", "1"), "scaled": ("YES", "NO"),
    "collapse": ("dense", "exact"), "classes": ("0,1", "1,0"), "class_activation": ("sigmoid", "softmax"),
    "levels": ("max", "mean"), "map_size": ("20x20", "10x10"), "picture_input": ("other", "another"),
    "picture_range": ("0,1", "0,255"), "map_frame": ("0,0,0.5,1", "0,0,1,1"), "map_axes": ("xy", "yx"),
    "network_frame": ("0,0,0.5,1", "0,0,1,1"), "box_unit": ("share", "pixel"), "score_activation": ("sigmoid", "none"),
    "prediction_format": ("yolo-v8", "boxes-labels"), "explained_output": ("1", "0"),
}  # fmt: skip
#: The same, made from the model and what it says.
COMPUTED: dict[str, Callable[[ov.Model, str], str]] = {
    "target_layers": lambda model, _text: _first_layer(model),
    "feature_layer": lambda model, _text: _first_layer(model),
    "layout": lambda _model, text: text[:1] + text[:0:-1] if text in ("NPC", "NCP") else "NHWC" if text == "NCHW" else "NCHW",
    "num_classes": lambda _model, text: str(int(text) + 1),
    "score_output": lambda model, text: next(name for port in model.outputs for name in port.get_names() if name != text),
    "extra_outputs": lambda _model, text: ",".join(reversed(text.split(","))) if "," in text else f"{text},{FEATURE_MAP}",
}


def _first_layer(model: ov.Model) -> str:
    """The first convolution, which is no target."""
    names = [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() == "Convolution"]
    return names[0]


def entry(key: str, text: Callable[[ov.Model, str], str]) -> Change:
    """`key` says something else; nothing to do where the model does not have it."""

    def change(model: ov.Model) -> bool:
        if not model.has_rt_info([SECTION, key]):
            return False
        before = model.get_rt_info([SECTION, key]).astype(str)
        after = text(model, before)
        model.set_rt_info(after, [SECTION, key])
        return bool(after != before)

    return change


def dense(model: ov.Model) -> bool:
    """It claims that its maps were made in another way than they were."""
    model.set_rt_info("dense", [SECTION, "collapse"])
    model.set_rt_info("an operation without a rule", [SECTION, "collapse_reason"])
    return True


def mutations() -> Iterator[Mutation]:
    """All of them, in the order of the table."""
    maps = {
        "one cell of each map, 3 grey levels": one_cell_off(3), "one cell to the right": rolled(1, 3), "transposed": transposed,
        "flipped left to right": flipped(3), "flipped upside down": flipped(2), "dark where bright": inverted,
        "x 0.98": times(0.98), "squared": times(1, 2), "blurred, 3 x 3 cells": blurred, "each cell four times": doubled,
        "two classes swapped": swapped, "one class in two places": copied, "classes moved by one": rolled(1, 1),
        "one class zeroed": class_times(0), "one class x 0.9": class_times(0.9), "scaled together": scaled_together,
        "scaled twice": scaled_again, "f16 instead of u8": lambda x: op.convert(x, "f16"),
    }  # fmt: skip
    for name, make in maps.items():
        yield Mutation(name, BRANCH, _retyped if name.startswith("f16") else output(SALIENCY_MAP, make))
    yield Mutation("the probe picture's map, for every picture", BRANCH, frozen)
    yield Mutation("half of a constant that only the branch reads, x 1.05", BRANCH, branch_constant)
    yield Mutation("feature_map: channels permuted", BRANCH, output(FEATURE_MAP, flipped(1)))
    yield Mutation("feature_map: flipped", BRANCH, output(FEATURE_MAP, flipped(3)))
    yield Mutation("feature_map: x 1.001", BRANCH, output(FEATURE_MAP, lambda x: op.multiply(x, np.float32(1.001))))
    yield Mutation("first convolution x 1.001", PLAIN, first_kernel(1.001))
    yield Mutation("one bias + 0.01", PLAIN, a_bias)
    yield Mutation("last weights x 1.001", PLAIN, last_weights)
    yield Mutation("first activation left out", PLAIN, without_activation)
    yield Mutation("scores x 0.9", PLAIN, own_output((1, 0.9)))
    yield Mutation("boxes x 1.02", PLAIN, own_output((1.02, 1)))
    yield Mutation("an output renamed", PLAIN, renamed_output)
    yield Mutation("mean_values of model_info", PLAIN, other_mean)
    yield Mutation("collapse: dense, with a reason", RT_INFO, dense)
    for field in fields(ExplainedInfo):
        if wrong := _wrong(field.name):
            yield Mutation(f"{field.name}: wrong", RT_INFO, entry(field.name, wrong))
    for field in fields(ExplainedInfo):
        yield Mutation(f"{field.name}: emptied", RT_INFO, entry(field.name, lambda *_: ""))


def _wrong(key: str) -> Callable[[ov.Model, str], str] | None:
    if key in WRONG:
        value, other = WRONG[key]
        return lambda _model, text: other if text == value else value
    return COMPUTED.get(key)


def _retyped(model: ov.Model) -> bool:
    """The map in another type."""
    result = next(one for one in model.get_results() if SALIENCY_MAP in one.output(0).get_names())
    source = result.input_value(0)
    names = source.get_names()
    made = op.convert(source, "f16")
    source.get_tensor().set_names(set())
    made.output(0).get_tensor().set_names(names)
    result.input(0).replace_source_output(made.output(0))
    result.validate_and_infer_types()
    return True
