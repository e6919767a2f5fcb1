"""Runs without a network: card, splits, and a model that nobody loads."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pocketlens.card import ModelCard
from pocketlens.runtime.inbox import FrameInfo, info_path


def write_photo(path: Path, content: str) -> Path:
    """Write a file that is told from others by its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def write_info(photo: Path, reason: str) -> None:
    """Write what is known about a photo that `live --keep` kept for a reason."""
    info = FrameInfo(1_700_000_000, "camera", (160, 120), reason)
    info_path(photo).write_text(info.to_json())


def make_run(
    folder: Path,
    photos: Path,
    splits: Mapping[str, Iterable[Path]],
    *,
    at_s: float = 1_000_000_000,
    **card: Any,
) -> Path:
    """Write a run whose photos lie in folders named like their labels."""
    folder.mkdir(parents=True)
    (folder / "model.keras").write_text("")
    os.utime(folder / "model.keras", (at_s, at_s))
    labels = tuple(sorted({path.parent.name for paths in splits.values() for path in paths}))
    values: dict[str, Any] = {"name": folder.name, "labels": labels, "input_size_wh": (32, 32)}
    (folder / "card.json").write_text(ModelCard(**values | card).to_json())
    parts = {
        split: {str(path.relative_to(photos)): path.parent.name for path in paths}
        for split, paths in splits.items()
    }
    seen = {
        split: {hashlib.sha256(path.read_bytes()).hexdigest(): "" for path in paths}
        for split, paths in splits.items()
    }
    values = {"photos": str(photos), "parts": parts, "seen": seen}
    (folder / "split.json").write_text(json.dumps(values))
    return folder
