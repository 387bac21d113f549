"""Read a model from disk, and turn the runtime's long exceptions into one line."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import is_zipfile

import openvino as ov

from ovxai.errors import ModelReadError
from ovxai.graph.pair import read_pair

if TYPE_CHECKING:
    from torch.export import ExportedProgram

IR_SUFFIX = ".xml"
#: The one that OpenVINO has written since 2022.
IR_VERSION = 11
#: What `ov.convert_model` takes without any other package installed.
CONVERTED_SUFFIXES = (".onnx", ".tflite", ".pb", ".pdmodel")
SUPPORTED = f"{IR_SUFFIX}, " + ", ".join(CONVERTED_SUFFIXES) + ", .pt2 or a SavedModel folder"


@contextmanager
def quiet_natives() -> Iterator[None]:
    """Keep what C++ libraries write to stderr away while they try a damaged file: the exception says enough."""
    try:
        kept = os.dup(2)
    except OSError:  # no stderr at all (a service)
        yield
        return
    sys.stderr.flush()
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Nothing from a logger of this name meanwhile."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


#: Lines of OpenVINO's exceptions that tell where it happened, or only that something did.
_SAYS_NOTHING = (
    "Exception from", "Check '", "at ", "FrontEnd API failed", "Model wasn't fully converted", "Summary:",
    "[ONNX Frontend] Conversion failed", "While validating", "Loading input model",
)  # fmt: skip
#: What says more than any other line.
_SAYS_ALL = "No conversion rule found for operations:"


def first_reason(error: BaseException, limit: int = 240) -> str:
    """The sentence of an OpenVINO exception that says something, without source paths and stack marks."""
    lines = [line.strip().removeprefix("-- ") for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith(_SAYS_NOTHING) and not line.endswith("with a message:")]
    text = next((line for line in lines if line.startswith(_SAYS_ALL)), lines[0] if lines else type(error).__name__)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def read_model(path: str | Path) -> ov.Model:
    """Read any model file OpenVINO knows.

    IRs are read as they are. Other formats go through `ov.convert_model`, whose fused operations
    (ScaledDotProductAttention, Gelu ...) are what the converted IR of the same file would hold.

    Raises:
        ModelReadError: no such file, not a model, damaged weights, or a missing front end.
    """
    path = Path(path)
    if not path.exists():
        raise ModelReadError(f"{path}: no such file")
    if path.is_dir() and not (path / "saved_model.pb").exists():
        raise ModelReadError(f"{path}: is a folder without saved_model.pb; give a model file ({SUPPORTED})")
    if path.is_file() and path.suffix.lower() not in (IR_SUFFIX, ".pt2", *CONVERTED_SUFFIXES):
        raise ModelReadError(f"{path}: not a model file by its suffix; OpenVINO reads {SUPPORTED}")
    if path.suffix.lower() == IR_SUFFIX:
        return _as_current(_read_ir(path))
    if path.suffix.lower() == ".pt2":
        return _read_exported_program(path)
    try:
        with quiet_natives():
            model = ov.convert_model(path)
    except Exception as error:
        raise ModelReadError(f"{path}: OpenVINO can't convert it: {first_reason(error).rstrip('.')}{_hint(error)}") from error
    if not model.outputs:
        raise ModelReadError(f"{path}: holds a model without any output; is it damaged?")
    return model


def _as_current(model: ov.Model) -> ov.Model:
    """An IR of version 10 is read as what today's would be, but saved under its old number it would be changed once more."""
    if model.has_rt_info("version") and int(model.get_rt_info("version").value) < IR_VERSION:
        model.set_rt_info(IR_VERSION, "version")
    return model


#: What front ends say of bytes that are nothing to them.
_NO_MODEL = ("Cannot recognize input model", "can't be parsed")


def _hint(error: BaseException) -> str:
    if any(words in str(error) for words in _NO_MODEL):
        return "; is it damaged, encrypted, or of another format than its suffix says?"
    return ""


def convert_module(module: object, example_input: object) -> ov.Model:
    """A PyTorch module or exported program as an OpenVINO model.

    Raises:
        ModelReadError: it is neither, no example input was given, or OpenVINO can't convert it.
    """
    kind = type(module).__name__
    torch = sys.modules.get("torch")  # whoever has such an object has imported it
    if torch is None or not isinstance(module, (torch.nn.Module, torch.export.ExportedProgram)):
        raise ModelReadError(f"a {kind} is no model: give a path, an openvino.Model or a torch.nn.Module")
    if example_input is None and isinstance(module, torch.nn.Module):
        raise ModelReadError("a torch.nn.Module needs example_input, a tensor such as it takes, to be converted")
    training = getattr(module, "training", False)
    try:
        if not isinstance(module, torch.nn.Module):
            return _converted_program(module)
        shape = list(example_input.shape) if hasattr(example_input, "shape") else None
        return ov.convert_model(module.eval(), example_input=example_input, input=shape)
    except Exception as error:
        raise ModelReadError(f"OpenVINO can't convert the {kind}: {first_reason(error)}") from error
    finally:
        if training:
            module.train()


def _read_ir(path: Path) -> ov.Model:
    try:
        text, weights = read_pair(path)
    except OSError as error:
        raise ModelReadError(f"{path}: can't be read: {error.strerror or error}") from error
    try:
        with quiet_natives():
            return ov.Core().read_model(text, weights)
    except Exception as error:
        if not text.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            raise ModelReadError(
                f"{path}: not a model: the file is not XML, so no OpenVINO IR; is it damaged or encrypted?"
            ) from error
        hint = "; it is from a newer OpenVINO, or needs an extension" if "opset" in str(error) else ""
        raise ModelReadError(f"{path}: not a model that OpenVINO can read: {first_reason(error)}{hint}") from error


def _read_exported_program(path: Path) -> ov.Model:
    try:
        import torch
    except ImportError as error:
        raise ModelReadError(f"{path}: reading .pt2 needs PyTorch; pip install 'ovxai[torch]'") from error
    if not is_zipfile(path):  # PyTorch would log a whole traceback before it raises
        raise ModelReadError(f"{path}: is no zip archive, as exported programs are; is it damaged or encrypted?")
    try:
        with quiet_natives(), _silent("torch.export"):  # it logs a traceback before it raises
            program = torch.export.load(str(path))
    except Exception as error:
        raise ModelReadError(
            f"{path}: no exported program that this PyTorch reads; is it weights alone, TorchScript, or damaged?"
        ) from error
    try:
        return _converted_program(program)
    except Exception as error:
        raise ModelReadError(f"{path}: OpenVINO can't convert it: {first_reason(error)}") from error


def _converted_program(program: ExportedProgram) -> ov.Model:
    """With the sizes that the program was exported for: OpenVINO (2026.4) leaves all but the channels open."""
    model = ov.convert_model(program)
    shapes = _exported_shapes(program)
    ranks = [port.get_partial_shape().rank for port in model.inputs]
    if all(rank.is_static for rank in ranks) and [rank.get_length() for rank in ranks] == [len(shape) for shape in shapes]:
        model.reshape({index: ov.PartialShape(shape) for index, shape in enumerate(shapes)})
    return model


def _exported_shapes(program: ExportedProgram) -> list[list[int]]:
    """Of the inputs, -1 for what the program leaves open."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    tensors = [values[name] for name in program.graph_signature.user_inputs if hasattr(values.get(name), "shape")]
    return [[size if isinstance(size, int) else -1 for size in tensor.shape] for tensor in tensors]
