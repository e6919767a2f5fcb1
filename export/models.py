"""The files to export: each with its card, loaded once to see that it is what the card says."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketlens import __version__
from pocketlens.cache import cache_entry
from pocketlens.card import ModelCard
from pocketlens.errors import ConversionError, OutputError, PocketlensError, UsageError
from pocketlens.evaluation.agreement import keeps
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.model_files import SUFFIX, ModelFile, Signature, read_model_file
from pocketlens.runtime.runs import Run, read_run

_FALLBACK_NAME = "classifier"
# File systems take names of 255 bytes; C99 (5.2.4.1) promises 31 significant characters.
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Candidate:
    """A `.tflite` file with its card.

    `name` is made of the file's, so that any language and file system takes it. `data` are all the
    file's bytes, with what is behind the model.
    """

    name: str
    model: ModelFile
    data: bytes
    card: ModelCard
    signature: Signature

    @property
    def sha256(self) -> str:
        """The checksum of the whole file, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Target:
    """Something that models are exported for.

    `summary` says for `--help` what its folder has. `formats` are those that a run is converted to.
    `files` returns the contents of the folder by their names, for models and a folder with photos
    to make test pictures of; for None it draws some. `has_pictures` is False where there are no
    test pictures. `serving`, where a folder can be opened in a browser as it is, has the HTTP
    headers to serve it with.
    """

    name: str
    summary: str
    formats: tuple[str, ...]
    files: Callable[[Sequence[Candidate], Path | None], dict[str, bytes]]
    has_pictures: bool = True
    serving: Mapping[str, str] | None = None


def read_candidates(paths: Sequence[Path]) -> tuple[Candidate, ...]:
    """Read the files to export, which have a card, see `as_files`.

    Raises:
        UsageError: there is no such file, or two would have the same name.
        ModelFileError: a file is damaged or no image classifier.
    """
    by_name: dict[str, Candidate] = {}
    for path in paths:
        candidate = _read(path)
        other = by_name.setdefault(candidate.name, candidate)
        if other is not candidate:
            raise UsageError(
                "Expected model files with different names, of which a-z, 0-9 and _ count. "
                f"Received: {other.model.path} and {path}, both {other.name}. Rename one."
            )
    return tuple(by_name.values())


def require_one_model(models: Sequence[Candidate]) -> None:
    """Raise UsageError unless the files are one model in different formats."""
    first = models[0]
    for model in models:
        if _kind(model) != _kind(first):
            raise UsageError(
                "Expected files of one model in different formats. Received: "
                f"{first.model.path} and {model.model.path}, which differ in labels, task, size, "
                "threshold or resize mode. Export them into folders of their own."
            )


def safe_name(stem: str) -> str:
    """Return a name of at most 60 of a-z, 0-9 and _, beginning with a letter."""
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:_LONGEST_NAME].strip("_")
    if not name:
        return _FALLBACK_NAME
    return name if name[0].isalpha() else f"m_{name}"


def _kind(model: Candidate) -> tuple[object, ...]:
    card = model.card
    return card.labels, card.task, card.threshold, card.resize_mode, model.signature.size_wh


def _read(path: Path) -> Candidate:
    with Classifier(path) as classifier:
        return Candidate(
            safe_name(path.stem),
            classifier.model,
            path.read_bytes(),
            classifier.card,
            classifier.signature,
        )


LOGGER = logging.getLogger("pocketlens")

# What a file may lose to the run, in points of 100, as for `pocketlens convert`.
_MAX_DROP = 1.0


