"""What several rooms' tests share: where the real models lie that do not travel with the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


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
