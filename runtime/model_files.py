"""Reading a `.tflite` file: its bytes, its card, and what goes in and comes out."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pocketlens.card import LABELS_NAME, ModelCard, archived_text, parse_labels, unpack_file
from pocketlens.errors import LabelsError, ModelFileError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from pocketlens.runtime.metadata import Metadata

SUFFIX = ".tflite"

_IDENTIFIER = b"TFL3"
_IDENTIFIER_OFFSET = 4
_HEAD_BYTES = _IDENTIFIER_OFFSET + len(_IDENTIFIER)

# Enough to tell what else it may be.
_KIND_BYTES = 64

_TYPES = (np.uint8, np.int8, np.float32)
_CHANNELS = (1, 3)
# Beside a model, without labels in itself or named by the user.
_BESIDE = (LABELS_NAME, "labels.json")


class ModelFile(NamedTuple):
    """A `.tflite` file, read whole, so that it may change on disk without harm.

    `path` is a string: `pathlib` takes as long to import as half of this package.
    `card` is None for a third-party file. `labels` are the card's (see there), those of the
    file's metadata, those beside it, or None. `metadata` is the standard one and `texts` are the
    text files at the model's end, by name; both are read only where there is no card.
    """

    path: str
    flatbuffer: bytes
    size_bytes: int
    card: ModelCard | None
    labels: tuple[str, ...] | None
    metadata: Metadata | None = None
    texts: Mapping[str, bytes] | None = None


@dataclass(frozen=True)
class Tensor:
    """One input or output of a model. `scale` is 0 for tensors that are not quantized."""

    index: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int


class Signature(NamedTuple):
    """The input and the outputs of an image classifier: the scores, and one beside them if any."""

    input: Tensor
    output: Tensor
    novelty: Tensor | None = None

    @property
    def layout(self) -> Layout:
        """How the input's shape holds a picture."""
        return layout_of(self.input.shape)

    @property
    def size_wh(self) -> tuple[int, int]:
        """The input's width and height in pixels."""
        layout = self.layout
        return self.input.shape[layout.width], self.input.shape[layout.height]

    @property
    def classes(self) -> int:
        """How many scores come out."""
        return int(np.prod(self.output.shape))


class Layout(NamedTuple):
    """Which axes of an input are a picture's height and width, and how many channels it has.

    `channels_first` says whether these come before the height, as PyTorch has them.
    """

    height: int
    width: int
    channels: int
    channels_first: bool


def layout_of(shape: Sequence[int]) -> Layout:
    """Return the layout of an input; `channels` is 0 where it is not that of a picture.

    Pictures are [1, height, width, 3 or 1], [1, 3 or 1, height, width], and [1, height, width] if
    they are grey.
    """
    if len(shape) == 3:
        return Layout(1, 2, 1, channels_first=False)
    if len(shape) != 4:
        return Layout(0, 0, 0, channels_first=False)
    if shape[3] not in _CHANNELS and shape[1] in _CHANNELS:
        return Layout(2, 3, shape[1], channels_first=True)
    return Layout(1, 2, shape[3] if shape[3] in _CHANNELS else 0, channels_first=False)


