"""Read a model from disk, or say in one line why not."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import openvino as ov

from ovxai.errors import ModelReadError
from ovxai.graph.exported import converted_program, read_exported_program
from ovxai.graph.names import name_converted
from ovxai.graph.natives import first_reason, quiet_natives
from ovxai.graph.pair import read_pair

IR_SUFFIX = ".xml"
#: The one that OpenVINO has written since 2022.
IR_VERSION = 11
#: What `ov.convert_model` takes without any other package installed.
CONVERTED_SUFFIXES = (".onnx", ".tflite", ".pb", ".pdmodel")
SUPPORTED = f"{IR_SUFFIX}, " + ", ".join(CONVERTED_SUFFIXES) + ", .pt2 or a SavedModel folder"

_PICKLED = (
    "; PyTorch's own files hold weights or code: export it (torch.onnx.export, torch.export), or give the module to "
    "ovxai.insert(module, example_input=...) in Python"
)
_KERAS = "; Keras makes a SavedModel folder by model.export(folder)"
#: Suffixes that people try, and how to get from there to a file that can be read.
_ELSEWHERE = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".safetensors"), _PICKLED),
    **dict.fromkeys((".h5", ".keras"), _KERAS),
    ".bin": "; the weights of an IR are read with the .xml beside them: give that",
}


def read_model(path: str | Path, *, trust: bool = False) -> ov.Model:
    """Read any model file OpenVINO knows.

    IRs are read as they are. Other formats go through `ov.convert_model`, whose fused operations
    (ScaledDotProductAttention, Gelu ...) are what the converted IR of the same file would hold.
    trust: run code that a .pt2 may carry, instead of refusing it.

    Raises:
        ModelReadError: no such file, not a model, damaged weights, or a missing front end.
    """
    path = Path(path)
    if not path.exists():
        raise ModelReadError(f"{path}: no such file")
    if path.is_dir() and not (path / "saved_model.pb").exists():
        raise ModelReadError(f"{path}: is a folder without saved_model.pb; give a model file ({SUPPORTED})")
    if path.is_file() and path.suffix.lower() not in (IR_SUFFIX, ".pt2", *CONVERTED_SUFFIXES):
        hint = _ELSEWHERE.get(path.suffix.lower(), "")
        raise ModelReadError(f"{path}: not a model file by its suffix; OpenVINO reads {SUPPORTED}{hint}")
    if path.suffix.lower() == IR_SUFFIX:
        return _as_current(_read_ir(path))
    if path.suffix.lower() == ".pt2":
        model = read_exported_program(path, trust=trust)
        name_converted(model)
        return model
    try:
        with quiet_natives():
            model = ov.convert_model(path)
    except Exception as error:
        if "KeyboardInterrupt" in str(error):  # front ends hand it on as one of their own errors
            raise KeyboardInterrupt from None
        raise ModelReadError(f"{path}: OpenVINO can't convert it: {first_reason(error).rstrip('.')}{_hint(error)}") from error
    if not model.outputs:
        raise ModelReadError(f"{path}: holds a model without any output; is it damaged?")
    name_converted(model, path / "saved_model.pb" if path.is_dir() else path)
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
            model = converted_program(module)
        else:
            shape = list(example_input.shape) if hasattr(example_input, "shape") else None
            with warnings.catch_warnings():  # what PyTorch advises to its callers, here OpenVINO, is of no use to ours
                warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.")
                warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.")
                model = ov.convert_model(module.eval(), example_input=example_input, input=shape)
        name_converted(model)
        return model
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
