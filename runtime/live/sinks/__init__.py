"""What receives the results of `pocketlens live`: one module a sink, and the table of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from pocketlens.files import STANDARD_OUTPUT

if TYPE_CHECKING:
    from pocketlens.runtime.live.frames import Sink


@dataclass(frozen=True)
class SinkRequest:
    """What the user asked for: the options of `pocketlens live`, by name.

    `quiet` keeps standard output free of everything that people read.
    """

    jsonl: str | None = None
    record: str | None = None
    record_events: str | None = None
    keep_events: int = 500
    display: bool = False
    overwrite: bool = False
    quiet: bool = False
    web: str | None = None
    web_token: str | None = field(default=None, repr=False)
    mqtt: str | None = field(default=None, repr=False)
    webhook: str | None = field(default=None, repr=False)

    @property
    def silent(self) -> bool:
        """Whether standard output is for machines only."""
        return self.quiet or self.jsonl == STANDARD_OUTPUT


SINKS: dict[str, Callable[[SinkRequest], bool]] = {
    "sinks.recording": lambda request: request.record is not None,
    "sinks.event_recording": lambda request: request.record_events is not None,
    "sinks.mqtt": lambda request: request.mqtt is not None,
    "sinks.webhook": lambda request: request.webhook is not None,
    "web": lambda request: request.web is not None,
    "sinks.window": lambda request: request.display,
    "sinks.jsonl": lambda request: request.jsonl is not None,
    "sinks.panel": lambda request: not request.silent and sys.stdout.isatty(),
    "sinks.terminal": lambda request: not request.silent and not sys.stdout.isatty(),
    "sinks.systemd": lambda _: "NOTIFY_SOCKET" in os.environ,
}
"""The module of each sink, below `runtime.live`, and when it is wanted.

`make_sink` of the module returns the sink, not opened. Sinks are opened in this order and closed in
reverse, so that systemd hears of the end at once.
"""


def make_sinks(request: SinkRequest) -> list[Sink]:
    """Make the sinks that a request asks for; none is opened, nothing is written.

    Raises:
        UsageError: one cannot be made as asked for.
        MissingDependencyError: an extra is not installed.
    """
    package = __name__.rpartition(".")[0]
    wanted = [name for name, asked in SINKS.items() if asked(request)]
    # Whoever asks for none of the others does not wait for their modules.
    return [import_module(f"{package}.{name}").make_sink(request) for name in wanted]
