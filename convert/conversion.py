"""`convert`: a model as `.tflite` files, each loaded again, checked and described."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard, pack
from pocketlens.choices import DEFAULT_KNOWN_KEPT, FORMATS, INT8, MULTICLASS, NO_ACTIVATION
from pocketlens.convert.activations import Activated, activate, find_activation
from pocketlens.convert.demands import (
    DEFAULT_SAMPLES,
    Demands,
    known_pictures,
    plan_files,
)
from pocketlens.convert.encoders import Encoder, FloatModel
from pocketlens.convert.flatbuffers import slim
from pocketlens.convert.float_layers import Int8, make_int8
from pocketlens.convert.formats import (
    EIGHT_BIT,
    Shortfall,
    check_promise,
    count_not_finite,
    find_shortfall,
    rerun,
)
from pocketlens.convert.metadata import standard_metadata
from pocketlens.convert.origins import read_origin
from pocketlens.convert.photos import reference_photos, representative_pixels
from pocketlens.convert.unknown import add_unknown_label
from pocketlens.errors import ConversionError, ModelFileError
from pocketlens.evaluation.agreement import Comparison, Reference
from pocketlens.evaluation.sets import fit_sets
from pocketlens.files import one_call, write_bytes
from pocketlens.progress import track
from pocketlens.quiet import quiet
from pocketlens.report.html import counted
from pocketlens.runtime.answers import Answer
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.metadata import METADATA_NAME
from pocketlens.runtime.model_files import SUFFIX
from pocketlens.runtime.operators import Operators
from pocketlens.runtime.shift import fit_shift

LOGGER = logging.getLogger("pocketlens")

# Enough of a converter's message to search for.
_MOST_REASON = 300

_PACKAGES = ("tensorflow", "keras", "ai-edge-quantizer", "ai-edge-litert")


def calibration(photos: int, chosen: bool) -> dict[str, Any]:
    """Return what the card says of the representative photos, nothing where there were none."""
    source = "a folder that was given" if chosen else "training photos, stratified"
    return {"photos": photos, "source": source} if photos else {}


def for_format(card: ModelCard, entry: str, calibrated: Mapping[str, Any]) -> ModelCard:
    """Return the card of a format's file, before it is measured."""
    return dataclasses.replace(
        card,
        format=entry,
        calibration=dict(calibrated) if entry in EIGHT_BIT else {},
        versions={**card.versions, **{package: version(package) for package in _PACKAGES}},
    )


def with_figures(
    card: ModelCard,
    operators: Operators,
    shortfall: Shortfall | None,
    comparison: Comparison,
    int8: Int8 | None,
) -> ModelCard:
    """Return the card with what was measured on the file.

    Times are left out: the same model and photos are to give the same bytes.
    """
    metrics = {
        **card.metrics,
        "agreement_with_original": round(comparison.agreement, 4),
        "compared_photos": comparison.photos,
        "operators": operators.counts,
        "partitions": operators.partitions,
    }
    if shortfall is not None:
        metrics["outside_xnnpack"] = dict(shortfall.outside)
        metrics["float_operators"] = dict(shortfall.in_float)
    if comparison.accuracy is not None:
        metrics["converted_accuracy"] = round(comparison.accuracy, 4)
        metrics["lost_to_original_points"] = round(comparison.drop_points, 2)
    calibrated = dict(card.calibration)
    if int8 is not None:
        calibrated["float_layers"] = [name.split(";")[0] for name in int8.float_layers]
    return dataclasses.replace(card, metrics=metrics, calibration=calibrated)


@dataclass(frozen=True)
class ConvertedFile:
    """One file that `convert` made.

    `comparison` is with the model that it was made from. `held_back` is True where the file
    lost more than the limit and was not written. `int8` says which of its layers stay in float,
    `shortfall` which of the network's operators keep it from one XNNPACK partition.
    """

    path: Path
    format: str
    size_bytes: int
    comparison: Comparison
    operators: Operators
    seconds: float
    held_back: bool = False
    int8: Int8 | None = None
    shortfall: Shortfall | None = None


class IncompleteError(ConversionError):
    """Not every format was written; `files` are those that could be made, with figures."""

    def __init__(self, message: str, files: Sequence[ConvertedFile]) -> None:
        super().__init__(message)
        self.files = list(files)


class DropError(IncompleteError):
    """Files lost more accuracy than the limit and were rejected; `files` has them too."""


