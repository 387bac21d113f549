"""Every form in which pictures come: see the rules on top of ovxai/runtime/feed/images.py."""

import base64
import os
import struct
import threading

import cv2
import numpy as np
import pytest

from helpers.runtime_graphs import encoded, picture
from ovxai.errors import SourceError
from ovxai.runtime.feed.images import decode_image, read_image, to_display, to_pixels

# 8 x 8, (C, M, Y, K) = (0, 255, 255, 0), that is red, as Photoshop stores it: inverted, with an Adobe marker.
CMYK_JPEG = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUV"
    "FQwPFxgWFBgSFBUU/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIB"
    "AwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZH"
    "SElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV"
    "1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4EQwBNAFkASwAAPwD9U6/Kqvyqr9U6/9k="
)


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def test_png_comes_out_as_it_went_in_rgb():
    assert (decode_image(encoded(picture()), "a.png") == picture()).all()


@pytest.mark.parametrize(
    ("orientation", "turn"), [(3, cv2.ROTATE_180), (6, cv2.ROTATE_90_CLOCKWISE), (8, cv2.ROTATE_90_COUNTERCLOCKWISE)]
)
def test_exif_orientation_is_applied(orientation, turn):
    decoded = decode_image(with_exif(encoded(picture(), ".jpg"), orientation), "a.jpg")
    wanted = cv2.rotate(picture(), turn)
    assert decoded.shape == wanted.shape
    assert np.abs(decoded.astype(int) - wanted).mean() < 8


def test_sixteen_bits_keep_their_full_range():
    deep = np.array([[[0, 0, 0], [65535, 32768, 257]]], np.uint16)
    assert decode_image(encoded(deep), "deep.png").tolist() == [[[0, 0, 0], [255, 128, 1]]]


def test_grey_becomes_three_channels():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (decode_image(encoded(grey), "grey.png") == grey[:, :, None]).all()


def test_grey_of_sixteen_bits():
    assert decode_image(encoded(np.full((2, 2), 65535, np.uint16)), "x.png").tolist() == [[[255] * 3] * 2] * 2


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_transparency_is_laid_on_white(suffix):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = (0, 0, 255, 255)  # opaque red, as OpenCV orders it
    data = cv2.imencode(suffix, pixels, [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else [])[1].tobytes()
    decoded = decode_image(data, "see-through")
    assert decoded[0, 0].tolist() == [255, 0, 0]
    assert decoded[0, 7].tolist() == [255, 255, 255]


def test_a_transparent_colour_of_a_palette():
    """PNG says transparency in a chunk of its own where it has no alpha channel."""
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)
    body = (chunk(b"IHDR", header) + chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255])) + chunk(b"tRNS", bytes([255, 0]))
            + chunk(b"IDAT", zlib.compress(bytes([0, 0, 1]))) + chunk(b"IEND", b""))  # fmt: skip
    assert decode_image(b"\x89PNG\r\n\x1a\n" + body, "p.png").tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_cmyk_jpeg():
    red, green, blue = decode_image(CMYK_JPEG, "print.jpg")[4, 4].tolist()
    assert red > 200 and green < 80 and blue < 80


def test_first_frame_of_an_animation():
    animation = getattr(cv2, "Animation", None)
    if animation is None:
        pytest.skip("this OpenCV can't write animations")
    frames = animation()
    frames.frames = [np.full((8, 8, 4), (*color, 255), np.uint8) for color in ((0, 0, 255), (255, 0, 0))]
    frames.durations = [100, 100]
    ok, data = cv2.imencodeanimation(".webp", frames)
    assert ok
    red, _, blue = decode_image(data.tobytes(), "moving.webp")[4, 4].tolist()
    assert red > 200 and blue < 60


def test_one_pixel():
    assert decode_image(encoded(np.full((1, 1, 3), 7, np.uint8)), "dot.png").tolist() == [[[7, 7, 7]]]


