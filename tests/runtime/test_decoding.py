"""Decoding: the same pixels as ever, of the promised formats only, in bounded memory."""

import io
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, JpegImagePlugin, features

from pocketlens.errors import PictureError
from pocketlens.runtime import decoding, pictures
from pocketlens.runtime.photos import read_pixels
from pocketlens.runtime.pictures import decode, decode_resized, read_header, resize

WEBP_9990 = bytes.fromhex("524946461a000000574542505650384c0e0000002f0567c109071011fd0f4444ff03")
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n(x) print\n%%EOF\n"


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(height: int, width: int, seed: int = 0) -> Image.Image:
    """Draw coarse squares with noise, as photos have both."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), np.uint8)).resize((width, height))
    noise = rng.integers(-20, 20, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8))


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def sixteen_bit(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 251)


KINDS: dict[str, Callable[[Image.Image, Image.Exif], bytes]] = {
    "jpeg": lambda image, exif: encoded(image, "JPEG", exif=exif),
    "progressive": lambda image, exif: encoded(image, "JPEG", exif=exif, progressive=True),
    "grey jpeg": lambda image, exif: encoded(image.convert("L"), "JPEG", exif=exif),
    "cmyk": lambda image, exif: encoded(image.convert("CMYK"), "JPEG", exif=exif),
    "png": lambda image, exif: encoded(image, "PNG", exif=exif),
    "palette": lambda image, exif: encoded(image.convert("P"), "PNG", exif=exif),
    "clear palette": lambda image, exif: encoded(
        image.convert("P"), "PNG", exif=exif, transparency=3
    ),
    "bits": lambda image, exif: encoded(image.convert("1"), "PNG", exif=exif),
    "rgba": lambda image, exif: encoded(with_alpha(image), "PNG", exif=exif),
    "la": lambda image, exif: encoded(with_alpha(image).convert("LA"), "PNG", exif=exif),
    "webp": lambda image, exif: encoded(image, "WEBP", exif=exif, method=0),
}


def reference(data: bytes) -> np.ndarray:
    """Decode as every version before did: the whole picture at once, turned by Pillow."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_of_before(
    kind: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Large pictures become RGB part by part; so do these.
    monkeypatch.setattr(decoding, "_PART_PIXELS", 2000)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = KINDS[kind](scene(201, 303), exif)
    expected = reference(data)
    np.testing.assert_array_equal(decode(data), expected)
    for size_wh, mode in (((48, 32), "stretch"), ((40, 60), "crop"), ((60, 40), "pad")):
        np.testing.assert_array_equal(
            decode_resized(data, size_wh, mode), resize(expected, size_wh, mode)
        )


@pytest.mark.parametrize("size_wh", [(224, 224), (400, 300), (1, 1), (150, 100)], ids=str)
@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("shape", [(900, 1300), (1300, 901), (1, 5000), (5000, 3)], ids=str)
def test_resized_in_parts_is_resized(
    shape: tuple[int, int], mode: str, size_wh: tuple[int, int]
) -> None:
    data = encoded(scene(*shape), "BMP")
    np.testing.assert_array_equal(
        decode_resized(data, size_wh, mode), resize(decode(data), size_wh, mode)
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["grey", "grey16", "cmyk", "rgba"])
def test_a_tiff_is_the_same_by_its_path_and_its_bytes(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    """Pillow maps a file that it opens by path, with the size of the turned picture."""
    grey = np.arange(32, dtype=np.uint8).reshape(4, 8) * 8
    stored = {
        "grey": Image.fromarray(grey),
        "grey16": Image.fromarray(grey.astype(np.uint16) * 257),
        "cmyk": Image.merge("CMYK", [Image.fromarray(grey)] * 4),
        "rgba": Image.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 255)])),
    }[kind]
    path = tmp_path / "x.tif"
    stored.save(path, tiffinfo={0x0112: orientation})
    stored.save(tmp_path / "plain.tif")
    upright = decode(tmp_path / "plain.tif")
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = reference(encoded(Image.fromarray(upright), "PNG", exif=exif))
    np.testing.assert_array_equal(decode(path), expected)
    np.testing.assert_array_equal(decode(path.read_bytes()), expected)


