"""What takes its process down, as a fault in a compiled kernel does."""

from __future__ import annotations

import os
import signal


def crash(*_args: object, **_options: object) -> None:
    """End this process by SIGSEGV."""
    os.kill(os.getpid(), signal.SIGSEGV)
