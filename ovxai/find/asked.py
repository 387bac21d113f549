"""What was asked for, as far as the model settles it before anything is searched."""

from __future__ import annotations

from dataclasses import replace

import openvino as ov

from ovxai.errors import OptionError
from ovxai.graph.names import output_element
from ovxai.metadata import GRADIENT, SEMANTIC_SEGMENTATION
from ovxai.options import AUTO, InsertOptions


def settled(options: InsertOptions, model: ov.Model) -> InsertOptions:
    """`output` NAME:INDEX means one value of an output, the class of that number; scores of pixels have one method.

    Raises:
        OptionError: classes were named as well.
    """
    if options.method == AUTO and options.task == SEMANTIC_SEGMENTATION:
        options = replace(options, method=GRADIENT)
    if options.output is None:
        return options
    index, element = output_element(model, options.output)
    if element is None:
        return options
    if options.classes not in (None, "all"):
        raise OptionError(f"classes: output {options.output} names a value already; give one of the two")
    return replace(options, output=index, classes=str(element))
