"""The model card: what a model file means, carried inside the file itself.

A `.tflite` file is a flatbuffer. Whatever follows it is not read by any interpreter, so the card
travels as a zip archive appended to it, which is how TFLite Metadata stores associated files
(https://ai.google.dev/edge/litert/models/metadata). `zipfile` and `unzip` open it.

The card seals the file: the SHA-256 in it is that of the flatbuffer, and the archive has to be,
byte for byte, the one that the card makes. It tells of damage, not of who wrote the file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from pocketlens.archive import append_archive, has_trace_of, read_archive
from pocketlens.choices import ACTIVATIONS, NO_ACTIVATION, TASKS
from pocketlens.choices import BINARY as BINARY
from pocketlens.choices import MULTICLASS as MULTICLASS
from pocketlens.choices import MULTILABEL as MULTILABEL
from pocketlens.choices import RESIZE_MODES as RESIZE_MODES
from pocketlens.errors import ModelFileError

if TYPE_CHECKING:
    import zipfile

CARD_NAME = "card.json"
LABELS_NAME = "labels.txt"
SCHEMA_VERSION = 1
LONGEST_LABEL = 1000
"""Characters of a label; what is longer is no name but a text, or damage."""
MOST_SHIFT_VALUES = 1000
"""Values by name that a card's shift reference may have."""
DEFAULT_THRESHOLDS = {MULTICLASS: 0.0, BINARY: 0.5, MULTILABEL: 0.5}

# No number of photos, and no logarithm, comes near.
_GREATEST = 1e9

# Of what a third-party file brings: labels of every class there is take less. A damaged or hostile
# archive says one size and unpacks to another, so that all of it is read within these bounds.
_MOST_TEXT_BYTES = 16 << 20
_TEXT_SUFFIXES = (".txt", ".json", ".csv", ".names", ".labels")
_LABELS_CALLED = re.compile("label|class|names")
_MOST_FILES = 1000
_ENTRY = b"PK\x01\x02"


