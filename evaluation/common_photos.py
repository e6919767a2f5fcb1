"""The photos that two models are compared on: those that neither has learned from."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pocketlens.card import ModelCard
from pocketlens.errors import DataError, PocketlensError, UsageError
from pocketlens.evaluation.seen import Seen, first_digits, seen_by
from pocketlens.names import shown, to_label
from pocketlens.runtime.photos import LabelledPhotos, Photo, renumbered
from pocketlens.runtime.runs import MODEL_NAME, evaluation_photos, is_run, read_run

LOGGER = logging.getLogger("pocketlens")

# Where runs lie that files beside this folder were made of, as in a project.
_RUNS = "runs"


@dataclass(frozen=True)
class LeftOut:
    """How many photos models are not compared on, and why, such as "used to train flowers"."""

    photos: int
    reason: str

    @property
    def sentence(self) -> str:
        """It as a sentence."""
        number = "1 photo is" if self.photos == 1 else f"{self.photos} photos are"
        return f"{number} left out: {self.reason}."


@dataclass(frozen=True)
class CommonPhotos:
    """Photos for both models, those that were left out, and what to mind about the rest."""

    photos: LabelledPhotos
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]


class Learner(NamedTuple):
    """A model as what has seen photos: what it is called, its run or file, and its card.

    `run` is the folder of the training that it comes from, None where that is not known.
    """

    name: str
    path: Path
    card: ModelCard
    run: Path | None

    @property
    def seen(self) -> Seen:
        """The photos that it was trained or chosen on, as far as they are known."""
        return seen_by(self.run or self.path, self.card)


def run_folder(path: Path) -> Path | None:
    """Return the run that a path is, or the model in it, None where it is something else."""
    folder = path.parent if path.name == MODEL_NAME else path
    return folder if is_run(folder) else None


def find_run(path: Path, card: ModelCard) -> Path | None:
    """Return the run that a model comes from, None where it is not to be found.

    That is the folder itself or the model's; for a file, a run that was trained
    on the same photos, if it lies beside the file or in a folder `runs` beside the file's folder.

    Args:
        path: a run folder, the model in one, or a file.
        card: its card.
    """
    folder = run_folder(path)
    if folder is not None or not card.data_hash or not card.seen:
        return folder
    return next(
        (run for run in _runs_near(path) if _marks(run) == (card.data_hash, card.seen)), None
    )


def _runs_near(path: Path) -> Iterator[Path]:
    above = path.absolute().parent
    yield from filter(is_run, (above, above.parent))
    for folder in (above, above.parent / _RUNS):
        with contextlib.suppress(OSError):
            yield from filter(is_run, sorted(folder.iterdir()))


def _marks(run: Path) -> tuple[str, str] | None:
    try:
        card = read_run(run).card
    except (PocketlensError, OSError):
        # It is none of those that are compared.
        return None
    return card.data_hash, card.seen


def common_photos(
    learners: Sequence[Learner], data: str | Path | LabelledPhotos | None
) -> CommonPhotos:
    """Return the photos on which models can be compared.

    Of a photo that has other labels in another run the last one's count.

    Args:
        learners: the models.
        data: photos to choose from, as for `evaluate_model`; None takes the test photos of the
            models' runs.

    Raises:
        UsageError: there are no such photos, or nothing says where test photos are.
        DataError: the models have seen all of them.
    """
    left_out: list[LeftOut] = []
    warnings: list[str] = []
    if data is not None:
        photos = _in_one_form(evaluation_photos(data))
        digests = first_digits(photo.path for photo in photos.photos)
    else:
        photos, digests = _test_photos(learners, left_out, warnings)
    seen = [learner.seen for learner in learners]
    for learner, own in zip(learners, seen, strict=True):
        about = 0 if own.whole else own.estimate(list(filter(None, digests)))
        if about:
            warnings.append(
                f"About {about} of the {len(digests)} photos were used to train or choose "
                f"{shown(learner.name)}, so its figures are optimistic. Compare the runs, which "
                "know their photos, or give others with --data."
            )
    kept, by_whom = [], Counter[tuple[str, ...]]()
    for photo, digest in zip(photos.photos, digests, strict=True):
        names = tuple(
            learner.name
            for learner, own in zip(learners, seen, strict=True)
            if own.whole and digest in own.digests
        )
        if names:
            by_whom[names] += 1
        else:
            kept.append(photo)
    left_out += [
        LeftOut(count, f"used to train or choose {_both(names)}")
        for names, count in by_whom.items()
    ]
    if not kept:
        raise DataError(
            "Expected photos that neither model was trained or chosen on. Received: none. "
            f"{' '.join(entry.sentence for entry in left_out)} Give others with --data PHOTOS."
        )
    for sentence in warnings:
        LOGGER.warning("%s", sentence)
    return CommonPhotos(
        LabelledPhotos(photos.labels, tuple(kept)), tuple(left_out), tuple(warnings)
    )


def _both(names: Sequence[str]) -> str:
    return " and ".join(map(shown, names))


def _in_one_form(photos: LabelledPhotos) -> LabelledPhotos:
    """Return photos whose labels are as `to_label` makes them, each there once."""
    own = tuple(map(to_label, photos.labels))
    labels = tuple(dict.fromkeys(own))
    return LabelledPhotos(labels, renumbered(photos.photos, own, labels))


def _test_photos(
    learners: Sequence[Learner], left_out: list[LeftOut], warnings: list[str]
) -> tuple[LabelledPhotos, list[str]]:
    """Return the test photos of the models' runs, each content once, with their digests."""
    runs = list(dict.fromkeys(learner.run for learner in learners if learner.run is not None))
    if not runs:
        models = _both([learner.name for learner in learners])
        raise UsageError(
            f"Expected --data PHOTOS, since nothing says where the test photos of {models} are. "
            "Received: none. Name photos that neither has seen, or compare the runs."
        )
    found: dict[str, _TestPhoto] = {}
    relabelled, errors = 0, []
    for run in runs:
        try:
            of_run = _in_one_form(read_run(run).photos("test"))
        except DataError as error:
            errors.append(str(error))
            continue
        there = [photo for photo in of_run.photos if photo.path.is_file()]
        if len(there) < len(of_run.photos):
            reason = f"moved or deleted since {shown(run.name)} was trained"
            left_out.append(LeftOut(len(of_run.photos) - len(there), reason))
        for photo, digest in zip(there, first_digits(one.path for one in there), strict=True):
            names = tuple(of_run.labels[index] for index in photo.label_indices)
            # One that cannot be read is kept, and told with the others of that kind.
            key = digest or str(photo.path)
            relabelled += key in found and set(found[key].labels) != set(names)
            found[key] = _TestPhoto(photo.path, names, digest)
    if not found:
        raise DataError(errors[0] if errors else left_out[0].sentence)
    warnings += errors
    if relabelled:
        first, last = shown(runs[0].name), shown(runs[-1].name)
        warnings.append(
            f"{relabelled} test photo{' has' if relabelled == 1 else 's have'} other labels in "
            f"{last} than in {first}: those of {last} count."
        )
    labels = tuple(dict.fromkeys(name for one in found.values() for name in one.labels))
    index = {label: number for number, label in enumerate(labels)}
    photos = tuple(
        Photo(one.path, tuple(sorted(index[name] for name in one.labels))) for one in found.values()
    )
    return LabelledPhotos(labels, photos), [one.digest for one in found.values()]


class _TestPhoto(NamedTuple):
    path: Path
    labels: tuple[str, ...]
    digest: str
