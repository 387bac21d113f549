"""An .xml and a .bin belong together or are refused."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
import openvino as ov
import pytest

import ovxai
from helpers import classifiers as toys
from helpers.cli import call, is_one_line
from ovxai.errors import ModelReadError
from ovxai.files import why_not_longer
from ovxai.graph.pair import WEIGHTS_HASH
from ovxai.graph.read import read_model
from ovxai.graph.save import save_model


@pytest.fixture(scope="module")
def explained():
    return ovxai.insert(toys.cnn())


@pytest.fixture
def path(explained, tmp_path):
    return save_model(explained, tmp_path / "m_xai.xml")


def other_weights(path):
    """Of the same length, so that OpenVINO alone notices nothing."""
    weights = path.with_suffix(".bin")
    data = bytearray(weights.read_bytes())
    data[0] ^= 1
    weights.write_bytes(data)


def test_the_xml_names_the_hash_of_its_bin(path):
    stored = ov.Core().read_model(path).get_rt_info(["ovxai", WEIGHTS_HASH]).astype(str)
    assert stored == hashlib.sha256(path.with_suffix(".bin").read_bytes()).hexdigest()
    assert path.read_bytes().count(WEIGHTS_HASH.encode()) == 1


def test_a_model_in_memory_carries_none_along(path, tmp_path):
    """Saved by other means, compressed say, it would be wrong."""
    model = read_model(path)
    assert not model.has_rt_info(["ovxai", WEIGHTS_HASH])
    ov.save_model(model, tmp_path / "other.xml")
    assert read_model(tmp_path / "other.xml")
    save_model(ov.Core().read_model(path), tmp_path / "again.xml")
    assert (tmp_path / "again.xml").read_bytes().count(WEIGHTS_HASH.encode()) == 1 and read_model(tmp_path / "again.xml")


def test_a_plain_model_is_saved_as_it_is(path, tmp_path):
    assert call("strip", path, "-o", tmp_path / "plain.xml").exit_code == 0
    assert b"ovxai" not in (tmp_path / "plain.xml").read_bytes()


@pytest.mark.parametrize("words", [
    ("run", "{m}", "a.png", "-o", "out"), ("inspect", "{m}"), ("verify", "{m}"), ("strip", "{m}"), ("bench", "{m}"),
    ("insert", "{m}"), ("verify", "{good}", "--plain", "{m}"),
], ids=lambda words: " ".join(words[:2]))  # fmt: skip
def test_every_command_refuses_a_pair_that_was_mixed_up(explained, path, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    good = save_model(explained, tmp_path / "good.xml")
    other_weights(path)
    import cv2

    cv2.imwrite("a.png", np.zeros((8, 8, 3), np.uint8))
    done = call(*(word.format(m=path, good=good) for word in words))
    assert is_one_line(done, "m_xai.xml", "m_xai.bin", "insert again"), done.output


def test_the_api_refuses_it_too(path):
    other_weights(path)
    with pytest.raises(ModelReadError, match=r"m_xai.bin is not the weights file"):
        ovxai.Explainer(path)


def test_weights_that_shrink_while_a_model_is_used(tmp_path):
    """Mapped, the process would end by a signal."""
    ov.save_model(toys.cnn(), tmp_path / "m.xml", compress_to_fp16=False)
    size = (tmp_path / "m.bin").stat().st_size
    model = read_model(tmp_path / "m.xml")
    os.truncate(tmp_path / "m.bin", 0)
    held = [node.get_data() for node in model.get_ops() if node.get_type_name() == "Constant"]
    assert sum(item.nbytes for item in held) >= size - 64
    assert ov.Core().compile_model(model, "CPU") is not None


def test_a_killed_replacement_is_noticed(explained, path, tmp_path):
    """The .bin of another insertion got its name, the .xml did not."""
    other = save_model(ovxai.insert(toys.vit()), tmp_path / "other.xml")
    shutil.copy(other.with_suffix(".bin"), path.with_suffix(".bin"))
    assert is_one_line(call("verify", path), "hash")


_INSERT = """
import sys
import ovxai
from helpers import classifiers as toys
model = ovxai.insert(getattr(toys, sys.argv[2])(), probe=False)
for _ in range(int(sys.argv[3])):
    ovxai.save_model(model, sys.argv[1], force=True)
"""


def test_two_who_write_the_same_output(tmp_path):
    """Whatever a third reads meanwhile is one of the two pairs."""
    out = tmp_path / "o.xml"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [[sys.executable, "-c", _INSERT, str(out), kind, "40"] for kind in ("cnn", "vit")]
    processes = [subprocess.Popen(one, env=environment) for one in words]
    rounds = 0
    while any(process.poll() is None for process in processes):
        if out.exists():
            read_model(out)
            rounds += 1
    assert [process.returncode for process in processes] == [0, 0] and rounds > 10
    assert read_model(out) and sorted(item.name for item in tmp_path.iterdir()) == ["o.bin", "o.xml"]


def test_a_disk_that_refuses_says_what_the_system_says(explained, tmp_path):
    """OpenVINO's own words are basic_ios::clear."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(ovxai.OvxaiError, match=r"o.xml: can't be written: File too large"):
            save_model(explained, tmp_path / "o.xml")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_limit_between_the_sizes_of_the_two_files_is_told(tmp_path):
    """What OpenVINO could not write of the .xml is gone when the disk is asked why, and less would fit."""
    model = ovxai.insert(toys.vit(), probe=False)
    size = ovxai.save_model(model, tmp_path / "whole.xml").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert size > 90_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, before[1]))
    try:
        with pytest.raises(ovxai.OvxaiError, match=r"o.xml: can't be written: (File too large|the disk took no more)"):
            save_model(model, tmp_path / "o.xml")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_first_bytes_that_still_fit_are_no_answer(tmp_path):
    path = tmp_path / "draft"
    path.write_bytes(bytes(1000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        assert why_not_longer(path) == "File too large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
