"""What can go wrong, one class per kind. Every message is one line: what is wrong, where, and what to do."""

from __future__ import annotations


class OvxaiError(Exception):
    """Base of everything this package raises on purpose."""


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

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would put the line into quotes


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
