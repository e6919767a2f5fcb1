"""Standard TFLite Metadata for a file: what MediaPipe Tasks, ML Kit and Android Studio read.

Tables and slots are those of metadata_schema.fbs (https://github.com/tensorflow/tflite-support).
The labels themselves lie in the archive that the card travels in, where the metadata points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from pocketlens.card import LABELS_NAME, ModelCard
from pocketlens.choices import BINARY, MULTILABEL
from pocketlens.runtime.metadata import (
    METADATA_IDENTIFIER,
    NORMALIZATION_OPTIONS,
    SCORE_THRESHOLDING_OPTIONS,
    TENSOR_AXIS_LABELS,
)

# All fields that are written have been in the schema since its first version.
_MIN_PARSER_VERSION = "1.0.0"

_FEATURE_PROPERTIES = 1
_IMAGE_PROPERTIES = 2
_RGB = 1


def standard_metadata(flatbuffer: bytes, card: ModelCard) -> bytes:
    """Return the metadata of a converted model as a flatbuffer.

    Args:
        flatbuffer: the model, whose input says how it is quantized.
        card: the model's name, labels and what made it.
    """
    builder = flatbuffers.Builder(1024)
    mean, std = _normalisation(flatbuffer)
    outputs = [_output(builder, card)]
    if card.novelty is not None:
        outputs.append(_novelty(builder))
    subgraph = _table(
        builder,
        {
            2: _tables(builder, [_input(builder, card, mean, std)]),
            3: _tables(builder, outputs),
        },
    )
    description = f"{_purpose(card)} Written by pocketlens as {card.format}."
    model = _table(
        builder,
        {
            0: builder.CreateString(card.name),
            1: builder.CreateString(description),
            2: builder.CreateString(card.versions.get("pocketlens", "")),
            3: _tables(builder, [subgraph]),
            7: builder.CreateString(_MIN_PARSER_VERSION),
        },
    )
    builder.Finish(model, METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _purpose(card: ModelCard) -> str:
    if card.task == BINARY:
        negative, positive = card.labels
        return (
            f"Tells photos of {positive} from those of {negative}: one score, that of {positive}."
        )
    count = f"{len(card.labels)} classes, {card.labels[0]} to {card.labels[-1]}"
    if card.task == MULTILABEL:
        return f"Says which of {count}, a photo shows: any number of them, also none."
    return f"Classifies photos into {count}."


def _normalisation(flatbuffer: bytes) -> tuple[float, float]:
    """Return mean and std under which the input tensor comes to hold the raw pixel.

    A float input takes pixels as they are. For a quantized one readers go on from
    (pixel - mean) / std to q = r / scale + zero_point, so mean and std undo the quantization.
    Some round q and some cut it off: a quarter of a step keeps both on the pixel's own value.
    """
    subgraph = schema.Model.GetRootAs(flatbuffer, 0).Subgraphs(0)
    quantization = subgraph.Tensors(subgraph.Inputs(0)).Quantization()
    if quantization is None or quantization.ScaleLength() == 0:
        return 0.0, 1.0
    return float(quantization.ZeroPoint(0)) - 0.25, 1.0 / float(quantization.Scale(0))


def _input(builder: flatbuffers.Builder, card: ModelCard, mean: float, std: float) -> int:
    width, height = card.input_size_wh
    content = _table(builder, {1: _table(builder, {}, {0: _RGB})}, {0: _IMAGE_PROPERTIES})
    options = _table(builder, {0: _floats(builder, mean), 1: _floats(builder, std)})
    unit = _table(builder, {1: options}, {0: NORMALIZATION_OPTIONS})
    description = (
        f"RGB photo of {width} x {height} pixels, values 0 to 255; resized by: {card.resize_mode}."
    )
    return _table(
        builder,
        {
            0: builder.CreateString("image"),
            1: builder.CreateString(description),
            3: content,
            4: _tables(builder, [unit]),
            5: _table(builder, {0: _floats(builder, 255.0), 1: _floats(builder, 0.0)}),
        },
    )


def _output(builder: flatbuffers.Builder, card: ModelCard) -> int:
    content = _table(builder, {1: _table(builder, {})}, {0: _FEATURE_PROPERTIES})
    labels = _table(
        builder,
        {
            0: builder.CreateString(LABELS_NAME),
            1: builder.CreateString("The labels, one per line, in the order of the scores."),
        },
        {2: TENSOR_AXIS_LABELS},
    )
    units = (
        {4: _tables(builder, [_thresholding(builder, card.threshold)])} if card.threshold else {}
    )
    return _table(
        builder,
        {
            0: builder.CreateString("probability"),
            1: builder.CreateString(
                f"A score in 0 to 1 for each label ({card.task}, threshold {card.threshold:g})."
            ),
            3: content,
            5: _table(builder, {0: _floats(builder, 1.0), 1: _floats(builder, 0.0)}),
            6: _tables(builder, [labels]),
            **units,
        },
    )


def _novelty(builder: flatbuffers.Builder) -> int:
    description = (
        "How unlike the photos of the training a photo is, in 0 to 1; most of these are below 0.5."
    )
    return _table(
        builder,
        {
            0: builder.CreateString("novelty"),
            1: builder.CreateString(description),
            3: _table(builder, {1: _table(builder, {})}, {0: _FEATURE_PROPERTIES}),
            5: _table(builder, {0: _floats(builder, 1.0), 1: _floats(builder, 0.0)}),
        },
    )


def _thresholding(builder: flatbuffers.Builder, threshold: float) -> int:
    """Write that readers leave out labels whose score is lower, unless they are told otherwise."""
    builder.StartObject(1)
    builder.PrependFloat32Slot(0, threshold, 0.0)
    options = int(builder.EndObject())
    return _table(builder, {1: options}, {0: SCORE_THRESHOLDING_OPTIONS})


def _table(
    builder: flatbuffers.Builder,
    references: Mapping[int, int],
    numbers: Mapping[int, int] | None = None,
) -> int:
    """Write a table of references to what is written already, and of enums, by slot."""
    numbers = numbers or {}
    builder.StartObject(max((*references, *numbers), default=-1) + 1)
    for slot, offset in references.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, number in numbers.items():
        builder.PrependByteSlot(slot, number, 0)
    return int(builder.EndObject())


def _tables(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: flatbuffers.Builder, value: float) -> int:
    return int(builder.CreateNumpyVector(np.array([value], np.float32)))
