"""The pages of `pocketlens studio`, in the order of its navigation: a page is added by one line."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pocketlens.cache import cache_entry
from pocketlens.errors import OutputError
from pocketlens.project import Project
from pocketlens.runtime.labelling import recover
from pocketlens.studio.pages import Page


@dataclass(frozen=True)
class Surroundings:
    """What a page is made of.

    Attributes:
        project: whose page it is.
        cache: a folder for what can be made again; None where nothing can be written.
    """

    project: Project
    cache: Path | None


def _label(around: Surroundings) -> Page:
    from pocketlens.studio.label import LabelPage

    return LabelPage(around.project, around.cache)


PAGES: tuple[Callable[[Surroundings], Page], ...] = (_label,)
"""What makes each page; the first is shown at "/"."""


@contextlib.contextmanager
def pages_of(project: Project) -> Iterator[list[Page]]:
    """Give the pages of a project; their place in the cache is theirs until the context ends."""
    # What a killed process has left half done is finished before anybody looks.
    with contextlib.suppress(OutputError):
        recover(project.photos, project.journal)
    with contextlib.ExitStack() as stack:
        cache: Path | None = None
        key = hashlib.sha256(os.fsencode(project.root.absolute())).hexdigest()[:32]
        # Without a place for it everything works, and is made anew each time.
        with contextlib.suppress(OutputError):
            cache = stack.enter_context(cache_entry("studio", key))
        yield [make(Surroundings(project, cache)) for make in PAGES]
