"""Post-training quantisation by NNCF: the only place that knows it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov

from ovxai.errors import OvxaiError, UnsupportedModelError
from ovxai.graph.natives import first_reason

PRESETS = ("performance", "mixed")


class NncfMissingError(OvxaiError, RuntimeError):
    """NNCF is not installed."""


@dataclass(frozen=True)
class Recipe:
    """How to quantise. name: for people. ignored: friendly names of nodes that stay in float.

    preset: NNCF's; None: its choice for the kind of model.
    """

    name: str = "plain"
    preset: str | None = None
    ignored: tuple[str, ...] = ()


def load_nncf() -> Any:
    """The module.

    Raises:
        NncfMissingError: not installed.
    """
    try:
        with _talk_on_stderr(True):
            import nncf

            nncf.set_log_level(logging.ERROR)
    except ImportError as error:
        raise NncfMissingError("quantize needs NNCF, which is not installed; pip install nncf") from error
    return nncf


def post_training(
    plain: ov.Model, feeds: Callable[[], Iterable[tuple[np.ndarray, ...]]], count: int, recipe: Recipe, quiet: bool = False
) -> ov.Model:
    """`plain` in INT8; the argument is not changed. feeds: gives the calibration inputs anew at each call.

    Raises:
        NncfMissingError: not installed. UnsupportedModelError: NNCF can't quantise this model.
    """
    nncf = load_nncf()
    words: dict[str, Any] = {"subset_size": count}
    if recipe.preset:
        words["preset"] = nncf.QuantizationPreset(recipe.preset)
    if is_transformer(plain):
        words["model_type"] = nncf.ModelType.TRANSFORMER
    if recipe.ignored:
        words["ignored_scope"] = nncf.IgnoredScope(names=list(recipe.ignored), validate=False)
    data = nncf.Dataset(_Stream(feeds), _fed)
    try:
        with _talk_on_stderr(quiet):
            return nncf.quantize(plain, data, **words)
    except OvxaiError:
        raise
    except Exception as error:
        raise UnsupportedModelError(f"NNCF can't quantise the model: {first_reason(error)}") from error


def is_transformer(model: ov.Model) -> bool:
    """Whether attention is in it: NNCF then leaves alone what transformers don't survive."""
    for node in model.get_ordered_ops():
        if node.get_type_name() == "ScaledDotProductAttention":
            return True
        if node.get_type_name() == "Softmax":
            readers = [one.get_node().get_type_name() for one in node.output(0).get_target_inputs()]
            if "MatMul" in readers:
                return True
    return False


def is_quantised(model: ov.Model) -> bool:
    """Whether whole-number weights or FakeQuantize are in it already."""
    whole = ("u8", "i8", "u4", "i4", "nf4", "u2")
    for node in model.get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            return True
        if node.get_type_name() == "Constant" and node.get_output_element_type(0).get_type_name() in whole:
            readers = {one.get_node().get_type_name() for one in node.output(0).get_target_inputs()}
            if node.get_output_size() and readers == {"Convert"} and np.prod(node.get_output_shape(0)) > 256:
                return True
    return False


class _Stream:
    """A list of inputs that NNCF may walk several times without all of them in memory."""

    def __init__(self, feeds: Callable[[], Iterable[tuple[np.ndarray, ...]]]) -> None:
        self._feeds = feeds

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        return iter(self._feeds())


def _fed(arrays: tuple[np.ndarray, ...]) -> Any:
    return arrays[0] if len(arrays) == 1 else arrays


@contextlib.contextmanager
def _talk_on_stderr(quiet: bool) -> Iterator[None]:
    """NNCF's bars go to stdout by themselves, where --json wants one document only."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere if quiet else sys.stderr):
        yield
