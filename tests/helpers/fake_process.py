"""A capture's process that a test plays by a fake clock: exact, and over at once."""

from collections.abc import Callable
from typing import Any

from timing import FakeClock

from pocketlens.errors import SourceError
from pocketlens.runtime.live.capture.child import (
    NEXT,
    OPEN,
    Failed,
    Frame,
    Noted,
    Opened,
    Ready,
)
from pocketlens.runtime.live.sources.fake import (
    END,
    ERROR,
    HANG,
    KILL,
    REPEAT,
    FakeCamera,
    numbered_frame,
)

START_S = 0.5
OPEN_S = 0.125
SIZE_WH = (64, 48)


class FakeProcesses:
    """Stands in for `CaptureChild`: give `start` to a capture.

    The camera gives frame n at `start_s + n * interval_s`, whoever reads it. `faults` happen in
    place of frames, `away` and `stuck` are those at which it cannot be opened and opening it hangs.
    `starts_s` and `opens_s` are the times of what the capture did; `outlives_s` is how long a
    process that is killed takes to be gone.
    """

    def __init__(
        self,
        clock: FakeClock,
        *,
        interval_s: float = 0.125,
        fps: float | None = 8.0,
        faults: dict[int, str] | None = None,
        away: range = range(0),
        stuck: range = range(0),
        outlives_s: float = 0.0,
    ) -> None:
        self.clock = clock
        self.start_s = clock.now_s()
        self.interval_s = interval_s
        self.fps = fps
        self.faults = faults or {}
        self.away = away
        self.stuck = stuck
        self.outlives_s = outlives_s
        self.starts_s: list[float] = []
        self.opens_s: list[float] = []
        self.running: list[FakeProcess] = []

    @property
    def now_s(self) -> float:
        """The time since frame 0."""
        return self.clock.now_s() - self.start_s

    def start(self, open_source: Callable[[], Any]) -> "FakeProcess":
        """Start a process."""
        self.starts_s.append(self.now_s)
        self.running.append(FakeProcess(self))
        return self.running[-1]


class SkippingCamera(FakeCamera):
    """A camera whose driver has replaced frames before they were read."""

    skipped = 3


class FakeProcess:
    """One process: what it says and when, in place of a `CaptureChild`."""

    def __init__(self, camera: FakeProcesses) -> None:
        self._camera = camera
        self._says: list[tuple[float, Any]] = [(camera.now_s + START_S, Ready())]
        self._next = self._count = self._repeated = 0
        self._hangs = False
        self._ended_s: float | None = None
        self.fate = "killed by SIGKILL"

    def send(self, command: str) -> None:
        """Take a command."""
        if self._hangs:
            return
        camera = self._camera
        if command == OPEN:
            camera.opens_s.append(camera.now_s)
            self._next = int(camera.now_s / camera.interval_s) + 1
            if self._next in camera.stuck:
                self._hangs = True
            elif self._next in camera.away:
                self._say(camera.now_s + OPEN_S, Failed(SourceError("It is away.")))
            else:
                self._say(camera.now_s + OPEN_S, Opened(camera.fps))
        elif command == NEXT:
            self._answer()

    def receive(self, timeout_s: float) -> Any:
        """Return what it says next, or None after the timeout."""
        camera = self._camera
        assert self._ended_s is None, "a process that is gone was asked"
        if self._says and self._says[0][0] <= camera.now_s + timeout_s:
            due_s, said = self._says.pop(0)
            camera.clock.sleep(max(0.0, due_s - camera.now_s))
            if isinstance(said, EOFError):
                raise said
            return said
        camera.clock.sleep(timeout_s)
        return None

    def frame(self, offset: int, shape: tuple[int, ...]) -> Any:
        """Return the frame that it announced."""
        return numbered_frame(offset, SIZE_WH)

    def kill(self) -> None:
        """End it."""
        self._ended_s = self._camera.now_s + self._camera.outlives_s

    @property
    def gone(self) -> bool:
        """Whether it is gone."""
        return self._ended_s is not None and self._ended_s <= self._camera.now_s

    def close(self) -> None:
        """End it."""
        if self in self._camera.running:
            self._camera.running.remove(self)

    def _say(self, due_s: float, message: Any) -> None:
        self._says.append((due_s, message))

    def _answer(self) -> None:
        """Answer with the newest frame, or with what happens before there is one."""
        camera, newest, noted = self._camera, None, False
        while True:
            number = self._next
            due_s = number * camera.interval_s
            if due_s > camera.now_s and (newest is not None or noted):
                break
            fault = "away" if number in camera.away else camera.faults.get(number)
            if fault == HANG:
                self._hangs = True
                break
            if fault in (END, ERROR, "away", KILL):
                # What was not fetched by then is lost.
                what: Any = EOFError() if fault == KILL else Failed(SourceError(f"It is {fault}."))
                self._say(max(due_s, camera.now_s), what)
                return
            self._next += 1
            if fault == REPEAT:
                self._repeated, noted = self._repeated + 1, True
            else:
                newest, self._count = number, self._count + 1
            if due_s > camera.now_s:
                break
        reply_s = max(camera.now_s, (self._next - 1) * camera.interval_s)
        if newest is not None:
            shape = (SIZE_WH[1], SIZE_WH[0], 3)
            frame = Frame(
                self._count - 1,
                camera.start_s + newest * camera.interval_s,
                1000 * camera.interval_s,
                newest,
                shape,
                Noted(0, self._repeated),
            )
            self._say(reply_s, frame)
        elif noted:
            self._say(reply_s, Noted(0, self._repeated))
