"""Every script starts, names nothing that is not there, and the evaluation of detectors runs on pictures of its own."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from helpers.detectors import model, rows
from ovxai.graph.save import save_model

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
FILES = [path for folder in (SCRIPTS, ROOT / "examples") for path in sorted(folder.rglob("*.py"))]
EVALUATION = SCRIPTS / "eval_detectors.py"
COMMANDS = [path for path in sorted(SCRIPTS.glob("*.py")) if "argparse" in path.read_text(encoding="utf-8")]

pytestmark = pytest.mark.skipif(not SCRIPTS.is_dir(), reason="the scripts are not here")


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a script here and now, as `python path words`: (exit code or last words, stdout)."""

    def run_it(path: Path, *words) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, words)])
        monkeypatch.syspath_prepend(str(SCRIPTS))
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as left:
            return left.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run_it


@pytest.mark.parametrize("path", COMMANDS, ids=name_of)
def test_a_command_tells_how_it_is_used(path, run):
    code, said = run(path, "--help")
    assert code == 0 and said.startswith(f"usage: {path.name}")


def test_the_reference_is_what_the_code_says(run):
    code, _ = run(SCRIPTS / "make_reference.py", "--check")
    assert code == 0, "python scripts/make_reference.py writes docs/reference.md anew"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_what_a_script_imports_of_ours_is_there(path):
    """Also inside its functions, where a name that is gone shows only when the function is called."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules, names = [alias.name for alias in node.names], []
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules, names = [str(node.module)], [alias.name for alias in node.names]
        else:
            continue
        for module in [one for one in modules if one.split(".")[0] == "ovxai"]:
            assert importlib.util.find_spec(module), f"there is no {module} (line {node.lineno})"
            home = opened(module)
            gone = [name for name in names if not hasattr(home, name) and not importlib.util.find_spec(f"{module}.{name}")]
            assert not gone, f"{module} has no {', '.join(gone)} (line {node.lineno})"


def opened(module):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        pytest.skip(str(error))  # of a package that is not installed here


def colour_detector() -> ov.Model:
    """Class "red" scores high where the picture is red, "green" where it is green; two levels, boxes beside."""
    image = op.parameter([1, 3, 32, 48], np.float32)
    scores, boxes = [], []
    for stride in (4, 8):
        colours = op.avg_pool(image, [stride] * 2, [0, 0], [0, 0], [stride] * 2, False)
        # Red over green, green over red, far below zero on grey ground.
        contrast = np.array([[16, -16, 0], [-16, 16, 0]], np.float32).reshape(2, 3, 1, 1)
        logits = op.convolution(colours, contrast, [1, 1], [0, 0], [0, 0], [1, 1])
        scores.append(rows(op.subtract(logits, op.constant(np.full((1, 2, 1, 1), 8, np.float32))), 2))
        corners = op.constant(np.full((4, 3, 1, 1), 0.1, np.float32))
        boxes.append(rows(op.convolution(colours, corners, [1, 1], [0, 0], [0, 0], [1, 1]), 4))
    detector = model(image, [op.concat(boxes, 1), op.sigmoid(op.concat(scores, 1))])
    for key, value in {"labels": "red green", "scale_values": "255"}.items():
        detector.set_rt_info(value, ["model_info", key])
    return detector


def scene(folder: Path, name: str, objects: dict[str, tuple[int, int, int, int]], said: str) -> None:
    """A grey picture with coloured rectangles (x1, y1, x2, y2), and the text that annotates it."""
    pixels = np.full((64, 96, 3), 60, np.uint8)
    for colour, (x1, y1, x2, y2) in objects.items():
        pixels[y1:y2, x1:x2] = {"red": (0, 0, 255), "green": (0, 255, 0)}[colour]  # BGR
    cv2.imwrite(str(folder / "images" / f"{name}.png"), pixels)
    (folder / "boxes" / f"{name}.txt").write_text(said, encoding="utf-8")


@pytest.fixture
def boxes(tmp_path):
    """Two pictures with boxes; the third has an annotation, but only of what is not asked about."""
    for part in ("images", "boxes"):
        (tmp_path / "data" / part).mkdir(parents=True)
    red, green = (16, 16, 48, 48), (64, 16, 80, 48)
    scene(tmp_path / "data", "both", {"red": red, "green": green}, "red 16 16 48 48\ngreen 64 16 80 48\n")
    scene(tmp_path / "data", "wrong", {"red": red}, "red 64 16 80 48\nred 0 0 2 2\n")  # the second is below 1 %
    scene(tmp_path / "data", "other", {"red": red}, "sofa 16 16 48 48\n")
    return tmp_path / "data"


def test_detectors_are_evaluated(boxes, tmp_path):
    """Two of three boxes lie where the detector looks, the third holds nothing of its class's map."""
    path = save_model(colour_detector(), tmp_path / "colours.xml")
    command = [sys.executable, EVALUATION, "--model", path, "--boxes", boxes, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {(row["activation"], row["levels"]): row for row in json.loads(done.stdout)}
    assert list(found) == [("softmax", "mean"), ("softmax", "max"), ("sigmoid", "mean"), ("sigmoid", "max")]
    for row in found.values():
        assert row["detector"] == "colours" and row["pairs"] == 3 and row["pointing"] == pytest.approx(2 / 3)
    # Cells of 16 pixels that are all inside or outside, drawn bilinearly: of two in a row 1/16 leaks out on
    # either side, of one 1/8. Four cells, two cells, and nothing, over areas of 4, 2 and 2 of 24 cells.
    shares, areas = [(1 - 2 / 16) ** 2, (1 - 2 / 16) * (1 - 2 / 8), 0], [4 / 24, 2 / 24, 2 / 24]
    for levels in ("mean", "max"):
        assert found["sigmoid", levels]["energy"] == pytest.approx(np.mean(shares) / np.mean(areas), rel=0.02)
        # A softmax leaves half of it on the ground, where both classes are as far below zero.
        assert 1 < found["softmax", levels]["energy"] < 0.6 * found["sigmoid", levels]["energy"]


def test_what_can_t_be_evaluated_is_told_in_one_line(boxes, tmp_path, run):
    path = save_model(colour_detector(), tmp_path / "colours.xml")
    for name in ("both", "wrong"):
        (boxes / "boxes" / f"{name}.txt").unlink()
    for words, said in (
        (["--boxes", tmp_path, "--model", path], "no folder boxes"),
        (["--boxes", boxes, "--model", path], "no picture with a box of colours's classes"),
        (["--boxes", boxes, "--model", tmp_path / "none.xml"], "no such file"),
    ):
        last_words, out = run(EVALUATION, *words)
        assert said in str(last_words) and "\n" not in str(last_words) and not out
