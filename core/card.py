"""The model card: what a model file means, carried inside the file itself.

A `.tflite` file is a flatbuffer. Whatever follows it is not read by any interpreter, so the card
travels as a zip archive appended to it, which is how TFLite Metadata stores associated files
(https://ai.google.dev/edge/litert/models/metadata). `zipfile` and `unzip` open it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pocketlens.errors import ModelFileError

CARD_NAME = "card.json"
LABELS_NAME = "labels.txt"
SCHEMA_VERSION = 1
MULTICLASS, BINARY, MULTILABEL = TASKS = ("multiclass", "binary", "multilabel")
DEFAULT_THRESHOLDS = {MULTICLASS: 0.0, BINARY: 0.5, MULTILABEL: 0.5}
RESIZE_MODES = ("stretch", "crop", "pad")

# The zip format cannot hold a time before 1980; a fixed one keeps files byte-identical.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class ModelCard:
    """What a model file means.

    `labels` are in the order of the scores, with one exception: a binary model has one score, that
    of the positive label, and two labels, (negative, positive). `labels.txt`, in the file as in a
    run, has a line for each score (`score_labels`), so there only the positive one, as readers of
    the standard metadata expect.

    `input_size_wh` is (width, height) in pixels. `threshold` in 0-1 is the score from which a label
    is the answer: the positive one of a binary model, any of a multilabel one; for multiclass,
    below it an answer should not be trusted. `format` is "keras" or one of the five `.tflite`
    formats. `calibration`, `metrics`, `training` and `versions` hold plain JSON values for people
    to read. `model_sha256` is that of the flatbuffer alone, without the appended archive.
    """

    name: str
    labels: tuple[str, ...]
    input_size_wh: tuple[int, int]
    task: str = "multiclass"
    resize_mode: str = "stretch"
    threshold: float = 0.0
    format: str = "keras"
    data_hash: str = ""
    model_sha256: str = ""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse values that no reader of the card could obey."""
        if not self.labels or any(not isinstance(label, str) for label in self.labels):
            raise ModelFileError(f"Expected labels as text in the card. Received: {self.labels!r}.")
        if self.task == BINARY and len(self.labels) != 2:
            raise ModelFileError(
                "Expected a negative and a positive label in the card of a binary model. "
                f"Received: {self.labels!r}."
            )
        if not isinstance(self.threshold, (int, float)) or not 0 <= self.threshold <= 1:
            raise ModelFileError(
                f"Expected the card's threshold in 0 to 1. Received: {self.threshold!r}."
            )
        if len(self.input_size_wh) != 2 or any(
            not isinstance(side, int) or side < 1 for side in self.input_size_wh
        ):
            raise ModelFileError(
                "Expected the card's input size as width and height in pixels. "
                f"Received: {self.input_size_wh!r}."
            )
        for what, value, known in (
            ("task", self.task, TASKS),
            ("resize mode", self.resize_mode, RESIZE_MODES),
        ):
            if value not in known:
                raise ModelFileError(
                    f"Expected the card's {what} to be one of {', '.join(known)}. "
                    f"Received: {value!r}."
                )

    @property
    def score_labels(self) -> tuple[str, ...]:
        """A label for each score of the model: only the positive one of a binary model."""
        return self.labels[1:] if self.task == BINARY else self.labels

    def to_json(self) -> str:
        """Return the card as JSON text, the same text for the same card."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelCard:
        """Read a card.

        Unknown fields are left out, so that older versions read newer cards of the same schema.

        Raises:
            ModelFileError: the text is no card, or one of a newer schema.
        """
        try:
            values = json.loads(text)
            version = int(values["schema_version"])
            known = {entry.name for entry in dataclasses.fields(cls)}
            values = {key: value for key, value in values.items() if key in known}
            values["labels"] = tuple(values["labels"])
            values["input_size_wh"] = tuple(values["input_size_wh"])
            card = cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(
                f"Expected a pocketlens model card as JSON. Received: {error}. "
                "Convert the model again to get a new one."
            ) from error
        if version > SCHEMA_VERSION:
            raise ModelFileError(
                f"Expected a model card of schema {SCHEMA_VERSION} or older. "
                f"Received: schema {version}. Update pocketlens to read it."
            )
        return card


def labels_text(labels: tuple[str, ...]) -> str:
    """Return labels as the lines of a `labels.txt`."""
    return "".join(f"{label}\n" for label in labels)


def pack(flatbuffer: bytes, card: ModelCard) -> bytes:
    """Return the bytes of a `.tflite` file that carries its card and labels.

    The card's `model_sha256` is set to that of `flatbuffer`.
    """
    card = dataclasses.replace(card, model_sha256=hashlib.sha256(flatbuffer).hexdigest())
    buffer = io.BytesIO()
    buffer.write(flatbuffer)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name, text in (
            (CARD_NAME, card.to_json()),
            (LABELS_NAME, labels_text(card.score_labels)),
        ):
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), text)
    return buffer.getvalue()


@dataclass(frozen=True)
class Unpacked:
    """A `.tflite` file taken apart: the model's own bytes and what travels behind them.

    `texts` are the contents of the text files among it by their names.
    """

    flatbuffer: bytes
    card: ModelCard | None
    labels: tuple[str, ...] | None
    texts: Mapping[str, bytes] = field(default_factory=dict)

    def labels_of(self, name: str) -> tuple[str, ...] | None:
        """Return the labels in one of the text files, None if there is no such file.

        Raises:
            ModelFileError: it is no UTF-8.
        """
        if name not in self.texts:
            return None
        try:
            return _lines(self.texts[name].decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ModelFileError(
                f"Expected labels as UTF-8 in {name} at the model's end. Received: {error}. "
                "Get the file again."
            ) from error


def unpack(model_bytes: bytes) -> Unpacked:
    """Take the bytes of a `.tflite` file apart.

    A file from elsewhere has no card; its labels are those of its only associated text file,
    the way TFLite Metadata stores them, or None.

    Raises:
        ModelFileError: the archive or the card is damaged, or the model's bytes are not those
            that the card was written for.
    """
    if not zipfile.is_zipfile(io.BytesIO(model_bytes)):
        if _has_start_of_card(model_bytes):
            raise ModelFileError(
                "Expected a model file with its whole card at its end. Received: a file whose end "
                "is cut off. Copy or convert it again."
            )
        return Unpacked(model_bytes, None, None)
    try:
        with zipfile.ZipFile(io.BytesIO(model_bytes)) as archive:
            entries = archive.infolist()
            end = min((entry.header_offset for entry in entries), default=len(model_bytes))
            texts = {
                entry.filename: archive.read(entry)
                for entry in entries
                if entry.filename == CARD_NAME or entry.filename.endswith(".txt")
            }
        label_files = [text for name, text in texts.items() if name != CARD_NAME]
        labels = _lines(label_files[0].decode("utf-8")) if len(label_files) == 1 else None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ModelFileError(
            f"Expected a model file with a readable card at its end. Received: {error}. "
            "Copy or convert the file again."
        ) from error
    if CARD_NAME not in texts:
        return Unpacked(model_bytes, None, labels, texts)
    card = ModelCard.from_json(texts[CARD_NAME])
    flatbuffer = model_bytes[:end]
    digest = hashlib.sha256(flatbuffer).hexdigest()
    if digest != card.model_sha256:
        raise ModelFileError(
            f"Expected a model with the SHA-256 {card.model_sha256[:12]}… that its card names. "
            f"Received: {digest[:12]}…. The file is damaged: copy or convert it again."
        )
    return Unpacked(flatbuffer, card, labels, texts)


def _has_start_of_card(model_bytes: bytes) -> bool:
    # A zip entry: its signature, 26 bytes more, its name (PKWARE's APPNOTE, 4.3.7).
    name_at = model_bytes.rfind(CARD_NAME.encode())
    return name_at >= 30 and model_bytes[name_at - 30 : name_at - 26] == b"PK\x03\x04"


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())
