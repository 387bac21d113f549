"""PyTorch's exported programs (.pt2), read without running what they may carry besides weights.

`torch.export.load` unpickles whatever is in the archive, evaluates expressions, looks functions up by name and loads
compiled libraries. Here the archive is looked through first, read from a copy of what was looked at, and its tensors are
unpickled with `weights_only=True`; what needs more is refused unless the caller trusts the file.
"""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile, is_zipfile

import openvino as ov

from ovxai.errors import ModelReadError
from ovxai.graph.natives import first_reason, quiet_natives

if TYPE_CHECKING:
    from torch.export import ExportedProgram

#: What a target of a node may name; anything else that torch finds in its modules could be called.
_TARGETS = re.compile(
    r"(torch\.ops(\.\w+)+|torch\.sym_\w+|torch\._sym_\w+|_operator\.(?!call|methodcaller|attrgetter|itemgetter)\w+|math\.\w+)"
)
#: Expressions of sizes: names, numbers, arithmetic, and functions, which all begin with a capital. Text stands in names
#: of symbols and in numbers alone.
_EXPRESSION = re.compile(r"[\w\s+\-*/%(),.<>=&|~]*")
_TEXTS = re.compile(r"\b(Symbol|Float)\('[\w.+\-]*'")
_NOT_IN_EXPRESSIONS = re.compile(r"__|\.\s*[A-Za-z_]|(^|[^\w])[a-z_]\w*\s*\(|\)\s*\(|\blambda\b")
#: How PyTorch names pickled objects that are no tensors, and the folder of compiled code.
_OBJECTS, _COMPILED = "custom_obj", "aotinductor"
_CODE_SUFFIXES = (".so", ".dll", ".dylib", ".pyd", ".py", ".pyc", ".o")
#: PyTorch reads it at every `torch.load`.
_FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def read_exported_program(path: Path, *, trust: bool = False) -> ov.Model:
    """The model in a .pt2. trust: also run what it carries.

    Raises:
        ModelReadError: PyTorch is missing, it is no exported program, it carries more than weights and `trust` is off, or
            OpenVINO can't convert it.
    """
    try:
        import torch
    except ImportError as error:
        raise ModelReadError(f"{path}: reading .pt2 needs PyTorch; pip install torch packaging") from error
    if not is_zipfile(path):  # PyTorch would log a whole traceback before it raises
        raise ModelReadError(f"{path}: is no zip archive, as exported programs are; is it damaged or encrypted?")
    file = str(path) if trust else _looked_through(path)
    try:
        with quiet_natives(), _silent("torch.export"), _weights_only(not trust):
            program = torch.export.load(file)
    except Exception as error:
        if not trust and _is_refused(error):
            raise _refusal(path, "objects that are no tensors") from error
        raise ModelReadError(
            f"{path}: no exported program that this PyTorch reads; is it weights alone, TorchScript, or damaged?"
        ) from error
    try:
        return converted_program(program)
    except Exception as error:
        raise ModelReadError(f"{path}: OpenVINO can't convert it: {first_reason(error)}") from error


def converted_program(program: ExportedProgram) -> ov.Model:
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


# What an archive carries.


def _looked_through(path: Path) -> io.BytesIO:
    """The archive once more, of exactly the members that were looked at: readers of zip files differ in what they take.

    Raises:
        ModelReadError: it carries more than weights and a graph, or is damaged.
    """
    copy = io.BytesIO()
    try:
        with ZipFile(path) as archive, ZipFile(copy, "w") as kept:
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise _refusal(path, "two members of one name")
            for name in names:
                data = archive.read(name)
                if reason := _carries(name, data):
                    raise _refusal(path, reason)
                kept.writestr(name, data)
    except (BadZipFile, OSError, NotImplementedError, EOFError, RuntimeError) as error:
        if isinstance(error, ModelReadError):
            raise
        raise ModelReadError(f"{path}: the archive is damaged: {first_reason(error)}") from error
    copy.seek(0)
    return copy


def _carries(name: str, data: bytes) -> str:
    """What a member holds that could run as code, in words; "" for nothing."""
    place = PurePosixPath(name.replace("\\", "/"))
    if _COMPILED in place.parts or place.suffix.lower() in _CODE_SUFFIXES:
        return f"compiled or Python code ({name})"
    if place.name.startswith(_OBJECTS):
        return f"pickled objects ({name})"
    if place.suffix != ".json":
        return ""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return ""  # torch reads it with the same module, and fails
    return next((reason for key, value in _texts(document) if (reason := _text_carries(key, value))), "")


def _texts(document: object) -> Iterator[tuple[str, str]]:
    """Every text of a JSON document with its key; for those in lists, the key of the list."""
    stack: list[tuple[str, object]] = [("", document)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, dict):
            stack += value.items()
            stack += [("", name) for name in value]
        elif isinstance(value, list):
            stack += [(key, item) for item in value]


def _text_carries(key: str, value: str) -> str:
    if key == "target" and value.startswith(("torch", "_operator", "math", "#")) and not _TARGETS.fullmatch(value):
        return f"a call of {value!r}"
    if key == "expr_str":
        rest = _TEXTS.sub(r"\1(0", value)
        if not _EXPRESSION.fullmatch(rest) or _NOT_IN_EXPRESSIONS.search(rest):
            return f"the expression {value[:60]!r}"
    if key.endswith("spec") and "default_factory" in value:
        return "a type that is looked up by its name"
    if key == "path_name" and value.startswith(_OBJECTS):
        return "pickled objects"
    return ""


def _refusal(path: Path, what: str) -> ModelReadError:
    return ModelReadError(
        f"{path}: carries more than weights and a graph: {what}, which would run as code; "
        "--trust reads it all the same, if you know where it is from"
    )


def _is_refused(error: BaseException | None) -> bool:
    """Whether it came from unpickling more than tensors."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error).lower():
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _weights_only(forced: bool) -> Iterator[None]:
    """`torch.load` falls back to unpickling anything in several places; this it does not overrule."""
    if not forced:
        yield
        return
    names = (_FORCED, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ[_FORCED] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Nothing from a logger of this name meanwhile: torch.export logs a traceback before it raises."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
