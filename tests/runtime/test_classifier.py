"""The classifier on real files, ours and others'."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pocketlens.card import unpack
from pocketlens.errors import LabelsError, ModelFileError, ScoresError, UsageError
from pocketlens.runtime import Classifier
from pocketlens.runtime.classifier import score_table
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.interpreters import BACKENDS, find_backend
from pocketlens.runtime.model_files import Tensor, read_model_file
from pocketlens.runtime.pictures import decode, resize

RAW = ModelHints(mean=0, std=1)
FORMATS = ("float32", "float16", "dynamic", "weights8", "int8")


def frame(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("entry", FORMATS)
def test_every_format_classifies(
    tiny_models: dict[str, Path], tiny_photos: Path, entry: str
) -> None:
    with Classifier(tiny_models[entry], threads=2) as classifier:
        result = classifier.classify_photo(next((tiny_photos / "stripes").iterdir()))
    assert sorted(category.label for category in result.categories) == [
        "circle",
        "cross",
        "stripes",
    ]
    scores = [category.score for category in result.categories]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=0.02)
    assert result.top is result.categories[0]


@pytest.mark.parametrize("entry", ["float32", "int8"])
def test_frame_and_photo_give_the_same(
    tiny_models: dict[str, Path], tiny_photos: Path, entry: str
) -> None:
    path = next((tiny_photos / "cross").iterdir())
    with Classifier(tiny_models[entry]) as classifier:
        frame_bgr = np.ascontiguousarray(decode(path)[..., ::-1])
        assert classifier.classify(frame_bgr) == classifier.classify_photo(path)


def test_frames_may_be_views(tiny_tflite: Path) -> None:
    large = frame(height=300, width=400)
    with Classifier(tiny_tflite) as classifier:
        view = large[10:250:2, 5:325:2]
        assert classifier.classify(view) == classifier.classify(view.copy())
        large.flags.writeable = False
        classifier.classify(large)


def test_timing_adds_up_and_does_not_count(tiny_tflite: Path) -> None:
    with Classifier(tiny_tflite) as classifier:
        classifier.classify(frame(1))
        before_s = time.perf_counter()
        result = classifier.classify(frame(1))
        took_ms = 1000 * (time.perf_counter() - before_s)
        again = classifier.classify(frame(1))
    assert result.timing is not None
    parts = (result.timing.resize_ms, result.timing.invoke_ms, result.timing.post_ms)
    assert min(parts) > 0
    assert sum(parts) <= took_ms
    assert result == again
    assert result.timing != again.timing


def test_results_do_not_change_afterwards(tiny_tflite: Path) -> None:
    with Classifier(tiny_tflite) as classifier:
        pixels = resize(frame(1), classifier.size_wh)
        scores = classifier.scores(pixels)
        before = scores.copy()
        classifier.classify(frame(2))
        np.testing.assert_array_equal(scores, before)


def test_int8_takes_raw_bytes(tiny_models: dict[str, Path]) -> None:
    """A raw byte is the quantized input: the interpreter fed by hand gives the same scores."""
    with Classifier(tiny_models["int8"]) as classifier:
        pixels = resize(frame(3), classifier.size_wh)
        interpreter = classifier.interpreter
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
        interpreter.invoke()
        output = interpreter.get_output_details()[0]
        scale, zero_point = output["quantization"]
        by_hand = (interpreter.get_tensor(output["index"])[0].astype(float) - zero_point) * scale
        np.testing.assert_allclose(classifier.scores(pixels), by_hand, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8], ids=["uint8", "int8"])
@pytest.mark.parametrize(("scale", "zero_point"), [(1 / 256, 0), (0.0039, -128), (0.0, 0)])
def test_score_of_each_value(dtype: type, scale: float, zero_point: int) -> None:
    values = np.arange(256, dtype=np.uint8).view(dtype)
    table = score_table(Tensor(0, (1, 256), np.dtype(dtype), scale, zero_point))
    assert table is not None
    expected = values.astype(np.float32)
    if scale:
        expected = (expected - np.float32(zero_point)) * np.float32(scale)
    np.testing.assert_array_equal(table.take(values), expected)


@pytest.mark.parametrize("top_k", [1, 2, 3, 50])
def test_top_k(tiny_tflite: Path, top_k: int) -> None:
    with Classifier(tiny_tflite, top_k=top_k) as classifier:
        assert len(classifier.classify(frame()).categories) == min(top_k, 3)


@pytest.mark.parametrize("entry", FORMATS)
@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
def test_frames_of_any_size_become_the_contracts_pixels(
    tiny_models: dict[str, Path], entry: str, mode: str
) -> None:
    model = read_model_file(tiny_models[entry])
    assert model.card is not None
    model = model._replace(card=replace(model.card, resize_mode=mode))
    with Classifier(model) as classifier:
        # The first size comes again, after others have been through the same buffers.
        for seed, (height, width) in enumerate([(300, 400), (96, 96), (50, 70), (1080, 1920)] * 2):
            frame_bgr = frame(seed, height, width)
            pixels_rgb = resize(frame_bgr, classifier.size_wh, mode)[..., ::-1]
            expected = classifier.scores(pixels_rgb)
            np.testing.assert_array_equal(classifier.classify(frame_bgr).scores, expected)


def test_pixels_of_another_size_are_refused(tiny_tflite: Path) -> None:
    with (
        Classifier(tiny_tflite) as classifier,
        pytest.raises(UsageError, match=r"Received: \(96, 97, 3\)"),
    ):
        classifier.scores(frame(height=96, width=97))


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf], ids=str)
def test_score_that_is_no_number_is_refused(tiny_tflite: Path, score: float) -> None:
    with Classifier(tiny_tflite) as classifier, pytest.raises(ScoresError, match="NaN or infinite"):
        classifier.best(np.array([0.5, score, 0.2], np.float32))


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        None,
        "photo.jpg",
    ],
    ids=["grey", "rgba", "empty", "float", "none", "path"],
)
def test_bad_frame(tiny_tflite: Path, bad: object) -> None:
    with (
        Classifier(tiny_tflite) as classifier,
        pytest.raises(UsageError, match="Expected a frame as uint8"),
    ):
        classifier.classify(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"threads": 0}, {"top_k": 0}], ids=str)
def test_bad_options(tiny_tflite: Path, options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="Received"):
        Classifier(tiny_tflite, **options)  # type: ignore[arg-type]


def test_normalisation_of_our_files_is_inside(tiny_tflite: Path) -> None:
    with pytest.raises(UsageError, match="its card says"):
        Classifier(tiny_tflite, hints=ModelHints(mean=127.5, std=127.5))


def test_labels_that_do_not_fit(tiny_tflite: Path) -> None:
    with pytest.raises(LabelsError, match=r"Expected 3 labels .* Received: 2"):
        Classifier(tiny_tflite, hints=ModelHints(labels=["a", "b"]))


def without_card(path: Path, target: Path) -> Path:
    """Write a file's model without its card, as a third-party file would come.

    Its standard metadata goes under another name, where nobody looks for the labels it names.
    """
    model = unpack(path.read_bytes()).flatbuffer
    target.write_bytes(model.replace(b"TFLITE_METADATA", b"UNKNOWN_RECORDS"))
    return target


def test_third_party_float_file_that_scales_its_pixels_itself(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    plain = without_card(tiny_models["float32"], tmp_path / "plain.tflite")
    with Classifier(plain) as ours, Classifier(tiny_models["float32"]) as known:
        for seed in range(5):
            one, other = ours.classify(frame(seed)), known.classify(frame(seed))
            assert [c.score for c in one.categories] == [c.score for c in other.categories]
        assert one.top.label == f"class {one.top.index}"


def test_labels_beside_the_file(tiny_tflite: Path, tmp_path: Path) -> None:
    plain = without_card(tiny_tflite, tmp_path / "plain.tflite")
    (tmp_path / "labels.txt").write_text("ä\nb\nc\n", "utf-8")
    with Classifier(plain) as classifier:
        assert classifier.labels == ("ä", "b", "c")


def test_third_party_file(elsewhere_model: Path, shared: Path) -> None:
    folder = shared / "data" / "imagenet_samples"
    names = (folder / "labels.txt").read_text("utf-8").split("\n")[:1000]
    photos = sorted(folder.glob("*.jpg"))
    hints = ModelHints(labels=["background", *names])
    with Classifier(elsewhere_model, hints=hints) as classifier:
        right = sum(
            classifier.classify_photo(photo).top.index == int(photo.stem) + 1 for photo in photos
        )
    # This small network has a published top-1 of 0.39 (TensorFlow's model zoo, v1 0.25 128 quant).
    assert right / len(photos) > 0.3


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("entry", FORMATS)
def test_cut_file(tiny_models: dict[str, Path], tmp_path: Path, entry: str, share: float) -> None:
    data = tiny_models[entry].read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelFileError, match="Received"):
        Classifier(path, hints=RAW) if entry != "int8" else Classifier(path)


@pytest.mark.parametrize("entry", FORMATS)
def test_every_flipped_bit_is_refused(
    tiny_models: dict[str, Path], tmp_path: Path, entry: str
) -> None:
    """`make fuzz` damages whole files in thousands of ways."""
    data = tiny_models[entry].read_bytes()
    archive_at = len(unpack(data).flatbuffer)
    path = tmp_path / "damaged.tflite"
    rng = np.random.default_rng(FORMATS.index(entry))
    # Some anywhere, which is in the weights, some where the model's tables and the archive lie.
    places = ((0, len(data)), (0, 2000), (archive_at - 2000, archive_at), (archive_at, len(data)))
    for start, end in places:
        for bit in rng.integers(8 * start, 8 * end, 15):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(changed)
            with pytest.raises(ModelFileError, match="Received"):
                read_model_file(path)
    # Up to 39 bytes of the archive can be there without the name of the card.
    for size in (*rng.integers(0, len(data), 10), *range(archive_at, archive_at + 40, 3)):
        path.write_bytes(data[:size])
        with pytest.raises(ModelFileError, match="Received"):
            read_model_file(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1c\x00\x00\x00TFL3" + bytes(100)])
def test_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="Received"):
        Classifier(path)


@pytest.mark.parametrize("make", ["missing", "folder"])
def test_no_file(tmp_path: Path, make: str) -> None:
    path = tmp_path / "model.tflite"
    if make == "folder":
        path.mkdir()
    with pytest.raises(UsageError, match="Check the path"):
        Classifier(path)


def test_the_file_may_go_once_it_is_loaded(tiny_tflite: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy.tflite"
    path.write_bytes(tiny_tflite.read_bytes())
    with Classifier(path) as classifier:
        path.unlink()
        classifier.classify(frame())


def installed() -> list[str]:
    names = []
    for name in BACKENDS:
        try:
            find_backend(name)
        except ImportError:
            continue
        names.append(name)
    return names


@pytest.mark.parametrize("backend", installed())
def test_backends_agree(tiny_models: dict[str, Path], backend: str) -> None:
    for entry in FORMATS:
        with (
            Classifier(tiny_models[entry], hints=ModelHints(backend=backend)) as one,
            Classifier(tiny_models[entry]) as usual,
        ):
            for seed in range(5):
                assert one.classify(frame(seed)).top.index == usual.classify(frame(seed)).top.index