@dataclass(frozen=True)
class ModelCard:
    """What a model file means.

    `labels` are in the order of the scores, with one exception: a binary model has one score, that
    of the positive label, and two labels, (negative, positive). `labels.txt`, in the file as in a
    run, has a line for each score (`score_labels`), so there only the positive one, as readers of
    the standard metadata expect.

    `input_size_wh` is (width, height) in pixels. `threshold` in 0-1 is the score from which a label
    is the answer: the positive one of a binary model, any of a multilabel one; for multiclass,
    below it an answer should not be trusted. For binary and multilabel 0 stands for the default,
    0.5: every label would be an answer, as it was in files that 0.1.0 made of third-party models.
    `activation` is what makes scores of what comes out of the file: "softmax" or "sigmoid" where
    these are logits, "none" where they are scores. `format` is "keras" or one of the five `.tflite`
    formats. `calibration`, `metrics`, `training` and `versions` hold plain JSON values for people
    to read. `seen` tells photos that the model was trained or chosen on (`evaluation.seen.sketch`).
    `model_sha256` is that of the flatbuffer alone, without the appended archive. `unknown` is the
    label of a multiclass model that says that a photo shows none of the others, "" where it has no
    such label. `sets` are for label sets, of a multiclass model: by level, such as "0.95", the
    score from which a label is in the set (`evaluation.sets`). `shift` tells what the validation
    photos were like, for frames to be compared with (`runtime.shift`): their number as "photos",
    and as "values" by name some of their numbers, ascending; it is empty where that is not known.
    `novelty` is the index of the output that says how unlike the known photos a photo is, in 0-1,
    of a binary or multilabel model: 1, the second; None where it has no such output.
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
    activation: str = NO_ACTIVATION
    seen: str = ""
    unknown: str = ""
    sets: Mapping[str, float] = field(default_factory=dict)
    shift: Mapping[str, Any] = field(default_factory=dict)
    novelty: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that no reader of the card could obey."""
        if not self.labels or any(not isinstance(label, str) for label in self.labels):
            raise ModelFileError(f"Expected labels as text in the card. Received: {self.labels!r}.")
        refuse_long(self.labels)
        if self.task == BINARY and len(self.labels) != 2:
            raise ModelFileError(
                "Expected a negative and a positive label in the card of a binary model. "
                f"Received: {self.labels!r}."
            )
        if not isinstance(self.threshold, (int, float)) or not 0 <= self.threshold <= 1:
            raise ModelFileError(
                f"Expected the card's threshold in 0 to 1. Received: {self.threshold!r}."
            )
        if not isinstance(self.seen, str):
            raise ModelFileError(f"Expected the card's photos as text. Received: {self.seen!r}.")
        if self.unknown and (self.task != MULTICLASS or self.unknown not in self.labels):
            raise ModelFileError(
                "Expected the card's label for unknown photos among those of a multiclass model. "
                f"Received: {self.unknown!r}."
            )
        if not isinstance(self.sets, Mapping) or not all(
            isinstance(score, (int, float)) and 0 <= score <= 1 for score in self.sets.values()
        ):
            raise ModelFileError(
                "Expected the card's label sets as levels with scores in 0 to 1. "
                f"Received: {self.sets!r}."
            )
        if not _is_shift(self.shift):
            raise ModelFileError(
                "Expected the card's shift reference as a number of photos and ascending values by "
                f"name, at most {MOST_SHIFT_VALUES} each. Received: {str(self.shift)[:100]}."
            )
        if self.novelty is not None and (
            type(self.novelty) is not int or self.novelty != 1 or self.task == MULTICLASS
        ):
            raise ModelFileError(
                "Expected the card's novelty as 1, the second output of a binary or multilabel "
                f"model, or null. Received: {self.novelty!r} of a {self.task} model."
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
            ("activation", self.activation, ACTIVATIONS),
        ):
            if value not in known:
                raise ModelFileError(
                    f"Expected the card's {what} to be one of {', '.join(known)}. "
                    f"Received: {value!r}."
                )
        if not self.threshold:
            object.__setattr__(self, "threshold", DEFAULT_THRESHOLDS[self.task])

    @property
    def score_labels(self) -> tuple[str, ...]:
        """A label for each score of the model: only the positive one of a binary model."""
        return self.labels[1:] if self.task == BINARY else self.labels

    @property
    def unknown_index(self) -> int | None:
        """The index of the label for unknown photos, None where there is none."""
        return self.labels.index(self.unknown) if self.unknown else None

    def to_json(self) -> str:
        """Return the card as JSON text, the same text for the same card."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> ModelCard:
        """Read a card.

        Unknown fields are left out, so that older versions read newer cards of the same schema.

        Raises:
            ModelFileError: the text is not a card, or one of a newer schema.
        """
        try:
            values = json.loads(text)
            version = int(values["schema_version"])
            known = {entry.name for entry in dataclasses.fields(cls)}
            values = {key: value for key, value in values.items() if key in known}
            values["labels"] = tuple(values["labels"])
            values["input_size_wh"] = tuple(values["input_size_wh"])
            card = cls(**values)
        # RecursionError: a list in a list in a list …
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
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


def _is_shift(shift: Any) -> bool:
    """Return whether it is what `ModelCard.shift` may be."""
    if not isinstance(shift, Mapping):
        return False
    if not shift:
        return True
    photos, values = shift.get("photos"), shift.get("values")
    if type(photos) is not int or not 1 <= photos < _GREATEST:
        return False
    if not isinstance(values, Mapping) or not values:
        return False
    return all(
        isinstance(entries, list)
        and 1 <= len(entries) <= MOST_SHIFT_VALUES
        and all(map(_is_number, entries))
        and entries == sorted(entries)
        for entries in values.values()
    )


def _is_number(value: Any) -> bool:
    # Not `isfinite`, for which an integer may be too large; a bool is none.
    return type(value) in (int, float) and abs(value) < _GREATEST


def refuse_long(labels: Sequence[str]) -> None:
    """Raise ModelFileError for a label that is no name but a text or damage."""
    longest = max(map(len, labels), default=0)
    if longest > LONGEST_LABEL:
        raise ModelFileError(
            f"Expected labels of at most {LONGEST_LABEL} characters. Received: one of {longest}. "
            "Write one label per line."
        )


def labels_text(labels: tuple[str, ...]) -> str:
    """Return labels as the lines of a `labels.txt`."""
    return "".join(f"{label}\n" for label in labels)


def pack(flatbuffer: bytes, card: ModelCard) -> bytes:
    """Return the bytes of a `.tflite` file that carries its card and labels.

    The card's `model_sha256` is set to that of `flatbuffer`.
    """
    card = dataclasses.replace(card, model_sha256=hashlib.sha256(flatbuffer).hexdigest())
    return append_archive(flatbuffer, _sealed_files(card, card.to_json().encode("utf-8")))


class Unpacked(NamedTuple):
    """A `.tflite` file taken apart: the model's own bytes and what travels behind them.

    `texts` are the contents of the text files among it by their names.
    """

    flatbuffer: bytes
    card: ModelCard | None
    labels: tuple[str, ...] | None
    texts: Mapping[str, bytes]


def unpack(model_bytes: bytes) -> Unpacked:
    """Do what `unpack_file` does with the bytes of a file."""
    return unpack_file(io.BytesIO(model_bytes))


def unpack_file(file: IO[bytes]) -> Unpacked:
    """Take a `.tflite` file apart, opened for reading.

    A third-party file has no card; its labels are those of its only associated text file,
    the way TFLite Metadata stores them, or None.

    Raises:
        ModelFileError: the archive or the card is damaged, or the model's bytes are not those
            that the card was written for.
    """
    found = read_archive(file)
    file.seek(0)
    if found is None or CARD_NAME not in found[1]:
        return _unpack_other(file.read())
    end, texts = found
    card = ModelCard.from_json(texts[CARD_NAME])
    # Reading no more spares a copy of what may be most of a small board's memory.
    flatbuffer = file.read(end)
    digest = hashlib.sha256(flatbuffer).hexdigest()
    if digest != card.model_sha256:
        raise ModelFileError(
            f"Expected a model with the SHA-256 {card.model_sha256[:12]}… that its card names. "
            f"Received: {digest[:12]}…. The file is damaged: copy or convert it again."
        )
    if list(texts.items()) != list(_sealed_files(card, texts[CARD_NAME]).items()):
        raise _damaged("one that was changed afterwards")
    return Unpacked(flatbuffer, card, card.score_labels, texts)


def _sealed_files(card: ModelCard, card_json: bytes) -> dict[str, bytes]:
    # The card's own text, since a newer version's may say more than this one knows.
    return {CARD_NAME: card_json, LABELS_NAME: labels_text(card.score_labels).encode("utf-8")}


def _unpack_other(model_bytes: bytes) -> Unpacked:
    """Take apart what was not written here, or damaged since."""
    # Imported only here: it brings much, and files with a card do without.
    import zipfile

    if not zipfile.is_zipfile(io.BytesIO(model_bytes)):
        if has_trace_of(model_bytes, CARD_NAME):
            raise _damaged("one whose end is cut off or changed")
        return Unpacked(model_bytes, None, None, {})
    # Before `zipfile` makes an object of each.
    entries = model_bytes.count(_ENTRY)
    if entries > _MOST_FILES:
        raise _damaged(f"one of {entries} files, more than {_MOST_FILES}")
    try:
        with zipfile.ZipFile(io.BytesIO(model_bytes)) as archive:
            texts = _read_texts(archive)
    # `zipfile` runs over damaged fields with whatever they make it do.
    except Exception as error:
        raise _damaged(str(error) or type(error).__name__) from error
    if CARD_NAME in texts:
        raise _damaged("one that was changed afterwards")
    name = _labels_name(texts)
    labels = parse_labels(archived_text(name, texts[name])) if name else None
    return Unpacked(model_bytes, None, labels, texts)


def archived_text(name: str, content: bytes) -> str:
    """Return the text of a file in the archive at a model's end.

    Raises:
        ModelFileError: it is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelFileError(
            f"Expected text as UTF-8 in {name} at the model's end. Received: {error}. "
            "Download the file again."
        ) from error


