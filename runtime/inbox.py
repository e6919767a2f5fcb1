"""The inbox: pictures without a label yet, each with what is known about it in a .json beside it.

`NAME.jpg` has the frame as the camera gave it, `NAME.json` a `FrameInfo`. The .json is written
first and removed last, so a picture that is there has its .json whenever a process is killed; a
.json alone is litter that `remove_litter` removes. The same pair is in `photos/LABEL/` when the
picture has a label.

The fingerprint by which near copies are known has 64 bits of the signs of low frequencies (DCT of
32x32 pixels, as in "pHash", Zauner 2010): 48 of brightness, 8 of each of the two chroma channels.
What is smaller than the noise of a camera counts as 0, so that a plain wall, too, is a copy of
itself. Two are near copies where at most 5 bits of brightness and 1 of colour differ. Kind and
limits were chosen by measuring on 250 photos of flowers, on copies of each, and on five videos of
`demo` with 500 frames each:

| pairs taken for near copies            | these, 5 and 1 | 64 of brightness, 6 | dhash, 6   |
|----------------------------------------|----------------|---------------------|------------|
| JPEG again at quality 50; half as wide | 99.6 %, 98.8 % | 100 %, 100 %        | 100 %      |
| noise of 10 levels on both             | 99.2 %         | 100 %               | 99.6 %     |
| 10 % brighter, 20 % darker             | 97.6 %, 99.2 % | 100 %, 100 %        | 100 %      |
| moved by 1 %, by 2 % of the picture    | 71 %, 20 %     | 65 %, 7 %           | 67 %, 11 % |
| a plain wall with noise                | all            | all                 | none       |
| other photos (31,125 pairs)            | none           | none                | none       |
| frames of `demo` with other labels     | none           | none                |            |
| red and blue exchanged                 | 2 %            | 94 %                |            |
| a red disc in it and a blue one        | 3 %            |                     |            |
| a red disc in it and a green one       | 23 %           |                     |            |
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import DataError, OutputExistsError, PictureError
from pocketlens.files import json_text, output_errors, sync, write_bytes, write_new
from pocketlens.names import shown
from pocketlens.runtime.photos import SUFFIXES
from pocketlens.runtime.pictures import Pixels, resize

INFO_SUFFIX = ".json"
INFO_VERSION = 1

_JPEG_QUALITY = 95
# A .json has a few hundred bytes, with a thousand labels 50 KB.
_MOST_INFO_BYTES = 1 << 20
# No picture waits so long for the .json that was written before it, or comes after it by rsync.
_LITTER_S = 3600.0

_SIDE = 32
_LUMA_BITS, _CHROMA_BITS = 48, 8
# Coefficients of noise alone are below: with a standard deviation of 10 in pixels of 640x480
# averaged to 32x32 it is 0.6.
_FLOOR = 8.0
_MOST_LUMA_BITS, _MOST_CHROMA_BITS = 5, 1


def _lowest(first: int, side: int, count: int) -> tuple[Any, ...]:
    """Return rows and columns of the coefficients of the lowest frequencies in a square."""
    places = ((row, column) for row in range(first, side) for column in range(first, side))
    return tuple(np.array(sorted(places, key=lambda place: (sum(place), place))[:count]).T)


# Without the first row and column, which have what is the same all over the picture in one
# direction, such as light from a window; of the chroma with the mean, a picture's tint.
_LUMA_AT = _lowest(1, 9, _LUMA_BITS)
_CHROMA_AT = _lowest(0, 4, _CHROMA_BITS)


@dataclass(frozen=True)
class FrameInfo:
    """What is known about a picture: the .json beside it.

    Attributes:
        at_s: when the frame came, seconds since 1970; kept to the millisecond.
        source: what the frame came from, without passwords.
        size_wh: width and height in pixels.
        reason: why it was kept, one of `KEEP_REASONS`.
        scores: by label, as the model gave them; empty where no model ran.
        model: the file name of the model.
        model_hash: SHA-256 of the model's bytes, as hexadecimal digits.
        decision: the decision at that frame, as text.
        novelty: how unlike the known photos the frame is, 0 to 1; None where nothing says it.
        fingerprint: `fingerprint` as 16 hexadecimal digits.
        extra: what else the .json has, of later versions or other programs; it is kept.
    """

    at_s: float
    source: str
    size_wh: tuple[int, int]
    reason: str
    scores: Mapping[str, float] = field(default_factory=dict)
    model: str = ""
    model_hash: str = ""
    decision: str = ""
    novelty: float | None = None
    fingerprint: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return it as JSON."""
        values = {
            "version": INFO_VERSION,
            "at": iso_time(self.at_s),
            "source": self.source,
            "size": list(self.size_wh),
            "reason": self.reason,
            "scores": dict(self.scores),
            "model": self.model,
            "model_hash": self.model_hash,
            "decision": self.decision,
            "novelty": _finite(self.novelty),
            "fingerprint": self.fingerprint,
        }
        return json_text({**values, **self.extra}, indent=1) + "\n"

    @classmethod
    def from_json(cls, data: bytes | str) -> FrameInfo:
        """Read it from JSON.

        Raises:
            DataError: it is not such JSON.
        """
        try:
            values = dict(json.loads(data))
            width, height = map(int, values.pop("size"))
            novelty = values.pop("novelty", None)
            version = int(values.pop("version"))
            info: dict[str, Any] = {
                "at_s": parse_time(values.pop("at")),
                "size_wh": (width, height),
                "reason": str(values.pop("reason")),
                "scores": {str(k): float(v) for k, v in values.pop("scores", {}).items()},
                "novelty": None if novelty is None else float(novelty),
                **{
                    name: str(values.pop(name, ""))
                    for name in ("source", "model", "model_hash", "decision", "fingerprint")
                },
            }
        # RecursionError: a list in a list in a list …
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataError(
                f"Expected what is known about a picture. Received: {error!r}."
            ) from error
        extra = {"version": version, **values} if version > INFO_VERSION else values
        return cls(**info, extra=extra)


