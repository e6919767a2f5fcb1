"""What a training is about, and in what two of them differ."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from pocketlens import __version__
from pocketlens.errors import UsageError
from pocketlens.runtime.runs import PARTS
from pocketlens.train.settings import Settings
from pocketlens.train.splits import Split

_NAMED_AT_MOST = 3


def describe_plan(settings: Settings, split: Split) -> dict[str, Any]:
    """Return what decides how a training goes, as JSON values: settings, photos, versions."""
    return {
        "settings": asdict(settings),
        "versions": {"pocketlens": __version__, "keras": version("keras")},
        "data_hash": split.data_hash,
        "photos": {
            os.path.relpath(photo.path, split.root): [part, split.digests[photo.path]]
            for part in PARTS
            for photo in split.parts[part]
        },
    }


def refuse_other_plan(found: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """Raise UsageError, naming what differs, if an unfinished run is about something else."""
    different = [
        f"{name.replace('_', ' ')} {new} (so far {found[group].get(name)})"
        for group in ("settings", "versions")
        for name, new in plan[group].items()
        if found[group].get(name) != new
    ]
    # Another seed divides the same photos in another way.
    if not different and found["data_hash"] != plan["data_hash"]:
        different += _photos(found["photos"], plan["photos"]) or ["other labels of the photos"]
    if different:
        raise UsageError(
            "Expected the settings and photos of the unfinished run, as --resume asks. Received: "
            f"{', '.join(different)}. Put that right, or start anew with --overwrite."
        )


def _photos(found: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    common = found.keys() & new.keys()
    cases = {
        "new": new.keys() - found.keys(),
        "missing": found.keys() - new.keys(),
        "changed": {name for name in common if found[name] != new[name]},
    }
    return [
        f"{len(names)} {what} photo{'s' * (len(names) > 1)} ({_few(sorted(names))})"
        for what, names in cases.items()
        if names
    ]


def _few(names: list[str]) -> str:
    return ", ".join(names[:_NAMED_AT_MOST]) + (", …" if len(names) > _NAMED_AT_MOST else "")
