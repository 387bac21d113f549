"""What was asked for, as far as the model settles it before anything is searched."""

from __future__ import annotations

from dataclasses import replace

import openvino as ov

from ovxai.errors import OptionError
from ovxai.graph.names import output_element
from ovxai.metadata import GRADIENT, REGRESSION, SEMANTIC_SEGMENTATION
from ovxai.options import AUTO, InsertOptions


def settled(options: InsertOptions, model: ov.Model) -> InsertOptions:
    """`output` NAME:INDEX means one value of an output, the class of that number; an embedding holds values as they are; scores
    of pixels have one method.

    Raises:
        OptionError: options that do not go together.
    """
    if options.toward is not None:
        options = _of_embedding(options)
    if options.method == AUTO and options.task == SEMANTIC_SEGMENTATION:
        options = replace(options, method=GRADIENT)
    if options.output is None:
        return options
    index, element = output_element(model, options.output)
    if element is None:
        return options
    if options.toward is not None:
        raise OptionError(f"toward: output {options.output} names one value; name the whole output")
    if options.classes not in (None, "all"):
        raise OptionError(f"classes: output {options.output} names a value already; give one of the two")
    return replace(options, output=index, classes=str(element))


def _of_embedding(options: InsertOptions) -> InsertOptions:
    """For `toward`: the similarity to a vector is one value.

    Raises:
        OptionError: another task or classes were named as well.
    """
    if options.task not in (AUTO, REGRESSION):
        raise OptionError(f"toward: a vector is compared with an embedding, not with {options.task}; leave out --task")
    if options.classes not in (None, "all"):
        raise OptionError("classes: the similarity to the vector of --toward is one value; give one of the two")
    return replace(options, task=REGRESSION)