@pytest.mark.parametrize("orientation", [None, 3])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_a_header_is_read_without_its_pixels(
    kind: str, orientation: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    if orientation and kind not in ("BMP", "GIF"):
        exif[0x0112] = orientation
    data = encoded(scene(20, 30), kind, **({"exif": exif} if len(exif) else {}))
    loaded = []
    for plugin in {type(Image.open(io.BytesIO(data))), ImageFile.ImageFile}:
        monkeypatch.setattr(plugin, "load", lambda image: loaded.append(image))
    header = read_header(data)
    assert header is not None
    assert (header.size_wh, header.orientation) == ((30, 20), exif.get(0x0112, 1))
    assert not loaded


def odd_exif(tag: int, kind: int, value: bytes) -> bytes:
    """Return EXIF with an orientation of 6 and one more tag."""
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHII", tag, kind, 1, 38)
    return b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + b"\0\0\0\0" + value


@pytest.mark.parametrize("tag", [0x8769, 0x8825, 0x9000, 0x927C, 0xA005, 0x0131])
@pytest.mark.parametrize("kind", [0, 2, 3, 5, 7, 11, 12, 13, 99])
def test_odd_tags_do_not_matter(tag: int, kind: int) -> None:
    data = encoded(scene(30, 40), "JPEG", exif=odd_exif(tag, kind, b"\x01\x02\0\0\0\0\xf0\x3f"))
    assert decode(data).shape == (40, 30, 3)


def test_the_shared_photo_with_odd_tags(shared: Path) -> None:
    assert decode(shared / "cases" / "pictures" / "exif_min.jpg").shape == (40, 30, 3)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("x"),
        NotImplementedError("x"),
        MemoryError(),
        SyntaxError("x"),
        RecursionError("x"),
        KeyError("x"),
        struct.error("x"),
        subprocess.CalledProcessError(1, ["gs"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_decoder_raises_is_one_bad_photo(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "1.png", tmp_path / "bad.jpg", tmp_path / "2.png"]
    for path in paths:
        scene(8, 8).save(path)

    def fail(_self: object) -> None:
        raise error

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", fail)
    first, bad, last = read_pixels(paths, (4, 4), "stretch")
    assert isinstance(first, np.ndarray)
    assert isinstance(last, np.ndarray)
    assert isinstance(bad, PictureError)
    assert "bad.jpg" in str(bad)


def test_a_damaged_avif_is_one_bad_photo(shared: Path) -> None:
    with pytest.raises(PictureError, match=r"Expected .* Received: .*bad_11_583_x_avif.png"):
        decode(shared / "cases" / "pictures" / "bad_11_583_x_avif.png")


PROMISED = {
    "JPEG": "JPEG",
    "PNG": "PNG",
    "WEBP": "WEBP",
    "BMP": "BMP",
    "GIF": "GIF",
    "TIFF": "TIFF",
    "AVIF": "AVIF",
}


@pytest.mark.parametrize("kind", PROMISED)
def test_promised_formats(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data = encoded(scene(20, 30), kind)
    assert decode(data).shape == (20, 30, 3)
    header = read_header(data)
    assert header is not None
    assert header.format == kind


@pytest.mark.parametrize("kind", ["EPS", "PPM", "TGA", "PCX", "ICO", "SGI", "PDF", "IM", "MSP"])
def test_other_formats_are_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = scene(20, 30)
    data = EPS if kind == "EPS" else encoded(image.convert("1") if kind == "MSP" else image, kind)
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(os, "system", None)
    with pytest.raises(PictureError, match=r"Expected a picture \(JPEG, .*, whose content is none"):
        decode(data, "x.jpg")


@pytest.fixture
def without_heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    # Where it is installed, an earlier test may have registered it.
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    decoding._formats.cache_clear()
    yield
    decoding._formats.cache_clear()


@pytest.mark.usefixtures("without_heif")
def test_heic_without_its_package_is_said() -> None:
    advice = r"Save it as JPEG, or install what reads it: pip install 'pocketlens\[heic\]'$"
    with pytest.raises(PictureError, match=f"x.heic, a HEIC picture. {advice}"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), "x.heic")


def test_heic() -> None:
    package = pytest.importorskip("pillow_heif", reason="reading HEIC needs the heic extra")
    buffer = io.BytesIO()
    package.from_pillow(scene(64, 96)).save(buffer, quality=90)
    assert decode(buffer.getvalue()).shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("high", "dtype"), [(1, "f"), (255, "f"), (65535, "f"), (1, "i4"), (255, "i4"), (65535, "i4")]
)
def test_pictures_of_32_bits_are_scaled_by_their_range(high: int, dtype: str) -> None:
    values = np.array([[0, high / 2, high]]).astype(dtype)
    pixels = decode(encoded(Image.fromarray(values), "TIFF"))
    expected = np.floor(values.astype(float) * 255 / high + 0.5).astype(int)
    assert pixels[0, :, 0].tolist() == expected[0].tolist()
    assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("value", [-1.0, 70000.0, float("nan"), float("inf")])
def test_other_ranges_are_refused_by_name(tmp_path: Path, value: float) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(np.array([[0, value]], "f")).save(path)
    with pytest.raises(PictureError, match=r"between 0 and 1, 255 or 65535 .*x.tif|x.tif.*65535"):
        decode(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    for path in (tmp_path / "x.jpg", tmp_path):
        with pytest.raises(PictureError, match=f"{path.name}"):
            decode(path)


def test_the_memory_for_what_is_no_file_is_told_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    told: list[int] = []
    asking = threading.Thread(
        target=lambda: told.append(decoding.memory_needed(tmp_path / "x.jpg")), daemon=True
    )
    asking.start()
    asking.join(5)
    assert told == [0]


def png_of(width: int, height: int) -> bytes:
    """Return a PNG that says this size and has next to no content."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = zlib.compress(bytes(100))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", content)
        + chunk(b"IEND", b"")
    )


# Given paths, it says what each is and how many bytes were taken beyond what the program takes.
MEASURE = """
import sys, threading
from pocketlens.runtime.pictures import decode, decode_resized
from pocketlens.errors import PictureError
import io
from PIL import Image
for form in ("JPEG", "PNG", "WEBP", "GIF", "TIFF"):
    buffer = io.BytesIO(); Image.new("RGB", (99, 99)).save(buffer, form)
    decode(buffer.getvalue()); decode_resized(buffer.getvalue(), (9, 9))
def memory(key):
    return int(next(l for l in open("/proc/self/status") if l.startswith(key)).split()[1]) * 1024
before = memory("VmRSS")
def read(path):
    for way in (decode, lambda path: decode_resized(path, (224, 224))):
        try:
            way(path)
        except PictureError as error:
            print(error)
threads = [threading.Thread(target=read, args=[path]) for path in sys.argv[1:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("PEAK", memory("VmHWM") - before)
"""


def peak_bytes(paths: list[Path]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said, _, peak = done.stdout.rpartition("PEAK ")
    return int(peak), said


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is measured by /proc"
)


@needs_proc
@pytest.mark.parametrize(
    ("name", "data"), [("x.webp", WEBP_9990), ("x.png", png_of(1, 99_999_999))], ids=["webp", "png"]
)
def test_pictures_that_take_too_much_are_refused(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    peak, said = peak_bytes([tmp_path / name] * 4)
    assert said.count("takes at most 380 MB to decode") == 8
    assert peak < 100e6


@needs_proc
def test_shared_pictures_are_decoded_in_bounded_memory(shared: Path) -> None:
    peak, _ = peak_bytes(sorted((shared / "cases" / "pictures").iterdir()))
    assert peak < 400e6


@needs_proc
@pytest.mark.parametrize(
    ("kind", "megapixels"),
    [("jpeg", 24), ("progressive", 24), ("rgba", 12), ("webp", 12), ("palette", 24)],
)
def test_four_large_pictures_at_once_take_as_much_as_one(
    tmp_path: Path, kind: str, megapixels: int
) -> None:
    width = round((1.5e6 * megapixels) ** 0.5)
    path = tmp_path / "x"
    path.write_bytes(
        KINDS[kind](
            Image.linear_gradient("L").resize((width, width * 2 // 3)).convert("RGB"), Image.Exif()
        )
    )
    peak, said = peak_bytes([path] * 4)
    assert said == ""
    assert peak < 400e6


def test_a_large_picture_is_halved_while_it_is_decoded() -> None:
    data = encoded(Image.new("RGB", (4000, 3000)), "BMP")
    tracemalloc.start()
    try:
        # NumPy tells of its memory, Pillow does not of its own.
        decode_resized(data, (224, 224))
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A quarter of its pixels, a quarter of those and so on, and a part of it as RGB and as read.
    assert held < 4000 * 3000 + 8e6


def test_it_counts_as_less_memory_only_where_it_is_halved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    scene(300, 400).save(path)
    # Just enough for a quarter of its pixels and less beside it.
    most = decoding.memory_needed(path)
    monkeypatch.setattr(decoding, "MAX_BYTES", most)
    assert decode_resized(path, (150, 100)).shape == (100, 150, 3)
    for size_wh in ((151, 100), (100, 151), (300, 300)):
        with pytest.raises(PictureError, match=f"at most {most // 1_000_000} MB to decode"):
            decode_resized(path, size_wh)


@pytest.mark.parametrize(
    ("bytes_a_pixel", "mode", "form", "options"),
    [
        (2, "L", "PNG", {}),
        (2, "P", "PNG", {}),
        (5, "RGBA", "PNG", {}),
        (5, "RGB", "BMP", {}),
        (5, "RGB", "JPEG", {}),
        # With its coefficients, 2 bytes each.
        (7, "RGB", "JPEG", {"progressive": True}),
        (8, "RGB", "JPEG", {"progressive": True, "subsampling": "4:2:2"}),
        (10, "RGB", "JPEG", {"progressive": True, "subsampling": "4:4:4"}),
        (3, "L", "JPEG", {"progressive": True}),
        (16.5, "RGB", "WEBP", {}),
        # With its strip, the whole picture, or a tenth of it.
        (8, "RGB", "TIFF", {}),
        (5, "RGB", "TIFF", {"strip_size": 3000, "compression": "tiff_lzw"}),
        (5, "L", "TIFF", {}),
        (6, "I;16", "TIFF", {}),
        # With the picture that Pillow turns it into, which may be of the same size.
        *(
            (
                8,
                "RGB",
                "TIFF",
                {"strip_size": 3000, "compression": "tiff_lzw", "tiffinfo": {274: turn}},
            )
            for turn in range(2, 9)
        ),
    ],
    ids=str,
)
def test_the_memory_that_a_picture_takes_is_known_from_its_header(
    bytes_a_pixel: float, mode: str, form: str, options: dict[str, Any], tmp_path: Path
) -> None:
    image = scene(100, 100)
    plain, asked = tmp_path / "plain", tmp_path / "asked"
    plain.write_bytes(encoded(image))
    stored = sixteen_bit(image) if mode == "I;16" else image.convert(mode)
    asked.write_bytes(encoded(stored, form, **options))
    # A PNG takes 4 bytes a pixel, and one is for what it becomes.
    beside = [decoding.memory_needed(path) - path.stat().st_size for path in (plain, asked)]
    assert (beside[1] - beside[0]) / 100**2 + 5 == bytes_a_pixel


def test_a_jpeg_of_a_scan_for_each_layer_takes_its_coefficients_too(tmp_path: Path) -> None:
    together = encoded(scene(100, 100), "JPEG")
    at = together.index(b"\xff\xda")
    apart = together[:at] + bytes.fromhex("ffda 0008 01 0100 003f00") + together[at + 14 :]
    taken = []
    for data in (together, apart):
        (tmp_path / "x.jpg").write_bytes(data)
        taken.append(decoding.memory_needed(tmp_path / "x.jpg") - len(data))
    assert taken[1] - taken[0] == 2 * 100**2


def test_how_large_a_picture_may_be_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 2_000_000)
    with pytest.raises(
        PictureError, match=r"at most 2 megapixels\. Received: x\.png with 2001x1000"
    ):
        decode(encoded(Image.new("L", (2001, 1000))), "x.png")


def test_photos_of_today_are_not_refused() -> None:
    """What decoding takes is known before; nobody needs to wait for 50 megapixels to be made."""
    # Of JPEG and WebP as `pocketlens check --help` says.
    kinds = KINDS | {
        "fine progressive": lambda image, exif: encoded(
            image, "JPEG", exif=exif, progressive=True, subsampling="4:4:4"
        )
    }
    for kind, megapixels in (
        ("jpeg", 70),
        ("progressive", 50),
        ("fine progressive", 35),
        ("png", 64),
        ("webp", 20),
    ):
        with Image.open(io.BytesIO(kinds[kind](scene(40, 60), Image.Exif()))) as image:
            image._size = (megapixels * 1000, 1000)
            assert decoding._needed_bytes(image, b"", 1) < decoding.MAX_BYTES


def test_who_wants_more_memory_than_there_is_waits() -> None:
    memory = decoding.MEMORY
    order = []

    def want() -> None:
        with memory.held(decoding.MAX_BYTES // 2):
            order.append("second")

    thread = threading.Thread(target=want)
    with memory.held(3 * decoding.MAX_BYTES):
        thread.start()
        thread.join(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_picture_is_as_large_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_PIXELS", 99)
    with pytest.raises(PictureError, match="megapixels"):
        decode_resized(encoded(scene(10, 10)), (5, 5))


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with some bytes changed, left out or put in, mostly near its beginning."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 8)):
        at = int(len(changed) * rng.random() ** 3)
        kind = rng.integers(4)
        if kind == 0:
            del changed[at : at + int(rng.integers(1, 40))]
        elif kind == 1:
            changed[at:at] = rng.bytes(int(rng.integers(1, 20)))
        elif kind == 2:
            changed[at : at + 4] = bytes([255, 255, 255, 255][: len(changed) - at])
        elif at < len(changed):
            changed[at] = int(rng.integers(256))
    return bytes(changed)


@pytest.mark.parametrize("kind", [*KINDS, "tiff", "gif", "bmp", "float"])
def test_mutated_photos_are_decoded_or_refused(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = scene(40, 60)
    data = {
        "tiff": lambda: encoded(image, "TIFF", compression="tiff_lzw", tiffinfo={0x0112: 6}),
        "gif": lambda: encoded(image, "GIF"),
        "bmp": lambda: encoded(image, "BMP"),
        "float": lambda: encoded(image.convert("F"), "TIFF"),
    }.get(kind, lambda: KINDS[kind](image, exif))()
    rng = np.random.default_rng(len(kind))
    refused = []
    for _ in range(40):
        changed = mutated(data, rng)
        read_header(changed)
        try:
            assert decode_resized(changed, (24, 24)).shape == (24, 24, 3)
        except PictureError as error:
            refused.append(str(error))
    assert all(text.startswith("Expected ") and "\n" not in text for text in refused)


def test_what_pillow_warns_of_is_not_said(tmp_path: Path) -> None:
    """Its own limit is 89 megapixels; threads must not undo each other's silence."""
    paths = []
    for index in range(8):
        paths.append(tmp_path / f"{index}.png")
        paths[-1].write_bytes(png_of(9990, 9990))
    code = (
        "import sys; from pocketlens.runtime.photos import read_pixels\n"
        "for _ in range(5): list(read_pixels(sys.argv[1:], (9, 9), 'stretch'))"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
