"""The options with which an explained model was made, read back from what it says about itself."""

from __future__ import annotations

import openvino as ov

from ovxai.errors import OvxaiError
from ovxai.insertion import Insertion, insert_with_report
from ovxai.metadata import FEATURE_MAP, FEATURE_VECTOR, INSTANCE_SEGMENTATION, ExplainedInfo


def recorded_options(plain: ov.Model, info: ExplainedInfo) -> dict[str, object]:
    """Keywords of `insert` that make of `plain` what `info` describes.

    What insertion would choose by itself stays open, so that on the quantised graph it is found anew
    (behind a FakeQuantize, say); only what it would choose otherwise is said.
    """
    options: dict[str, object] = {
        "task": info.task,
        "output": info.explained_output,
        "classes": info.classes,
        "scale": info.scaled,
        "embed": info.embed or None,
        "feature_map": FEATURE_MAP in info.extra_outputs,
        "feature_vector": FEATURE_VECTOR in info.extra_outputs,
    }
    if info.method == "activation-map":
        options["method"] = info.method
    if info.task == INSTANCE_SEGMENTATION and info.num_classes:
        options["num_classes"] = info.num_classes
    if info.class_activation:
        options["class_activation"] = info.class_activation
    if info.levels:
        options["levels"] = info.levels
    by_itself = _try(plain, options)
    if by_itself is None or (by_itself.info.method, by_itself.info.target_layers) != (info.method, info.target_layers):
        options["method"] = info.method
        if info.method != "inst-seg":
            options["target_layer"] = info.target_layers
        if info.num_classes and by_itself is None:
            options["num_classes"] = info.num_classes
    if info.mask and (by_itself is None or by_itself.info.mask != info.mask):
        options["mask"] = info.mask
    if info.map_size and (by_itself is None or by_itself.info.map_size != info.map_size):
        options["map_size"] = info.map_size
    return options


def _try(plain: ov.Model, options: dict[str, object]) -> Insertion | None:
    try:
        return insert_with_report(plain, **options, probe=False)
    except OvxaiError:
        return None
