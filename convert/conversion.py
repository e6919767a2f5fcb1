"""`convert`: a run's model as `.tflite` files, each loaded again, checked and described."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketlens.card import ModelCard, pack
from pocketlens.convert.adaptation import Adaptation, adapt, predict
from pocketlens.convert.comparison import Comparison, Reference, rerun
from pocketlens.convert.described import calibration, for_format, with_figures
from pocketlens.convert.encoders import Encoder
from pocketlens.convert.formats import EIGHT_BIT, FORMATS, INT8, check_promise
from pocketlens.convert.graphs import Graphs, trace
from pocketlens.convert.metadata import standard_metadata
from pocketlens.convert.samples import (
    DEFAULT_SAMPLES,
    check_count,
    choose_from_folder,
    choose_stratified,
    load_labelled,
    load_pixels,
)
from pocketlens.convert.search import Choice, choose_int8
from pocketlens.convert.slimming import slim
from pocketlens.errors import ConversionError, UsageError
from pocketlens.files import refuse_files, write_bytes
from pocketlens.keras_files import load_keras_model
from pocketlens.progress import track
from pocketlens.quiet import quiet
from pocketlens.runtime.interpreters import Operators
from pocketlens.runtime.metadata import METADATA_NAME
from pocketlens.runtime.model_files import SUFFIX
from pocketlens.runtime.runs import Run, read_run

# Enough validation photos to see a difference of a point, few enough to take seconds.
MAX_CHECK_PHOTOS = 1000

# What an adaptation can hold in memory without asking: 600 MB at 224x224.
MAX_ADAPT_PHOTOS = 4000

DEFAULT_MAX_DROP = 1.0


@dataclass(frozen=True)
class Demands:
    """What the files must hold and how much is done for it.

    `max_drop` is the net accuracy in points of 100 that a file may lose to the Keras model (see
    `Comparison.keeps`). `force` gives files out that lose more. `search` compares several int8
    files and takes the best, `sensitivity` measures every layer of it, `adapt` is a folder of
    photos to bring the model onto the int8 grid with.
    """

    max_drop: float = DEFAULT_MAX_DROP
    force: bool = False
    search: bool = True
    sensitivity: bool = False
    adapt: Path | None = None

    def __post_init__(self) -> None:
        """Refuse a limit that cannot be."""
        # Written this way round, NaN is refused too.
        if not 0 <= self.max_drop <= 100:
            raise UsageError(
                f"Expected a limit of 0 to 100 points. Received: --max-drop {self.max_drop}."
            )


@dataclass(frozen=True)
class ConvertedFile:
    """One file that `convert` made.

    `comparison` is with the Keras model on validation photos. `held_back` is True where the file
    lost more than the limit and was not written. `choice` says how int8 was chosen, `adaptation`
    what adapting did.
    """

    path: Path
    format: str
    size_bytes: int
    comparison: Comparison
    operators: Operators
    seconds: float
    held_back: bool = False
    choice: Choice | None = None
    adaptation: Adaptation | None = None


class DropError(ConversionError):
    """Files lost more accuracy than the limit and were held back; `files` are all, with figures."""

    def __init__(self, message: str, files: Sequence[ConvertedFile]) -> None:
        super().__init__(message)
        self.files = list(files)


def convert(
    run_folder: Path,
    out: Path,
    formats: Sequence[str] = FORMATS,
    *,
    name: str | None = None,
    representative: Path | None = None,
    samples: int = DEFAULT_SAMPLES,
    demands: Demands | None = None,
    overwrite: bool = False,
) -> list[ConvertedFile]:
    """Write a run's model in some formats as `NAME_FORMAT.tflite`.

    Nothing is written before all files have been made and checked.

    Args:
        run_folder: what `train` made.
        out: the folder for the files.
        formats: some of `FORMATS`.
        name: how the files are named; the run's name if None.
        representative: photos for the 8-bit formats; the run's training photos if None.
        samples: how many of them.
        demands: what the files must hold.
        overwrite: replace files that are there.

    Raises:
        UsageError, OutputExistsError: an argument cannot be.
        DataError: the photos are gone or unreadable.
        ModelFileError: the run's model cannot be loaded.
        DropError: a file loses more than the limit. The others have been written.
        ConversionError: a file is not what its format promises.
    """
    demands = demands or Demands()
    unknown = [entry for entry in formats if entry not in FORMATS]
    if unknown or not formats:
        raise UsageError(f"Expected formats among {', '.join(FORMATS)}. Received: {formats}.")
    check_count(samples)
    formats = [entry for entry in FORMATS if entry in formats]
    run = read_run(run_folder)
    stem = name or run.card.name
    if Path(stem).name != stem:
        raise UsageError(f"Expected a plain file name for --name. Received: {stem!r}.")
    targets = {entry: out / f"{stem}_{entry}{SUFFIX}" for entry in formats}
    refuse_files([out] if out.is_file() else [], overwrite=False)
    refuse_files(targets.values(), overwrite=overwrite)
    photos: list[NDArray[np.uint8]] = []
    if not EIGHT_BIT.isdisjoint(formats):
        photos = _representative_pixels(run, representative, samples)
    unlabelled = _adapting_pixels(run, demands.adapt)
    model = load_keras_model(run.model)
    reference = _reference(run, model)
    adaptation = adapt(model, unlabelled, reference) if unlabelled else None
    with quiet():
        graphs = trace(model)
    card = dataclasses.replace(run.card, name=stem)
    maker = _Maker(graphs, photos, card, reference, demands, adaptation, representative is not None)
    made = {entry: maker.make(entry, targets[entry]) for entry in track(formats, "Converting")}
    files = [file for file, _ in made.values()]
    for file, data in made.values():
        if not file.held_back:
            write_bytes(file.path, data)
    if any(file.held_back for file in files):
        raise DropError(_drop_message(files, demands, run), files)
    return files


class _Maker:
    """Makes, checks and describes one file after the other."""

    def __init__(
        self,
        graphs: Graphs,
        photos: Sequence[NDArray[np.uint8]],
        card: ModelCard,
        reference: Reference,
        demands: Demands,
        adaptation: Adaptation | None,
        chosen: bool,
    ) -> None:
        self._encoder = Encoder(graphs, photos)
        self._graphs = graphs
        self._card = card
        self._reference = reference
        self._demands = demands
        self._adaptation = adaptation
        self._calibration = calibration(len(photos), chosen)

    def make(self, entry: str, path: Path) -> tuple[ConvertedFile, bytes]:
        """Return a format's file and what it holds."""
        card = for_format(self._card, entry, self._calibration)
        started = time.perf_counter()
        choice = self._choose(card, path) if entry == INT8 else None
        flatbuffer = choice.flatbuffer if choice else self._encoder.encode(entry)
        flatbuffer = slim(flatbuffer, {METADATA_NAME: standard_metadata(flatbuffer, card)})
        seconds = time.perf_counter() - started
        result = rerun(flatbuffer, card, self._reference.pixels, path)
        in_float = choice is not None and bool(choice.float_layers)
        check_promise(
            entry, result.signature, result.operators, self._graphs.normalise, in_float=in_float
        )
        comparison = self._reference.compare(result.scores)
        card = with_figures(card, result.operators, comparison, choice, self._adaptation)
        data = pack(flatbuffer, card)
        held_back = not (comparison.keeps(self._demands.max_drop) or self._demands.force)
        file = ConvertedFile(
            path,
            entry,
            len(data),
            comparison,
            result.operators,
            seconds,
            held_back,
            choice,
            self._adaptation,
        )
        return file, data

    def _choose(self, card: ModelCard, path: Path) -> Choice:
        def run(flatbuffer: bytes, reference: Reference) -> NDArray[np.float32]:
            return rerun(flatbuffer, card, reference.pixels, path).scores

        demands = self._demands
        return choose_int8(
            self._encoder,
            self._reference,
            run,
            max_drop=demands.max_drop,
            search=demands.search,
            sensitivity=demands.sensitivity,
        )


