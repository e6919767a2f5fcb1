"""Standard metadata of third-party files: pixels and labels, damaged ones included."""

import contextlib
import dataclasses
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketlens.errors import ModelFileError, UsageError
from pocketlens.runtime import Classifier
from pocketlens.runtime.classifier import input_table
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.metadata import Normalisation, read_metadata
from pocketlens.runtime.model_files import ModelFile, Tensor, read_model_file
from pocketlens.runtime.pictures import decode, resize

flatbuffers = pytest.importorskip("flatbuffers", reason="makes the metadata")

PIXELS = np.random.default_rng(3).integers(0, 256, (96, 96, 3), dtype=np.uint8)


def table(builder, references=(), **numbers) -> int:
    """Write a table; references and numbers (named _SLOT) by slot."""
    references = dict(references)
    numbers = {int(name[1:]): value for name, value in numbers.items()}
    builder.StartObject(max([*references, *numbers, 0]) + 1)
    for slot, offset in references.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, (prepend, value) in numbers.items():
        getattr(builder, f"Prepend{prepend}Slot")(slot, value, 0)
    return builder.EndObject()


def tables(builder, *offsets: int) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def floats(builder, values) -> int:
    return builder.CreateNumpyVector(np.array(values, np.float32))


def metadata_bytes(mean=(1.0,), std=(2.0,), files=(), identifier=b"M001", name="M") -> bytes:
    builder = flatbuffers.Builder(256)
    options = table(builder, {0: floats(builder, mean), 1: floats(builder, std)})
    unit = table(builder, {1: options}, _0=("Byte", 1))
    image = table(builder, {4: tables(builder, unit)})
    entries = [
        table(builder, {0: builder.CreateString(file)}, _2=("Byte", kind)) for file, kind in files
    ]
    scores = table(builder, {6: tables(builder, *entries)})
    subgraph = table(builder, {2: tables(builder, image), 3: tables(builder, scores)})
    text = builder.CreateString(name)
    builder.Finish(table(builder, {0: text, 3: tables(builder, subgraph)}), identifier)
    return bytes(builder.Output())


def model_bytes(metadata: bytes, buffer: int = 1, name: str = "TFLITE_METADATA") -> bytes:
    """Return a model of nothing but its metadata."""
    builder = flatbuffers.Builder(256)
    data = builder.CreateByteVector(metadata)
    buffers = tables(builder, table(builder), table(builder, {0: data}))
    text = builder.CreateString(name)
    entry = table(builder, {0: text}, _1=("Uint32", buffer))
    model = table(builder, {4: buffers, 6: tables(builder, entry)})
    builder.Finish(model, b"TFL3")
    return bytes(builder.Output())


def test_one_value_counts_for_all_channels() -> None:
    metadata = read_metadata(model_bytes(metadata_bytes((127.5,), (64.0,), name="größe 🌷")))
    assert metadata is not None
    assert metadata.name == "größe 🌷"
    assert metadata.normalisation == Normalisation((127.5,) * 3, (64.0,) * 3)
    assert metadata.labels_file is None


def test_values_per_channel_and_the_first_file_of_labels() -> None:
    files = [("readme.txt", 1), ("de.txt", 2), ("en.txt", 2)]
    metadata = read_metadata(model_bytes(metadata_bytes((1, 2, 3), (4, 5, 6), files)))
    assert metadata is not None
    assert metadata.normalisation == Normalisation((1, 2, 3), (4, 5, 6))
    assert metadata.labels_file == "de.txt"


def test_data_behind_the_flatbuffer() -> None:
    builder = flatbuffers.Builder(256)
    builder.StartObject(3)
    builder.PrependUint64Slot(1, 4096, 0)
    builder.PrependUint64Slot(2, len(metadata_bytes()), 0)
    buffers = tables(builder, builder.EndObject())
    entry = table(builder, {0: builder.CreateString("TFLITE_METADATA")})
    builder.Finish(table(builder, {4: buffers, 6: tables(builder, entry)}), b"TFL3")
    data = bytes(builder.Output())
    metadata = read_metadata(data + bytes(4096 - len(data)) + metadata_bytes(name="far"))
    assert metadata is not None
    assert metadata.name == "far"


def test_none() -> None:
    assert read_metadata(model_bytes(b"", name="min_runtime_version")) is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (model_bytes(metadata_bytes(identifier=b"M999")), "M999"),
        (model_bytes(b""), "M001"),
        (model_bytes(metadata_bytes()[:20]), "whole flatbuffer"),
        (model_bytes(metadata_bytes(), buffer=7), "buffer 7"),
        (model_bytes(metadata_bytes(std=(0.0,))), "not 0"),
        (model_bytes(metadata_bytes(std=())), "one mean and one std"),
        (model_bytes(metadata_bytes(mean=(1.0, 2.0))), "one mean and one std"),
        (model_bytes(metadata_bytes(mean=(float("nan"),))), "one mean and one std"),
        (b"", "whole flatbuffer"),
        (struct.pack("<I", 2**31) + b"TFL3", "whole flatbuffer"),
    ],
    ids=[
        *("other identifier", "empty", "truncated", "no such buffer", "std 0", "no std"),
        *("two channels", "not a number", "no model", "root outside"),
    ],
)
def test_damaged(data: bytes, text: str) -> None:
    with pytest.raises(ModelFileError, match=text) as caught:
        read_metadata(data)
    assert "Received" in str(caught.value)


