"""What several rooms' tests share: where the real models lie that do not travel with the repository."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The oracle (collapse/mosaic.py) and the tiny classifiers (find/classifier_toys.py) serve several rooms.
sys.path += [str(ROOT / "tests" / room) for room in ("collapse", "find")]


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """`shared/` beside the checkout, or where OVXAI_SHARED says; the test is skipped where there is none."""
    folder = Path(os.environ.get("OVXAI_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no {folder.name}/ folder with real models beside the checkout (OVXAI_SHARED names another place)")
    return folder


@pytest.fixture(scope="session")
def fixtures_folder() -> Path:
    """`fixtures/` of the repository."""
    return ROOT / "fixtures"