@dataclass(frozen=True)
class InboxEntry:
    """A picture and what is known about it, None where its .json is missing or cannot be read."""

    path: Path
    info: FrameInfo | None


def iso_time(at_s: float) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC with milliseconds: 2026-11-30T17:45:01.123Z."""
    moment = datetime.fromtimestamp(round(at_s, 3), timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> float:
    """Return the seconds since 1970 of a time in ISO 8601; ValueError for other text."""
    # Python 3.10 takes no Z.
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def encode_jpeg(frame_bgr: Pixels) -> bytes:
    """Return a frame, uint8 (height, width, 3) BGR, as a JPEG of quality 95.

    Raises:
        PictureError: it is larger than JPEG allows, or empty.
    """
    try:
        done, data = cv2.imencode(".jpg", frame_bgr, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
    except cv2.error:
        done = False
    if not done:
        height, width = frame_bgr.shape[:2]
        raise PictureError(
            f"Expected a frame of 1 to 65,535 pixels a side. Received: {width}x{height}."
        )
    return data.tobytes()


def info_path(picture: Path) -> Path:
    """Return where the .json of a picture is."""
    return picture.with_suffix(INFO_SUFFIX)


def read_info(picture: Path) -> FrameInfo | None:
    """Return what is known about a picture, None where its .json is missing or cannot be read."""
    try:
        with info_path(picture).open("rb") as stream:
            data = stream.read(_MOST_INFO_BYTES + 1)
        return None if len(data) > _MOST_INFO_BYTES else FrameInfo.from_json(data)
    except (OSError, DataError):
        return None


def add(folder: Path, jpeg: bytes, info: FrameInfo) -> InboxEntry:
    """Put a picture into a folder, with its .json; both are on the disk when this returns.

    Its name is its time and the beginning of its content's SHA-256, as in
    `20261130T174501.123Z-1a2b3c4d.jpg`. The same content of the same time is there once, however
    often it is added.

    Args:
        folder: made if it is missing.
        jpeg: a JPEG file.
        info: what is known about it.

    Raises:
        OutputError: it cannot be written; then nothing of it is there.
    """
    digest = hashlib.sha256(jpeg).hexdigest()
    stamp = iso_time(info.at_s).replace("-", "").replace(":", "")
    # The beginning of the hash leaves the rest open.
    for length in (8, 16, len(digest)):
        path = folder / f"{stamp}-{digest[:length]}.jpg"
        if not _has_other(path, jpeg):
            break
    if os.path.exists(path):
        return InboxEntry(path, read_info(path))
    about = info_path(path)
    written = not about.exists()
    write_bytes(about, info.to_json().encode("utf-8", "backslashreplace"))
    try:
        write_new(path, jpeg)
    except OutputExistsError:
        # Somebody added the same at the same time, or something else of that name came.
        if _has_other(path, jpeg):
            raise
    except BaseException:
        if written and not path.exists():
            with contextlib.suppress(OSError):
                about.unlink()
        raise
    return InboxEntry(path, read_info(path))


def entries(folder: Path) -> list[InboxEntry]:
    """Return the pictures that lie directly in a folder, by name: those of `add` by time.

    Hidden files, and what is not named like a picture, are left out. A folder that is missing has
    none.
    """
    return [InboxEntry(path, read_info(path)) for path in picture_paths(folder)]


def picture_paths(folder: Path) -> list[Path]:
    """Return the paths of what `entries` returns, without reading any .json."""
    try:
        with os.scandir(folder) as found:
            names = sorted(
                entry.name
                for entry in found
                if not entry.name.startswith(".")
                and os.path.splitext(entry.name)[1].lower() in SUFFIXES
                and entry.is_file()
            )
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataError(
            f"Cannot list {shown(folder)}: {error.strerror}. Make it readable."
        ) from error
    return [folder / name for name in names]


def remove(entry: InboxEntry) -> None:
    """Remove a picture and its .json, in this order; what is gone already is no error.

    Raises:
        OutputError: it cannot be removed.
    """
    with output_errors(entry.path):
        entry.path.unlink(missing_ok=True)
        info_path(entry.path).unlink(missing_ok=True)
        sync(entry.path.parent)


def remove_litter(folder: Path, clock: Clock = CLOCK) -> int:
    """Remove each .json whose picture never came since its writer was killed; returns how many.

    Only such as are older than an hour, since the picture may be on its way.
    """
    count = 0
    with contextlib.suppress(OSError):
        for path in folder.glob(f"*{INFO_SUFFIX}"):
            with contextlib.suppress(OSError):
                old = clock.wall_s() - path.stat().st_mtime > _LITTER_S
                if old and not has_picture(path) and _is_info(path):
                    path.unlink()
                    count += 1
    return count


def has_picture(path: Path) -> bool:
    """Tell whether a picture lies beside a file, with the same name up to its suffix."""
    return any(os.path.lexists(path.with_suffix(suffix)) for suffix in SUFFIXES)


def fingerprint(frame_bgr: Pixels) -> int:
    """Return 64 bits that differ little for pictures that look the same.

    Args:
        frame_bgr: uint8 (height, width, 3), BGR, of any size.
    """
    small = resize(frame_bgr, (_SIDE, _SIDE))
    channels = cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb).astype(np.float32) - np.float32(128)
    luma, red, blue = (cv2.dct(np.ascontiguousarray(channels[..., index])) for index in range(3))
    bits = np.concatenate([luma[_LUMA_AT], red[_CHROMA_AT], blue[_CHROMA_AT]]) > _FLOOR
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def to_hex(value: int) -> str:
    """Return a fingerprint as the text that `FrameInfo` has."""
    return f"{value:016x}"


def near_copy(one: int, other: int) -> bool:
    """Tell whether two fingerprints are of pictures that look the same."""
    apart = one ^ other
    return (apart >> 2 * _CHROMA_BITS).bit_count() <= _MOST_LUMA_BITS and (
        apart & (1 << 2 * _CHROMA_BITS) - 1
    ).bit_count() <= _MOST_CHROMA_BITS


class NearCopies:
    """Remembers the frames that were kept last, and knows near copies of them.

    Where a model ran, a frame is a copy only if the model answers nearly the same, too: what it
    tells apart is worth keeping, however small it is in the picture.

    Args:
        remembered: how many frames.
        max_score_change: largest change of a score, 0 to 1, of a copy.
    """

    def __init__(self, remembered: int = 200, max_score_change: float = 0.2) -> None:
        self._kept: deque[tuple[int, Mapping[str, float]]] = deque(maxlen=remembered)
        self._max_change = max_score_change

    def is_copy(self, value: int, scores: Mapping[str, float] | None = None) -> bool:
        """Tell whether a frame is a near copy of one that was remembered.

        Args:
            value: its fingerprint.
            scores: by label, where a model ran.
        """
        return any(
            near_copy(value, kept) and self._alike(scores or {}, kept_scores)
            for kept, kept_scores in reversed(self._kept)
        )

    def remember(self, value: int, scores: Mapping[str, float] | None = None) -> None:
        """Remember a frame that was kept."""
        self._kept.append((value, dict(scores or {})))

    def forget(self, value: int) -> None:
        """Forget the frame of that fingerprint that was remembered last, which was undone."""
        for entry in reversed(self._kept):
            if entry[0] == value:
                self._kept.remove(entry)
                return

    def recall(self, folder: Path) -> None:
        """Remember the last pictures of a folder, as after a restart."""
        for path in picture_paths(folder)[-(self._kept.maxlen or 0) :]:
            info = read_info(path)
            if info is not None:
                with contextlib.suppress(ValueError):
                    self.remember(int(info.fingerprint, 16), info.scores)

    def _alike(self, scores: Mapping[str, float], others: Mapping[str, float]) -> bool:
        if not scores or not others:
            return True
        labels = scores.keys() | others.keys()
        change = max(abs(scores.get(label, 0.0) - others.get(label, 0.0)) for label in labels)
        return change <= self._max_change


def _has_other(path: Path, data: bytes) -> bool:
    """Tell whether something is at a path that is not a file with that content."""
    try:
        return path.read_bytes() != data
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _is_info(path: Path) -> bool:
    """Tell whether a .json is one of ours: others in the folder are none of our business."""
    return read_info(path) is not None
