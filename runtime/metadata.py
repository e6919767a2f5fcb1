"""Standard TFLite Metadata: what a third-party file says of its pixels and labels.

It is a flatbuffer of its own inside the model, in a buffer with a name. The schema:
https://github.com/tensorflow/tflite-support, metadata_schema.fbs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pocketlens.errors import ModelFileError
from pocketlens.runtime.flatbuffer import Table

METADATA_NAME = "TFLITE_METADATA"
METADATA_IDENTIFIER = b"M001"
TENSOR_AXIS_LABELS = 2
NORMALIZATION_OPTIONS = 1
SCORE_THRESHOLDING_OPTIONS = 3

_CHANNELS = 3
_IDENTIFIER_OFFSET = 4


@dataclass(frozen=True)
class Normalisation:
    """What a tensor gets for a pixel: (pixel - mean) / std, both per channel in the order RGB."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Metadata:
    """What the standard metadata says of an image classifier.

    `labels_file` names the file with the labels in the archive at the model's end. None stands
    for what is not said.
    """

    name: str
    description: str
    version: str
    normalisation: Normalisation | None
    labels_file: str | None


def read_metadata(flatbuffer: bytes) -> Metadata | None:
    """Return a model's standard metadata, None if it has none.

    Raises:
        ModelFileError: the model or its metadata is damaged, or says what cannot be.
    """
    data = _metadata_bytes(flatbuffer)
    if data is None:
        return None
    identifier = data[_IDENTIFIER_OFFSET : _IDENTIFIER_OFFSET + len(METADATA_IDENTIFIER)]
    if identifier != METADATA_IDENTIFIER:
        raise ModelFileError(
            f"Expected TFLite Metadata that begins with {METADATA_IDENTIFIER!r}. "
            f"Received: {identifier!r}. The file is damaged: download it again."
        )
    model = Table.root(data)
    subgraphs = model.tables(3)
    inputs = subgraphs[0].tables(2) if subgraphs else []
    outputs = subgraphs[0].tables(3) if subgraphs else []
    return Metadata(
        name=model.text(0),
        description=model.text(1),
        version=model.text(2),
        normalisation=_normalisation(inputs[0]) if inputs else None,
        labels_file=_labels_file(outputs[0]) if outputs else None,
    )


def _metadata_bytes(flatbuffer: bytes) -> bytes | None:
    model = Table.root(flatbuffer)
    for entry in model.tables(6):
        if entry.text(0) != METADATA_NAME:
            continue
        index, buffers = entry.number(1, "I"), model.tables(4)
        if index >= len(buffers):
            raise ModelFileError(
                f"Expected TFLite Metadata in one of the model's {len(buffers)} buffers. "
                f"Received: buffer {index}. The file is damaged: download it again."
            )
        buffer = buffers[index]
        offset, size = buffer.number(1, "Q"), buffer.number(2, "Q")
        return flatbuffer[offset : offset + size] if size else buffer.byte_vector(0)
    return None


def _normalisation(tensor: Table) -> Normalisation | None:
    for unit in tensor.tables(4):
        options = unit.table(1)
        if unit.number(0, "B") == NORMALIZATION_OPTIONS and options is not None:
            mean, std = options.floats(0), options.floats(1)
            counts = {len(mean), len(std)}
            if not counts <= {1, _CHANNELS} or not all(map(math.isfinite, mean + std)) or 0 in std:
                raise ModelFileError(
                    "Expected a normalisation with one mean and one std, not 0, for all channels "
                    f"or for each of {_CHANNELS}. Received: mean={mean}, std={std}. The file is "
                    "damaged: get it again."
                )
            return Normalisation(_each(mean), _each(std))
    return None


def _each(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values if len(values) == _CHANNELS else values * _CHANNELS
    return red, green, blue


def _labels_file(tensor: Table) -> str | None:
    """Return the first file with labels: the schema's default where there are several."""
    for file in tensor.tables(6):
        if file.number(2, "b") == TENSOR_AXIS_LABELS and file.text(0):
            return file.text(0)
    return None
