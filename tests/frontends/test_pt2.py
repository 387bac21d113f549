"""A .pt2 is read without running what it carries besides weights."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import pytest

from helpers.cli import call, is_one_line
from ovxai import insert
from ovxai.errors import ModelReadError


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return open, (self.place, "w")


def network(torch):
    """A classifier of four classes."""
    nn = torch.nn
    layers = [nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """An exported classifier."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    path = tmp_path_factory.mktemp("pt2") / "good.pt2"
    torch.export.save(torch.export.export(network(torch), (torch.rand(1, 3, 32, 32),)), path)
    return path


def changed(good, path, change):
    """A copy; `change` gets each member's name and bytes, and gives other bytes or None."""
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, change(name, data) or data)
    return path


def with_inputs(place):
    """The example inputs, which PyTorch unpickles whatever they are."""
    torch = pytest.importorskip("torch")

    def change(name, _data):
        if "sample_inputs" not in name:
            return None
        buffer = io.BytesIO()
        torch.save(((torch.rand(1, 3, 32, 32), Touch(place)), {}), buffer)
        return buffer.getvalue()

    return change


def in_graph(change):
    """Change the JSON of the graph."""

    def inner(name, data):
        if not name.endswith("models/model.json"):
            return None
        document = json.loads(data)
        change(document)
        return json.dumps(document).encode()

    return inner


def test_a_program_as_it_is_exported(good, tmp_path):
    assert list(insert(good).output("saliency_map").shape) == [1, 4, 15, 15]
    assert call("insert", good, "-o", tmp_path / "o.xml").exit_code == 0


@pytest.mark.parametrize("command", ["insert", "inspect", "run"])
def test_pickled_code_is_not_run(good, tmp_path, command):
    place = tmp_path / "touched"
    path = changed(good, tmp_path / "bad.pt2", with_inputs(place))
    more = ("a.png", "-o", tmp_path / "out") if command == "run" else ()
    (tmp_path / "a.png").touch()
    done = call(command, path, *[tmp_path / "a.png" if word == "a.png" else word for word in more])
    assert is_one_line(done, "bad.pt2", "--trust"), done.output
    assert not place.exists()


def test_trust_reads_it_all_the_same(good, tmp_path):
    place = tmp_path / "touched"
    path = changed(good, tmp_path / "bad.pt2", with_inputs(place))
    call("insert", path, "--trust")
    assert place.exists()


def refuse(path):
    with pytest.raises(ModelReadError, match="trust=True") as caught:
        insert(path)
    assert "\n" not in str(caught.value)


def test_functions_looked_up_by_name(good, tmp_path):
    def change(document):
        nodes = document["graph_module"]["graph"]["nodes"]
        nodes[0]["target"] = "torch.serialization.os.system"

    refuse(changed(good, tmp_path / "bad.pt2", in_graph(change)))


EVALUATED = ("__import__('os').system('x')", "eval(chr(49))", "(1).real", "[x for x in y]", "f(x)(y)", "S('open')")


@pytest.mark.parametrize("text", EVALUATED)
def test_expressions_that_would_be_evaluated(good, tmp_path, text):
    def change(document):
        document["extra"] = {"expr_str": text}

    refuse(changed(good, tmp_path / "bad.pt2", in_graph(change)))


@pytest.mark.parametrize("name", ["model/data/aotinductor/m/m.so", "model/data/constants/custom_obj_0", "model/x.py"])
def test_members_that_hold_code(good, tmp_path, name):
    path = changed(good, tmp_path / "bad.pt2", lambda *_: None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, pickle.dumps(Touch(tmp_path / "touched")))
    refuse(path)
    assert not (tmp_path / "touched").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(good, tmp_path):
    """Which of them is read depends on who reads."""
    path = changed(good, tmp_path / "bad.pt2", lambda *_: None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(archive.namelist()[-1], b"other")
    refuse(path)


def test_open_sizes_are_expressions_and_are_read(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    size = {2: torch.export.Dim("h", min=32, max=512), 3: torch.export.Dim("w", min=32, max=512)}
    program = torch.export.export(network(torch), (torch.rand(1, 3, 64, 64),), dynamic_shapes=(size,))
    torch.export.save(program, tmp_path / "open.pt2")
    with zipfile.ZipFile(tmp_path / "open.pt2") as archive:
        assert any(b"expr_str" in archive.read(name) for name in archive.namelist())
    assert not insert(tmp_path / "open.pt2").inputs[0].get_partial_shape()[2].is_static
