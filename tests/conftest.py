"""What several rooms' tests share: where the real models lie that do not travel with the repository."""

from __future__ import annotations

import os
from pathlib import Path

import openvino as ov
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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device-precision",
        choices=("f32", "bf16", "f16"),
        help="what models run in where a test asks for nothing (default: the device's)",
    )


def pytest_configure(config: pytest.Config) -> None:
    _keep_to_own_cores()
    precision = config.getoption("--device-precision")
    if precision is not None:
        _compute_in(precision)


def _keep_to_own_cores() -> None:
    """Where several processes share the tests, each takes its part of the cores: OpenVINO starts a thread for every one that it
    may use, and processes whose threads wait for each other's take half as long again."""
    name = os.environ.get("PYTEST_XDIST_WORKER")
    if name and hasattr(os, "sched_setaffinity"):
        cores, count = sorted(os.sched_getaffinity(0)), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        os.sched_setaffinity(0, cores[int(name.removeprefix("gw")) % len(cores) :: count])


def _compute_in(precision: str) -> None:
    """Within this process: what a test starts as a program of its own keeps the device's precision."""
    compile_model = ov.Core.compile_model

    def compiled(core, model, device_name=None, config=None, **more):
        settings = {"INFERENCE_PRECISION_HINT": precision, **(config or {})}
        return compile_model(core, model, device_name or "CPU", settings, **more)

    ov.Core.compile_model = compiled
