"""Two writers of one model, killed writers, and disks that are full: nothing partial, nothing foreign changed."""

from __future__ import annotations

import functools
import json
import resource
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import openvino as ov

from fuzzing.models import files
from ovxai.child import Child
from ovxai.errors import CrashError, OvxaiError
from ovxai.files import MARK
from ovxai.graph.read import read_model
from ovxai.graph.save import save_model
from ovxai.insertion import insert
from ovxai.metadata import is_explained

#: Models that are written in each other's place.
ONE, OTHER = "cnn", "vit"
#: What stands beside them and is somebody else's.
FOREIGN = "foreign.txt"


def two_writers(rng: np.random.Generator, folder: Path) -> None:
    """Two processes insert into one file with --force, and this one reads meanwhile: one of the two pairs, always."""
    path = folder / "model.xml"
    save(str(rng.choice([ONE, OTHER])), path)
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(child.call, "a writer", save, name, path) for child, name in zip(_writers(), (ONE, OTHER))]
        while not all(one.done() for one in done):
            belongs_together(path)
        for one in done:
            one.result()
    assert belongs_together(path), "both are done, and the pair is refused"
    assert_tidy(folder, "model.xml", "model.bin")


def killed_writer(rng: np.random.Generator, folder: Path) -> None:
    """A process that inserts with --force, again and again, is killed at some moment: a pair, or an error that says so."""
    path = folder / "model.xml"
    (folder / FOREIGN).write_text("mine")
    save(ONE, path)
    with Child("fuzzing.faults") as child:
        child.call("the start", save, OTHER, path)
        endless = threading.Thread(target=_until_killed, args=(child, path))
        endless.start()
        time.sleep(rng.uniform(0, 0.4))
    endless.join()
    whole = belongs_together(path)
    save(ONE, path)
    assert belongs_together(path)
    assert_tidy(folder, "model.xml", "model.bin", FOREIGN)
    if not whole:
        raise OvxaiError("told apart: the .bin is not the one that the .xml was saved with")


def full_disk(rng: np.random.Generator, folder: Path) -> None:
    """No file may grow over some size: the explained model is there whole, or it is as before and one line says why."""
    path = folder / "model.xml"
    (folder / FOREIGN).write_text("mine")
    plain(OTHER)
    stands = bool(rng.random() < 0.5)
    if stands:
        save(ONE, path)
    try:
        with limit(int(2 ** rng.uniform(5, 20))):
            save(OTHER, path)
    finally:
        if stands or path.exists():
            assert belongs_together(path)
        assert_tidy(folder, FOREIGN, *(["model.xml", "model.bin"] if path.exists() else []))


def killed_run(rng: np.random.Generator, folder: Path) -> None:
    """`ovxai run` on a folder of pictures is killed at some moment: every file under its name is whole."""
    pictures_and_model(folder)
    with Child("ovxai.cli.main") as child:
        child.call("the start", run_command, folder, folder / "warm")
        thread = threading.Thread(target=_until_killed, args=(child, folder, folder / "out"))
        thread.start()
        time.sleep(rng.uniform(0, 0.5))
    thread.join()
    all_whole(folder / "out")
    assert run_command(folder, folder / "out") == 0
    all_whole(folder / "out")
    left = [one.name for one in folder.rglob(f"{MARK}*")]
    assert not left, f"left behind: {left}"


def run_on_a_full_disk(rng: np.random.Generator, folder: Path) -> None:
    """`ovxai run` where no file may grow over some size: what is there is whole, and what is not is an exit code."""
    pictures_and_model(folder)
    with limit(int(2 ** rng.uniform(5, 17))):
        code = run_command(folder, folder / "out")
    all_whole(folder / "out")
    if code != 0:
        raise OvxaiError(f"exit code {code}")
    assert (folder / "out" / "manifest.json").is_file()


# What the cases are made of.


@functools.cache
def _writers() -> tuple[Child, Child]:
    """They live as long as this process."""
    return Child("fuzzing.faults").__enter__(), Child("fuzzing.faults").__enter__()


def save(name: str, path: Path) -> None:
    """What `ovxai insert --force` does."""
    save_model(insert(plain(name), probe=False), path, force=True)


def save_for_ever(path: Path) -> None:
    """The two models in turn."""
    while True:
        save(ONE, path)
        save(OTHER, path)


@functools.cache
def plain(name: str) -> ov.Model:
    """One of the small models."""
    text, weights = files(name, explained=False)
    return ov.Core().read_model(text, ov.Tensor(np.frombuffer(weights, np.uint8)))


def _until_killed(child: Child, path: Path, out: Path | None = None) -> None:
    with suppress(CrashError, OSError, ValueError):
        if out is None:
            child.call("the writer", save_for_ever, path)
        else:
            child.call("the run", run_command, path, out)


def belongs_together(path: Path) -> bool:
    """Whether the pair is read, and then it is one of the two that were written; False: one line says that it is none."""
    try:
        model = read_model(path)
    except OvxaiError as error:
        assert str(error).isprintable() and path.stem in str(error), error
        return False
    assert is_explained(model)
    found = _weights(model)
    assert any(_weights(plain(name)) <= found for name in (ONE, OTHER)), "read without an error, and neither model's weights"
    return True


def _weights(model: ov.Model) -> frozenset[bytes]:
    found = (node.get_data().tobytes() for node in model.get_ops() if node.get_type_name() == "Constant")
    return frozenset(data for data in found if len(data) > 64)


def assert_tidy(folder: Path, *names: str) -> None:
    """Only these files, and what is somebody else's as it was."""
    found = sorted(one.name for one in folder.iterdir())
    assert found == sorted(names), f"in the folder: {found}"
    assert FOREIGN not in names or (folder / FOREIGN).read_text() == "mine"


@contextmanager
def limit(size: int) -> Iterator[None]:
    """No file of this process may grow over so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def pictures_and_model(folder: Path, count: int = 4) -> None:
    """A small explained model, and a folder of noise."""
    text, weights = files(ONE, explained=True)
    (folder / "model.xml").write_bytes(text)
    (folder / "model.bin").write_bytes(weights)
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        cv2.imwrite(str(folder / "pictures" / f"{number}.png"), rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))


def run_command(folder: Path, out: Path) -> int:
    """The exit code of `ovxai run`."""
    from helpers.cli import call

    done = call("run", folder / "model.xml", folder / "pictures", "-o", out, "--force")
    assert done.exit_code in (0, 1) and "Traceback" not in done.output, (
        f"exit code {done.exit_code}: {done.output} {done.exception!r}"
    )
    return done.exit_code


def all_whole(out: Path) -> None:
    """Every file that has its name can be read."""
    for path in out.rglob("*") if out.is_dir() else []:
        if path.is_dir() or MARK in str(path.relative_to(out)):
            continue
        data = path.read_bytes()
        if path.suffix == ".json":
            json.loads(data)
        elif path.suffix == ".png":
            assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None, f"{path.name} is no picture"
        elif path.suffix == ".html":
            assert data.rstrip().endswith(b"</html>"), f"{path.name} is a part of a page"
