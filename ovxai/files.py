"""Files that are there whole or not at all: written under a name that nobody can guess, then renamed.

A draft stands in the folder of what it will become, is made for this process alone (an existing file or link of its name
is never opened) and is locked as long as it is written. `sweep` takes away the drafts that no process holds.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ovxai.errors import OutputError, SourceError, TakenError

if sys.platform != "win32":
    import fcntl
if TYPE_CHECKING:
    import numpy as np

#: What the name of every draft begins with; sixteen random hexadecimal digits follow.
MARK = ".ovxai-"
_DRAFT = re.compile(re.escape(MARK) + r"[0-9a-f]{16}(\.\w+)?")
_EXCLUSIVE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def whole_file(path: Path, mode: str = "w", *, durable: bool = True, force: bool = True) -> Iterator[IO[Any]]:
    """A file to write into that becomes `path` at the end; after an error `path` is as it was.

    durable: on the disk before it gets its name, so that a power cut does not leave it empty. force: in place of
    whatever has the name.

    Raises:
        TakenError: something has the name, and `force` is off. OutputError: the disk refused.
    """
    draft = None
    try:
        draft, number = _exclusive_file(path)
        with os.fdopen(number, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            give_name(draft, path, force=force)
    except OSError as error:
        raise OutputError(f"{path}: can't be written: {error.strerror or error}") from error
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, force: bool = True) -> None:
    """Write `data` so that `path` is either as it was or whole; see `whole_file`."""
    with whole_file(path, "wb", durable=False, force=force) as file:
        file.write(data)


def give_name(draft: Path, path: Path, *, force: bool) -> None:
    """Rename a finished draft.

    Raises:
        TakenError: something has the name, and `force` is off. OSError: the disk refused.
    """
    if force:
        os.replace(draft, path)
        return
    try:
        os.link(draft, path)  # unlike a renaming, it fails where the name is taken, by whoever and since whenever
    except FileExistsError as error:
        raise TakenError(f"{path} exists; give another folder, or --force to overwrite it") from error
    except OSError:  # a file system without second names
        if os.path.lexists(path):
            raise TakenError(f"{path} exists; give another folder, or --force to overwrite it") from None
        os.replace(draft, path)


@contextmanager
def draft_folder(folder: Path) -> Iterator[Path]:
    """A folder inside of `folder` that this user alone may enter, for writers that want a name; gone at the end.

    Raises:
        OSError: the disk refused.
    """
    draft, number = _exclusive_folder(folder)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if number is not None:
            os.close(number)


def publish(drafts: Sequence[Path], paths: Sequence[Path], *, force: bool) -> None:
    """Rename finished `drafts` to `paths`, all of one folder, one process at a time and all of them or none.

    Raises:
        OutputError: one of `paths` has appeared meanwhile, and `force` is off.
        OSError: the disk refused; then `paths` are as they were.
    """
    for draft in drafts:
        flush(draft)
    with locked_folder(paths[0].parent) as number:
        taken = next((path for path in paths if path.exists()), None)
        if taken is not None and not force:
            raise OutputError(f"{taken} exists; give another -o, or --force to overwrite it")
        standing = [os.path.lexists(path) for path in paths]
        kept = [_second_name(path, draft.with_name(f"kept{i}")) for i, (draft, path) in enumerate(zip(drafts, paths))]
        done: list[int] = []
        try:
            for i, (draft, path) in enumerate(zip(drafts, paths)):
                os.replace(draft, path)
                done.append(i)
        except BaseException:
            for i in done:
                if (old := kept[i]) is not None:
                    os.replace(old, paths[i])
                elif not standing[i]:
                    paths[i].unlink()
            raise
        if number is not None:
            with suppress(OSError):  # not every file system has it for folders
                os.fsync(number)


def flush(path: Path) -> None:
    """Have the bytes of `path` on the disk.

    Raises:
        OSError: the disk refused.
    """
    number = os.open(path, os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def why_not_longer(path: Path) -> str:
    """What the system says against more bytes in `path`, a file that could not be finished; "" where it takes them."""
    try:
        with open(path, "ab", buffering=0) as file:
            missing = 1 << 16
            while missing:  # the first bytes may still be taken, without an error
                missing -= file.write(bytes(missing))
            os.fsync(file.fileno())
    except OSError as error:
        return str(error.strerror or error)
    return ""


def sweep(folder: Path) -> None:
    """Remove what killed processes of this user have left in `folder`: drafts by their name that nobody holds."""
    if sys.platform == "win32":  # no locks there that would tell
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _DRAFT.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_uid == os.getuid():
                with suppress(OSError):
                    _remove_unheld(Path(entry.path))


def _remove_unheld(path: Path) -> None:
    number = os.open(path, _READ)
    try:
        _lock(number, wait=False)
        if stat.S_ISDIR(os.fstat(number).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    finally:
        os.close(number)


def check_folder(folder: Path) -> Path:
    """Refuse early a folder that can't be made or written.

    Raises:
        OutputError: it is a file, or it or its parent can't be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; give a folder to write into")
    standing = next((p for p in (folder, *folder.absolute().parents) if p.exists()), folder)
    if not standing.is_dir():
        raise OutputError(f"{folder}: {standing} is a file, so no folder can be made in it")
    if not os.access(standing, os.W_OK):
        raise OutputError(f"{folder}: {standing} can't be written")
    return folder


