"""Single keys of a terminal, as they are pressed, and the terminal as it was afterwards."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, TextIO

from pocketlens.errors import UsageError

if sys.platform != "win32":
    import termios
    import tty

# More than one byte at once is what was typed ahead.
_READ_BYTES = 1024


class Keys:
    """A context in which keys come without Enter and are not shown.

    Ctrl-C, Ctrl-Z and the like stay what they are. The terminal is given back however the context
    ends, and while the program is stopped by Ctrl-Z.

    Args:
        stream: the terminal; standard input if nothing is said.

    Raises:
        UsageError: on entering, the stream is not a terminal.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdin
        self._pending = ""
        self._before: Any = None
        self._on_stop: Any = None

    def __enter__(self) -> Keys:
        if sys.platform == "win32" or not self._stream.isatty():
            raise UsageError(
                "Expected a terminal for --terminal. Received: standard input that is none. "
                "Start it in a terminal, or leave --terminal out for the page."
            )
        self._number = self._stream.fileno()
        self._before = termios.tcgetattr(self._number)
        self._take()
        if threading.current_thread() is threading.main_thread():
            self._on_stop = signal.signal(signal.SIGTSTP, self._stopped)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._on_stop is not None:
            signal.signal(signal.SIGTSTP, self._on_stop)
        self._give_back()

    def read(self, timeout_s: float) -> str:
        """Return the next key, "" where none comes in time.

        Raises:
            EOFError: the terminal is gone.
        """
        if not self._pending and select.select([self._number], [], [], timeout_s)[0]:
            try:
                data = os.read(self._number, _READ_BYTES)
            except OSError as error:
                raise EOFError from error
            if not data:
                raise EOFError
            self._pending = data.decode("utf-8", "replace")
        key, self._pending = self._pending[:1], self._pending[1:]
        return key

    def _take(self) -> None:
        # Output waits for its reader, not for keys that were typed before.
        tty.setcbreak(self._number, termios.TCSADRAIN)

    def _give_back(self) -> None:
        # It may be gone by now, as after a lost connection.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._number, termios.TCSADRAIN, self._before)

    def _stopped(self, number: int, frame: FrameType | None) -> None:
        self._give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # Here it goes on.
        signal.signal(signal.SIGTSTP, self._stopped)
        with contextlib.suppress(termios.error):
            self._take()
