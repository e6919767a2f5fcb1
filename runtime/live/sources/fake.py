"""A fake camera: scripted frames and faults, for tests and to see how a run copes with them.

`pocketlens live MODEL --source fake:SCRIPT` plays a camera of 640x480 pixels and 30 frames per
second; `--size` and `--fps` change that. SCRIPT is a list with commas in between, or nothing:

    hang=300              frame 300 never comes
    repeat=300-450        frames 300 to 450 are the one before once more
    delay=300:1.5         frame 300 comes 1.5 seconds late
    size=1280x720:300     another size from frame 300 on
    still                 all frames look the same, as of a static scene

What happens to frames as `hang` and `repeat` do: `hang` (the frame never comes), `end` (the stream
ends), `error` (reading fails), `exception` (the driver raises what it should not), `kill` (the
process that reads is killed), `repeat`, `half` (half a JPEG), `away` (the camera is unplugged: it
cannot be read or opened) and `stuck` (opening it never ends). Frames are counted from 0 from when
the run begins to open the camera, which takes about a second, and time goes on while it is closed:
a fault happens once, and opened again the camera goes on with the frame that is due.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import SourceError, UsageError
from pocketlens.runtime.live.sources import SourceRequest
from pocketlens.runtime.live.sources.jpeg import decode_jpeg
from pocketlens.runtime.pictures import Pixels

HANG = "hang"
END = "end"
ERROR = "error"
EXCEPTION = "exception"
KILL = "kill"
REPEAT = "repeat"
HALF = "half"

FAULTS = (HANG, END, ERROR, EXCEPTION, KILL, REPEAT, HALF)

_SIZE_WH = (640, 480)
_FPS = 30.0
_ENTRY = re.compile(
    r"([a-z]+)(?:=(?:([0-9]+)x([0-9]+):)?([0-9]+)(?:-([0-9]+))?(?::([0-9]+(?:[.][0-9]+)?))?)?"
)
# A frame carries its number in its first pixel, so that it can be known again.
_BASE = 256


def open_fake(request: SourceRequest) -> FakeCamera:
    """Open the fake camera that an address describes, `fake:` and a script.

    Raises:
        UsageError: the script cannot be read.
        SourceError: the camera is away.
    """
    fps = request.fps or _FPS
    script = parse_script(request.address.partition(":")[2])
    return FakeCamera(
        size_wh=request.size_wh or _SIZE_WH,
        fps=fps,
        interval_s=1 / fps,
        since_s=request.begun_s,
        **script,
    )


def parse_script(text: str) -> dict[str, Any]:
    """Return what a script says as arguments of a `FakeCamera`.

    Raises:
        UsageError: it cannot be read.
    """
    script: dict[str, Any] = {"faults": {}, "delays_s": {}, "sizes_wh": {}}
    for entry in text.split(",") if text else ():
        match = _ENTRY.fullmatch(entry)
        name, width, height, first, last, seconds = match.groups("") if match else [""] * 6
        frames = range(int(first or 0), int(last or first or 0) + 1)
        plain = first and not width and not seconds
        if name == "still" and not first:
            script["still"] = True
        elif name == "delay" and seconds and not last and not width:
            script["delays_s"][frames[0]] = float(seconds)
        elif name == "size" and width and not last and not seconds:
            script["sizes_wh"][frames[0]] = (int(width), int(height))
        elif name in FAULTS and plain:
            script["faults"] |= dict.fromkeys(frames, name)
        elif name == "away" and plain:
            script["away"] = frames
        elif name == "stuck" and plain:
            script["hangs_on_open"] = frames
        else:
            raise UsageError(
                f"Expected a fake camera's script with {', '.join(FAULTS)}, away, stuck, delay, "
                f"size or still. Received: {entry}. Write it like "
                "fake:hang=300,away=600-900,delay=950:1.5,size=1280x720:1000."
            )
    return script


class FakeCamera:
    """A camera whose frames and faults are written down beforehand, by frame number from 0.

    Each frame is different: `frame_number` tells which one it is. For a capture in a process of
    its own give the class with its script, `functools.partial(FakeCamera, since_s=…, …)`.

    Args:
        size_wh: width and height of the frames in pixels.
        fps: the rate that it declares, frames per second.
        interval_s: how long it really takes from frame to frame, in seconds; 0 is as fast as it
            is read.
        frames: how many there are before it ends; None never ends.
        delays_s: extra seconds before single frames come.
        faults: what happens in place of single frames, one of FAULTS.
        sizes_wh: other sizes, each from a frame on.
        away: the frames at which it is not there: it fails and cannot be opened.
        hangs_on_open: the frames at which opening it never ends.
        still: every frame looks like the first, as of a static scene.
        since_s: the clock's time of frame 0. Time passes while it is closed, so that opened again
            it goes on with the frame that is due then. None starts with frame 0.
        live: False plays a file: nothing is lost when it is read late.
        clock: what it goes by.

    Raises:
        SourceError: it is away.
    """

    time_s: float | None = None
    file: str | None = None
    skipped = 0

    def __init__(
        self,
        *,
        size_wh: tuple[int, int] = (64, 48),
        fps: float | None = 30.0,
        interval_s: float = 0.0,
        frames: int | None = None,
        delays_s: Mapping[int, float] | None = None,
        faults: Mapping[int, str] | None = None,
        sizes_wh: Mapping[int, tuple[int, int]] | None = None,
        away: range = range(0),
        hangs_on_open: range = range(0),
        still: bool = False,
        since_s: float | None = None,
        live: bool = True,
        clock: Clock = CLOCK,
    ) -> None:
        self.live = live
        self._clock = clock
        self.fps = fps
        self.stamp: float | None = None
        self.closed = False
        self._sizes_wh = {0: size_wh, **(sizes_wh or {})}
        self._interval_s = interval_s
        self._frames = frames
        self._delays_s = dict(delays_s or {})
        self._faults = dict(faults or {})
        self._away = away
        self._still = still
        self._number = 0
        self._due: float | None = None
        if since_s is not None:
            # The frame that is due next, so that a fault happens once and not at each opening.
            self._number = int((clock.now_s() - since_s) / interval_s) + 1
        if self._number in hangs_on_open:
            _hang()
        if self._number in away:
            raise SourceError("Expected the fake camera to open. Received: it is away.")

    def read(self) -> Pixels | None:
        """Wait for the next frame and return it, uint8 (height, width, 3) BGR, or None.

        Raises:
            PictureError: a frame is half a JPEG.
            Exception: the one that the script has for this frame.
        """
        number = self._number
        fault = self._faults.get(number)
        if self.closed or fault == END or number == self._frames:
            return None
        self._wait(self._interval_s + self._delays_s.get(number, 0.0))
        self._number += 1
        if fault == ERROR or number in self._away:
            raise SourceError(f"Expected frame {number} of the fake camera. Received: none.")
        if fault == EXCEPTION:
            raise RuntimeError(f"frame {number} is scripted to raise this")
        if fault == HANG:
            _hang()
        if fault == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == REPEAT and number:
            return self._frame(number - 1)
        frame_bgr = self._frame(number)
        if fault == HALF:
            data = cv2.imencode(".jpg", frame_bgr)[1].tobytes()
            return decode_jpeg(data[: len(data) // 2])
        self.stamp = number
        return frame_bgr

    def close(self) -> None:
        """End the frames."""
        self.closed = True

    def _frame(self, number: int) -> Pixels:
        begins = max(entry for entry in self._sizes_wh if entry <= number)
        return numbered_frame(0 if self._still else number, self._sizes_wh[begins])

    def _wait(self, seconds: float) -> None:
        # Against the clock, not frame by frame: sleeping adds up to a slower camera.
        now = self._clock.now_s()
        self._due = max(now, (self._due if self._due is not None else now) + seconds)
        self._clock.sleep(self._due - now)


def numbered_frame(number: int, size_wh: tuple[int, int]) -> Pixels:
    """Return a frame that shows its number: uint8 (height, width, 3), BGR."""
    width, height = size_wh
    frame_bgr = np.full((height, width, 3), 40 + number * 7 % 160, np.uint8)
    frame_bgr[0, 0] = number % _BASE, number // _BASE % _BASE, number // _BASE**2 % _BASE
    return frame_bgr


def frame_number(frame_bgr: Pixels) -> int:
    """Return the number of a frame that `numbered_frame` made and nothing has compressed."""
    low, middle, high = (int(value) for value in frame_bgr[0, 0])
    return low + _BASE * middle + _BASE**2 * high


def _hang() -> None:
    threading.Event().wait()
