"""Files that are there whole or not at all, and what becomes of drafts whose process was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ovxai.errors import OutputError
from ovxai.files import MARK, draft_folder, publish, sweep, whole_file, write_bytes


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def drafts(monkeypatch):
    """Names of every file that is opened for writing, and a predictable source of randomness: worse than it ever is."""
    monkeypatch.setattr(os, "urandom", lambda count: b"\0" * count)
    return f"{MARK}{'00' * 8}"


def test_a_planted_link_is_not_followed(tmp_path, drafts):
    """Even where somebody guessed the name."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / f"{drafts}.png").symlink_to(victim)
    with pytest.raises(OutputError, match=r"a.png: can't be written"):
        write_bytes(folder / "a.png", b"x")
    assert victim.read_bytes() == b"mine"
    (folder / drafts).symlink_to(tmp_path)
    with pytest.raises(OSError), draft_folder(folder):
        pass


def test_names_of_drafts_can_not_be_guessed(tmp_path):
    seen = set()
    for _ in range(3):
        with whole_file(tmp_path / "a.txt") as file:
            seen |= set(names(tmp_path)) - {"a.txt"}
            file.write("x")
    assert len(seen) == 3 and all(name.startswith(MARK) and len(name) == len(MARK) + 16 + 4 for name in seen)


def test_a_link_in_place_of_the_file_is_replaced_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "a.png").symlink_to(victim)
    write_bytes(tmp_path / "a.png", b"x")
    assert victim.read_bytes() == b"mine" and not (tmp_path / "a.png").is_symlink()


def test_a_draft_folder_is_for_this_user_alone(tmp_path):
    with draft_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
    assert names(tmp_path) == []


_KILLED = """
import os, pathlib, sys
from ovxai.files import draft_folder, whole_file
folder = pathlib.Path(sys.argv[1])
with draft_folder(folder) as inner, whole_file(folder / "a.txt") as file:
    (inner / "half").write_bytes(b"x")
    print("ready", flush=True)
    sys.stdin.read() if sys.argv[2] == "wait" else os.kill(os.getpid(), 9)
"""


def child(folder, what):
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(folder), what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def test_drafts_of_a_killed_process_are_swept_and_nothing_else(tmp_path):
    for name in (".ovxai-notes", f"{MARK}{'0' * 15}", f"{MARK}{'g' * 16}.png", "a.png", ".hidden"):
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / f"{MARK}{'1' * 16}").symlink_to(tmp_path / "a.png")
    before = names(tmp_path)
    child(tmp_path, "die").wait(timeout=60)
    assert len(names(tmp_path)) == len(before) + 2
    sweep(tmp_path)
    assert names(tmp_path) == before


def test_drafts_of_a_living_process_are_left_alone(tmp_path):
    process = child(tmp_path, "wait")
    before = names(tmp_path)
    sweep(tmp_path)
    assert names(tmp_path) == before and len(before) == 2
    process.communicate("")
    assert names(tmp_path) == ["a.txt"]


def pair(folder: Path, word: str) -> list[Path]:
    drafts = [folder / f"draft.{suffix}" for suffix in ("bin", "xml")]
    for draft in drafts:
        draft.write_text(word)
    return drafts


def test_all_of_several_files_or_none(tmp_path):
    """The second can't be renamed: the first is what it was."""
    (tmp_path / "inner").mkdir()
    paths = [tmp_path / "m.bin", tmp_path / "m.xml"]
    paths[1].mkdir()
    with pytest.raises(OSError):
        publish(pair(tmp_path / "inner", "new"), paths, force=True)
    assert not paths[0].exists()
    paths[0].write_text("old")
    with pytest.raises(OSError):
        publish(pair(tmp_path / "inner", "new"), paths, force=True)
    assert paths[0].read_text() == "old"


def test_what_appeared_meanwhile_is_not_overwritten(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "m.xml").write_text("old")
    with pytest.raises(OutputError, match="force=True"):
        publish(pair(tmp_path / "inner", "new"), [tmp_path / "m.bin", tmp_path / "m.xml"], force=False)
    assert (tmp_path / "m.xml").read_text() == "old" and not (tmp_path / "m.bin").exists()


_BUSY = """
import pathlib, sys
from ovxai.files import draft_folder, sweep, whole_file
folder = pathlib.Path(sys.argv[1])
for i in range(400):
    sweep(folder)
    with draft_folder(folder) as inner, whole_file(inner / "a.txt") as file:
        file.write("x")
    with whole_file(folder / f"{sys.argv[2]}.txt", durable=False) as file:
        file.write(str(i))
"""


def test_sweeps_and_drafts_at_the_same_time(tmp_path):
    """A sweep between making a draft and locking it takes it away; whoever made it makes another."""
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY, str(tmp_path), name]) for name in "abc"]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {f"{name}.txt": "399" for name in "abc"}
