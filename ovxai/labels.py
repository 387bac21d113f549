"""Class names as people give them: a list, or a file with one per line; and which numbers of them fit a model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ovxai.errors import OptionError
from ovxai.metadata import CLASSIFICATION, INSTANCE_SEGMENTATION

#: OTX puts this in front of the labels of instance segmentation models; no channel belongs to it.
EMPTY_LABEL = "otx_empty_lbl"
BACKGROUND = "background"


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


def fit_names(names: tuple[str, ...], count: int | None, task: str) -> tuple[str, ...] | None:
    """`names` brought to one per channel; None when their number fits no known habit.

    Habits: OTX's empty label stands in front of an instance segmenter's; 1001-class ImageNet models
    have their background first, and so have torchvision's; OTX's SSD has it last.
    """
    shifted = names[:1] == (EMPTY_LABEL,) and (task == INSTANCE_SEGMENTATION or len(names) == (count or 0) + 1)
    if shifted:
        names = names[1:]
    if count is None or len(names) == count:
        return names
    if len(names) != count - 1:
        return None
    first = not shifted and task in (CLASSIFICATION, INSTANCE_SEGMENTATION)
    return (BACKGROUND, *names) if first else (*names, BACKGROUND)


def fitted_names(names: tuple[str, ...], count: int | None, task: str) -> tuple[str, ...]:
    """Like `fit_names`, for names that somebody gave: their number must fit.

    Raises:
        OptionError: it fits no known habit.
    """
    fitting = fit_names(names, count, task)
    if fitting is None:
        raise OptionError(
            f"labels: {len(names)} names for a model with {count} classes; give one per class (a background may be left out)"
        )
    return fitting
