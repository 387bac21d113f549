"""An explanation put on anew: with what options one was made, and the same for another batch."""

from __future__ import annotations

from dataclasses import replace

import openvino as ov

from ovxai.errors import OptionError, OvxaiError
from ovxai.graph.graph import constant_value
from ovxai.graph.picture import find_picture_input
from ovxai.graph.surgery import strip_model
from ovxai.insertion import insert_with_report
from ovxai.metadata import COSINE, FEATURE_MAP, FEATURE_VECTOR, INSTANCE_SEGMENTATION, ExplainedInfo
from ovxai.methods.gradient import TOWARD
from ovxai.options import AUTO, ON_REQUEST, PER_CLASS, PRODUCT, InsertOptions, given_vector, options_read
from ovxai.runtime.feed.engine import with_batch


def for_batch(model: ov.Model, batch: int) -> ov.Model:
    """A plain or explained model for `batch` pictures at once; the argument itself where it takes so many.

    What insertion adds to a model of static batch keeps it (as shapes in constants), so it is taken off and put on again.

    Raises:
        OptionError: the plain model itself is made for another batch.
    """
    info = ExplainedInfo.read(model)
    target = find_picture_input(model, info)
    if target.batch in (None, batch):
        return model
    try:
        return with_batch(model, target, batch)
    except OptionError:
        if info is None or info.split:
            raise
    plain = strip_model(model)
    options = recorded_options(plain, info, model)
    return insert_with_report(with_batch(plain, target, batch), options).model


def recorded_options(plain: ov.Model, info: ExplainedInfo, explained: ov.Model) -> InsertOptions:
    """Options of an insertion, without a probe, that make of `plain` what `info` describes. explained: where it stood.

    What insertion would choose by itself stays open, so that on a changed graph it is found anew
    (on a quantised one behind a FakeQuantize, say); only what it would choose otherwise is said.
    """
    read = options_read(info.task, info.method)
    options = InsertOptions(
        task=info.task,
        method=info.method if info.method in ON_REQUEST else AUTO,
        input=info.picture_input if len(plain.inputs) > 1 and info.picture_input else None,
        output=info.explained_output if "output" in read else None,
        classes=None if info.target == COSINE else info.classes,
        scale=info.scaled,
        embed=info.embed or None,
        feature_map=FEATURE_MAP in info.extra_outputs,
        feature_vector=FEATURE_VECTOR in info.extra_outputs,
        num_classes=info.num_classes if info.task == INSTANCE_SEGMENTATION else None,
        class_activation=info.class_activation if info.class_activation and "class_activation" in read else None,
        levels=info.levels if info.levels and "levels" in read else "mean",
        combine=info.combine or PRODUCT,
        per=info.per or PER_CLASS,
        pixel=None if info.pixel is None else "{},{}".format(*info.pixel),
        toward=_vector_in(explained) if info.target == COSINE else None,
        probe=False,
    )
    by_itself = _made_with(plain, options)
    if by_itself is None or (by_itself.method, by_itself.target_layers) != (info.method, info.target_layers):
        options = replace(options, method=info.method, target_layer=info.target_layers if "target_layer" in read else ())
        if info.num_classes and by_itself is None:
            options = replace(options, num_classes=info.num_classes)
    if info.mask and "mask" in read and (by_itself is None or by_itself.mask != info.mask):
        options = replace(options, mask=info.mask)
    if info.map_size and "map_size" in read and (by_itself is None or by_itself.map_size != info.map_size):
        options = replace(options, map_size=info.map_size)
    return options


def _vector_in(explained: ov.Model) -> tuple[float, ...] | None:
    """What an embedding is compared with."""
    nodes = [node for node in explained.get_ops() if node.get_friendly_name() == TOWARD]
    vector = constant_value(nodes[0].output(0)) if nodes else None
    return None if vector is None else given_vector(vector)


def _made_with(plain: ov.Model, options: InsertOptions) -> ExplainedInfo | None:
    try:
        return insert_with_report(plain, options).info
    except OvxaiError:
        return None
