"""Class names as people give them: a list, or a file with one per line; and which numbers of them fit a model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ovxai.errors import OptionError
from ovxai.metadata import INSTANCE_SEGMENTATION, VECTOR_TASKS

#: OTX puts this in front of the labels of instance segmentation models; no channel belongs to it.
EMPTY_LABEL = "otx_empty_lbl"
BACKGROUND = "background"
#: Classes of the ImageNet models that know a background: the one number of which that is known.
IMAGENET_AND_BACKGROUND = 1001


def given_labels(labels: Iterable[str] | str | Path | None) -> tuple[str, ...] | None:
    """The names themselves, or those in the file whose path is given; None where nothing is.

    Raises:
        OptionError: the file can't be read, there are no names, or one of them is no text.
    """
    if labels is None:
        return None
    if isinstance(labels, (str, Path)):
        return read_labels(labels)
    names = tuple(labels)
    if not names:
        raise OptionError("labels: an empty list; give one name per class, or a file with one per line")
    odd = next((name for name in names if not isinstance(name, str)), None)
    if odd is not None:
        raise OptionError(f"labels: {odd!r} is no text; give one name per class, or a file with one per line")
    return names


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Class names from a text file, one per line.

    Raises:
        OptionError: the file can't be read or holds none.
    """
    try:
        with open(path, encoding="utf-8") as file:
            names = tuple(line.strip() for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"labels: {path} can't be read: {getattr(error, 'strerror', None) or error}") from error
    if not names:
        raise OptionError(f"labels: {path} is empty; give one name per line")
    return names


def fit_names(names: tuple[str, ...], count: int | None, task: str, offset: int | None = None) -> tuple[str, ...] | None:
    """`names` brought to one per channel; None when their number fits no known habit.

    Habits: OTX's empty label stands in front of an instance segmenter's; 1001-class ImageNet models
    have their background first, and so have torchvision's instance segmenters; OTX's SSD has it last.
    offset: how many channels without a name come first; None: as the habits say.
    """
    if offset:
        placed = (*[BACKGROUND] * offset, *names)
        return placed if count in (None, len(placed)) else None
    shifted = names[:1] == (EMPTY_LABEL,) and (task == INSTANCE_SEGMENTATION or len(names) == (count or 0) + 1)
    if shifted:
        names = names[1:]
    if count is None or len(names) == count:
        return names
    if len(names) != count - 1 or offset == 0:
        return None
    if task in VECTOR_TASKS and not shifted and count != IMAGENET_AND_BACKGROUND:
        return None  # a list that lacks a name, as likely as not: put behind a background, every name would be wrong
    first = not shifted and task in (*VECTOR_TASKS, INSTANCE_SEGMENTATION)
    return (BACKGROUND, *names) if first else (*names, BACKGROUND)


def fitted_names(names: tuple[str, ...], count: int | None, task: str, offset: int | None = None) -> tuple[str, ...]:
    """Like `fit_names`, for names that somebody gave: their number must fit.

    Raises:
        OptionError: it fits no known habit.
    """
    fitting = fit_names(names, count, task, offset)
    if fitting is not None:
        return fitting
    what = f"labels: {len(names)} names for a model with {count} classes"
    if offset:
        raise OptionError(f"{what} do not fit behind {offset} without one (--labels-offset)")
    if count is not None and len(names) == count - 1:
        raise OptionError(f"{what}: one is missing; or give --labels-offset 1, where class 0 is a background without a name")
    raise OptionError(f"{what}; give one per class (--labels-offset N where the first N have none)")
