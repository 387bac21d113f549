"""What a wheel holds, and what ./scripts/demo, ./scripts/check and ./scripts/test do before Python packages are there."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import ovxai

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = (
    "imagenet/efficientnet_lite0.xml", "imagenet/efficientnet_lite0.bin", "imagenet/LICENSE",
    "photos/chelsea.png", "photos/coffee.png", "photos/rocket.jpg", "README.md",
)  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the wheel and the source distribution, made without a network."""
    pytest.importorskip("hatchling", reason="hatchling is not installed")
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_holds_what_the_demo_needs(built):
    names = set(zipfile.ZipFile(next(built.glob("*.whl"))).namelist())
    assert {f"ovxai/fixtures/{name}" for name in SHIPPED} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "ovxai").rglob("*") if path.is_file()}
    assert {name for name in modules if "__pycache__" not in name} <= names
    assert all(name.startswith(("ovxai/", "ovxai-")) for name in names)
    assert "ovxai/py.typed" in names


def test_the_source_distribution_can_be_tested(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "scripts/demo", "scripts/check", "scripts/test"} <= names
    assert {"scripts/lib/venv.sh", "CHANGELOG.md", "CONTRIBUTING.md", "docs/architecture.md"} <= names
    assert {f"fixtures/{name}" for name in SHIPPED} <= names
    assert {"tests/test_packaging.py", "fixtures/shapes/cnn.xml", "examples/cpp/explain.cpp"} <= names
    assert not any("__pycache__" in name or name.startswith((".venv", "demo-output")) for name in names)


def test_the_demo_runs_from_the_wheel(built, tmp_path):
    site = tmp_path / "site"
    zipfile.ZipFile(next(built.glob("*.whl"))).extractall(site)
    start = f"import sys; sys.path.insert(0, {str(site)!r}); import ovxai; from ovxai.cli.main import main; " \
        "print(ovxai.__file__, file=sys.stderr); main()"  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", "-c", start, "demo", "--json"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0].startswith(str(site))
    document = json.loads(done.stdout)
    assert document["predictions"]["chelsea.png"]["label"] == "Egyptian_cat"
    assert all((tmp_path / path).is_file() for path in document["pictures"])


# The public names.


