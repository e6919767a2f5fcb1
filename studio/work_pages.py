"""The pages that train, compare, try and hand over, made for a project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pocketlens.project import CAMERA, Project
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.studio.jobs import Jobs
from pocketlens.studio.pages import Page
from pocketlens.studio.runs_page import RunsPage
from pocketlens.studio.train_page import TrainPage
from pocketlens.studio.try_page import TryPage

if TYPE_CHECKING:
    import click

NEEDED = ("check", "train", "convert", "live")
"""The commands that the pages ask for their options."""


def work_pages(
    project: Project, commands: Mapping[str, click.Command], source: SourceRequest | None = None
) -> tuple[Page, ...]:
    """Return the pages.

    Args:
        project: the project.
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
