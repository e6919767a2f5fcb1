"""What the page shows: the newest result, the source's state, a shift and the last events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pocketlens import __version__
from pocketlens.clock import CLOCK, Clock
from pocketlens.runtime.live.frames import (
    LIVE,
    STALE,
    CaptureCounts,
    FrameResult,
    KeepCounts,
    ShiftState,
    SourceState,
    wall_clock,
)
from pocketlens.runtime.live.staleness import allowance_s
from pocketlens.runtime.pictures import Pixels

STARTING = "starting"

FrameWish = Callable[[Pixels, int], None]
"""Gets a copy of a frame, uint8 (height, width, 3) BGR, and its number."""

_KEPT_EVENTS = 50
_RATE_FRAMES = 30
# Times are averaged over about ten frames, so that they can be read.
_SHARE = 0.1
# The source itself is watched while frames are waited for; this is for a classifier that hangs.
_SILENCE_S = 5.0
_SILENT_FRAMES = 5.0


@dataclass(frozen=True)
class Latest:
    """The newest result, when it came by the feed's clock, frames per second and averaged times.

    `latency_ms` has milliseconds by stage. `frames` counts the results until then.
    """

    result: FrameResult
    at_s: float
    fps: float
    latency_ms: dict[str, float]
    frames: int


class Feed:
    """Takes results in the thread that classifies and gives them to other threads.

    Taking never waits: each value is put in place whole and read whole, without a lock.

    Args:
        model: name of the model file.
        source: name of the source, without passwords.
        watches_shift: frames are compared with the photos the model was made with.
        counts: says what happened while capturing.
        keeping: says what was kept for labelling, None where nothing is.
        inbox: the folder that frames are kept in, None where there is none.
        clock: what everything that is shown goes by.
    """

    def __init__(
        self,
        *,
        model: str = "",
        source: str = "",
        watches_shift: bool = False,
        counts: Callable[[], CaptureCounts] = CaptureCounts,
        keeping: Callable[[], KeepCounts | None] = lambda: None,
        inbox: Path | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        self.clock = clock
        self.model = model
        self.source = source
        self.watches_shift = watches_shift
        self.shift: ShiftState | None = None
        self.counts = counts
        self.keeping = keeping
        self.inbox = inbox
        self.latest: Latest | None = None
        self.frames = 0
        self._events: tuple[dict[str, Any], ...] = ()
        self._event_count = 0
        self._run = f"{round(1e9 * clock.wall_s()):x}"
        self._state: SourceState | None = None
        self._times_s: deque[float] = deque(maxlen=_RATE_FRAMES)
        self._wishes: deque[FrameWish] = deque()

    def put(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        now_s = self.clock.now_s()
        self._times_s.append(now_s)
        between_s = now_s - self._times_s[0]
        fps = (len(self._times_s) - 1) / between_s if between_s > 0 else 0.0
        entry = result.to_dict()
        times_ms: dict[str, float] = entry["latency_ms"]
        before = self.latest
        if before:
            times_ms = {
                stage: before.latency_ms[stage] + _SHARE * (value - before.latency_ms[stage])
                for stage, value in times_ms.items()
            }
        # In this order: who sees that there was a frame also finds it.
        self.latest = Latest(result, now_s, fps, times_ms, self.frames + 1)
        self.frames += 1
        if result.decision.changed:
            self._note({**entry, "text": result.decision.text})
        while self._wishes:
            # What records draws on the frame in a thread of its own.
            self._wishes.popleft()(frame_bgr.copy(), result.number)

    def watch(self, state: SourceState) -> None:
        """Take a change of state: nothing old is shown of a stale source."""
        self._state = state
        if state.state == STALE:
            self.latest = None
            self._times_s.clear()
        self._note(state.to_dict())

    def note_shift(self, shift: ShiftState) -> None:
        """Take a change of whether frames are like the photos the model was made with."""
        self.shift = shift if shift.kind else None
        self._note(shift.to_dict())

    def wish(self, wish: FrameWish) -> None:
        """Have the next frame copied and given to `wish`, in the thread that classifies."""
        self._wishes.append(wish)

    def state(self) -> tuple[str, str]:
        """Return "starting", "live" or "stale", and why it is stale."""
        return self._state_and_latest()[:2]

    def _state_and_latest(self) -> tuple[str, str, Latest | None]:
        """Return the state, why it is stale, and the result it was told from, each read once."""
        frames, state, latest = self.frames, self._state, self.latest
        if state and state.state == STALE:
            return STALE, state.reason, None
        if latest is None:
            return (LIVE if frames else STARTING), "", None
        silence_s = allowance_s(_SILENCE_S, _SILENT_FRAMES, latest.fps)
        if self.clock.now_s() - latest.at_s > silence_s:
            return STALE, f"no answer for {silence_s:.0f} s", None
        return LIVE, "", latest

    def events(self, after: str | None = None) -> list[dict[str, Any]]:
        """Return the last events, oldest first: all that are kept, or those after an id."""
        events = self._events
        for place, event in enumerate(events):
            if event["id"] == after:
                return list(events[place + 1 :])
        return list(events)

    def to_dict(self) -> dict[str, Any]:
        """Return what holds now as plain JSON values."""
        state, reason, latest = self._state_and_latest()
        shift = self.shift
        keeping = self.keeping()
        shown: dict[str, Any] = {"text": None, "decision": [], "categories": []}
        if latest:
            entry = latest.result.to_dict()
            decision = latest.result.decision
            shown = {
                "frame": entry["frame"],
                "time_s": entry["time_s"],
                "text": latest.result.text,
                "decision": [
                    {"label": category.label, "score": round(category.score, 6)}
                    for category in decision.categories
                ],
                "categories": entry["categories"],
                **{key: entry[key] for key in ("label_set",) if key in entry},
                "fps": round(latest.fps, 2),
                "latency_ms": {k: round(v, 3) for k, v in latest.latency_ms.items()},
            }
        return {
            "version": __version__,
            "model": self.model,
            "source": self.source,
            "state": state,
            **({"reason": reason} if reason else {}),
            **({"shift": shift and shift.to_dict()} if self.watches_shift else {}),
            **shown,
            "frames": self.frames,
            **asdict(self.counts()),
            **({"keeping": keeping.to_dict()} if keeping else {}),
        }

    def _note(self, entry: dict[str, Any]) -> None:
        self._event_count += 1
        event = {
            "id": f"{self._run}-{self._event_count}",
            "at": wall_clock(self.clock.wall_s()),
            **entry,
        }
        self._events = (*self._events[1 - _KEPT_EVENTS :], event)