@one_call()
def convert(
    model: Path,
    out: Path,
    formats: Sequence[str] = FORMATS,
    *,
    name: str | None = None,
    hints: ModelHints | None = None,
    data: Path | None = None,
    representative: Path | None = None,
    samples: int = DEFAULT_SAMPLES,
    unknown: Path | None = None,
    known_kept: float = DEFAULT_KNOWN_KEPT,
    demands: Demands | None = None,
    overwrite: bool = False,
) -> list[ConvertedFile]:
    """Write a model in some formats as `NAME_FORMAT.tflite`.

    Nothing is written before all files have been made and checked. A network whose operators
    XNNPACK or 8 bits do not have gives files that say so (`ConvertedFile.shortfall`).

    Args:
        model: a run folder, a `.keras` file, a SavedModel folder or a float32 `.tflite` file.
        out: the folder for the files.
        formats: some of `FORMATS`.
        name: how the files are named; the model's name if None.
        hints: what a third-party model does not say of itself.
        data: labelled photos to compare files on; a run's validation photos if None. Only on these
            the label sets of the files are fitted, and what `live --watch-shift` compares with.
        representative: photos for the 8-bit formats; a run's training photos if None.
        samples: how many of them.
        unknown: photos of what a `.keras` file knows, which then gets one more label, for photos of
            anything else.
        known_kept: the share of known photos that are to keep their label then.
        demands: what the files must hold.
        overwrite: replace files that are there.

    Raises:
        UsageError, OutputExistsError: an argument cannot be.
        DataError: the photos are gone or unreadable.
        ModelFileError: the model is not an image classifier, cannot be loaded safely, does not give
            finite scores, or its features cannot be found for `unknown`.
        DropError: a file loses more than the limit. The others have been written.
        IncompleteError: a format cannot be made of this model. The others have been written.
    """
    demands = demands or Demands()
    targets = plan_files(
        model,
        out,
        formats,
        name=name,
        hints=hints,
        data=data,
        representative=representative,
        samples=samples,
        unknown=unknown,
        known_kept=known_kept,
        overwrite=overwrite,
    )
    formats = list(targets)
    hints = hints or ModelHints()
    origin = read_origin(model, hints)
    if unknown is not None:
        photos_known = known_pictures(unknown)
        origin = add_unknown_label(model, origin, photos_known, known_kept, hints.activation)
    stem = name or origin.card.name
    photos: list[NDArray[np.uint8]] = []
    wanted = EIGHT_BIT if origin.run or representative else {INT8}
    if not wanted.isdisjoint(formats):
        photos = representative_pixels(origin, representative, samples)
    reference = reference_photos(origin, data, representative, samples)
    broken = count_not_finite(reference.scores)
    if broken:
        raise ModelFileError(
            f"Expected finite scores of {model}. Received: NaN or infinite ones for {broken} of "
            f"{counted(len(reference.scores))}. Look at its weights, or train it again."
        )
    with quiet():
        float_model = origin.float_model()
    activation = origin.activation
    if activation is None:
        activation = hints.activation
        if activation is None:
            activation = find_activation(model, reference.scores, origin.card.task)
        scores = activate(reference.scores, activation)
        reference = dataclasses.replace(reference, scores=scores)
    # Each file's label sets and shift reference are fitted on its own scores.
    card = dataclasses.replace(origin.card, name=stem, sets={}, shift={})
    fits = origin.run is not None and data is None
    if activation != NO_ACTIVATION:
        float_model = Activated(float_model, activation)
        metrics = {**card.metrics, "appended_activation": activation}
        card = dataclasses.replace(card, activation=NO_ACTIVATION, metrics=metrics)
    calibrated = calibration(len(photos), representative is not None)
    maker = _Maker(float_model, photos, card, reference, demands, calibrated, fits)
    results = {
        entry: maker.attempt(entry, targets[entry]) for entry in track(formats, "Converting")
    }
    made = [result for result in results.values() if not isinstance(result, str)]
    failures = {entry: result for entry, result in results.items() if isinstance(result, str)}
    files = [file for file, _ in made]
    for file, content in made:
        if not file.held_back:
            write_bytes(file.path, content)
    missing = _missing_message(failures) if failures else ""
    if any(file.held_back for file in files):
        lost = _drop_message(files, demands, origin.card)
        raise DropError(f"{lost} {missing}".rstrip(), files)
    if failures:
        raise IncompleteError(missing, files)
    return files


