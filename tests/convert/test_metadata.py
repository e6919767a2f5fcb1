"""The standard metadata that every converted file carries."""

import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.convert import FORMATS
from pocketlens.convert.flatbuffers import slim
from pocketlens.runtime.flatbuffer import Table
from pocketlens.runtime.metadata import METADATA_NAME, read_metadata
from pocketlens.runtime.model_files import read_model_file


def metadata_buffers(flatbuffer: bytes) -> dict[str, bytes]:
    """Read them with TensorFlow's own code, not with ours."""
    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    return {
        entry.name.decode(): bytes(bytearray(model.buffers[entry.buffer].data))
        for entry in model.metadata
    }


@pytest.mark.parametrize("entry", FORMATS)
def test_what_it_says(tiny_models: dict[str, Path], entry: str) -> None:
    file = read_model_file(tiny_models[entry])
    metadata = read_metadata(file.flatbuffer)
    assert metadata is not None
    assert file.card is not None
    assert metadata.name == "tiny"
    assert metadata.version == file.card.versions["pocketlens"]
    assert "3 classes" in metadata.description
    assert entry in metadata.description
    assert metadata.labels_file == "labels.txt"
    if entry != "int8":
        assert metadata.normalisation is not None
        assert metadata.normalisation.mean == (0, 0, 0)
        assert metadata.normalisation.std == (1, 1, 1)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("binary", "photos of circle from those of cross: one score, that of circle."),
        ("multilabel", "which of 3 classes, circle to stripes, a photo shows"),
    ],
)
def test_what_it_says_of_other_tasks(
    task_models: dict[str, dict[str, Path]], task: str, words: str
) -> None:
    metadata = read_metadata(read_model_file(task_models[task]["float32"]).flatbuffer)
    assert metadata is not None
    assert words in metadata.description
    assert metadata.labels_file == "labels.txt"


def thresholds(path: Path) -> list[tuple[int, float]]:
    """Return kind and first number of what the metadata wants done to the scores."""
    data = metadata_buffers(read_model_file(path).flatbuffer)["TFLITE_METADATA"]
    (scores,) = Table.root(data).tables(3)[0].tables(3)
    found = []
    for unit in scores.tables(4):
        options = unit.table(1)
        assert options is not None
        (number,) = struct.unpack("<f", struct.pack("<I", options.number(0, "I")))
        found.append((unit.number(0, "B"), number))
    return found


def test_threshold(task_models: dict[str, dict[str, Path]], tiny_tflite: Path) -> None:
    for models in task_models.values():
        assert all(thresholds(path) == [(3, 0.5)] for path in models.values())
    assert thresholds(tiny_tflite) == []


@pytest.mark.parametrize("entry", FORMATS)
def test_fields_of_the_schema(tiny_models: dict[str, Path], entry: str) -> None:
    data = metadata_buffers(read_model_file(tiny_models[entry]).flatbuffer)["TFLITE_METADATA"]
    assert data[4:8] == b"M001"
    model = Table.root(data)
    assert model.text(7) == "1.0.0"
    (subgraph,) = model.tables(3)
    (image,) = subgraph.tables(2)
    content, stats = image.table(3), image.table(5)
    assert content is not None
    assert stats is not None
    properties = content.table(1)
    assert properties is not None
    assert (content.number(0, "B"), properties.number(0, "b")) == (2, 1)  # an image, in RGB
    assert (stats.floats(0), stats.floats(1)) == ((255.0,), (0.0,))
    (scores,) = subgraph.tables(3)
    stats = scores.table(5)
    assert stats is not None
    assert (stats.floats(0), stats.floats(1)) == ((1.0,), (0.0,))
    (labels,) = scores.tables(6)
    assert (labels.text(0), labels.number(2, "b")) == ("labels.txt", 2)


@pytest.mark.parametrize("whole", [np.trunc, np.rint], ids=["cuts off", "rounds"])
def test_int8s_normalisation_gives_raw_pixels(tiny_models: dict[str, Path], whole) -> None:
    """As Android's NormalizeOp and QuantizeOp go on from it, in float32."""
    flatbuffer = read_model_file(tiny_models["int8"]).flatbuffer
    metadata = read_metadata(flatbuffer)
    assert metadata is not None
    assert metadata.normalisation is not None
    subgraph = schema.ModelT.InitFromPackedBuf(flatbuffer, 0).subgraphs[0]
    quantization = subgraph.tensors[subgraph.inputs[0]].quantization
    mean, std = (
        np.float32(values[0])
        for values in (metadata.normalisation.mean, metadata.normalisation.std)
    )
    pixels = np.arange(256, dtype=np.float32)
    zero_point = np.float32(quantization.zeroPoint[0])
    quantized = (pixels - mean) / std / np.float32(quantization.scale[0]) + zero_point
    assert quantized.dtype == np.float32
    np.testing.assert_array_equal(whole(quantized), pixels)


def test_other_metadata_stays_and_the_same_name_is_replaced(tiny_models: dict[str, Path]) -> None:
    flatbuffer = read_model_file(tiny_models["float32"]).flatbuffer
    before = metadata_buffers(flatbuffer)
    assert len(before) > 1
    after = metadata_buffers(slim(flatbuffer, {METADATA_NAME: b"new", "mine": b"more"}))
    assert after == before | {METADATA_NAME: b"new", "mine": b"more"}