def _representative_pixels(
    run: Run, representative: Path | None, samples: int
) -> list[NDArray[np.uint8]]:
    seed = int(run.card.training.get("seed", 0))
    if representative is None:
        paths = choose_stratified(run.photos("train").photos, samples, seed)
    else:
        paths = choose_from_folder(representative, samples, seed, "--representative")
    return load_pixels(paths, run.card.input_size_wh, run.card.resize_mode)


def _adapting_pixels(run: Run, folder: Path | None) -> list[NDArray[np.uint8]]:
    if folder is None:
        return []
    paths = choose_from_folder(folder, MAX_ADAPT_PHOTOS, 0, "--adapt")
    return load_pixels(paths, run.card.input_size_wh, run.card.resize_mode)


def _reference(run: Run, model: Any) -> Reference:
    photos = run.photos("val")
    step = -(-len(photos.photos) // MAX_CHECK_PHOTOS)
    chosen = dataclasses.replace(photos, photos=photos.photos[::step])
    pixels, truth = load_labelled(chosen, run.card.input_size_wh, run.card.resize_mode)
    return Reference(pixels, truth, predict(model, np.stack(pixels)), run.card)


def _drop_message(files: Sequence[ConvertedFile], demands: Demands, run: Run) -> str:
    lost = ", ".join(
        f"{file.format} {file.comparison.drop_points:.1f} points on {file.comparison.photos} photos"
        for file in files
        if file.held_back
    )
    names = {file.format for file in files if file.held_back}
    advice = ["--force to have them all the same", "a higher --max-drop"]
    if not names.isdisjoint(EIGHT_BIT):
        tried: Mapping[str, bool] = {
            "--adapt PHOTOS (they need no labels)": demands.adapt is not None,
            "training with --grid-epochs 4": bool(run.card.training.get("grid_epochs")),
            "the search, which --no-search switched off": demands.search,
        }
        advice = [what for what, done in tried.items() if not done] + advice
    return (
        f"Expected files that lose at most {demands.max_drop:g} points of accuracy to the Keras "
        f"model. Received: {lost}. These were not written. Try {', or '.join(advice)}."
    )
