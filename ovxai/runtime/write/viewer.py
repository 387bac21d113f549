"""Show a picture to whoever sits in front: in a notebook below the cell, else in the system's viewer."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def show_picture(png: bytes) -> Path | None:
    """Show a PNG. Returns the temporary file that the viewer reads; None in a notebook, which keeps the picture itself.

    Nothing is opened where there is no screen: then the file is what there is to look at.
    """
    if _in_notebook():
        from IPython.display import Image, display

        display(Image(data=png))
        return None
    with tempfile.NamedTemporaryFile(prefix="ovxai-", suffix=".png", delete=False) as file:
        file.write(png)
    path = Path(file.name)
    _open(path)
    return path


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def _open(path: Path) -> None:
    """With the program that the system has for pictures, if there is a screen and one."""
    if sys.platform == "win32":
        os.startfile(path)
        return
    if sys.platform != "darwin" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    try:
        subprocess.Popen(
            ["open" if sys.platform == "darwin" else "xdg-open", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:  # there is no such program
        return
