"""Work in another process: its answers, its errors, and its end."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import pytest

from helpers.cli import call, is_one_line
from helpers.crash import crash
from helpers.tiny_models import Pooled, scaled
from ovxai.child import Child
from ovxai.errors import CrashError, OptionError
from ovxai.graph.save import save_model
from ovxai.options import parse_classes


def test_answers_and_errors():
    with Child("math") as child:
        assert child.call("it", math.sqrt, 4.0) == 2 and child.call("it", os.getpid) != os.getpid()
        with pytest.raises(OptionError, match="neither all"):
            child.call("it", parse_classes, "some")
        with pytest.raises(ZeroDivisionError):
            child.call("it", divmod, 1, 0)
        assert child.call("it", print, "noise") is None  # not taken for an answer
        with pytest.raises(RuntimeError):
            child.call("it", open, os.devnull)  # an answer that can't travel


def test_the_end_of_the_process():
    with Child("math") as child:
        with pytest.raises(CrashError, match="the probe was ended by SIGSEGV"):
            child.call("the probe", crash)
        with pytest.raises(CrashError, match="SIGSEGV"):
            child.call("it", math.sqrt, 4.0)
    with Child("math") as child, pytest.raises(CrashError, match="exit code 3"):
        child.call("it", os._exit, 3)


def test_nothing_in_the_working_directory_is_taken_for_a_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pickle.py").write_text("raise SystemExit(9)")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    with Child("math") as child:
        assert child.call("it", math.sqrt, 9.0) == 3


@pytest.fixture
def plain(tmp_path):
    tiny = Pooled()
    return save_model(tiny.model, tmp_path / "m.xml")


@pytest.fixture
def explained(tmp_path):
    tiny = Pooled()
    return save_model(tiny.explained(scaled(tiny.saliency()), scaled=True), tmp_path / "xai.xml")


def test_an_insertion_goes_on_without_its_probe(plain, monkeypatch):
    monkeypatch.setattr("ovxai.probe.probe_file", crash)
    done = call("insert", plain)
    assert done.exit_code == 0 and plain.with_name("m_xai.xml").exists(), done.output
    assert len(done.stderr.splitlines()) == 1 and "SIGSEGV" in done.stderr and "f32" in done.stderr
    assert call("inspect", plain).exit_code == 0


def test_a_verification_that_ends_its_process(plain, explained, monkeypatch):
    monkeypatch.setattr("ovxai.verification.verify", crash)
    assert is_one_line(call("verify", explained), "xai.xml", "SIGSEGV", "f32")
    assert is_one_line(call("insert", plain, "--verify"), "m.xml", "SIGSEGV", "f32")
    assert not plain.with_name("m_xai.xml").exists()


def test_a_measurement_that_ends_its_process(explained, monkeypatch):
    monkeypatch.setattr("ovxai.bench.bench", crash)
    assert is_one_line(call("bench", explained), "xai.xml", "SIGSEGV", "precision auto")
