"""What is to be explained and how it is to look: the options of one explanation."""

from __future__ import annotations

import enum
from dataclasses import InitVar, dataclass

from ovxai.errors import UsageError
from ovxai.runtime.show.colours import COLORMAPS

INTERPOLATIONS = ("linear", "cubic")
STYLES = ("heat", "contour")
#: OTX's predicted_maps_conf_thr.
DEFAULT_THRESHOLD = 0.3


class TargetExplainGroup(str, enum.Enum):
    """Whose maps are wanted, as OTX means it.

    IMAGE: one map for the picture whatever the class. ALL: one a class. PREDICTIONS: one a predicted class.
    """

    IMAGE = "image"
    ALL = "all"
    PREDICTIONS = "predictions"

    @classmethod
    def parse(cls, value: TargetExplainGroup | str) -> TargetExplainGroup:
        """A member, from itself, "predictions", OTX's "PREDICTIONS" or "TargetExplainGroup.PREDICTIONS".

        Raises:
            OptionError: none of these.
        """
        if isinstance(value, cls):
            return value
        try:
            return cls(str(value).rsplit(".", 1)[-1].lower())
        except ValueError:
            raise UsageError(f"target: there is no {value!r}; choose one of image, all, predictions") from None

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class ExplainConfig:
    """Options of an explanation. `ovxai run` has the same names.

    target: whose maps. classes: names or indices of classes; when given, `target` is not used.
    threshold: score from which a class counts as predicted, 0..1; None: the model's own
        `confidence_threshold` where it is multi-label or a detector, else 0.3.
    postprocess: False: maps come as the model gives them, [h, w]. True: resized to the picture and
        coloured, [H, W, 3] u8 RGB.
    opacity: share of the map in an overlay, 0..1. colormap: see `ovxai.runtime.show.colours.COLORMAPS`.
    interpolation: "linear" (as OTX) or "cubic". style: "heat" or "contour".

    OTX's own keywords `target_explain_group` and `predicted_maps_conf_thr` are taken for `target` and
    `threshold`. Unlike OTX, the default target is PREDICTIONS.

    Raises:
        OptionError: a value that does not exist or lies outside its range.
    """

    target: TargetExplainGroup | str = TargetExplainGroup.PREDICTIONS
    classes: tuple[str | int, ...] = ()
    postprocess: bool = False
    threshold: float | None = None
    opacity: float = 0.5
    colormap: str = "jet"
    interpolation: str = "linear"
    style: str = "heat"
    target_explain_group: InitVar[TargetExplainGroup | str | None] = None
    predicted_maps_conf_thr: InitVar[float | None] = None

    def __post_init__(self, target_explain_group: TargetExplainGroup | str | None, predicted_maps_conf_thr: float | None) -> None:
        target = self.target if target_explain_group is None else target_explain_group
        self._settle("target", TargetExplainGroup.parse(target))
        if predicted_maps_conf_thr is not None:
            self._settle("threshold", predicted_maps_conf_thr)
        classes = (self.classes,) if isinstance(self.classes, (str, int)) else tuple(self.classes)
        self._settle("classes", classes)
        _share("threshold", self.threshold)
        _share("opacity", self.opacity)
        _one_of("colormap", self.colormap, tuple(COLORMAPS))
        _one_of("interpolation", self.interpolation, INTERPOLATIONS)
        _one_of("style", self.style, STYLES)

    def _settle(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


def _share(name: str, value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise UsageError(f"{name}: {value} is outside 0..1")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name}: there is no {value!r}; choose one of {', '.join(allowed)}")
