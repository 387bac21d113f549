"""Work in a process of its own: what OpenVINO can take down there is that process, and not the command.

A compiled model may end its process without a word (a fault in a kernel, a file that shrinks while it is mapped, no memory
left). A `Child` is started early and imports while its parent works; it is told functions by their names, with arguments
and results that can be pickled.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import IO, Generic, ParamSpec, TypeVar

from ovxai.errors import CrashError, is_command_line, on_command_line

P = ParamSpec("P")
R = TypeVar("R")
#: Before anything is imported it gets its parent's path, so that nothing in the working directory is taken for a module.
_SCRIPT = "import sys; sys.path[:] = {path!r}; from ovxai.child import serve; serve({first!r}, {command!r})"


class Child:
    """A process that calls functions for this one. Use it in a `with`.

    first: a module that it imports at once, while nobody waits.
    """

    def __init__(self, first: str = "openvino") -> None:
        script = _SCRIPT.format(path=sys.path, first=first, command=is_command_line())
        self._process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # orders that nobody reads any more
                    pipe.close()

    def call(self, what: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`function(*args, **kwargs)`, over there. what: in words, for the message when it ends the process.

        Raises:
            CrashError: the process has ended; says by which signal. Whatever `function` raises, too.
        """
        order, answer = self._process.stdin, self._process.stdout
        assert order is not None and answer is not None  # both are pipes
        try:
            pickle.dump(_Order(function, args, kwargs), order)
            order.flush()
            result: _Answer[R] = pickle.load(answer)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise CrashError(f"{what} was ended by {_end_of(self._process.wait())}") from error
        if result.error is not None:
            raise result.error
        return result.value[0]


class _Order(Generic[R]):
    def __init__(self, function: Callable[..., R], args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs


class _Answer(Generic[R]):
    def __init__(self, value: tuple[R, ...] = (), error: BaseException | None = None) -> None:
        self.value, self.error = value, error


def serve(first: str, command: bool = False) -> None:
    """What a `Child` runs: orders from standard input until it ends, answers on standard output.

    command: whether messages are for a command's user, and not for a caller in Python.
    """
    with on_command_line(command):
        _serve(first)


def _serve(first: str) -> None:
    import importlib
    import os

    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else writes to standard output is no answer
    importlib.import_module(first)
    while True:
        try:
            order: _Order[object] = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        except Exception as error:
            _send(answer, _Answer(error=RuntimeError(f"{type(error).__name__}: {error}")))
            continue
        try:
            result = _Answer((order.function(*order.args, **order.kwargs),))
        except KeyboardInterrupt:
            return
        except BaseException as error:
            result = _Answer(error=error)
        _send(answer, result)


def _send(pipe: IO[bytes], answer: _Answer[object]) -> None:
    try:
        data = pickle.dumps(answer)
    except Exception:
        error = answer.error or TypeError("the answer can't be pickled")
        data = pickle.dumps(_Answer(error=RuntimeError(f"{type(error).__name__}: {error}")))
    pipe.write(data)
    pipe.flush()


def _end_of(code: int) -> str:
    """How a process ended, by its exit code."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{name} (no memory left?)" if name == "SIGKILL" else name