def read_model_file(path: str | Path) -> ModelFile:
    """Read a `.tflite` file.

    Raises:
        UsageError: there is no such file.
        ModelFileError: it is not a `.tflite` file, or a damaged one.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        came = "a folder" if os.path.isdir(path) else "nothing there"
        if os.path.isdir(path):
            # Imported only here, as all below: files with a card do without.
            from pathlib import Path

            from pocketlens.runtime.runs import is_run

            if is_run(Path(path)):
                raise UsageError(
                    f"Expected a {SUFFIX} file. Received: {path}, a training run. "
                    f"Make one with: pocketlens convert {path} --out DIR"
                )
        raise UsageError(f"Expected a {SUFFIX} file at {path}. Received: {came}. Check the path.")
    with open(path, "rb") as file:
        head = file.read(_KIND_BYTES)
        if head[_IDENTIFIER_OFFSET:_HEAD_BYTES] != _IDENTIFIER:
            from pathlib import Path

            from pocketlens.keras_files import refuse_foreign

            refuse_foreign(Path(path), head, f"a {SUFFIX} file")
            model = path if path.endswith(".keras") else "RUN"
            raise ModelFileError(
                f"Expected a {SUFFIX} file. Received: {path}, whose content is something else. "
                f"Make one with: pocketlens convert {model} --out DIR"
            )
        size_bytes = file.seek(0, os.SEEK_END)
        metadata = None
        try:
            unpacked = unpack_file(file)
            labels = unpacked.card.labels if unpacked.card else unpacked.labels
            if unpacked.card is None:
                from pocketlens.runtime.metadata import read_metadata

                metadata = read_metadata(unpacked.flatbuffer)
                if metadata is not None and metadata.labels_file is not None:
                    labels = parse_labels(named_text(unpacked.texts, metadata.labels_file))
        except ModelFileError as error:
            raise ModelFileError(f"{path}: {error}") from error
    for name in _BESIDE:
        beside = os.path.join(os.path.dirname(path), name)
        if labels is None and os.path.isfile(beside):
            labels = read_labels(beside)
    texts = None if unpacked.card else unpacked.texts
    return ModelFile(path, unpacked.flatbuffer, size_bytes, unpacked.card, labels, metadata, texts)


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read labels in UTF-8: one per line, or a list or dict, see `card.parse_labels`.

    Raises:
        UsageError: there is no such file.
        LabelsError: it holds no text.
        ModelFileError: a label in it is longer than any name.
    """
    if not os.path.isfile(path):
        raise UsageError(f"Expected a file with labels at {path}. Received: nothing there.")
    try:
        # With a byte order mark, as Windows writes it, or without.
        with open(path, encoding="utf-8-sig") as file:
            return parse_labels(file.read())
    except UnicodeDecodeError as error:
        raise LabelsError(
            f"Expected labels as UTF-8 text, one per line. Received: {path}, which is not text."
        ) from error


def read_signature(interpreter: Any, path: str | Path) -> Signature:
    """Return what goes into and comes out of a loaded model.

    Raises:
        ModelFileError: the model is not an image classifier with one RGB or grey picture as its
            input and one row of scores as its output, or a novelty of one value beside it.
    """
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if not (
        len(inputs) == 1
        and 1 <= len(outputs) <= 2
        and _is_picture(inputs[0])
        and all(map(_is_row, outputs))
        and (len(outputs) == 1 or math.prod(outputs[1]["shape"]) == 1)
    ):
        raise ModelFileError(
            "Expected an image classifier with one input [1, height, width, 3 or 1] or "
            "[1, 3 or 1, height, width] and one output [1, classes], all of them float32, uint8 "
            "or int8. "
            f"Received: {path} with {_listed('input', inputs)} and {_listed('output', outputs)}. "
            "Convert the model to that form, or use another."
        )
    return Signature(_tensor(inputs[0]), *map(_tensor, outputs))


def _is_picture(details: dict[str, Any]) -> bool:
    # What it has now, whatever else the model would take: most leave the batch open.
    shape = tuple(int(side) for side in details["shape"])
    return bool(
        layout_of(shape).channels
        and shape[0] == 1
        and min(shape) > 0
        and details["dtype"] in _TYPES
    )


def _is_row(details: dict[str, Any]) -> bool:
    shape = tuple(int(side) for side in details["shape"])
    return math.prod(shape) == max((*shape, 0)) > 0 and details["dtype"] in _TYPES


def _shape(details: dict[str, Any]) -> tuple[int, ...]:
    """Return a tensor's shape, -1 where the model leaves it to the caller."""
    signature = details["shape_signature"]
    return tuple(int(side) for side in (signature if len(signature) else details["shape"]))


def _listed(what: str, tensors: list[dict[str, Any]]) -> str:
    texts = ", ".join(f"{list(_shape(one))} {np.dtype(one['dtype'])}" for one in tensors)
    return f"{len(tensors)} {what}{'' if len(tensors) == 1 else 's'} ({texts})"


def named_text(texts: Mapping[str, bytes] | None, name: str) -> str:
    """Return a text at a model's end that its metadata names.

    Raises:
        ModelFileError: it is not there, or not UTF-8.
    """
    if texts is None or name not in texts:
        raise ModelFileError(
            f"Expected the text that the model's metadata names, {name}, at its end. "
            "Received: none there. The file is truncated: download it again."
        )
    return archived_text(name, texts[name])


def _tensor(details: dict[str, Any]) -> Tensor:
    scale, zero_point = details["quantization"]
    return Tensor(
        int(details["index"]),
        tuple(int(side) for side in details["shape"]),
        np.dtype(details["dtype"]),
        float(scale),
        int(zero_point),
    )