def test_dir_lists_the_public_names_and_each_is_there():
    assert dir(ovxai) == sorted(ovxai.__all__) and len(set(ovxai.__all__)) == len(ovxai.__all__)
    assert {"insert", "Explainer", "save_model", "strip", "verify", "OvxaiError", "__version__"} <= set(dir(ovxai))
    for name in dir(ovxai):
        assert getattr(ovxai, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'explain'"):
        ovxai.explain  # noqa: B018


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, ovxai; print([name for name in ('numpy', 'openvino', 'cv2', 'click') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


_CLIENT = """
import ovxai

model = ovxai.insert("model.xml", classes="top:3", labels=["cat", "dog"])
reveal_type(ovxai.insert)
reveal_type(ovxai.Explainer(model)("photo.jpg"))
ovxai.insert("model.xml", clases="all")
ovxai.insert("model.xml", classes=3)
"""


def test_a_client_is_checked_against_the_types_that_the_wheel_brings(built, tmp_path):
    """Imports on first use hide nothing from mypy; a wrong keyword and a wrong value are found."""
    pytest.importorskip("mypy", reason="mypy is not installed")
    zipfile.ZipFile(next(built.glob("*.whl"))).extractall(tmp_path / "site")
    (tmp_path / "client.py").write_text(_CLIENT)
    # Without the types of NumPy and OpenVINO, which take mypy half a minute and change nothing here.
    options = ["--strict", "--config-file", "", "--no-site-packages", "--ignore-missing-imports", "--follow-imports", "silent"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--cache-dir", tmp_path / "cache", "client.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(tmp_path / "site")}, check=False, capture_output=True, text=True,
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if line.startswith("client.py")]
    errors = [line.partition("error: ")[2] for line in told if "error: " in line]
    assert len(errors) == 2, done.stdout
    assert 'Unexpected keyword argument "clases"' in errors[0] and 'incompatible type "int"; expected "str | None"' in errors[1]
    assert any("target_layer: str |" in line for line in told) and any("Explanation" in line for line in told)


# The scripts, with a stand-in for Python that writes down what it is asked for.

_STAND_IN = """#!/bin/sh
echo "$*" >>"$LOG"
case "$*" in
    *hashlib*) exec "{python}" "$@" ;;
    *sys.version_info*) echo "$VERDICT" ;;
    "-m venv "*)
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        cp "$0" "$3/bin/ovxai" ;;
    "-m pip "*) exit "${{PIP_STATUS:-0}}" ;;
    "-m $BROKEN"*) exit 1 ;;
esac
"""


TOOLS = ("sh", "cat", "cp", "dirname", "mkdir", "rm")


def found_tools() -> dict[str, str]:
    """Those of `TOOLS` that are on PATH, and where."""
    return {tool: path for tool in TOOLS if (path := shutil.which(tool))}


class Checkout:
    def __init__(self, folder: Path) -> None:
        self.root = folder / "a check out"
        shutil.copytree(ROOT / "scripts" / "lib", self.root / "scripts" / "lib")
        for name in ("demo", "check", "test"):
            shutil.copy(ROOT / "scripts" / name, self.root / "scripts" / name)
        shutil.copy(ROOT / "pyproject.toml", self.root)
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool, path in found_tools().items():
            (self.bin / tool).symlink_to(path)
        self.log = folder / "log"

    def python(self, name: str = "python3") -> None:
        path = self.bin / name
        path.write_text(_STAND_IN.format(python=sys.executable))
        path.chmod(0o755)

    def run(
        self, script: str, *words: str, verdict: str = "ok", pip_status: int = 0, broken: str = "nothing"
    ) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        environment = {"PATH": str(self.bin), "LOG": str(self.log), "VERDICT": verdict}
        environment.update({"PIP_STATUS": str(pip_status), "BROKEN": broken})
        command = [str(self.root / "scripts" / script), *words]
        return subprocess.run(
            command, cwd="/", env=environment, stdin=subprocess.DEVNULL, check=False, capture_output=True, text=True
        )

    def silence(self, function: str) -> None:
        """Let a function of scripts/check that looks for what is missing find something."""
        script = self.root / "scripts" / "check"
        text = script.read_text()
        assert f"{function}() {{\n" in text
        script.write_text(text.replace(f"{function}() {{\n", f"{function}() {{\n    echo not here; return\n"))

    @property
    def installed(self) -> bool:
        """Whether the last run called pip."""
        return "-m pip install" in self.log.read_text()


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    if len(found_tools()) < len(TOOLS):
        pytest.skip(f"one of {', '.join(TOOLS)} is not on PATH")
    return Checkout(tmp_path)


def test_an_environment_is_made_once(checkout):
    checkout.python()
    first = checkout.run("demo", "--json")
    assert first.returncode == 0, first.stderr
    assert checkout.installed and len(first.stderr.splitlines()) == 1
    assert checkout.log.read_text().splitlines()[-1] == f"demo -o {checkout.root}/demo-output --json"
    again = checkout.run("demo")
    assert again.returncode == 0 and not checkout.installed and not again.stderr


def test_another_pyproject_makes_it_again(checkout):
    checkout.python()
    checkout.run("test")
    with (checkout.root / "pyproject.toml").open("a") as file:
        file.write("\n")
    assert checkout.run("test").returncode == 0 and checkout.installed


def test_a_run_that_was_cut_off_is_started_over(checkout):
    checkout.python()
    broken = checkout.run("test", pip_status=1)
    assert broken.returncode == 1 and "pip could not install" in broken.stderr
    leftover = checkout.root / ".venv-test" / "leftover"
    leftover.touch()
    assert checkout.run("test").returncode == 0 and checkout.installed and not leftover.exists()
    assert checkout.run("test", "-k", "x").returncode == 0 and not checkout.installed
    assert checkout.log.read_text().splitlines()[-1] == "-m pytest -n logical --maxprocesses 4 --dist worksteal -k x"


@pytest.mark.parametrize(
    ("names", "verdict", "words"),
    [
        ((), "", "Python 3.10 to 3.13 is needed; PYTHON=/path/to/python names one that is not on PATH"),
        (("python3", "python"), "version-3.8", "found only: python3 (version-3.8) python (version-3.8)"),
        (("python3",), "without-ensurepip", "apt-get install python3-venv"),
    ],
)
def test_without_a_fitting_python_one_line_says_so(checkout, names, verdict, words):
    for name in names:
        checkout.python(name)
    for script in ("demo", "check", "test"):
        done = checkout.run(script, verdict=verdict)
        assert done.returncode == 1 and not done.stdout
        assert done.stderr.startswith("Error: ") and words in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list(checkout.root.glob(".venv*"))


def test_an_older_python_is_passed_over(checkout):
    checkout.python("python3.12")
    old = checkout.bin / "python3"
    old.write_text("#!/bin/sh\necho version-3.9\n")
    old.chmod(0o755)
    assert checkout.run("demo").returncode == 0 and checkout.installed


GATES = ("-m ruff check", "-m ruff format", "-m mypy", "-c from importlinter", "-m pip_audit", "-m mkdocs build --strict")


def asked(checkout: Checkout) -> list[str]:
    """The gates that the last run asked, in this order; scripts on the command line have lines of their own in the log."""
    lines = checkout.log.read_text().splitlines()
    return [gate for line in lines for gate in GATES if line.startswith(gate)]


def test_every_gate_is_asked_in_the_environment_of_the_tests(checkout):
    checkout.python()
    done = checkout.run("check")
    assert done.returncode == 0, done.stderr
    assert asked(checkout) == list(GATES)
    assert done.stdout.splitlines()[-1].endswith("found nothing")
    assert checkout.run("test").returncode == 0 and not checkout.installed


def test_one_gate_that_fails_is_named_and_the_others_are_asked_all_the_same(checkout):
    checkout.python()
    for broken, words in (("ruff", "lint, format"), ("mypy", "types")):
        done = checkout.run("check", broken=broken)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == f"Error: scripts/check: failed: {words}"
        assert asked(checkout) == list(GATES)


def test_the_site_that_can_not_be_built_here_is_said_to_be_skipped(checkout):
    checkout.python()
    checkout.silence("no_site")
    done = checkout.run("check")
    assert done.returncode == 0 and asked(checkout) == list(GATES[:-1])
    assert "== documentation's site: skipped: not here" in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="mkdocs-material is not installed")
def test_the_site_is_built_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(ROOT / "scripts" / "docs" / "mkdocs.yml")]
    done = subprocess.run([*command, "--site-dir", str(tmp_path / "site")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "images/demo.jpg" in first and "tutorial.html" in first and "../" not in first


def test_the_gates_take_no_arguments(checkout):
    done = checkout.run("check", "tests")
    assert done.returncode == 2 and done.stderr.startswith("Error: ") and not checkout.log.read_text()