class _Maker:
    """Makes, checks and describes one file after the other."""

    def __init__(
        self,
        model: FloatModel,
        photos: Sequence[NDArray[np.uint8]],
        card: ModelCard,
        reference: Reference,
        demands: Demands,
        calibrated: Mapping[str, Any],
        fits: bool,
    ) -> None:
        self._encoder = Encoder(model, photos)
        self._model = model
        self._card = card
        self._reference = reference
        self._demands = demands
        self._calibration = calibrated
        self._fits = fits

    def attempt(self, entry: str, path: Path) -> tuple[ConvertedFile, bytes] | str:
        """Do what `make` does; return in one line why where that is not possible."""
        try:
            return self.make(entry, path)
        except Exception as error:  # TensorFlow and the quantizer raise what they like.
            LOGGER.debug("%s failed", entry, exc_info=True)
            return _reason(error)

    def make(self, entry: str, path: Path) -> tuple[ConvertedFile, bytes]:
        """Return a format's file and what it holds."""
        card = for_format(self._card, entry, self._calibration)
        started = time.perf_counter()
        int8 = self._make_int8(card, path) if entry == INT8 else None
        flatbuffer = int8.flatbuffer if int8 else self._encoder.encode(entry)
        flatbuffer = slim(flatbuffer, {METADATA_NAME: standard_metadata(flatbuffer, card)})
        seconds = time.perf_counter() - started
        result = rerun(flatbuffer, card, self._reference.pixels, path)
        in_float = int8 is not None and bool(int8.float_layers)
        check_promise(entry, result.signature, self._model.normalise)
        comparison, operators = self._reference.compare(result.scores), result.operators
        # Layers that were left in float on purpose are named with int8's figures.
        shortfall = None if in_float else find_shortfall(entry, operators)
        card = with_figures(card, operators, shortfall, comparison, int8)
        if self._fits and self._reference.truth is not None:
            card = self._fitted(card, result.scores, self._reference.truth)
        data = pack(flatbuffer, card)
        held_back = not (comparison.keeps(self._demands.max_drop) or self._demands.force)
        file = ConvertedFile(
            path, entry, len(data), comparison, operators, seconds, held_back, int8, shortfall
        )
        return file, data

    def _fitted(
        self, card: ModelCard, scores: NDArray[np.float32], truth: Sequence[Answer]
    ) -> ModelCard:
        """Return the card with what is fitted on the scores of known photos."""
        unknown = card.unknown_index
        known = [row for row, answer in enumerate(truth) if answer != (unknown,)]
        pictures = [self._reference.pixels[row] for row in known]
        card = dataclasses.replace(card, shift=fit_shift(pictures, scores[known], unknown))
        if card.task != MULTICLASS:
            return card
        right = [index for row in known for index in truth[row]]
        return dataclasses.replace(card, sets=fit_sets(scores[known], right))

    def _make_int8(self, card: ModelCard, path: Path) -> Int8:
        def run(flatbuffer: bytes, reference: Reference) -> NDArray[np.float32]:
            return rerun(flatbuffer, card, reference.pixels, path).scores

        demands = self._demands
        return make_int8(
            self._encoder,
            self._reference,
            run,
            max_drop=demands.max_drop,
            sensitivity=demands.sensitivity,
        )


# What TensorFlow's converter says of operators that `.tflite` does not have, in hundreds of lines.
_NO_OPERATOR = re.compile(r"^(?:TF Select|Custom) ops: (.+)$", re.MULTILINE)
# How it shows one that computes in 16 bits; constants of 16 bits it may have in any model.
_IN_HALF = re.compile(r'current operation: .*"tf\..*tensor<(?:[0-9?]+x)*b?f16>')


def _reason(error: Exception) -> str:
    """Return in one line why a format could not be made."""
    text = str(error) or type(error).__name__
    found = _NO_OPERATOR.findall(text)
    if found and _IN_HALF.search(text):
        return (
            f"it computes in 16 bits (a policy like mixed_float16), for which {SUFFIX} has no "
            "operators; convert the .keras file, whose layers are brought to float32, or export "
            "the model again with the policy float32"
        )
    if found:
        return f"{SUFFIX} has no operator for {', '.join(found)}"
    return " ".join(text.split())[:_MOST_REASON].rstrip(".")


def _missing_message(failures: Mapping[str, str]) -> str:
    """Name the formats that could not be made; those with the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for entry, reason in failures.items():
        by_reason.setdefault(reason, []).append(entry)
    return " ".join(
        f"{', '.join(entries)} could not be made of this model and "
        f"{'is' if len(entries) == 1 else 'are'} left out: {reason}."
        for reason, entries in by_reason.items()
    )


def _drop_message(files: Sequence[ConvertedFile], demands: Demands, card: ModelCard) -> str:
    lost = ", ".join(
        f"{file.format} {file.comparison.drop_points:.1f} points on {file.comparison.photos} photos"
        for file in files
        if file.held_back
    )
    names = {file.format for file in files if file.held_back}
    advice = ["--force to write them anyway", "a higher --max-drop"]
    if not names.isdisjoint(EIGHT_BIT) and not card.training.get("grid_epochs"):
        advice.insert(0, "training with --grid-epochs 4")
    return (
        f"Expected files that lose at most {demands.max_drop:g} points of accuracy to the "
        f"original model. Received: {lost}. These were not written. Try {', or '.join(advice)}."
    )
