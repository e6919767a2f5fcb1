"""The calm panel that a terminal shows while `pocketlens live` runs."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pocketlens.clock import CLOCK, Clock
from pocketlens.names import OR, shown
from pocketlens.runtime.live.frames import (
    STALE,
    CaptureCounts,
    FrameResult,
    RunInfo,
    ShiftState,
    Sink,
    SourceState,
)
from pocketlens.runtime.live.measures import counted
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.pictures import Pixels

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

# Numbers that change faster cannot be read; they are medians of what came in the last two seconds.
_REFRESH_S = 0.25
_AVERAGED_S = 2.0
_MOST_AVERAGED = 500
_EVENTS = 5
_BAR_WIDTH = 30


def make_sink(request: SinkRequest) -> Sink:
    """Return the panel."""
    from rich.live import Live

    return Panel(Live(auto_refresh=False, transient=True))


class Panel(Sink):
    """Keeps a part of the terminal up to date.

    It has the decision and since when it holds, a bar for each of the frame's best labels, frames
    per second, where the milliseconds go, counters, the last events, and a shift while there is
    one; or that the source is stale and why.

    Args:
        live: a `rich.live.Live` that does not refresh itself.
        clock: what it is refreshed by.
    """

    def __init__(self, live: Any, clock: Clock = CLOCK) -> None:
        self._live = live
        self._clock = clock
        self._counts: Callable[[], CaptureCounts] = CaptureCounts
        self._frames = 0
        self._shown_s = -1.0
        self._since_s = 0.0
        self._shift: ShiftState | None = None
        self._events: deque[tuple[float, str]] = deque(maxlen=_EVENTS)
        self._recent: deque[tuple[float, FrameResult]] = deque(maxlen=_MOST_AVERAGED)

    def opened(self, run: RunInfo) -> None:
        """Take over a part of the terminal."""
        self._counts = run.counts
        self._live.start()

    def closed(self) -> None:
        """Give the terminal back."""
        self._live.stop()

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        now_s = self._clock.now_s()
        self._frames += 1
        self._recent.append((now_s, result))
        if result.decision.changed:
            self._since_s = result.time_s
            self._events.appendleft((result.time_s, result.decision.text))
        if now_s - self._shown_s >= _REFRESH_S:
            self._shown_s = now_s
            while self._recent[0][0] < now_s - _AVERAGED_S:
                self._recent.popleft()
            self._show(self._decision(result), self._bars(result), self._speed())

    def state(self, state: SourceState) -> None:
        """Take a change of state: without frames there is no answer to show."""
        if state.state == STALE:
            from rich.text import Text

            self._recent.clear()
            self._shown_s = -1.0
            self._events.appendleft((state.time_s, STALE))
            self._show(Text(shown(f"{STALE}: {state.reason}"), style="bold yellow"))

    def shift(self, shift: ShiftState) -> None:
        """Take a change of shift, which the next refresh shows."""
        self._shift = shift if shift.kind else None
        self._events.appendleft((shift.time_s, shift.text))

    def _show(self, *parts: RenderableType) -> None:
        from rich.console import Group

        if self._shift:
            parts = (*parts, _line(self._shift.text, "bold yellow"))
        self._live.update(Group(*parts, self._counters(), *self._last_events()), refresh=True)

    def _decision(self, result: FrameResult) -> Text:
        text = _line()
        for entry in result.decision.categories:
            text.append(f"{shown(entry.label)} ", "bold green")
            text.append(f"{100 * entry.score:.0f} %  ", "green")
        for entry in result.alternatives:
            text.append(f"{OR.strip()} {shown(entry.label)} ", "bold green")
            text.append(f"{100 * entry.score:.0f} %  ", "green")
        if not result.decision.categories:
            text.append(f"{result.decision.absent}  ", "bold")
        return text.append(f"for {result.time_s - self._since_s:.0f} s", "dim")

    def _bars(self, result: FrameResult) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        held = {entry.index for entry in result.decision.categories}
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(width=_BAR_WIDTH)
        table.add_column(justify="right", min_width=5, no_wrap=True)
        for entry in result.categories:
            style = "bold" if entry.index in held else ""
            colour = "green" if entry.index in held else "cyan"
            bar = ProgressBar(
                total=1.0,
                completed=entry.score,
                width=_BAR_WIDTH,
                complete_style=colour,
                finished_style=colour,
            )
            # Texts, since a label in brackets is not markup.
            table.add_row(
                Text(shown(entry.label), style), bar, Text(f"{100 * entry.score:.0f} %", style)
            )
        return table

    def _speed(self) -> Text:
        text = _line()
        between_s = self._recent[-1][0] - self._recent[0][0]
        rate = f"{(len(self._recent) - 1) / between_s:.0f}" if between_s > 0 else "-"
        text.append(f"{rate} fps   ", "cyan")
        all_ms = [result.latencies_ms for _, result in self._recent]
        for name in all_ms[0]:
            text.append(f"{name} ", "dim")
            text.append(f"{statistics.median(entry[name] for entry in all_ms):.1f}  ")
        return text.append("ms", "dim")

    def _counters(self) -> Text:
        counts = {"frames": self._frames, **asdict(self._counts())}
        parts = [
            counted(count, name) for name, count in counts.items() if count or name == "frames"
        ]
        return _line(", ".join(parts), "dim")

    def _last_events(self) -> list[Text]:
        return [_line(f"{time_s:8.1f} s  {text}", "dim") for time_s, text in self._events]


def _line(text: str = "", style: str = "") -> Text:
    from rich.text import Text

    return Text(shown(text), style=style, no_wrap=True, overflow="ellipsis")
