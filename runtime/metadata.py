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
TENSOR_AXIS_SCORE_CALIBRATION = 4
NORMALIZATION_OPTIONS = 1
SCORE_CALIBRATION_OPTIONS = 2
SCORE_THRESHOLDING_OPTIONS = 3

DEFAULT_LOCALE = "en"

_CHANNELS = 3
_IDENTIFIER_OFFSET = 4


@dataclass(frozen=True)
class Normalisation:
    """What a tensor gets for a pixel: (pixel - mean) / std, both per channel in the order RGB."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Calibration:
    """How scores are calibrated: by the lines of `file`, one for each score.

    `transformation` is what is done to a score first: 0 nothing, 1 its logarithm, 2 its logit.
    `default_score` is the score of labels whose line is empty.
    """

    file: str
    transformation: int
    default_score: float


@dataclass(frozen=True)
class Metadata:
    """What the standard metadata says of an image classifier.

    `label_files` are the files with labels in the archive at the model's end, each with its locale
    ("" where there is none). `labels_file` is the one in English, which has names where others may
    have ids, or else the first. None stands for what is not said.
    """

    name: str
    description: str
    version: str
    normalisation: Normalisation | None
    labels_file: str | None
    label_files: tuple[tuple[str, str], ...] = ()
    calibration: Calibration | None = None


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
    label_files = _label_files(outputs[0]) if outputs else ()
    first = label_files[0][0] if label_files else None
    return Metadata(
        name=model.text(0),
        description=model.text(1),
        version=model.text(2),
        normalisation=_normalisation(inputs[0]) if inputs else None,
        labels_file=labels_in(DEFAULT_LOCALE, label_files) or first,
        label_files=label_files,
        calibration=_calibration(outputs[0]) if outputs else None,
    )


def labels_in(locale: str, label_files: tuple[tuple[str, str], ...]) -> str | None:
    """Return which of a model's label files is in a language ("en", "pt-BR"), None where none is.

    A locale of a language alone takes any of its regions.
    """
    wanted = _parts(locale)
    for name, own in label_files:
        if own and _parts(own)[: len(wanted)] == wanted:
            return name
    return None


def _parts(locale: str) -> list[str]:
    return locale.lower().replace("_", "-").split("-")


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
                    "Expected a normalization with one mean and one std, not 0, for all channels "
                    f"or for each of {_CHANNELS}. Received: mean={mean}, std={std}. The file is "
                    "damaged: download it again."
                )
            return Normalisation(_each(mean), _each(std))
    return None


def _each(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values if len(values) == _CHANNELS else values * _CHANNELS
    return red, green, blue


def _label_files(tensor: Table) -> tuple[tuple[str, str], ...]:
    return tuple(
        (file.text(0), file.text(3))
        for file in tensor.tables(6)
        if file.number(2, "b") == TENSOR_AXIS_LABELS and file.text(0)
    )


def _calibration(tensor: Table) -> Calibration | None:
    files = [
        file.text(0)
        for file in tensor.tables(6)
        if file.number(2, "b") == TENSOR_AXIS_SCORE_CALIBRATION
    ]
    for unit in tensor.tables(4):
        options = unit.table(1)
        if unit.number(0, "B") == SCORE_CALIBRATION_OPTIONS and options is not None and files:
            default_score = options.real(1)
            return Calibration(files[0], options.number(0, "b"), default_score)
    return None
