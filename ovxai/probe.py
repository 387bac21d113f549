"""One look at the maps of a freshly explained model: do they carry anything, and do they lie where rt_info says?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as op

from ovxai.child import Child
from ovxai.errors import CrashError, UnsupportedModelError, VerificationError
from ovxai.graph.graph import concrete_twin
from ovxai.graph.natives import first_reason
from ovxai.graph.picture import find_picture_input, pixel_values
from ovxai.metadata import SALIENCY_MAP, VECTOR_TASKS, ExplainedInfo, ModelInfo
from ovxai.verification import VerifyReport
from ovxai.verification.maps import NO_EVIDENCE
from ovxai.verification.pictures import make_batches
from ovxai.verification.places import UNMOVED, check_places
from ovxai.verification.plain import port_named, take_apart

#: Maps of all classes that differ by less than this share of their largest value are the same.
SAME = 1e-6
NO_NUMBERS = "the maps hold values that are no numbers, or infinite, on a probe picture; the model itself may overflow on noise"


def probe(model: ov.Model, info: ExplainedInfo, model_info: ModelInfo, unscaled: str = "") -> tuple[str, ...]:
    """Warnings, each one line, from a few inferences on smooth noise; none where all is well.

    unscaled: friendly name, with `:port`, of what scaled maps are made from: grey levels hide what is no number.

    Raises:
        UnsupportedModelError: the explained model does not run, or its features lie elsewhere than rt_info says.
    """
    try:
        seen = model.clone()
        if info.scaled and unscaled:
            seen.add_results([op.result(port_named(seen, unscaled))])
        compiled = ov.Core().compile_model(seen, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = [compiled(_feeds(model, info, model_info, seed)) for seed in (0, 1)]
        first, second = (outputs[SALIENCY_MAP].astype(np.float64) for outputs in found)
        values = found[0][len(seen.outputs) - 1] if info.scaled and unscaled else first
    except RuntimeError as error:
        raise UnsupportedModelError(f"the explained model does not run on a probe picture: {first_reason(error)}") from error
    if not np.isfinite(values).all():
        return (NO_NUMBERS, *_places(model))
    return (*_warnings(first, second, info), *_places(model))


def _places(model: ov.Model) -> tuple[str, ...]:
    """A warning where it could not be seen whether the features lie where rt_info says, for nothing moves them.

    Raises:
        UnsupportedModelError: they lie elsewhere.
    """
    case = take_apart(model)
    batches, _ = make_batches(case.plain, case.place, None, 1, 0, None)
    check = next(iter(check_places(case, batches)), None)
    if check is None or check.ok:
        return ()
    if check.ok is False:
        raise UnsupportedModelError(
            f"the positions of {case.info.feature_layer} are not those of the picture: {check.detail}; "
            "name another tensor with --target-layer"
        )
    return (f"where the features lie on the picture {check.detail}",) if UNMOVED in check.detail else ()


def probe_file(path: Path, info: ExplainedInfo, model_info: ModelInfo, unscaled: str = "") -> tuple[str, ...]:
    """`probe` of the IR in a file, for another process."""
    return probe(ov.Core().read_model(path), info, model_info, unscaled)


def _warnings(first: np.ndarray, second: np.ndarray, info: ExplainedInfo) -> tuple[str, ...]:
    """What is odd about the maps [N, C, h, w] of two pictures."""
    flat = np.ptp(first, axis=(2, 3)) <= NO_EVIDENCE * np.abs(first).max(axis=(2, 3))
    if first.shape[1] and flat.all():
        if info.task not in VECTOR_TASKS:
            return ()  # a detector that finds nothing in noise has empty maps, and rightly so
        return ("every map is constant on a probe picture: the scores may not depend on where a feature lies",)
    warnings = []
    if first.shape[1] > 1 and np.ptp(first, axis=1).max() <= SAME * np.abs(first).max():
        warnings.append("the maps of all classes are the same on a probe picture: the layer may lie behind the classifier")
    if first.shape == second.shape and np.array_equal(first, second):
        warnings.append("two different probe pictures gave the same maps: the layer may not depend on the picture")
    return tuple(warnings)


def _feeds(model: ov.Model, info: ExplainedInfo, model_info: ModelInfo, seed: int) -> list[np.ndarray]:
    """A picture of noise, fed as the runner feeds one; noise of their own kind for the other inputs."""
    random = np.random.default_rng(seed)
    picture = find_picture_input(model, info)
    values = pixel_values(picture, model_info)
    feeds = []
    for index, (port, sizes) in enumerate(zip(model.inputs, _input_sizes(model), strict=True)):
        noise = _noise(sizes, random)
        if index == picture.index:
            pixels = np.round(noise * 255).astype(np.uint8)
            single = pixels if picture.batched else pixels[None]
            fed = np.stack([values(one) for one in (single.transpose(0, 2, 3, 1) if picture.planar else single)])
            feeds.append(fed if picture.batched else fed[0])
        else:
            kind = port.get_element_type()
            feeds.append((noise * 255 if kind.is_integral() else noise).astype(kind.to_dtype()))
    return feeds


def _input_sizes(model: ov.Model) -> list[list[int]]:
    """Of every input; where some are open, what a copy with concrete shapes takes."""
    whole = concrete_twin(model, 1) if model.is_dynamic() else model
    return [list(parameter.get_partial_shape().get_min_shape()) for parameter in whole.get_parameters()]


def _noise(sizes: list[int], random: np.random.Generator) -> np.ndarray:
    """0..1, in blocks of one value along long axes."""
    values = random.random([max(1, size // 16) if size > 64 else size for size in sizes])
    for axis, size in enumerate(sizes):
        values = np.take(values, np.arange(size) * values.shape[axis] // size, axis)
    return values


# In this process, or in one of its own, which a model may end.


def probed(
    model: ov.Model, info: ExplainedInfo, model_info: ModelInfo, apart: Child | None, unscaled: str = ""
) -> tuple[str, ...]:
    """What the probe warns of; that it could not be done, where the model ends the process that runs it."""
    with handed_over(model, apart) as path:
        if apart is None or path is None:
            return probe(model, info, model_info, unscaled)
        try:
            return apart.call("the probe, an inference on the CPU in f32,", probe_file, path, info, model_info, unscaled)
        except CrashError as error:
            return (f"{error}: what the maps carry was not looked at, and the model may not run on this machine in f32",)


@contextmanager
def handed_over(model: ov.Model, apart: Child | None) -> Iterator[Path | None]:
    """A file of the model for another process; None where there is none, or no room for the file."""
    if apart is None:
        yield None
        return
    with ExitStack() as stack:
        whole = None
        with suppress(OSError, RuntimeError):
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "model.xml"
            ov.save_model(model, path, compress_to_fp16=False)
            whole = path
        yield whole


def verified_by(model: ov.Model, name: str, apart: Child | None) -> VerifyReport:
    """The verification of an explained `model`, which is called `name` in messages.

    Raises:
        VerificationError: it failed; says where first. CrashError: it ended the process that it ran in.
    """
    from ovxai.verification import verify

    with handed_over(model, apart) as path:
        if apart is None or path is None:
            report = verify(model)
        else:
            report = apart.call(f"{name}: the verification, on the CPU in f32,", verify, path)
    if report.ok:
        return report
    row = next((row for row in report.rows if not row.ok), None)
    check = next((check for check in report.checks if check.ok is False), None)
    if row is not None:
        units = "grey levels" if report.scaled else "in raw maps"
        reason = row.detail or (
            f"map {row.worst_class}, cell {row.worst_cell} is {row.deviation:.3g} {units} off, {row.tolerance:.3g} allowed"
        )
    else:
        reason = f"{check.name}: {check.detail}" if check is not None else "a check failed"
    raise VerificationError(
        f"{name}: the maps are not what their definition says ({reason}); ovxai verify says more of the saved model"
    )