def make_folder(folder: Path) -> Path:
    """Make `folder` and what is above it.

    Raises:
        OutputError: the disk refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: can't be made: {error.strerror or error}") from error
    return folder


# Names and locks.


def _name(folder: Path, suffix: str = "") -> Path:
    return folder / f"{MARK}{os.urandom(8).hex()}{suffix}"


def _exclusive_file(path: Path) -> tuple[Path, int]:
    """A new file beside `path` with its suffix, open and locked."""
    while True:
        draft = _name(path.parent, path.suffix)
        number = os.open(draft, _EXCLUSIVE, 0o666)
        if _hold(draft, number):
            return draft, number
        os.close(number)


def _exclusive_folder(folder: Path) -> tuple[Path, int | None]:
    while True:
        draft = _name(folder)
        draft.mkdir(0o700)
        if sys.platform == "win32":
            return draft, None
        try:
            number = os.open(draft, _READ)
        except FileNotFoundError:  # a sweep came between
            continue
        if _hold(draft, number):
            return draft, number
        os.close(number)


def _hold(draft: Path, number: int) -> bool:
    """Lock a new draft; False where a sweep was faster and has taken it away."""
    with suppress(OSError):  # a file system without locks: nobody sweeps there either
        _lock(number, wait=True)
    try:
        return os.path.samestat(os.fstat(number), os.stat(draft, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _lock(number: int, *, wait: bool) -> None:
    if sys.platform != "win32":
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


@contextmanager
def locked_folder(folder: Path) -> Iterator[int | None]:
    """One process at a time, where the file system knows locks."""
    if sys.platform == "win32":
        yield None
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            _lock(number, wait=True)
        yield number
    finally:
        os.close(number)


def _second_name(path: Path, spare: Path) -> Path | None:
    """`spare` as one more name of the file `path`; None where there is no such file, or no second names."""
    try:
        os.link(path, spare, follow_symlinks=False)
    except (OSError, NotImplementedError):
        return None
    return spare


def load_array(path: str | Path) -> np.ndarray:
    """The array in a .npy file, of which only what is used is read; one of Python objects, which could run code, is refused.

    Raises:
        SourceError: no such file, or no array of numbers.
    """
    import numpy as np  # here, so that --help waits for no library

    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError, MemoryError, OverflowError) as error:
        raise SourceError(f"{path}: not an array that NumPy has saved (numpy.save), or damaged") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise SourceError(f"{path}: holds no numbers, but {getattr(array, 'dtype', 'several arrays')}")
    return array