@given(
    places=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_no_damage_ends_in_a_traceback(places: list[tuple[int, int]]) -> None:
    data = bytearray(model_bytes(metadata_bytes((1, 2, 3), (4, 5, 6), [("labels.txt", 2)])))
    for place, value in places:
        data[place % len(data)] = value
    with contextlib.suppress(ModelFileError):
        read_metadata(bytes(data))


LABELS = {"labels.txt": b"a\nb\nc\n"}


def elsewhere(path: Path, target: Path, files: dict[str, bytes]) -> Path:
    """Write a converted file again without its card, with other files at its end."""
    buffer = io.BytesIO(read_model_file(path).flatbuffer)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    target.write_bytes(buffer.getvalue())
    return target


def test_float_model_from_elsewhere_needs_no_mean(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    files = {"labels.txt": b"a\nb\nc\n", "zzz_other.txt": b"1\n2\n3\n"}
    path = elsewhere(tiny_models["float32"], tmp_path / "model.tflite", files)
    with Classifier(tiny_models["float32"]) as ours, Classifier(path) as theirs:
        assert theirs.model.card is None
        assert theirs.labels == ("a", "b", "c")
        np.testing.assert_array_equal(ours.scores(PIXELS), theirs.scores(PIXELS))


def test_mean_and_std_count_before_the_metadata(
    tiny_models: dict[str, Path], tiny_photos: Path, tmp_path: Path
) -> None:
    path = elsewhere(tiny_models["float32"], tmp_path / "model.tflite", LABELS)
    halves = resize(decode(tiny_photos / "cross" / "00.png"), (96, 96)) // 2
    # The metadata say mean 0 and std 1; twice a pixel's half is the pixel.
    with Classifier(path) as one, Classifier(path, hints=ModelHints(mean=0.0, std=0.5)) as other:
        np.testing.assert_array_equal(one.scores(2 * halves), other.scores(halves))


@pytest.mark.parametrize("files", [{}, {"other.txt": b"a\nb\nc\n"}], ids=["none", "another"])
def test_labels_that_are_not_there(
    tiny_models: dict[str, Path], tmp_path: Path, files: dict[str, bytes]
) -> None:
    """A cut can leave the model whole, and only its metadata tells that something is missing."""
    path = elsewhere(tiny_models["float32"], tmp_path / "model.tflite", files)
    with pytest.raises(ModelFileError, match="truncated"):
        read_model_file(path)


def test_labels_that_are_no_text(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    files = {"labels.txt": b"\xff\xfe\n", "other.txt": b"a\n"}
    path = elsewhere(tiny_models["float32"], tmp_path / "model.tflite", files)
    with pytest.raises(ModelFileError, match=r"UTF-8 in labels\.txt"):
        read_model_file(path)


def test_damaged_file_names_its_path(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    path = elsewhere(tiny_models["float32"], tmp_path / "model.tflite", LABELS)
    data = path.read_bytes()
    assert data.count(b"M001") == 1
    path.write_bytes(data.replace(b"M001", b"M007"))
    with pytest.raises(ModelFileError, match=r"model\.tflite: .*M007"):
        read_model_file(path)


def test_model_of_the_shared_material(elsewhere_model: Path) -> None:
    model = read_model_file(elsewhere_model)
    assert model.metadata is not None
    assert model.metadata.normalisation is not None
    assert model.labels is not None
    assert len(model.labels) == 1001


def test_per_channel_pixels(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    """Scores with a mean and std per channel are those of pixels that were prepared by hand."""
    path = elsewhere(tiny_models["float32"], tmp_path / "model.tflite", LABELS)
    model = read_model_file(path)
    assert model.metadata is not None
    changed = Normalisation((10.0, 20.0, 30.0), (1.0, 0.5, 2.0))
    metadata = dataclasses.replace(model.metadata, normalisation=changed)
    with Classifier(model._replace(metadata=metadata)) as classifier:
        ours = classifier.scores(PIXELS)
        interpreter, signature = classifier.interpreter, classifier.signature
        by_hand = (PIXELS - np.array(changed.mean)) / np.array(changed.std)
        interpreter.set_tensor(signature.input.index, by_hand[None].astype(np.float32))
        interpreter.invoke()
        theirs = interpreter.get_tensor(signature.output.index)[0]
    np.testing.assert_array_equal(ours, theirs)


def a_model(normalisation: Normalisation | None) -> ModelFile:
    flatbuffer = model_bytes(metadata_bytes())
    metadata = read_metadata(flatbuffer)
    assert metadata is not None
    metadata = dataclasses.replace(metadata, normalisation=normalisation)
    return ModelFile("m.tflite", flatbuffer, 0, None, None, metadata)


def a_tensor(dtype: type, scale: float, zero_point: int) -> Tensor:
    return Tensor(0, (1, 8, 8, 3), np.dtype(dtype), scale, zero_point)


HALF = Normalisation((127.5,) * 3, (127.5,) * 3)


@pytest.mark.parametrize("scale", [float(np.float32(1 / 127.5)), 1 / 127.5], ids=["f32", "f64"])
def test_int8_keeps_all_256_values_apart(scale: float) -> None:
    table = input_table(a_model(HALF), a_tensor(np.int8, scale, -1))
    np.testing.assert_array_equal(table, np.arange(-128, 128))


def test_uint8_takes_raw_pixels_whatever_the_metadata_says() -> None:
    assert input_table(a_model(HALF), a_tensor(np.uint8, 1 / 128, 128)) is None


def test_metadata_without_a_normalisation() -> None:
    with pytest.raises(UsageError, match="--mean"):
        input_table(a_model(None), a_tensor(np.float32, 0.0, 0))
