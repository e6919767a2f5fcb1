"""Decode and resize: the pixels that everything else stands on."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pocketlens.errors import PictureError
from pocketlens.runtime import pictures
from pocketlens.runtime.pictures import Resizer, decode, resize


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(shared: Path, orientation: int) -> None:
    folder = shared / "data" / "awkward_images"
    upright = decode(folder / "good.jpg").astype(int)
    turned = decode(folder / f"exif_{orientation}.jpg").astype(int)
    assert turned.shape == upright.shape
    # The files were compressed again after turning.
    assert np.abs(turned - upright).mean() < 4


@pytest.mark.parametrize(
    "name",
    [
        "animated.gif",
        "bmp.bmp",
        "cmyk.jpg",
        "good.jpg",
        "gray16.png",
        "grayscale.jpg",
        "one_pixel.png",
        "palette.png",
        "png_named.jpg",
        "rgba.png",
        "sliver.png",
        "webp.webp",
    ],
)
def test_awkward_pictures_decode(shared: Path, name: str) -> None:
    pixels = decode(shared / "data" / "awkward_images" / name)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert resize(pixels, (96, 64)).shape == (64, 96, 3)


@pytest.mark.parametrize("name", ["bomb.png", "empty.jpg", "text_named.jpg", "truncated.jpg"])
def test_bad_pictures_are_refused_in_one_sentence(shared: Path, name: str) -> None:
    with pytest.raises(PictureError, match=f"Expected .* Received: .*{name}") as caught:
        decode(shared / "data" / "awkward_images" / name)
    assert "\n" not in str(caught.value)


def test_large_picture_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 99)
    with pytest.raises(PictureError, match="megapixels"):
        decode(encoded(Image.new("RGB", (10, 10))))


def test_sixteen_bit_greys_keep_their_range() -> None:
    grey = np.array([[0, 257, 32768, 65535]], np.uint16)
    pixels = decode(encoded(Image.fromarray(grey)))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparency_lies_over_white() -> None:
    image = Image.new("RGBA", (1, 1), (10, 20, 30, 0))
    assert decode(encoded(image)).tolist() == [[[255, 255, 255]]]


def test_order_is_rgb() -> None:
    assert decode(encoded(Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]


def test_missing_file() -> None:
    with pytest.raises(PictureError, match="nothing there"):
        decode(Path("nowhere.jpg"))


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
def test_cut_file(cut: float) -> None:
    data = encoded(Image.fromarray(noise(64, 64)), "JPEG")
    with pytest.raises(PictureError):
        decode(data[: int(len(data) * cut)])


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    size=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    mode=st.sampled_from(["stretch", "crop", "pad"]),
)
def test_result_has_the_size_asked_for(
    height: int, width: int, size: tuple[int, int], mode: str
) -> None:
    assert resize(noise(height, width), size, mode).shape == (size[1], size[0], 3)


def plain_resize(pixels: np.ndarray, size_wh: tuple[int, int], mode: str) -> np.ndarray:
    """Do what models were trained on since the first version, in the plainest way."""
    (width, height), (rows, columns) = size_wh, pixels.shape[:2]
    if mode == "crop":
        scale = min(columns / width, rows / height)
        part_wh = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (columns - part_wh[0]) // 2, (rows - part_wh[1]) // 2
        part = pixels[top : top + part_wh[1], left : left + part_wh[0]]
        return plain_resize(part, size_wh, "stretch")
    if mode == "pad":
        scale = min(width / columns, height / rows)
        inner_wh = max(1, round(columns * scale)), max(1, round(rows * scale))
        inner = plain_resize(pixels, inner_wh, "stretch")
        left, top = (width - inner_wh[0]) // 2, (height - inner_wh[1]) // 2
        right, bottom = width - left - inner_wh[0], height - top - inner_wh[1]
        return np.pad(inner, ((top, bottom), (left, right), (0, 0)))
    while pixels.shape[0] >= 2 * height and pixels.shape[1] >= 2 * width:
        rows, columns = pixels.shape[0] // 2, pixels.shape[1] // 2
        squares = pixels[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, 3)
        pixels = ((squares.sum(axis=(1, 3), dtype=np.int64) + 2) // 4).astype(np.uint8)
    return cv2.resize(pixels, size_wh, interpolation=cv2.INTER_LINEAR)


@settings(deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400)), min_size=1, max_size=3),
    size_wh=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    mode=st.sampled_from(["stretch", "crop", "pad"]),
)
def test_pixels_are_a_contract(
    shapes: list[tuple[int, int]], size_wh: tuple[int, int], mode: str
) -> None:
    """Models were trained on these very pixels, so no faster way may change one of them."""
    resizer = Resizer(size_wh, mode)
    for seed, (height, width) in enumerate(shapes):
        pixels = noise(height, width, seed)
        expected = plain_resize(pixels, size_wh, mode)
        np.testing.assert_array_equal(resize(pixels, size_wh, mode), expected)
        np.testing.assert_array_equal(resizer(pixels), expected)


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("height", [360, 720, 1080])
def test_photos_keep_the_contract(shared: Path, height: int, mode: str) -> None:
    resizer = Resizer((224, 224), mode)
    for photo in sorted((shared / "data" / "imagenet_samples").glob("*.jpg"))[::80]:
        pixels = cv2.resize(
            decode(photo), (16 * height // 9, height), interpolation=cv2.INTER_CUBIC
        )
        expected = plain_resize(pixels, (224, 224), mode)
        np.testing.assert_array_equal(resizer(pixels), expected)
        np.testing.assert_array_equal(resize(pixels, (224, 224), mode), expected)


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
def test_own_size_changes_nothing(mode: str) -> None:
    pixels = noise(40, 60)
    np.testing.assert_array_equal(resize(pixels, (60, 40), mode), pixels)


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
def test_order_of_channels_does_not_matter(mode: str) -> None:
    pixels = noise(721, 1281)
    one = resize(np.ascontiguousarray(pixels[..., ::-1]), (224, 224), mode)
    np.testing.assert_array_equal(one[..., ::-1], resize(pixels, (224, 224), mode))


def test_halving_averages() -> None:
    pixels = noise(64, 64)
    expected = pixels.reshape(32, 2, 32, 2, 3).astype(int).sum(axis=(1, 3)) / 4
    assert np.abs(resize(pixels, (32, 32)) - expected).max() <= 0.5


def test_fine_stripes_do_not_alias() -> None:
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    # Plain linear interpolation would take every 8th column: all black or all white.
    assert np.abs(resize(stripes, (128, 128)).astype(int) - 128).max() <= 1


def test_crop_takes_the_middle() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    assert resize(pixels, (10, 10), "crop").min() == 200


def test_pad_keeps_everything() -> None:
    pixels = np.full((10, 30, 3), 200, np.uint8)
    padded = resize(pixels, (30, 30), "pad")
    assert (padded[10:20] == 200).all()
    assert (padded[:10] == 0).all()
    assert (padded[20:] == 0).all()


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="mode='bend'"):
        resize(noise(4, 4), (2, 2), "bend")


def test_sixteen_bit_photo_keeps_its_tones(shared: Path) -> None:
    """It shows the same scene as good.jpg; clipped to 8 bits, nearly all of it was white."""
    folder = shared / "data" / "awkward_images"
    grey = decode(folder / "gray16.png").astype(int)[..., 0]
    good = np.asarray(Image.open(folder / "good.jpg").convert("L")).astype(int)
    assert np.abs(grey - good).mean() < 4
    assert (grey == 255).mean() < 0.01
