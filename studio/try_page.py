"""The page on which a model file is tried on photos and cameras, and handed over to a device."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pocketlens.choices import MULTICLASS, SET_LEVELS
from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import PictureError, PocketlensError, SourceError
from pocketlens.names import shown
from pocketlens.report.html import data_url
from pocketlens.runtime.classifier import Classifier, Result, to_json
from pocketlens.runtime.live.capture.opening import open_capture
from pocketlens.runtime.live.frames import Captured
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.model_files import read_model_file
from pocketlens.studio.made import Made, find, find_files
from pocketlens.studio.pages import Page, render, write_route
from pocketlens.studio.protection import fields

if TYPE_CHECKING:
    import click

    from pocketlens.card import ModelCard
    from pocketlens.project import Project
    from pocketlens.runtime.live.frames import Capture
    from pocketlens.runtime.pictures import Pixels

PHOTO_BYTES = 32 << 20
"""How large a photo may be that is tried."""

_SET_LEVEL = SET_LEVELS[-2]
_IDLE_S = 15.0
_FRAME_WAIT_S = 10.0
_SHOWN_SIDE_PX = 960
_QUALITY = 85
_MOST_CARDS = 200
_DEVICE = "pi@raspberrypi.local"


class TryPage(Page):
    """Classifies photos, frames of the browser's camera and of a source with a model file.

    Args:
        project: the project.
        commands: by name, those of the command line, to say what a device can do with a file.
        source: what `--source` names: pictures or a camera at this machine; None for none.
        clock: what idle sources are closed by.
    """

    path, title = "/try", "Try"

    def __init__(
        self,
        project: Project,
        commands: Mapping[str, click.Command],
        *,
        source: SourceRequest | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        self._project = project
        self._keeps = _has_option(commands.get("live"), "--keep")
        self._models = _Models()
        self._source = _Frames(source, clock) if source else None

    @property
    def source_name(self) -> str:
        """What the source is called, without passwords; "" for none."""
        return self._source.name if self._source else ""

    def routes(self) -> Sequence[BaseRoute]:
        """Return its routes."""
        return [
            Route("/try", self.show),
            Route("/try/file/{key}", self.file),
            write_route("/try/classify", self.classify, most_bytes=PHOTO_BYTES),
            write_route("/try/source", self.next_frame),
        ]

    def close(self) -> None:
        """Give the source back."""
        if self._source:
            self._source.close()

    async def show(self, request: Request) -> Response:
        """Show what can be tried, and what to do with it on a device."""
        key = request.query_params.get("model", "")
        return render(request, "try.html", **await run_in_threadpool(self._context, key))

    async def file(self, request: Request) -> Response:
        """Give a model file away."""
        made = find(await run_in_threadpool(self._files), request.path_params["key"])
        return FileResponse(made.path, filename=made.name, media_type="application/octet-stream")

    async def classify(self, request: Request) -> Response:
        """Classify the photo that is the request's body."""
        made = await self._model(request.query_params.get("model", ""))
        photo = await request.body()
        return JSONResponse(await run_in_threadpool(self._models.classify_photo, made, photo))

    async def next_frame(self, request: Request) -> Response:
        """Take the next frame of the source, classify it, and answer with it."""
        made = await self._model((await fields(request)).get("model", ""))
        if self._source is None:
            raise SourceError(
                "Expected a source. Received: none. Name one in pocketlens.toml: "
                "source under [camera]."
            )
        frame_bgr = await run_in_threadpool(self._source.next)
        found = await run_in_threadpool(self._models.classify_frame, made, frame_bgr)
        return JSONResponse({**found, "picture": await run_in_threadpool(_picture, frame_bgr)})

    async def _model(self, key: str) -> Made:
        return find(await run_in_threadpool(self._files), key)

    def _files(self) -> list[Made]:
        return find_files(self._project.root, self._project.models)

    def _context(self, key: str) -> dict[str, Any]:
        files = [_described(made) for made in self._files()]
        usable = [entry for entry in files if not entry["problem"]]
        chosen = next((entry for entry in usable if entry["key"] == key), None)
        chosen = chosen or (usable[0] if usable else None)
        return {
            "files": files,
            "chosen": chosen,
            "steps": self._steps(chosen) if chosen else [],
            "source": self.source_name,
            "most_mb": PHOTO_BYTES >> 20,
        }

    def _steps(self, chosen: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return what a device can do with a file: in words, and as a command."""
        name = shlex.quote(chosen["name"])
        path = shlex.quote(f"./{chosen['word']}")
        steps = [
            ("Copy it to the device, from the project's folder", f"scp {path} {_DEVICE}:"),
            (
                "On the device: classify its camera, and watch that from here",
                f"pocketlens live {name} --source 0 --web 0.0.0.0:8080",
            ),
        ]
        if self._keeps:
            steps.append(
                (
                    "Keep frames that are worth a label",
                    f"pocketlens live {name} --source 0 --keep inbox",
                )
            )
        steps.append(
            ("Start it at boot", f"pocketlens service install {name} --source 0"),
        )
        return steps


class _Models:
    """Classifies with a model file, of which the last one stays loaded."""

    def __init__(self) -> None:
        # A classifier is for one thread at a time.
        self._lock = threading.Lock()
        self._loaded: tuple[tuple[object, ...], Classifier] | None = None

    def classify_photo(self, made: Made, photo: bytes) -> dict[str, Any]:
        """Classify the bytes of a picture file."""
        if not photo:
            raise PictureError("Expected a photo. Received: an empty file. Choose another.")
        return self._classify(made, lambda model: model.classify_photo(photo))

    def classify_frame(self, made: Made, frame_bgr: Pixels) -> dict[str, Any]:
        """Classify a frame, uint8 (height, width, 3) BGR."""
        return self._classify(made, lambda model: model.classify(frame_bgr))

    def _classify(self, made: Made, ask: Callable[[Classifier], Result]) -> dict[str, Any]:
        with self._lock:
            model = self._load(made)
            begun_s = CLOCK.now_s()
            result = ask(model)
            took_ms = 1000 * (CLOCK.now_s() - begun_s)
            categories, answers = (
                [replace(entry, label=shown(entry.label)) for entry in entries]
                for entries in (result.categories, result.answers)
            )
            sets = [shown(label) for label in result.label_set]
            return {
                **to_json(categories, answers, sets, result.novelty),
                "is_unknown": result.is_unknown,
                "set_level": _SET_LEVEL if sets else None,
                "took_ms": round(took_ms, 2),
            }

    def _load(self, made: Made) -> Classifier:
        status = made.path.stat()
        state = (made.path, status.st_ino, status.st_mtime_ns, status.st_size)
        if self._loaded is None or self._loaded[0] != state:
            file = read_model_file(made.path)
            card = file.card
            has_sets = (
                card is not None and card.task == MULTICLASS and f"{_SET_LEVEL:g}" in card.sets
            )
            self._loaded = None
            classifier = Classifier(file, sets=_SET_LEVEL if has_sets else None)
            self._loaded = (state, classifier)
        return self._loaded[1]


class _Frames:
    """Gives the frames of a source one after the other; it is open only while they are asked for.

    Of pictures and videos each frame comes, and the first follows the last.
    """

    def __init__(self, request: SourceRequest, clock: Clock) -> None:
        self.name = request.name
        self._request = request
        self._clock = clock
        self._lock = threading.Lock()
        self._capture: Capture | None = None
        self._forget: Callable[[], None] | None = None
        self._asked_s = 0.0

    def next(self) -> Pixels:
        """Return the next frame, uint8 (height, width, 3) BGR.

        Raises:
            SourceError: it cannot be opened, or gives no frame.
        """
        with self._lock:
            self._asked_s = self._clock.now_s()
            # At the end of a file it begins again.
            frame_bgr = self._read() if self._capture else None
            if frame_bgr is None:
                self._end()
                self._capture = open_capture(self._request)
                frame_bgr = self._read()
            if frame_bgr is None:
                self._end()
                raise SourceError(f"{self.name} gave no frame. Look whether it is there.")
            if self._forget is None:
                self._forget = self._clock.after(_IDLE_S, self._close_idle)
            return frame_bgr

    def close(self) -> None:
        """Give the source back."""
        with self._lock:
            self._end()

    def _read(self) -> Pixels | None:
        stop = threading.Event()
        prevent = self._clock.after(_FRAME_WAIT_S, stop.set)
        try:
            while self._capture and (came := self._capture.next(stop)) is not None:
                if isinstance(came, Captured):
                    return came.frame_bgr
            return None
        except PocketlensError:
            self._end()
            raise
        finally:
            prevent()

    def _end(self) -> None:
        if self._forget:
            self._forget()
            self._forget = None
        if self._capture:
            self._capture.close()
            self._capture = None

    def _close_idle(self) -> None:
        with self._lock:
            self._forget = None
            left_s = _IDLE_S - (self._clock.now_s() - self._asked_s)
            if left_s <= 0:
                self._end()
            elif self._capture:
                self._forget = self._clock.after(left_s, self._close_idle)


def _described(made: Made) -> dict[str, Any]:
    """Return what a page shows of a file, `problem` being why it cannot be tried."""
    card, problem = _card(made.path, made.made_s, made.size_bytes)
    return {
        "key": made.key,
        "name": made.name,
        "word": shown(made.word),
        "folder": shown(Path(made.word).parent.as_posix()),
        "megabytes": made.size_bytes / 1e6,
        "format": card.format if card else "",
        "labels": [shown(label) for label in card.labels] if card else [],
        "size": "×".join(map(str, card.input_size_wh)) if card else "",
        "problem": problem,
    }


@lru_cache(_MOST_CARDS)
def _card(path: Path, _made_s: float, _size_bytes: int) -> tuple[ModelCard | None, str]:
    """Return a file's card, None where it has none, and why the file cannot be used."""
    try:
        return read_model_file(path).card, ""
    except (PocketlensError, OSError) as error:
        return None, shown(error)


def _has_option(command: click.Command | None, option: str) -> bool:
    return command is not None and any(option in parameter.opts for parameter in command.params)


def _picture(frame_bgr: Pixels) -> str:
    """Return a frame as the address of a JPEG."""
    height, width = frame_bgr.shape[:2]
    scale = _SHOWN_SIDE_PX / max(height, width)
    if scale < 1:
        size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        frame_bgr = cv2.resize(frame_bgr, size_wh, interpolation=cv2.INTER_AREA).astype("uint8")
    _, data = cv2.imencode(".jpg", frame_bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data_url(data.tobytes(), "jpeg")
