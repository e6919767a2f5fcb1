"""What is known about a project's pictures: how they look, and what its newest model says.

A thread of its own computes what nobody has computed yet, those without a label first, and the
cache keeps it: a picture is looked at once for each model.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pocketlens.choices import FORMATS
from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import OutputError, PictureError, PocketlensError
from pocketlens.files import json_text, write_text
from pocketlens.names import say_once, shown, to_label
from pocketlens.project import Project
from pocketlens.runtime.inbox import fingerprint, read_info, to_hex
from pocketlens.runtime.pictures import decode, resize
from pocketlens.studio.previews import state_key

if TYPE_CHECKING:
    from pocketlens.runtime.classifier import Classifier

# To be raised when what is kept means something else.
FACTS_VERSION = 1

_SAVE_S = 10.0
_NO_MODEL = "none"


@dataclass(frozen=True)
class Fact:
    """What was computed of one picture.

    Attributes:
        fingerprint: that of `runtime.inbox`, None where the picture cannot be decoded.
        scores: by label, 0-1; empty where no model ran.
        answer: the label that is the model's answer, "" where no model ran.
    """

    fingerprint: int | None
    scores: Mapping[str, float] = field(default_factory=dict)
    answer: str = ""


@dataclass(frozen=True)
class Progress:
    """How far the thread is.

    Attributes:
        done: pictures of which everything is known.
        total: all of which it is asked for.
        model: the name of the newest model's file, "" where there is none.
        model_hash: SHA-256 of its bytes as hexadecimal digits.
        problem: why there is no model that can be asked, in a sentence; "" for no problem.
    """

    done: int = 0
    total: int = 0
    model: str = ""
    model_hash: str = ""
    problem: str = ""


class Facts:
    """Facts about pictures, by path.

    Args:
        project: whose newest model is asked.
        folder: the project's place in the cache; None keeps nothing.
        clock: how often what is new is saved goes by it.
    """

    def __init__(self, project: Project, folder: Path | None, clock: Clock = CLOCK) -> None:
        self._project = project
        self._folder = folder
        self._clock = clock
        self._changed = threading.Condition()
        self._wanted: Callable[[], Iterable[Path]] = tuple
        self._asked = self._settled = 0
        self._known: dict[str, Fact] = {}
        self._version = 0
        self._unsaved = False
        self._model_state: tuple[Any, ...] | None = None
        self._progress = Progress()
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def progress(self) -> Progress:
        """How far it is."""
        with self._changed:
            return self._progress

    def of(self, picture: Path) -> Fact | None:
        """Return what is known about a picture by now."""
        try:
            return self._known.get(state_key(picture))
        except PictureError:
            return None

    @property
    def settled(self) -> int:
        """A number that grows each time that everything asked for has become known."""
        with self._changed:
            return self._settled

    @property
    def version(self) -> int:
        """A number that grows with everything that becomes known."""
        return self._version

    def want(self, pictures: Callable[[], Iterable[Path]]) -> None:
        """Let the thread look at pictures, in this order, in place of those before.

        Args:
            pictures: lists them, in the thread.
        """
        with self._changed:
            self._wanted = pictures
            self._asked += 1
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="facts", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until everything that was asked for is known; returns whether it is."""
        with self._changed:
            return self._clock.wait(self._changed, lambda: self._settled == self._asked, seconds)

    def close(self) -> None:
        """End the thread and save what it has found."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        classifier: Classifier | None = None
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing or self._settled != self._asked)
                    if self._closing:
                        return
                    asked, wanted = self._asked, self._wanted
                classifier = self._take_newest(classifier)
                pictures: Sequence[Path] = ()
                with contextlib.suppress(PocketlensError):
                    pictures = tuple(wanted())
                finished = self._look_at(pictures, asked, classifier)
                self._save()
                if finished:
                    with self._changed:
                        self._settled = asked
                        self._changed.notify_all()
        finally:
            self._save()
            if classifier is not None:
                classifier.close()

    def _look_at(self, wanted: Sequence[Path], asked: int, classifier: Classifier | None) -> bool:
        """Look at pictures; returns False where something else is wanted by now."""
        saved_s = self._clock.now_s()
        for number, picture in enumerate(wanted):
            with self._changed:
                if self._closing or self._asked != asked:
                    return False
                self._progress = replace(self._progress, done=number, total=len(wanted))
            try:
                key = state_key(picture)
            except PictureError:
                continue
            if key not in self._known:
                self._known[key] = _look(picture, classifier, self.progress.model_hash)
                self._version += 1
                self._unsaved = True
            if self._clock.now_s() - saved_s > _SAVE_S:
                self._save()
                saved_s = self._clock.now_s()
        with self._changed:
            self._progress = replace(self._progress, done=len(wanted), total=len(wanted))
        return True

    def _take_newest(self, classifier: Classifier | None) -> Classifier | None:
        """Return a classifier of the newest model, the one that is there if it still is."""
        path = newest_model(self._project.models)
        state = None if path is None else _state(path)
        if state == self._model_state and (path is None) == (classifier is None):
            if not self._known:
                self._load(self.progress.model_hash)
            return classifier
        if classifier is not None:
            classifier.close()
        problem, digest, name = "", "", ""
        classifier = None
        if path is not None:
            from pocketlens.runtime.classifier import Classifier

            try:
                classifier = Classifier(path)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                name = path.name
            except (PocketlensError, OSError) as error:
                problem = shown(error)
                say_once(problem)
        self._save()
        with self._changed:
            self._model_state = state if classifier is not None else None
            self._known = {}
            self._progress = Progress(0, 0, name, digest, problem)
        self._load(digest)
        return classifier

    def _file(self, digest: str) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"facts-{FACTS_VERSION}-{digest[:32] or _NO_MODEL}.json"

    def _load(self, digest: str) -> None:
        path = self._file(digest)
        if path is None:
            return
        try:
            values = json.loads(path.read_bytes())
            known = {
                str(key): Fact(
                    None if bits is None else int(bits, 16),
                    {str(label): float(score) for label, score in scores.items()},
                    str(answer),
                )
                for key, (bits, scores, answer) in values.items()
            }
        # RecursionError: a list in a list in a list …
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return
        self._known = {**known, **self._known}
        self._version += len(known)

    def _save(self) -> None:
        path = self._file(self.progress.model_hash)
        if path is None or not self._unsaved:
            return
        facts = {
            key: [
                None if fact.fingerprint is None else to_hex(fact.fingerprint),
                {label: round(score, 6) for label, score in fact.scores.items()},
                fact.answer,
            ]
            for key, fact in self._known.items()
        }
        # A cache that cannot be written costs time and nothing else.
        with contextlib.suppress(OutputError, OSError):
            write_text(path, json_text(facts))
        self._unsaved = False


def newest_model(models: Path) -> Path | None:
    """Return the project's newest model: of those of one conversion, the most exact one.

    That is the newest .tflite file in the folder or in a folder directly in it, or the one of the
    same name before its format that `FORMATS` names first. None where there is none.
    """
    found = []
    for pattern in ("*.tflite", "*/*.tflite"):
        with contextlib.suppress(OSError):
            for path in models.glob(pattern):
                with contextlib.suppress(OSError):
                    if path.is_file() and not path.name.startswith("."):
                        found.append((path.stat().st_mtime_ns, str(path), path))
    if not found:
        return None
    newest = max(found)[2]
    stem, _, kind = newest.stem.rpartition("_")
    if kind not in FORMATS:
        return newest
    beside = (newest.with_name(f"{stem}_{name}{newest.suffix}") for name in FORMATS)
    return next((path for path in beside if path.is_file()), newest)


def _state(path: Path) -> tuple[Any, ...]:
    with contextlib.suppress(OSError):
        found = os.stat(path)
        return str(path), found.st_size, found.st_mtime_ns, found.st_ino
    return (str(path),)


def _look(picture: Path, classifier: Classifier | None, model_hash: str) -> Fact:
    info = read_info(picture)
    # What this model has said of the very frame need not be asked again.
    if info is not None and model_hash and info.model_hash == model_hash and info.scores:
        with contextlib.suppress(ValueError):
            best = min(info.scores, key=lambda label: (-info.scores[label], label))
            scores = {to_label(label): score for label, score in info.scores.items()}
            return Fact(int(info.fingerprint, 16), scores, to_label(best))
    try:
        pixels_rgb = decode(picture)
        bits = fingerprint(np.ascontiguousarray(pixels_rgb[..., ::-1]))
        if classifier is None:
            return Fact(bits)
        result = classifier.classify_pixels(
            resize(pixels_rgb, classifier.size_wh, classifier.resize_mode)
        )
    # RuntimeError: an interpreter's own. The next picture may be none that is too much for it.
    except (PocketlensError, RuntimeError, MemoryError):
        return Fact(None)
    scores = dict(zip(map(to_label, classifier.labels), map(float, result.scores), strict=True))
    return Fact(bits, scores, to_label(result.answers[0].label) if result.answers else "")
