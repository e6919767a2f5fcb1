"""A video file that a process of its own decodes: a broken file ends or hangs only that one."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import PictureError, SourceError
from pocketlens.runtime.live.capture.child import NEXT, Ended, Failed, Next, Opened, Ready, Said
from pocketlens.runtime.live.capture.link import CaptureChild
from pocketlens.runtime.live.sources import Source
from pocketlens.runtime.pictures import Pixels

LOGGER = logging.getLogger("pocketlens")

# Frames asked for before one is taken: decoding goes on while one is copied. One less than there
# are slots.
_AHEAD = 2
# No frame takes so long; a decoder that hangs is not waited for.
_LIMIT_S = 8.0
_STARTING_S = 20.0
_POLL_S = 0.5


class ChildSource:
    """A file, frame by frame and in order, from a process that decodes it.

    Args:
        open_source: opens the source in the process; picklable.
        name: what messages call it; without passwords.
        clock: what limits how long decoding may take.
        start: starts the process.

    Raises:
        SourceError: the file does not open.
        PocketlensError: what else opening it raised.
    """

    live = False
    file: str | None = None
    stamp: float | None = None
    skipped = 0

    def __init__(
        self,
        open_source: Callable[[], Source],
        name: str,
        *,
        clock: Clock = CLOCK,
        start: Callable[..., CaptureChild] = CaptureChild,
    ) -> None:
        self.time_s: float | None = None
        self._name = name
        self._clock = clock
        self._ended = False
        try:
            self._child = start(open_source, in_order=True)
        except OSError as error:
            reason = error.strerror or error
            raise SourceError(f"No process could be started: {reason}.") from error
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            self._receive(_STARTING_S)
            opened = self._receive()
            assert isinstance(opened, Opened)  # noqa: S101
            self.fps = opened.fps
            stack.pop_all()
        for _ in range(_AHEAD):
            self._child.send(NEXT)

    def read(self) -> Pixels | None:
        """Return the next frame, uint8 (height, width, 3) BGR, or None at the end.

        Raises:
            PictureError: a frame is damaged.
            SourceError: decoding hangs, or ended its process.
        """
        if self._ended:
            return None
        try:
            message = self._receive()
        except PictureError:
            self._child.send(NEXT)
            raise
        if not isinstance(message, Next):
            self._ended = True
            return None
        # Before the copy: the slot of this frame is the last that is filled again.
        self._child.send(NEXT)
        self.time_s = message.time_s
        return self._child.frame(message.offset, message.shape)

    def close(self) -> None:
        """End the process. A second call does nothing."""
        self._ended = True
        self._child.close()

    def _receive(self, limit_s: float | None = None) -> Ready | Opened | Next | Ended:
        limit_s = limit_s or _LIMIT_S
        until_s = self._clock.now_s() + limit_s
        while self._clock.now_s() < until_s and not self._ended:
            try:
                message = self._child.receive(_POLL_S)
            except EOFError:
                raise SourceError(
                    f"Expected to decode {self._name}. Received: a decoder that ended its process "
                    f"({self._child.fate}). The file is damaged: copy it again."
                ) from None
            if isinstance(message, Said):
                LOGGER.log(message.level, "%s", message.text)
            elif isinstance(message, Failed):
                raise message.error
            elif message is not None:
                return message  # type: ignore[no-any-return]
        self._child.kill()
        raise SourceError(
            f"Expected to decode the next frame of {self._name} within {limit_s:g} s. "
            "Received: none. The file is damaged: copy it again."
        )