@contextlib.contextmanager
def as_files(
    models: Sequence[Path], formats: Sequence[str], hints: ModelHints | None = None
) -> Iterator[tuple[Path, ...]]:
    """Give the `.tflite` files of models, each with a card, while the context lasts.

    A run is converted as `pocketlens convert RUN` does it. A format that would lose too much
    accuracy is left out with a warning. A third-party file is written again with a card.

    Args:
        models: `.tflite` files and run folders.
        formats: what runs are converted to.
        hints: what third-party files do not say of themselves.

    Raises:
        UsageError: a folder is not a run, or there is no such format, or the hints do not complete
            a third-party file, or there is none.
        MissingDependencyError: there is a run or a third-party file, and the packages that convert
            it are not installed.
        DataError: the run's photos are gone.
        ConversionError: no format keeps the run's accuracy.
    """
    hints = hints or ModelHints()
    others = {path for path in models if not path.is_dir() and not read_model_file(path).card}
    if not others:
        hints.refuse_beside_card(models[0], but=())
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        paths: list[Path] = []
        for index, model in enumerate(models):
            if model.is_dir():
                files = stack.enter_context(converted_files(model, formats))
                paths += _without_lossy(model, files)
            elif model in others:
                # Imported only here: it is for those alone.
                from pocketlens.export.third_party import write_as_own

                paths.append(write_as_own(model, hints, home / str(index)))
            else:
                paths.append(model)
        yield tuple(paths)


@contextlib.contextmanager
def converted_files(run: Path, formats: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Give the files of a run by format, in the order of `formats`, whatever they lose.

    They are kept in the cache, and made once for a run as it is, by this version.

    Raises:
        UsageError: the folder is not a run, or there is no such format.
        MissingDependencyError: something has to be converted, and the packages are missing.
        DataError: the run's photos are gone.
    """
    opened = read_run(run)
    with contextlib.ExitStack() as stack:
        folder = _place(opened, stack)
        there = {_format_of(path): path for path in folder.glob(f"*{SUFFIX}")}
        files = {entry: there[entry] for entry in formats if entry in there}
        missing = [entry for entry in formats if entry not in files]
        if files:
            LOGGER.info("Using what was converted before: %s.", ", ".join(files))
        if missing:
            from pocketlens.imports import require_train

            require_train()
            from pocketlens.convert import Demands, convert

            # Beside the others, and whole when it gets there: another command may do the same.
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                for file in convert(run, Path(scratch), missing, demands=Demands(force=True)):
                    files[file.format] = file.path.replace(folder / file.path.name)
        yield {entry: files[entry] for entry in formats if entry in files}


def _place(run: Run, stack: contextlib.ExitStack) -> Path:
    """Return where files of a run are kept; where nothing can be, a folder that does not last."""
    content = hashlib.sha256(run.card.to_json().encode("utf-8") + run.model.read_bytes())
    content.update(__version__.encode())
    with contextlib.suppress(OutputError):
        folder = stack.enter_context(cache_entry("converted", content.hexdigest()[:32]))
        if os.access(folder, os.W_OK):
            return folder
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))


def _format_of(path: Path) -> str | None:
    """Return the format that a kept file has, None for one that is not whole."""
    try:
        model = read_model_file(path)
    except PocketlensError:
        return None
    return model.card.format if model.card else None


def _without_lossy(run: Path, files: Mapping[str, Path]) -> list[Path]:
    kept, lost = [], []
    for entry, path in files.items():
        card = read_model_file(path).card
        metrics: Mapping[str, Any] = card.metrics if card else {}
        points, photos = (
            metrics.get(name, 0) for name in ("lost_to_original_points", "compared_photos")
        )
        if keeps(round(points * photos / 100), photos, _MAX_DROP):
            kept.append(path)
        else:
            lost.append(f"{entry} ({points:.1f} points)")
    if not kept:
        raise ConversionError(
            f"Expected files of {run} that lose at most a point of accuracy. Received: "
            f"{', '.join(lost)}. Convert it yourself, with the command's advice: "
            f"pocketlens convert {run} --out DIR, and export those files."
        )
    if lost:
        LOGGER.warning("Left out, since it loses accuracy: %s.", ", ".join(lost))
    return kept


def check_formats(formats: Sequence[str], models: Sequence[Path]) -> None:
    """Raise UsageError where formats are chosen and there is nothing to convert."""
    if formats and not any(model.is_dir() for model in models):
        raise UsageError(
            f"Expected a run for --format {' '.join(formats)}. Received: "
            f"{', '.join(map(str, models))}, which are converted already. Leave it out."
        )
