"""The `.tflite` files of what is to be exported: runs are converted first."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pocketlens.errors import ConversionError, UsageError

LOGGER = logging.getLogger("pocketlens")


@contextlib.contextmanager
def as_files(models: Sequence[Path], formats: Sequence[str]) -> Iterator[tuple[Path, ...]]:
    """Give the `.tflite` files of models while the context lasts.

    A run is converted as `pocketlens convert RUN` does it. A format that would lose too much
    accuracy is left out with a warning.

    Args:
        models: `.tflite` files and run folders.
        formats: what runs are converted to.

    Raises:
        UsageError: a folder is no run, or there is no such format.
        MissingDependencyError: there is a run, and the packages that convert it are not installed.
        DataError: the run's photos are gone.
        ConversionError: no format keeps the run's accuracy.
    """
    with tempfile.TemporaryDirectory() as home:
        paths: list[Path] = []
        for index, model in enumerate(models):
            if model.is_dir():
                paths += _converted(model, formats, Path(home) / str(index))
            else:
                paths.append(model)
        yield tuple(paths)


def _converted(run: Path, formats: Sequence[str], out: Path) -> list[Path]:
    from pocketlens.imports import require_train
    from pocketlens.runtime.runs import read_run

    read_run(run)
    require_train()
    from pocketlens.convert import DropError, convert

    try:
        files = convert(run, out, formats)
    except DropError as error:
        files = [file for file in error.files if not file.held_back]
        lost = ", ".join(
            f"{file.format} ({file.comparison.drop_points:.1f} points)"
            for file in error.files
            if file.held_back
        )
        if not files:
            raise ConversionError(
                f"Expected files of {run} that lose at most a point of accuracy. Received: {lost}. "
                "Convert it yourself, with what this says: "
                f"pocketlens convert {run} --out DIR, and export those files."
            ) from error
        LOGGER.warning("Left out, since it loses accuracy: %s.", lost)
    # Converting has an order of its own, and the first file is the one that an app opens with.
    return [file.path for file in sorted(files, key=lambda file: formats.index(file.format))]


def check_formats(formats: Sequence[str], models: Sequence[Path]) -> None:
    """Raise UsageError where formats are chosen and there is nothing to convert."""
    if formats and not any(model.is_dir() for model in models):
        raise UsageError(
            f"Expected a run for --format {' '.join(formats)}. Received: "
            f"{', '.join(map(str, models))}, which are converted already. Leave it out."
        )
