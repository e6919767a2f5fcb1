"""The process that reads a live source and hands its frames over; `link` starts it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from pocketlens.clock import CLOCK
from pocketlens.errors import PictureError, PocketlensError, SourceError
from pocketlens.runtime.live.capture.memory import SLOTS, FrameWriter
from pocketlens.runtime.live.sources import Source, redact
from pocketlens.runtime.live.sources.complaints import COMPLAINTS
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")

OPEN = "open"
NEXT = "next"

_STANDARD_ERROR = 2
# How long a read that is under way may hold up the end.
_GRACE_S = 1.0
# A driver that gives one frame again and again does so without waiting.
_REPEAT_PAUSE_S = 0.005


@dataclass(frozen=True)
class Ready:
    """Everything is imported."""


@dataclass(frozen=True)
class Opened:
    """The source is open; `fps` is what it declares."""

    fps: float | None


@dataclass(frozen=True)
class Failed:
    """The source is closed: it does not open, it failed or it ended."""

    error: PocketlensError


@dataclass(frozen=True)
class Noted:
    """Frames so far that were damaged, and that were the one before once more."""

    damaged: int
    repeated: int


@dataclass(frozen=True)
class Frame:
    """The newest frame: its number from 0, when it came (`CLOCK.now_s()`), where it lies."""

    number: int
    time_s: float
    capture_ms: float
    offset: int
    shape: tuple[int, ...]
    noted: Noted


@dataclass(frozen=True)
class Next:
    """The next frame of a file: its time in the video in seconds, where it lies."""

    time_s: float | None
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Ended:
    """The file has no more frames."""


@dataclass(frozen=True)
class Said:
    """A log record."""

    level: int
    text: str


def main(connection_descriptor: str, memory_descriptor: str, order: str = "") -> NoReturn:
    """Serve one parent until it closes the connection or dies; `order` asks for every frame."""
    # The parent acts on signals that end the run, such as the stop of a service.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection: Connection[Any, Any] = Connection(int(connection_descriptor))
    COMPLAINTS.listen(_STANDARD_ERROR)
    serve = _serve_file if order else _serve_newest
    try:
        open_source = connection.recv()
        serve(connection, FrameWriter(int(memory_descriptor)), open_source)
    except (EOFError, OSError):
        pass
    except Exception as error:
        connection.send(Failed(_as_source_error(error)))
    # Threads of drivers must not hold up the end.
    os._exit(0)


def _serve_newest(
    connection: Connection[Any, Any], writer: FrameWriter, open_source: Callable[[], Source]
) -> None:
    _Server(connection, writer, open_source).run()


def _serve_file(
    connection: Connection[Any, Any], writer: FrameWriter, open_source: Callable[[], Source]
) -> None:
    """Give the frames of a file in order, each when the parent asks for it.

    The parent asks for one more than it has taken, so that decoding goes on while it copies.
    """
    lock = threading.Lock()
    asked = threading.Semaphore(0)
    ended = threading.Event()

    def send(message: Ready | Opened | Failed | Next | Ended | Said) -> None:
        with lock:
            connection.send(message)

    def listen() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                connection.recv()
                asked.release()
        ended.set()
        asked.release()
        # The source gets a moment to be closed properly; one that hangs is left to the system.
        CLOCK.sleep(_GRACE_S)
        os._exit(0)

    _forward_log(send)
    # Before the source opens, which may hang: who is alone then ends, too.
    threading.Thread(target=listen, name="listen", daemon=True).start()
    send(Ready())
    try:
        with contextlib.closing(open_source()) as source:
            send(Opened(source.fps))
            slot = 0
            while asked.acquire() and not ended.is_set():
                try:
                    frame_bgr = source.read()
                except PictureError as error:
                    send(Failed(error))
                    continue
                if frame_bgr is None:
                    send(Ended())
                    continue
                slot = (slot + 1) % SLOTS
                send(Next(source.time_s, writer.write(slot, frame_bgr), frame_bgr.shape))
    except Exception as error:
        send(Failed(_as_source_error(error)))


class _Server:
    """Reads the source in the main thread and answers the parent from a second one.

    A slot is the writer's until it holds the newest frame, and the parent's from when it is handed
    over until the parent asks for the next: nobody ever reads what is being written.
    """

    def __init__(
        self,
        connection: Connection[Any, Any],
        writer: FrameWriter,
        open_source: Callable[[], Source],
    ) -> None:
        self._connection = connection
        self._writer = writer
        self._open_source = open_source
        self._changed = threading.Condition()
        self._open_asked = False
        self._next_asked = False
        self._ended = False
        self._newest: tuple[int, Frame] | None = None
        self._lent: int | None = None
        self._count = 0
        self._noted = Noted(0, 0)
        self._told = self._noted

    def run(self) -> None:
        """Open and read the source as often as the parent asks for it."""
        _forward_log(self._send)
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        self._send(Ready())
        while self._wait_until_asked():
            try:
                self._read()
                error: PocketlensError = SourceError("The stream has ended.")
            except Exception as caught:
                error = _as_source_error(caught)
            if not self._ended:
                self._send(Failed(error))

    def _read(self) -> None:
        source = self._open_source()
        last_stamp = None
        explained = False
        try:
            self._send(Opened(source.fps))
            while not self._ended:
                before_s = CLOCK.now_s()
                try:
                    frame_bgr = source.read()
                except PictureError as error:
                    if not explained:
                        LOGGER.info("%s", error)
                        explained = True
                    self._note(damaged=1)
                    continue
                now_s = CLOCK.now_s()
                if frame_bgr is None:
                    return
                if source.stamp is not None and source.stamp == last_stamp:
                    self._note(repeated=1)
                    CLOCK.sleep(_REPEAT_PAUSE_S)
                    continue
                last_stamp = source.stamp
                number = self._count + source.skipped
                self._publish(number, now_s, 1000 * (now_s - before_s), frame_bgr)
                self._count += 1
        finally:
            self._count += source.skipped
            with self._changed:
                # The next message says that the source is closed; a frame would come too late.
                self._newest = None
            source.close()

    def _publish(self, number: int, time_s: float, capture_ms: float, frame_bgr: Pixels) -> None:
        with self._changed:
            taken = {self._lent, self._newest[0] if self._newest else None}
        # Neither of the two can become this one while it is written.
        slot = next(entry for entry in range(SLOTS) if entry not in taken)
        offset = self._writer.write(slot, frame_bgr)
        frame = Frame(number, time_s, capture_ms, offset, frame_bgr.shape, self._noted)
        with self._changed:
            self._newest = slot, frame
            self._answer()

    def _note(self, *, damaged: int = 0, repeated: int = 0) -> None:
        noted = Noted(self._noted.damaged + damaged, self._noted.repeated + repeated)
        with self._changed:
            self._noted = noted
            self._answer()

    def _answer(self) -> None:
        """Answer the parent if it asked; the caller holds the lock."""
        if not self._next_asked:
            return
        if self._newest is not None:
            self._lent, frame = self._newest
            self._newest = None
            self._told = frame.noted
            self._reply(frame)
        elif self._noted != self._told:
            self._told = self._noted
            self._reply(self._noted)

    def _reply(self, message: Frame | Noted) -> None:
        self._next_asked = False
        self._connection.send(message)

    def _send(self, message: Ready | Opened | Failed | Said) -> None:
        with self._changed:
            self._connection.send(message)

    def _listen(self) -> None:
        try:
            while True:
                asked = self._connection.recv()
                with self._changed:
                    self._next_asked = asked == NEXT
                    self._open_asked = self._open_asked or asked == OPEN
                    self._answer()
                    self._changed.notify_all()
        except (EOFError, OSError):
            pass
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        # The source gets a moment to be closed properly; one that hangs is left to the system.
        CLOCK.sleep(_GRACE_S)
        os._exit(0)

    def _wait_until_asked(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._open_asked or self._ended)
            self._open_asked = False
            return not self._ended


def _forward_log(send: Callable[[Said], None]) -> None:
    LOGGER.addHandler(_Forwarder(send))
    LOGGER.propagate = False
    LOGGER.setLevel(logging.DEBUG)


class _Forwarder(logging.Handler):
    """Gives log records to the parent, which has the standard error."""

    def __init__(self, send: Callable[[Said], None]) -> None:
        super().__init__()
        self._give = send

    def emit(self, record: logging.LogRecord) -> None:
        self._give(Said(record.levelno, redact(record.getMessage())))


def _as_source_error(error: Exception) -> PocketlensError:
    if isinstance(error, PocketlensError):
        return error
    return SourceError(
        "Expected a source that opens and gives frames. Received: "
        f"{type(error).__name__}: {redact(str(error))}. Try another program on it."
    )
