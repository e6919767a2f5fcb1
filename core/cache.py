"""Where things are kept that can be made again. Without `pathlib`, since each start asks."""

from __future__ import annotations

import os

from pocketlens.errors import OutputError


def cache_path() -> str:
    """Return the folder for what can be made again.

    `POCKETLENS_CACHE` names it; otherwise it is `pocketlens` in the user's cache folder
    (XDG Base Directory Specification). It may be deleted at any time.

    Raises:
        OutputError: neither is named, and the user has no home.
    """
    chosen = os.environ.get("POCKETLENS_CACHE")
    if chosen:
        return os.path.expanduser(chosen)
    caches = os.environ.get("XDG_CACHE_HOME") or home_path(
        ".cache", "Name a folder for the cache in the environment variable POCKETLENS_CACHE."
    )
    return os.path.join(caches, "pocketlens")


def home_path(name: str, advice: str) -> str:
    """Return a path in the user's home; raises OutputError, with the advice, if there is none."""
    home = os.path.expanduser("~")
    # Where neither HOME nor a passwd entry says, as in a container with a user of its own.
    if home == "~":
        raise OutputError(f"This user has no home folder. {advice}")
    return os.path.join(home, name)
