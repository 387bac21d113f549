"""What is to be explained and how it is to look: the options of one explanation."""

from __future__ import annotations

import difflib
import enum
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ovxai.errors import UsageError

#: jet is what OTX paints with; the next five are perceptually uniform or nearly.
COLORMAPS = ("jet", "viridis", "inferno", "magma", "plasma", "cividis", "turbo", "hot", "bone", "parula", "grey")
INTERPOLATIONS = ("linear", "cubic")
#: fade: the share of the map follows its values. heat: the same share everywhere, as OTX.
STYLES = ("fade", "heat", "contour")
#: OTX's predicted_maps_conf_thr.
DEFAULT_THRESHOLD = 0.3
#: Larger pictures are refused unless it is said otherwise: a file of a few MB can ask for gigabytes. Pillow's limit.
MOST_PIXELS = 2 * (1 << 30) // 12


class TargetExplainGroup(str, enum.Enum):
    """Whose maps are wanted, as OTX means it.

    IMAGE: one map for the picture whatever the class. ALL: one per class. PREDICTIONS: one per predicted class.
    """

    IMAGE = "image"
    ALL = "all"
    PREDICTIONS = "predictions"

    @classmethod
    def parse(cls, value: TargetExplainGroup | str) -> TargetExplainGroup:
        """A member, from itself, "predictions", OTX's "PREDICTIONS" or "TargetExplainGroup.PREDICTIONS".

        Raises:
            UsageError: none of these.
        """
        if isinstance(value, cls):
            return value
        try:
            return cls(str(value).rsplit(".", 1)[-1].lower())
        except ValueError:
            raise UsageError(f"target: there is no {value!r}; choose one of image, all, predictions") from None

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True, init=False)
class ExplainConfig:
    """Options of an explanation. `ovxai run` has the same names.

    target: whose maps. classes: names or indices of classes; when given, `target` is not used.
    postprocess: False: maps come as the model gives them, [h, w]. True: resized to the picture and
        coloured, [H, W, 3] u8 RGB.
    threshold: score from which a class counts as predicted, 0..1; None: the model's own
        `confidence_threshold` where it is multi-label or a detector, else 0.3.
    opacity: share of the map in an overlay, 0..1, where it is hottest. colormap: one of `ovxai.runtime.config.COLORMAPS`.
    interpolation: "linear" (as OTX) or "cubic". style: "fade" (opacity follows the map,
        so that cold areas keep their colours), "heat" (the same opacity everywhere, as OTX) or "contour".
    top: the so many best classes count as predicted whatever their score (of detectors, of the classes found); None: those
        over the threshold. grid: classes that `Explanation.grid` can show whether they are explained or not.
    captions: write class, score and colours on overlays.
    """

    target: TargetExplainGroup
    classes: tuple[str | int, ...]
    postprocess: bool
    threshold: float | None
    opacity: float
    colormap: str
    interpolation: str
    style: str
    top: int | None
    grid: int
    captions: bool

    def __init__(
        self,
        target: TargetExplainGroup | str = TargetExplainGroup.PREDICTIONS,
        classes: str | int | Iterable[str | int] = (),
        postprocess: bool = False,
        threshold: float | None = None,
        opacity: float = 0.5,
        colormap: str = "jet",
        interpolation: str = "linear",
        style: str = "fade",
        *,
        top: int | None = None,
        grid: int = 0,
        captions: bool = True,
        target_explain_group: TargetExplainGroup | str | None = None,
        predicted_maps_conf_thr: float | None = None,
    ) -> None:
        """Check the options. A single class needs no list around it.

        target_explain_group, predicted_maps_conf_thr: OTX's own keywords, for `target` and `threshold`. Unlike
            OTX, the default target is PREDICTIONS.

        Raises:
            UsageError: a value that does not exist or lies outside its range.
        """
        settings: dict[str, object] = {
            "target": TargetExplainGroup.parse(target if target_explain_group is None else target_explain_group),
            "classes": (classes,) if isinstance(classes, (str, int)) else tuple(classes),
            "postprocess": postprocess,
            "threshold": threshold if predicted_maps_conf_thr is None else predicted_maps_conf_thr,
            "opacity": opacity,
            "colormap": colormap,
            "interpolation": interpolation,
            "style": style,
            "top": top,
            "grid": grid,
            "captions": captions,
        }
        for name, value in settings.items():
            object.__setattr__(self, name, value)
        if self.top is not None:
            self._check_top(self.top)
        if self.grid < 0:
            raise UsageError(f"grid: {self.grid} is below 0")
        _check_share("threshold", self.threshold)
        _check_share("opacity", self.opacity)
        _check_choice("colormap", self.colormap, COLORMAPS)
        _check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        _check_choice("style", self.style, STYLES)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ExplainConfig:
        """From a dict of the keywords, as a file of settings holds them.

        Raises:
            UsageError: a keyword that there is not; names the nearest.
        """
        known = list(inspect.signature(cls).parameters)
        for name in settings:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
                raise UsageError(f"ExplainConfig: there is no {name!r}; {hint}")
        return cls(**settings)

    def _check_top(self, top: int) -> None:
        if top < 1:
            raise UsageError(f"top: {top} is below 1")
        if self.classes or self.target != TargetExplainGroup.PREDICTIONS:
            raise UsageError("top: says which classes count as predicted; it goes with target predictions and without class")


def _check_share(name: str, value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise UsageError(f"{name}: {value} is outside 0..1")


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"{name}: there is no {value!r}; choose one of {', '.join(allowed)}")
