"""What C++ libraries print and raise, brought down to one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
