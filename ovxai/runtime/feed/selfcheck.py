"""Does a device compute with several streams what it computes with one?

OpenVINO's CPU plugin (2026.4) computes a trained INT8 YOLOv8n wrongly with two streams, in most compilations and without a
word: 70 classes at score 1.00. So the first picture of a run goes through a compilation with one stream too, in the
same precision. Rounding may differ between the two, pictures of what a model says may not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import openvino as ov

#: What rounding explains: of floats the length of the difference over the length of the values, of maps in grey levels
#: their mean distance. Low precisions and quantisers stay below a tenth of it.
_FLOATS, _GREY = 0.2, 25.0


def streams_of(compiled: ov.CompiledModel) -> int:
    """How many inferences run beside each other; 1 where the device does not say."""
    try:
        return int(str(compiled.get_property("NUM_STREAMS")))
    except (RuntimeError, ValueError):
        return 1


def one_stream_differs(
    requests: Sequence[ov.InferRequest],
    compile_alone: Callable[[], ov.CompiledModel],
    inputs: dict[int, np.ndarray],
    outputs: Sequence[int],
) -> tuple[ov.CompiledModel | None, str]:
    """Run `inputs` through every one of `requests` at once and through a compilation with one stream.

    outputs: indices of those that are compared. Gives that compilation and a line that says why where it differs from one of
    them; None where all is well, or one of the two does not run (which the inference itself will say).
    """
    try:
        for request in requests:
            request.start_async(inputs)
        for request in requests:
            request.wait()
        alone = compile_alone()
        reference = alone.create_infer_request()
        reference.infer(inputs)
    except Exception:
        for request in requests:
            _settle(request)
        return None, ""
    for index in outputs:
        right = np.array(reference.output_tensors[index].data)
        for request in requests:
            if _differ(request.output_tensors[index].data, right):
                return alone, (
                    "the device computes this model otherwise with several streams than with one (output "
                    f"{index} of the first picture): the run goes on with one; --no-self-check leaves this out"
                )
    return None, ""


def _settle(request: ov.InferRequest) -> None:
    try:
        request.wait()
    except Exception:
        return


def _differ(found: np.ndarray, right: np.ndarray) -> bool:
    """Beyond rounding. Which of several boxes of one score comes first is rounding, how many there are is not."""
    if found.shape != right.shape:
        return True
    if not right.size or right.dtype not in (np.uint8, np.float16, np.float32, np.float64):
        return False
    a, b = found.astype(np.float64), right.astype(np.float64)
    if right.dtype == np.uint8:
        return bool(np.abs(a - b).mean() > _GREY)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return True
    a, b = np.nan_to_num(a, posinf=0, neginf=0), np.nan_to_num(b, posinf=0, neginf=0)
    if a.ndim > 1 and a.shape[-1] <= 6:  # a list of boxes, whose order hangs on scores
        a, b = np.sort(a, axis=-2), np.sort(b, axis=-2)
    return bool(np.linalg.norm(a - b) > _FLOATS * max(float(np.linalg.norm(b)), 1e-6))
