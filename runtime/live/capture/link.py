"""A capture process, seen from its parent."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
from collections.abc import Callable
from multiprocessing import Pipe
from typing import Any

from pocketlens.runtime.live.capture.memory import FrameReader, new_memory
from pocketlens.runtime.live.sources import Source
from pocketlens.runtime.pictures import Pixels
from pocketlens.workers import start_child

_END_S = 1.5


class CaptureChild:
    """A process that opens a source on command and hands its frames over.

    It ends by itself when its parent is gone, however that ended: it notices that nobody holds the
    other end of the connection. Nothing of it has a name that could be left behind.

    Args:
        open_source: called in the process; it and its arguments must be picklable.
        in_order: give every frame of a file, not the newest of a camera.

    Raises:
        OSError: the system gives no more processes, descriptors or memory.
    """

    def __init__(self, open_source: Callable[[], Source], *, in_order: bool = False) -> None:
        # What cannot be pickled shows before there is a process.
        opener = pickle.dumps(open_source)
        with contextlib.ExitStack() as stack:
            self._connection, theirs = Pipe()
            stack.callback(self._connection.close)
            with theirs:
                self._memory = new_memory()
                stack.callback(os.close, self._memory)
                # Nothing that drivers print may get between our own lines, and what decoders
                # print tells which frames are damaged.
                said = new_memory(append=True)
                stack.callback(os.close, said)
                self._frames = FrameReader(self._memory)
                self._process = start_child(
                    "pocketlens.runtime.live.capture.child",
                    str(theirs.fileno()),
                    str(self._memory),
                    *(["in order"] if in_order else []),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    pass_fds=(theirs.fileno(), self._memory),
                    # A Ctrl-C in the terminal is for the parent, which ends this in good order.
                    start_new_session=True,
                )
            with contextlib.suppress(OSError):
                self._connection.send_bytes(opener)
            self._resources = stack.pop_all()

    @property
    def gone(self) -> bool:
        """Whether it has exited; one that hangs in the kernel may outlive being killed."""
        return self._process.poll() is not None

    @property
    def fate(self) -> str:
        """How it ended, in words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        code = self._process.returncode
        if code is None:
            return "it does not end"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def send(self, command: str) -> None:
        """Give it a command; one that is dead already is for `receive` to notice."""
        with contextlib.suppress(OSError):
            self._connection.send(command)

    def receive(self, timeout_s: float) -> Any:
        """Return its next message, or None where none comes in time.

        Raises:
            EOFError: it is dead.
        """
        try:
            return self._connection.recv() if self._connection.poll(timeout_s) else None
        except OSError as error:
            raise EOFError from error

    def frame(self, offset: int, shape: tuple[int, ...]) -> Pixels:
        """Return a copy of the frame that it announced last, uint8 (height, width, 3) BGR."""
        return self._frames.read(offset, shape)

    def kill(self) -> None:
        """Kill it at once, as is the only way with one that hangs."""
        self._process.kill()

    def close(self) -> None:
        """Let it close its source and end, or kill it where it does not."""
        self._resources.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
