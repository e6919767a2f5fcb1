"""What is asked of a conversion, checked without TensorFlow: loading it takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.choices import (
    COUNTER_EXAMPLES,
    DEFAULT_KNOWN_KEPT,
    FORMATS,
    INT8,
    MULTICLASS,
)
from pocketlens.errors import DataError, UsageError
from pocketlens.files import refuse_files, refuse_unwritable
from pocketlens.keras_files import refuse_foreign
from pocketlens.runtime.answers import require_labels
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.model_files import SUFFIX
from pocketlens.runtime.photos import existing_folder, find_pictures
from pocketlens.runtime.runs import MODEL_NAME, Run, evaluation_photos, is_run, read_run

DEFAULT_MAX_DROP = 1.0
DEFAULT_SAMPLES = 200

KERAS_SUFFIX = ".keras"
SAVED_MODEL_NAME = "saved_model.pb"
_HEAD_BYTES = 64


@dataclass(frozen=True)
class Demands:
    """What the files must hold and how much is done for it.

    `max_drop` is the net accuracy in points of 100 that a file may lose to the original model (see
    `Comparison.keeps`). `force` gives files out that lose more. `sensitivity` measures every layer
    of int8.
    """

    max_drop: float = DEFAULT_MAX_DROP
    force: bool = False
    sensitivity: bool = False

    def __post_init__(self) -> None:
        """Refuse a limit that cannot be."""
        # Written this way round, NaN is refused too.
        if not 0 <= self.max_drop <= 100:
            raise UsageError(
                f"Expected a limit of 0 to 100 points. Received: --max-drop {self.max_drop}."
            )


def plan_files(
    model: Path,
    out: Path,
    formats: Sequence[str],
    *,
    name: str | None = None,
    hints: ModelHints | None = None,
    data: Path | None = None,
    representative: Path | None = None,
    samples: int = DEFAULT_SAMPLES,
    unknown: Path | None = None,
    known_kept: float = DEFAULT_KNOWN_KEPT,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Return the file to write for each format, in the order of `FORMATS`.

    Args: as of `convert`.

    Raises:
        UsageError, OutputExistsError, OutputError, DataError, LabelsError, ModelFileError: what
            `convert` raises of all that is known before the model is loaded.
    """
    if not formats or not set(formats) <= set(FORMATS):
        raise UsageError(f"Expected formats among {', '.join(FORMATS)}. Received: {formats}.")
    if samples < 1:
        raise UsageError(
            f"Expected at least one photo for the 8-bit formats. Received: --samples {samples}."
        )
    run = find_run(model)
    hints = hints or ModelHints()
    if run is None:
        check_kind(model)
        if model.suffix != SUFFIX:
            require_labels(model, hints.read_labels())
    else:
        hints.refuse_beside_card(run.folder, but=())
    if unknown is not None:
        _check_unknown(model, run, hints)
        known_pictures(unknown)
    if not 0.5 <= known_kept < 1:
        raise UsageError(
            f"Expected a share of 0.5 to less than 1. Received: --known-kept {known_kept}."
        )
    stem = name or (run.card.name if run else model.stem)
    if Path(stem).name != stem:
        raise UsageError(f"Expected a plain file name for --name. Received: {stem!r}.")
    targets = {entry: out / f"{stem}_{entry}{SUFFIX}" for entry in FORMATS if entry in formats}
    refuse_files([out] if out.is_file() else [], overwrite=False)
    refuse_unwritable(out)
    refuse_files(targets.values(), overwrite=overwrite)
    if representative is not None:
        calibration_pictures(representative)
    elif INT8 in formats:
        require_calibration(run)
    if data is not None:
        photos = evaluation_photos(data)
        if run is not None:
            photos.with_labels(run.card.labels, run.card.task)
    elif run is not None:
        run.photos("val")
    return targets


def _check_unknown(model: Path, run: Run | None, hints: ModelHints) -> None:
    """Refuse the models that cannot get a label for unknown photos, as far as that is known."""
    if run is not None:
        raise UsageError(
            f"Expected a third-party model for --unknown. Received: {run.folder}, a training run. "
            "Train it with that label: pocketlens train PHOTOS --unknown auto"
        )
    if model.suffix != KERAS_SUFFIX:
        kind = f"a {SUFFIX} file" if model.suffix == SUFFIX else "a SavedModel"
        raise UsageError(
            f"Expected a {KERAS_SUFFIX} file for --unknown. Received: {model}, {kind}, which does "
            "not show its layers. Convert the Keras model that it was made from."
        )
    if hints.task not in (None, MULTICLASS):
        raise UsageError(
            f"Expected --task {MULTICLASS} with --unknown. Received: {hints.task}, which has no "
            "other label to choose. Leave one of them out."
        )


def known_pictures(folder: Path) -> list[Path]:
    """Return the photos of what a model knows anywhere below a folder, sorted.

    Folders of counter-examples are left out.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds no photos.
    """
    paths = sorted(
        path
        for path in find_pictures(existing_folder(folder))
        if not any(
            part.casefold() in COUNTER_EXAMPLES for part in path.relative_to(folder).parts[:-1]
        )
    )
    if not paths:
        raise DataError(
            f"Expected photos of what the model knows below {folder} for --unknown. Received: "
            "none. Choose a folder with a folder per class, or with such photos alone."
        )
    return paths


def find_run(model: Path) -> Run | None:
    """Return the run that a path names: its folder, or the model in it."""
    folder = model.parent if model.name == MODEL_NAME else model
    return read_run(folder) if is_run(folder) else None


def check_kind(model: Path) -> None:
    """Raise UsageError or ModelFileError where a path is nothing that can be converted."""
    if (model / SAVED_MODEL_NAME).is_file():
        return
    if model.is_file() and model.suffix in (KERAS_SUFFIX, SUFFIX):
        return
    kinds = f"a run folder, a {KERAS_SUFFIX} file, a SavedModel folder or a float32 {SUFFIX} file"
    if model.is_file():
        with model.open("rb") as file:
            refuse_foreign(model, file.read(_HEAD_BYTES), kinds)
    came = "a file of another kind" if model.is_file() else "nothing of the kind there"
    raise UsageError(
        f"Expected {kinds} at {model}. Received: {came}. Make a run with: "
        "pocketlens train PHOTOS --out RUN"
    )


def calibration_pictures(folder: Path) -> list[Path]:
    """Return the photos anywhere below a folder, sorted.

    Raises:
        UsageError: there is no such folder.
        DataError: it holds no photos.
    """
    paths = sorted(find_pictures(existing_folder(folder)))
    if not paths:
        raise DataError(
            f"Expected photos below {folder} for --calibration-photos. Received: none. "
            "Choose a folder with photos like those that the camera will see."
        )
    return paths


def require_calibration(run: Run | None) -> Run:
    """Return the run whose photos are for int8; raise UsageError where there is none."""
    if run is None:
        raise UsageError(
            "Expected photos for int8, like those that the camera will see, for a third-party "
            "model. Received: none. Add --calibration-photos FOLDER; they need no labels."
        )
    return run