def _labels_name(texts: Mapping[str, bytes]) -> str | None:
    """Return which text has the labels by its name, where no metadata tells it from a licence."""
    names = [name for name in texts if name != CARD_NAME]
    plain = [name for name in names if name.endswith(".txt")]
    called = [name for name in names if _LABELS_CALLED.search(name.lower())]
    return next((found[0] for found in (plain, called) if len(found) == 1), None)


def _read_texts(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = archive.infolist()
    if sum(entry.file_size for entry in entries if _is_text(entry)) > _MOST_TEXT_BYTES:
        raise ValueError(f"text files of more than {_MOST_TEXT_BYTES >> 20} MB")
    texts = {}
    for entry in entries:
        # Opening compares an entry's two names, so that none hides behind a changed one.
        with archive.open(entry) as stream:
            if _is_text(entry):
                # Without the number `zipfile` unpacks all there is, whatever size was said.
                texts[entry.filename] = stream.read(entry.file_size)
                if len(texts[entry.filename]) < entry.file_size or stream.read(1):
                    raise ValueError(f"{entry.filename} has another size than it says")
    return texts


def _is_text(entry: zipfile.ZipInfo) -> bool:
    name = entry.filename
    return name == CARD_NAME or name.endswith(_TEXT_SUFFIXES) or "." not in name


def _damaged(came: str) -> ModelFileError:
    return ModelFileError(
        "Expected a model file with the archive at its end as it was written. "
        f"Received: {came}. Copy or convert the file again."
    )


def parse_labels(text: str) -> tuple[str, ...]:
    """Return the labels that a text names: one per line, or a JSON or Python list or dict.

    Lines that are all numbered in order lose their numbers ("0 rose", "1 tulip"), unless two would
    be alike without them.

    Raises:
        ModelFileError: a label is longer than any name.
    """
    labels = None
    if text.lstrip()[:1] in ("{", "["):
        # Imported only here: hardly any file is written so.
        from pocketlens.label_lists import read_label_list

        labels = read_label_list(text)
    if labels is None:
        labels = tuple(line.strip() for line in text.splitlines() if line.strip())
        if len(labels) > 1 and labels[0][0].isdigit():
            labels = _without_numbers(labels)
    refuse_long(labels)
    return labels


def _without_numbers(lines: tuple[str, ...]) -> tuple[str, ...]:
    found = [re.match(r"(\d{1,9})[\s.,:;)-]+(\S.*)", line, re.ASCII) for line in lines]
    if not all(found):
        return lines
    numbers = [int(match[1]) for match in found if match]
    names = tuple(match[2] for match in found if match)
    in_order = numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] <= 1
    return names if in_order and len(set(names)) == len(names) else lines
