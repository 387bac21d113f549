"""What people hand to `ovxai.Explainer` as a picture: taken rightly, or refused in one line."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.runtime_graphs import classifier, encoded, picture
from ovxai import Explainer
from ovxai.errors import SourceError, UsageError


@pytest.fixture(scope="module")
def explainer():
    """Says which colour a picture has."""
    return Explainer(classifier())


def maps(explanation):
    return {key: value.tolist() for key, value in explanation.raw_maps.items()}


@pytest.mark.parametrize("values", [picture().astype(np.float32), picture().astype(float) * 2 - 1, np.full((4, 4, 3), 1.2)])
def test_floats_of_unknown_range_are_refused(explainer, values):
    with pytest.raises(SourceError, match=r"array: floats of .*; give uint8 for 0..255, or floats of 0..1") as caught:
        explainer(values)
    assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match="floats of"):
        list(explainer.explain_many([values]))


def test_floats_of_0_to_1(explainer):
    pixels = picture()
    assert maps(explainer(pixels / 255)) == maps(explainer(pixels))
    assert maps(explainer(pixels / 255 * 1.02 - 0.01))  # a resampled picture rings


def test_pil_pictures(explainer):
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    pixels = picture()
    right = maps(explainer(pixels))
    image = Image.fromarray(pixels)
    for one in (image, image.convert("RGBA"), image.convert("P"), image.convert("CMYK")):
        assert maps(explainer(one)).keys() == right.keys()
    assert maps(explainer(image)) == maps(explainer(image, channel_order="bgr")) == right
    assert maps(explainer(image.convert("L"))) == maps(explainer(np.asarray(image.convert("L"))))
    assert maps(explainer(image.convert("1"))) == maps(explainer(np.asarray(image.convert("1").convert("L"))))
    assert [maps(one) for one in explainer.explain_many([image, image])] == [right, right]


class Tensor:
    """Of another framework."""

    def __init__(self, values: np.ndarray | None) -> None:
        self.values = values

    def __array__(self, *_args, **_options):
        if self.values is None:
            raise TypeError("can't convert cuda:0 device type tensor to numpy.\nUse Tensor.cpu() first")
        return self.values


def test_tensors(explainer):
    assert maps(explainer(Tensor(picture()))) == maps(explainer(picture()))
    for first in (picture().transpose(2, 0, 1), picture().transpose(2, 0, 1)[None], picture().transpose(2, 0, 1) / 255):
        assert maps(explainer(Tensor(first))) == maps(explainer(picture()))
    with pytest.raises(SourceError, match=r"\(2, 40, 60\) is not a picture; give \[H, W, 3\]"):
        explainer(Tensor(picture().transpose(2, 0, 1)[:2]))
    with pytest.raises(SourceError, match=r"\(3, 40, 60\) is not a picture"):  # NumPy's are as they say
        explainer(picture().transpose(2, 0, 1))
    with pytest.raises(SourceError, match=r"Tensor that NumPy can't read is no picture: .*cpu") as caught:
        explainer(Tensor(None))
    assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match=r"a list is no picture; .*; for several pictures there is explain_many"):
        explainer([picture(), picture()])


def test_the_bytes_of_a_file(explainer):
    data = encoded(picture())
    for one in (data, bytearray(data), memoryview(data)):
        assert maps(explainer(one)) == maps(explainer(picture()))
    assert [maps(one) for one in explainer.explain_many([data])] == [maps(explainer(picture()))]
    with pytest.raises(SourceError, match="bytes: not a picture"):
        explainer(b"no picture")


def test_tensors_of_torch(explainer):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    whole = torch.from_numpy(picture())
    for one in (whole, whole.permute(2, 0, 1), whole.permute(2, 0, 1)[None].float() / 255):
        assert maps(explainer(one)) == maps(explainer(picture()))


@pytest.mark.parametrize("thing", [None, 3, {"a": 1}, object()])
def test_what_holds_no_pixels(explainer, thing):
    with pytest.raises(SourceError, match=r"no picture; give a path, the bytes of a file, an array \[H, W, 3\] or a PIL picture"):
        explainer(thing)


@pytest.mark.parametrize("one", ["a.jpg", b"a.jpg", picture(), 3, None])
def test_one_picture_where_several_are_wanted(explainer, one):
    with pytest.raises(UsageError, match=r"several pictures, not one .*; put it into a list"):
        list(explainer.explain_many(one))


def test_an_unknown_order_is_wrong_usage_also_of_several(explainer):
    with pytest.raises(UsageError, match="channel order"):
        list(explainer.explain_many([picture()], channel_order="hsv"))


def test_pixels_of_which_none_is_a_number(explainer):
    """Some may be none, as where a raster has no data."""
    nothing = np.full((24, 32, 3), np.nan, np.float32)
    with pytest.raises(SourceError, match="all NaN"):
        explainer(nothing)
    nothing[4:] = 0.5
    assert maps(explainer(nothing))
