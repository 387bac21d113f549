"""Evaluations that go on: figures count for what they were measured of, and a damaged file of records is one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper

from helpers.cli import call, is_one_line
from helpers.data_sets import write_boxes
from helpers.runtime_graphs import classifier, encoded, picture
from ovxai.evaluation.basis import Basis, of_model

RECORDS = Path("out/records.jsonl")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """a.xml; two pictures with a box of red each."""
    monkeypatch.chdir(tmp_path)
    ov.save_model(classifier(), "a.xml")
    Path("data/images").mkdir(parents=True)
    for name in ("one", "two"):
        Path(f"data/images/{name}.png").write_bytes(encoded(picture()))
    write_boxes(Path("data/boxes"), {"one": [("red", (2, 2, 30, 20))], "two": [("red", (2, 2, 30, 20))]})
    return tmp_path


def evaluated(*more):
    done = call("eval", "a.xml", "--data", "data", "-o", "out", "--metrics", "energy", "--json", *more)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def anew(document) -> list[str]:
    return [line for line in document["notes"] if "anew" in line]


def lines() -> list[str]:
    return RECORDS.read_text(encoding="utf-8").splitlines()


def other_weights():
    ov.save_model(classifier(size=(8, 12)), "a.xml")


def other_annotation():
    Path("data/boxes/one.txt").write_text("red 40 20 58 38")


def other_picture():
    Path("data/images/one.png").write_bytes(encoded(255 - picture()))


def other_feeding():
    ov.save_model(classifier(model_info={"mean_values": "1 2 3"}), "a.xml")


@pytest.mark.parametrize("change, reason, count", [
    (other_weights, "other model", 2), (other_annotation, "other annotation", 1), (other_picture, "other picture", 1),
    (other_feeding, "other model, classes", 2),
])  # fmt: skip
@pytest.mark.usefixtures("home")
def test_what_has_changed_is_measured_anew(change, reason, count):
    evaluated()
    change()
    found = evaluated("--resume")
    assert anew(found) == [f"a: records measured anew, {reason}: {count}"] and len(lines()) == 1 + 2 + count
    fresh = call("eval", "a.xml", "--data", "data", "-o", "fresh", "--metrics", "energy", "--json")
    assert found["rows"][0]["energy"] == json.loads(fresh.stdout)["rows"][0]["energy"]
    assert anew(evaluated("--resume")) == [] and len(lines()) == 1 + 2, "what was replaced is gone"


@pytest.mark.usefixtures("home")
def test_what_has_not_changed_is_kept():
    evaluated("--limit", 1)
    before = lines()
    Path("data/boxes/one.txt").touch()
    assert anew(evaluated("--resume")) == [] and lines()[:2] == before and len(lines()) == 3
    names = Path("names.txt")
    names.write_text("red\ngreen\nsea\n")
    assert anew(evaluated("--resume", "--labels", names)) == ["a: records measured anew, other classes: 2"]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("head", [b"", b"\xff\xfe\x00\x01\n", b"[]\n", b'{"settings": 3}\n', b'{"sett', b"[" * 100000 + b"\n"])
def test_a_file_that_holds_no_records_is_one_line(head):
    Path("out").mkdir()
    RECORDS.write_bytes(head)
    done = call("eval", "a.xml", "--data", "data", "-o", "out", "--metrics", "energy", "--resume", "-q")
    assert is_one_line(done, str(RECORDS), "damaged", "--force") and RECORDS.read_bytes() == head


def _with(line: str, **changes) -> str:
    values = json.loads(line)
    for name, value in changes.items():
        (values if name in values else values["records"][0])[name] = value
    return json.dumps(values)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("damage", [
    lambda line: line[:-9], lambda _line: "3", lambda _line: "\0\ufffd", lambda line: _with(line, records=3),
    lambda line: _with(line, records=[3]), lambda line: _with(line, seconds="long"),
    lambda line: _with(line, figures={"inside": None}),
    lambda line: _with(line, heat=[]), lambda line: _with(line, heat=[[1], [2, 3]]), lambda line: _with(line, heat=[[300]]),
    lambda line: _with(line, score=10**400), lambda line: _with(line, column=["a"]), lambda line: _with(line, basis=[]),
    lambda line: _with(line, notes={"a": "b"}), lambda line: _with(line, box=["a"]), lambda line: _with(line, class_index=None),
])  # fmt: skip
def test_damaged_lines_are_counted_and_measured_anew(damage):
    whole = evaluated()
    kept = lines()
    RECORDS.write_text("\n".join([kept[0], damage(kept[1]), kept[2], kept[1][:40]]), encoding="utf-8")
    found = evaluated("--resume")
    assert anew(found) == [f"{RECORDS}: damaged lines, left out and measured anew: 1"], "the last one was broken off"
    assert [row["energy"] for row in found["rows"]] == [row["energy"] for row in whole["rows"]]
    assert len(lines()) == 3


@pytest.mark.usefixtures("home")
def test_records_that_do_not_say_what_they_hold_for_are_measured_anew():
    evaluated()
    RECORDS.write_text("".join(f"{_with(line, basis=None) if i else line}\n" for i, line in enumerate(lines())))
    assert anew(evaluated("--resume")) == ["a: records measured anew, they do not say what they hold for: 2"]


def test_a_model_is_all_of_its_files(tmp_path):
    weights = helper.make_tensor("w", TensorProto.FLOAT, [64], np.arange(64, dtype=np.float32).tobytes(), raw=True)
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [64])], [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [64])], [weights])  # fmt: skip
    file = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph), file, save_as_external_data=True, location="weights.data", size_threshold=0)
    (tmp_path / "other.data").write_bytes(b"1")
    before = of_model(file)
    (tmp_path / "other.data").write_bytes(b"2")
    assert of_model(file) == before
    (tmp_path / "weights.data").write_bytes(bytes(256))
    assert of_model(file) != before
    folder = of_model(tmp_path)
    (tmp_path / "other.data").write_bytes(b"3")
    assert of_model(tmp_path) != folder


def test_a_basis_names_what_is_other():
    basis = Basis("a", "b", "c", "d", "e")
    assert basis.other(basis) == () and basis.other(Basis("a", "b", "x", "d", "y")) == ("device", "annotation")
    assert basis.other(None) == ("model", "classes", "device", "picture", "annotation")
    for values in (None, {}, {"model": "a"}, {**vars(basis), "picture": 3}):
        with pytest.raises(ValueError):
            Basis.from_dict(values)
