"""What can go wrong, one class per kind. Every message is one line: what is wrong, where, and what to do.

Messages name options as the command line has them; whoever works in Python reads keywords instead (`advice`).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Options that are of no use to a caller in Python, and stay as they are.
COMMAND_LINE_ONLY = frozenset({
    "advise", "data", "debug", "format", "image", "images", "limit", "max-pixels", "metrics", "names", "recursive", "report",
    "video-format",
})  # fmt: skip
#: Options without a value, and the keyword that says the same.
_SAID_ALONE = {"raw": "scale=False", **{name: f"{name.replace('-', '_')}=True" for name in (
    "force", "trust", "resume", "feature-map", "feature-vector", "probe", "verify", "self-check")}}  # fmt: skip
_OTHERWISE = {"class": "classes", "output-model": "path"}
#: `--name`, with a value behind `=` or, where it can't be taken for the sentence's next word, behind a space.
_OPTION = re.compile(
    r"(?<![\w/\\-])--(?P<no>no-)?(?P<name>[a-z][a-z-]*[a-z])"
    r"(?:=(?P<value>[^\s,;)]+)| (?P<word>\d+(?:,\d+)*|top:\w+|[A-Z]+|activation-map|gradient|regression|product|box|softmax"
    r"|sigmoid)(?![\w-]))?"
    r"(?![\w/\\-]|\.\w)"  # not a part of a path
)
#: How many commands are at work, in threads or one within the other.
_commands, _counting = 0, threading.Lock()


@contextmanager
def on_command_line(yes: bool = True) -> Iterator[None]:
    """Inside, messages are shown as they are written, with the options of the command line."""
    _count(1 if yes else 0)
    try:
        yield
    finally:
        _count(-1 if yes else 0)


def _count(more: int) -> None:
    global _commands  # of the process, since errors become text in its threads
    with _counting:
        _commands += more


def is_command_line() -> bool:
    """Whether a command is at work, and no caller in Python."""
    return _commands > 0


def advice(message: str) -> str:
    """A message for whoever reads it: `--num-classes 5` is `num_classes=5` in Python, `-o` a path."""
    if is_command_line():
        return message
    message = re.sub(r"(?<![\w-])--input (\S+)=FILE", r'inputs={"\1": FILE}', message)
    message = re.sub(r"\bovxai (insert|strip|verify)\b", r"ovxai.\1", message)
    return re.sub(r"(?<![\w/\\-])-o(?![\w/\\-]|\.\w)", "path", _OPTION.sub(_keyword, message))


def _keyword(option: re.Match[str]) -> str:
    name, value = option["name"], option["value"] or option["word"]
    if name in COMMAND_LINE_ONLY:
        return option[0]
    keyword = _OTHERWISE.get(name, name).replace("-", "_")
    if option["no"]:
        return f"{keyword}=False"
    if value is None:
        listed = option.string[option.end() :].startswith(":")  # what it may be given follows
        return _SAID_ALONE.get(name, keyword if listed else f"{keyword}=")
    bare = value.isupper() or (value.isdigit() and keyword != "classes")
    return f"{keyword}={value}" if bare else f'{keyword}="{value}"'


class OvxaiError(Exception):
    """Base of everything this package raises on purpose."""

    def __str__(self) -> str:
        return advice(Exception.__str__(self))


class ModelReadError(OvxaiError, RuntimeError):
    """The file is not there, is not a model, is damaged, or needs a front end that is not installed."""


class UnsupportedModelError(OvxaiError, ValueError):
    """The model was read, but nothing in it can be explained the way it was asked for."""


class AlreadyExplainedError(OvxaiError, ValueError):
    """The model carries explanation outputs already."""


class NotExplainedError(OvxaiError, ValueError):
    """The model carries no explanation outputs, but the command needs them."""


class TargetLayerError(OvxaiError, ValueError):
    """A target layer was named that the model does not have, or that can't be gated."""


class OptionError(OvxaiError, ValueError):
    """An option's value does not fit the model (a class it does not have, a budget too small ...)."""


class UsageError(OptionError):
    """Wrong usage (exit code 2): a value that no model could take, or an option that the chosen method does not read."""


class UnknownClassError(OptionError, KeyError):
    """A class that the model does not have; the message holds the nearest names."""


class VerificationError(OvxaiError, RuntimeError):
    """The maps of an explained model are not what their definition says."""


class CrashError(OvxaiError, RuntimeError):
    """OpenVINO ended the process that it worked in."""


class OutputError(OvxaiError, RuntimeError):
    """A file can't be written where it was asked for, or would overwrite another."""


class TakenError(OutputError):
    """Another file has got the name meanwhile."""


class SourceError(OvxaiError, RuntimeError):
    """A picture or video can't be found or read."""


class AnnotationError(OvxaiError, ValueError):
    """Annotations can't be found, read or understood."""
