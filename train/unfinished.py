"""A run that is not finished: a hidden folder beside it, one process at a time, never half lost."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import OutputError, OutputExistsError
from pocketlens.files import State, exchange, output_errors, refuse_folder, set_aside, sync
from pocketlens.runtime.runs import MODEL_NAME

if sys.platform != "win32":
    import fcntl

LOGGER = logging.getLogger("pocketlens")

_CHECKPOINT_NAME = "checkpoint.npz"
_LOCK_NAME = "lock"


@dataclass(frozen=True)
class UnfinishedRun:
    """Where a run lies while it is made.

    `.RUN.partial/` beside the run has `run/`, which becomes the run, the checkpoint with all that
    going on needs, and `scratch/`, which does not outlive the process.
    """

    folder: Path

    @classmethod
    def of(cls, out: Path) -> UnfinishedRun:
        """Return the one that belongs to the run folder `out`, there or not."""
        out = out.absolute()
        return cls(out.with_name(f".{out.name}.partial"))

    @property
    def run(self) -> Path:
        """What becomes the run."""
        return self.folder / "run"

    @property
    def checkpoint(self) -> Path:
        """The state after the last finished epoch; there from the first one on."""
        return self.folder / _CHECKPOINT_NAME

    @property
    def scratch(self) -> Path:
        """For files that nobody needs after this process."""
        return self.folder / "scratch"


def refuse_run(out: Path, *, overwrite: bool, resume: bool) -> None:
    """Raise OutputExistsError if a training must not begin at the run folder `out`.

    That is when there is a run and it is not to be replaced, when one is unfinished and it was
    not said what is to become of it, or when another process is at it.
    """
    unfinished = UnfinishedRun.of(out)
    with contextlib.ExitStack() as stack:
        if unfinished.folder.is_dir():
            stack.enter_context(_locked(unfinished.folder, out))
        _refuse(unfinished, out, overwrite=overwrite, resume=resume)


@contextlib.contextmanager
def unfinished_run(out: Path, *, overwrite: bool, resume: bool) -> Iterator[UnfinishedRun]:
    """Give a place to make a run in; it becomes `out` when the block succeeds.

    So `out` exists exactly when it is complete. Whenever and however the block ends before, even
    by SIGKILL, its checkpoint stays for `resume`; without one nothing stays.

    Args:
        out: the run folder to make.
        overwrite: replace an existing run; without `resume`, an unfinished one as well.
        resume: keep the checkpoint of an unfinished one.

    Raises:
        OutputExistsError: see `refuse_run`.
        OutputError: the folder cannot be written.
    """
    out = out.absolute()
    unfinished = UnfinishedRun.of(out)
    with output_errors(out):
        unfinished.folder.mkdir(parents=True, exist_ok=True)
    with _locked(unfinished.folder, out):
        try:
            # Again: since `refuse_run` photos were read, and others may have trained.
            found = _refuse(unfinished, out, overwrite=overwrite, resume=resume)
            with output_errors(out):
                _clean(unfinished)
                if not resume:
                    unfinished.checkpoint.unlink(missing_ok=True)
                unfinished.run.mkdir()
                unfinished.scratch.mkdir()
            yield unfinished
            with output_errors(out):
                _sync_all(unfinished.run)
                _exchange(unfinished, out, found)
            unfinished.checkpoint.unlink(missing_ok=True)
        finally:
            shutil.rmtree(unfinished.scratch, ignore_errors=True)
            if not unfinished.checkpoint.is_file():
                # The lock goes last: by it a folder that is only half removed is known as ours.
                shutil.rmtree(unfinished.run, ignore_errors=True)
                shutil.rmtree(unfinished.folder, ignore_errors=True)


@contextlib.contextmanager
def saying_how_to_resume(out: Path) -> Iterator[None]:
    """Log how to go on when the block is interrupted or runs out of room."""
    try:
        yield
    except (KeyboardInterrupt, OutputError) as error:
        if UnfinishedRun.of(out).checkpoint.is_file():
            LOGGER.warning(
                "Finished epochs are kept: the same command with --resume continues from there."
            )
        elif isinstance(error, KeyboardInterrupt):
            LOGGER.warning("No epoch was finished, so there is nothing to resume.")
        raise


def _refuse(unfinished: UnfinishedRun, out: Path, *, overwrite: bool, resume: bool) -> State | None:
    earlier = set_aside(unfinished.run)
    if earlier.is_dir() and not out.exists():
        # Of a process that was killed while it replaced the run.
        with output_errors(out):
            os.replace(earlier, out)
    found = refuse_folder(out, overwrite=overwrite, marker=MODEL_NAME)
    if unfinished.checkpoint.is_file() and not (overwrite or resume):
        raise OutputExistsError(
            f"There is an unfinished run of {out}. Continue it with --resume, or start over with "
            "--overwrite."
        )
    return found


def _exchange(unfinished: UnfinishedRun, out: Path, found: State | None) -> None:
    try:
        exchange(unfinished.run, out, found)
    except OutputExistsError as error:
        if not unfinished.checkpoint.is_file():
            raise
        raise OutputExistsError(
            f"{out} appeared or changed during the training, so it was left as it is. Move it away "
            "and run the same command with --resume: finished epochs are not repeated."
        ) from error


def _clean(unfinished: UnfinishedRun) -> None:
    """Remove what a process that was killed has left; keep the checkpoint."""
    for folder in (set_aside(unfinished.run), unfinished.run, unfinished.scratch):
        if folder.exists():
            shutil.rmtree(folder)
    for partial in unfinished.folder.glob(".*.partial.*"):
        partial.unlink()


@contextlib.contextmanager
def _locked(folder: Path, out: Path) -> Iterator[None]:
    """Keep other processes away from a folder; the lock goes with the process, however it ends."""
    if sys.platform == "win32":
        # No such locks there: two trainings of one run are the user's to avoid.
        yield
        return
    path = folder / _LOCK_NAME
    if any(folder.iterdir()) and not path.is_file():
        raise OutputExistsError(
            f"Expected {folder} to be free for the unfinished run. Received: a folder with "
            "something else in it. Rename it or choose another folder for the results."
        )
    with output_errors(out):
        stream = path.open("a")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one who had it until now may have removed the file together with the folder.
            ours = os.path.samestat(os.fstat(stream.fileno()), path.stat())
        except OSError:
            ours = False
        if not ours:
            raise OutputExistsError(
                f"Another process is already training {out}. Wait for it or choose another folder."
            )
        yield


def _sync_all(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        sync(path)
