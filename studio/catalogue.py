"""The pages of `pocketlens studio`, in the order of its navigation."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens.cache import cache_entry
from pocketlens.errors import OutputError
from pocketlens.project import CAMERA, Project
from pocketlens.runtime.labelling import recover
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.studio.jobs import Jobs
from pocketlens.studio.label import LabelPage
from pocketlens.studio.pages import Page
from pocketlens.studio.runs_page import RunsPage
from pocketlens.studio.train_page import TrainPage
from pocketlens.studio.try_page import TryPage

if TYPE_CHECKING:
    import click

NEEDED = ("check", "train", "convert", "live")
"""The commands that the pages ask for their options."""


@contextlib.contextmanager
def pages_of(project: Project, commands: Mapping[str, click.Command]) -> Iterator[list[Page]]:
    """Give the pages of a project; their place in the cache is theirs until the context ends.

    Args:
        project: whose pages they are; the first is shown at "/".
        commands: as in `work_pages`.
    """
    # What a killed process has left half done is finished before anybody looks.
    with contextlib.suppress(OutputError):
        recover(project.photos, project.journal)
    with contextlib.ExitStack() as stack:
        cache: Path | None = None
        key = hashlib.sha256(os.fsencode(project.root.absolute())).hexdigest()[:32]
        # Without a place for it everything works, and is made anew each time.
        with contextlib.suppress(OutputError):
            cache = stack.enter_context(cache_entry("studio", key))
        yield [LabelPage(project, cache), *work_pages(project, commands)]


def work_pages(
    project: Project, commands: Mapping[str, click.Command], source: SourceRequest | None = None
) -> tuple[Page, ...]:
    """Return the pages that train, compare, try and hand over.

    Args:
        project: whose pages they are.
        commands: those that are `NEEDED`, by name. They are given since what is below the command
            line knows none.
        source: a camera, stream, video or pictures to try models on; the project's camera where
            nothing is said and its file names one.
    """
    jobs = Jobs(project.root)
    return (
        TrainPage(project, commands, jobs),
        RunsPage(project, jobs),
        TryPage(project, commands, source=source or _camera(project)),
    )


def _camera(project: Project) -> SourceRequest | None:
    address = project.settings.get(CAMERA, {}).get("source")
    if not isinstance(address, str) or not address:
        return None
    # Paths in the file count from the project's folder.
    beside = project.root / address
    return SourceRequest(str(beside) if beside.exists() else address)