def test_names_of_any_alphabet(tmp_path):
    path = tmp_path / "кошка 猫 ñ.png"
    path.write_bytes(encoded(picture()))
    assert (read_image(path) == picture()).all()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"not a picture", "not a picture"),
        (encoded(picture(), ".jpg")[:300], "cut off"),
        (encoded(picture())[:60], "not a picture"),
    ],
)
def test_broken_files_end_in_one_line(tmp_path, data, says):
    path = tmp_path / "broken.bin"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=says) as caught:
        read_image(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(SourceError, match="can't be read"):
        read_image(tmp_path)


def test_a_thumbnails_end_is_not_the_files_end():
    whole = encoded(picture(), ".jpg")
    thumbnail = b"\xff\xe2" + struct.pack(">H", len(whole) + 2) + whole
    with pytest.raises(SourceError, match="cut off"):
        decode_image(whole[:2] + thumbnail + whole[2:-200], "a.jpg")


def test_arrays_of_either_order_and_of_other_types():
    assert to_pixels(picture()[:, :, ::-1], "x", channel_order="bgr").tolist() == picture().tolist()
    assert to_pixels(picture(), "x").tolist() == picture().tolist()
    assert to_pixels(np.full((2, 2), 0.5, np.float32), "x").max() == 128
    assert to_pixels(np.full((2, 2, 1), True), "x").min() == 255
    assert to_pixels(np.full((2, 2, 3), 200, np.int64), "x").max() == 200


@pytest.mark.parametrize("shape", [(3,), (2, 2, 5), (0, 4, 3), (1, 2, 2, 3)])
def test_arrays_that_are_no_pictures(shape):
    with pytest.raises(SourceError, match="not a picture"):
        to_pixels(np.zeros(shape, np.uint8), "array")


def seen_through() -> np.ndarray:
    """[2, 2, 4] RGBA: red, of which one pixel is transparent."""
    pixels = np.full((2, 2, 4), (255, 0, 0, 255), np.uint8)
    pixels[0, 1, 3] = 0
    return pixels


def test_alpha_for_models_that_take_it():
    data = cv2.imencode(".png", cv2.cvtColor(seen_through(), cv2.COLOR_RGBA2BGRA))[1].tobytes()
    assert decode_image(data, "a.png", 4).tolist() == seen_through().tolist()
    assert decode_image(encoded(picture()), "b.png", 4)[0, 0].tolist() == [255, 0, 0, 255]  # opaque
    assert decode_image(encoded(np.full((2, 2), 7, np.uint8)), "grey.png", 4)[0, 0].tolist() == [7, 7, 7, 255]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_arrays_become_rgb_and_alpha(channels):
    array = np.full((2, 2, channels), 9, np.uint8)
    assert to_pixels(array, "x", 4)[0, 0].tolist() == [9, 9, 9, 9 if channels == 4 else 255]
    assert to_pixels(seen_through()[:, :, [2, 1, 0, 3]], "x", 4, "bgr").tolist() == seen_through().tolist()


def test_other_channels_come_as_they_are_and_in_arrays_only(tmp_path):
    array = np.arange(5, dtype=np.uint8) + np.zeros((2, 2, 1), np.uint8)
    assert to_pixels(array, "x", 5, "bgr").tolist() == array.tolist()
    with pytest.raises(SourceError, match=r"not a picture; give \[H, W, 5\]"):
        to_pixels(picture(), "x", 5)
    (tmp_path / "a.png").write_bytes(encoded(picture()))
    with pytest.raises(SourceError, match=r"a.png: the model takes pictures of 5 channels.*arrays \[H, W, 5\]"):
        read_image(tmp_path / "a.png", 5)


def test_what_people_are_shown_of_other_channels():
    assert to_display(seen_through())[0].tolist() == [[255, 0, 0], [255, 255, 255]]
    assert to_display(np.arange(5, dtype=np.uint8) + np.zeros((1, 1, 1), np.uint8)).tolist() == [[[0, 1, 2]]]
    assert to_display(np.full((1, 1, 2), (7, 8), np.uint8)).tolist() == [[[7, 7, 7]]]
    assert to_display(picture()) is not None and (to_display(picture()) == picture()).all()


def test_numbers_without_a_meaning():
    with pytest.raises(SourceError, match="no known meaning"):
        to_pixels(np.full((2, 2, 3), 1000, np.int32), "array")


def test_a_picture_from_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(encoded(picture()),), daemon=True)
    writer.start()
    assert np.array_equal(read_image(pipe), picture())
    writer.join(10)
