"""One case: what came of it, in words that a table can count; each in a process that OpenVINO may end."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ovxai.child import Child
from ovxai.errors import CrashError, OvxaiError

#: What may come of a case, as the table's columns: an error in one line; what it has to be; OpenVINO ended the process
#: and the one who waits is told; anything else.
REFUSED, RIGHT, CRASH, UNEXPECTED = "refused", "right", "crash", "unexpected"
COLUMNS = (REFUSED, RIGHT, CRASH, UNEXPECTED)
#: Seconds after which a case counts as hung.
PATIENCE = 180
#: (random numbers, an empty folder) -> nothing, where all is right. Raises OvxaiError: refused. AssertionError: wrong.
Case = Callable[[np.random.Generator, Path], None]
#: What came of a case, and the words for one that is unexpected or refused.
Result = tuple[str, str]


def run_case(case: Case, seed: int) -> Result:
    """Run it here and now. `case` is told by its name, so that it can be sent to another process."""
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process even where native code hangs
        signal.alarm(PATIENCE)
    try:
        with TemporaryDirectory(prefix="ovxai-fuzz-", ignore_cleanup_errors=True) as folder:
            case(np.random.default_rng([seed, *case.__name__.encode()]), Path(folder))
    except OvxaiError as error:
        return judged(str(error))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return (
            UNEXPECTED,
            f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({Path(where.filename).name}:{where.lineno})",
        )
    finally:
        if hasattr(signal, "SIGALRM"):
            signal.alarm(0)
    return RIGHT, ""


def judged(message: str) -> Result:
    """Of an error message: refused, if it is one line without control characters."""
    if not message.strip() or not message.isprintable() or "basic_ios" in message:
        return UNEXPECTED, f"a message that is not one line, or says nothing: {message[:300]!r}"
    return REFUSED, message


class Cases:
    """Cases one after the other in one process, and in a new one where that has ended. Use it in a `with`."""

    def __init__(self) -> None:
        self._child = self._new()

    def __enter__(self) -> Cases:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.__exit__(None, None, None)

    def __call__(self, case: Case, seed: int) -> Result:
        try:
            return self._child.call(f"case {seed}", run_case, case, seed)
        except CrashError as error:
            self._child.__exit__(None, None, None)
            self._child = self._new()
            if "SIGALRM" in str(error):
                return UNEXPECTED, f"hangs: not done after {PATIENCE} s"
            return CRASH, str(error)

    @staticmethod
    def _new() -> Child:
        child = Child("fuzzing.kinds").__enter__()
        child.call("the start", silence)
        return child


def silence() -> None:
    """What libraries say of damaged files by themselves is no answer of ours."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.dup2(nothing, 1)
