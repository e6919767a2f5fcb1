"""`pocketlens collect --terminal`: labels by digits, where there is no browser."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pocketlens.errors import PocketlensError, UsageError
from pocketlens.names import shown
from pocketlens.runtime.live.collecting import Collector, near_copies
from pocketlens.runtime.live.frames import LIVE, STALE
from pocketlens.runtime.live.measures import counted
from pocketlens.runtime.variety import ENOUGH_PHOTOS, WHY_ENOUGH

if TYPE_CHECKING:
    from rich.console import RenderableType

DIGITS = "1234567890"

_WHO = "terminal"
_STOP, _UNDO, _QUIT = " ", "uz", "q"
# Shorter than a label may be held without saying so again.
_WAIT_S = 0.2
_BAR_WIDTH = 20


class KeySource(Protocol):
    """What keys come from, as `keys.Keys`."""

    def read(self, timeout_s: float) -> str:
        """Return the next key, "" where none comes in time; EOFError where none can come."""


def collect_by_keys(
    collector: Collector,
    state: Callable[[], tuple[str, str]],
    keys: KeySource,
    show: Callable[[RenderableType], None],
    stop: threading.Event,
) -> None:
    """Record by keys until `q` is pressed or `stop` is set.

    A digit begins to record its label, and again ends it; another digit goes over to that label,
    the space bar ends. `u` takes the last recording back.

    Args:
        collector: keeps the photos.
        state: the camera's, as `Watcher.state` gives it.
        keys: where they come from.
        show: shows what holds now, in place of what it showed before.
        stop: ends it.

    Raises:
        UsageError: there is no label, or more than there are digits.
    """
    labels = collector.labels
    if not 0 < len(labels) <= len(DIGITS):
        raise UsageError(
            f"Expected 1 to {len(DIGITS)} labels for --terminal, a digit for each. Received: "
            f"{len(labels)}. Name them with --label, or leave --terminal out for the page."
        )
    recording: str | None = None
    said = ""
    while not stop.is_set():
        if recording is not None:
            if state()[0] != LIVE:
                # Nobody sees what would be recorded when it comes back.
                collector.release(_WHO)
                recording, said = None, "The recording ended: there is no fresh picture."
            elif collector.to_dict(_WHO)["problem"]:
                recording = None
            else:
                collector.hold(_WHO, recording)
        show(_panel(collector, state(), recording, said))
        try:
            key = keys.read(_WAIT_S).lower()
        except EOFError:
            break
        if not key:
            continue
        said = ""
        if key == _QUIT:
            break
        if key in DIGITS and DIGITS.index(key) < len(labels):
            label = labels[DIGITS.index(key)]
            collector.release(_WHO)
            if recording == label:
                recording = None
            else:
                recording = label
                collector.hold(_WHO, label)
        elif key == _STOP:
            collector.release(_WHO)
            recording = None
        elif key in _UNDO:
            collector.release(_WHO)
            recording = None
            try:
                done = collector.undo(_WHO)
                said = f"Took back {len(done)} of {done[0]}."
            except PocketlensError as error:
                said = str(error)
    collector.release(_WHO)


def _panel(
    collector: Collector, state: tuple[str, str], recording: str | None, said: str
) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    now: dict[str, Any] = collector.to_dict(_WHO)
    table = Table.grid(padding=(0, 2, 0, 0))
    for digit, entry in zip(DIGITS, now["labels"], strict=False):
        active = entry["label"] == recording
        filled = round(_BAR_WIDTH * min(1, entry["count"] / ENOUGH_PHOTOS))
        bar = Text("█" * filled, "green" if entry["enough"] else "yellow")
        bar.append("░" * (_BAR_WIDTH - filled), "dim")
        style = "bold reverse" if active else "bold"
        copies = f" {near_copies(entry['copies'])}" if entry["copies"] else ""
        about = Text(f"{counted(entry['count'], 'photos')}. {entry['advice']}{copies}", "dim")
        table.add_row(Text(digit, "bold"), Text(shown(entry["label"]), style), bar, about)
        for warning in entry["warnings"]:
            table.add_row("", "", "", Text(warning, "yellow"))
    kind, reason = state
    if kind == STALE:
        head = Text(f"No fresh picture: {shown(reason)}", "bold red")
    elif recording is not None:
        head = Text(f"● Recording {shown(recording)}", "bold red")
    else:
        head = Text("Live" if kind == LIVE else "Waiting for the first picture …", "bold")
    problem = now["problem"] or said
    help_line = Text("digit: record, again: stop   u: undo the last recording   q: quit", "dim")
    why = Text(f"Why {ENOUGH_PHOTOS}: {WHY_ENOUGH}", "dim")
    message = Text(shown(problem), "red" if now["problem"] else "")
    return Group(head, table, message, why, help_line)
