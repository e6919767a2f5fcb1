"""What receives the results of `pocketlens live`: one module a sink, their options, their table."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pocketlens.files import STANDARD_OUTPUT

if TYPE_CHECKING:
    from pocketlens.runtime.live.frames import Sink


class SinkOption(NamedTuple):
    """An option of `pocketlens live` that a sink reads; a service's unit is checked by it, too.

    A `default` that is False makes a flag of it, one that is a number makes it take numbers of at
    least `least` and at most `most`. `bare` is the value of an option that is given without one.
    `variable` is the environment variable that may hold the value instead. What `secret` options
    hold is never on a service's command line. `writes` says what the value names, if the sink
    writes it; `desktop`, that the sink needs one.
    """

    default: str | int | None
    group: str
    help: str
    metavar: str | None = None
    bare: str | None = None
    least: int = 1
    most: int | None = None
    variable: str | None = None
    secret: bool = False
    writes: Literal["file", "folder"] | None = None
    desktop: bool = False


def _option(*described: Any, **more: Any) -> Any:
    option = SinkOption(*described, **more)
    return field(default=option.default, repr=not option.variable, metadata={"option": option})


@dataclass(frozen=True)
class SinkRequest:
    """What the user asked for: the options of `pocketlens live`, by name.

    A field that a sink adds here is an option of the command. `quiet` keeps standard output free of
    everything that people read.
    """

    record: str | None = _option(
        None,
        "Recording",
        "Write a video of the frames with their labels.",
        "OUT.mp4",
        writes="file",
    )
    record_events: str | None = _option(
        None,
        "Recording",
        "Write a labelled video of each event, from 3 s before to 5 s after it.",
        "DIR",
        writes="folder",
    )
    keep_events: int = _option(
        500, "Recording", "Keep the newest N of these videos in DIR and delete older ones.", "N"
    )
    keep: str | None = _option(
        None,
        "Labelling",
        "Keep frames that are worth a label (unsure, unknown, changed, shifted), and random ones.",
        "DIR",
        writes="folder",
    )
    keep_mb: int = _option(
        500,
        "Labelling",
        "Keep N MB of them at most; the oldest and those that teach least go first.",
        "N",
    )
    keep_random: int = _option(
        48,
        "Labelling",
        "Keep N random frames a day, whatever they show, to measure the accuracy; 0 for none.",
        "N",
        least=0,
        # One a second.
        most=86_400,
    )
    keep_to: str | None = _option(
        None,
        "Labelling",
        "Also send them to this URL, each as PUT of URL/NAME.json and URL/NAME.jpg.",
        "URL",
        variable="POCKETLENS_KEEP_TO",
        # Its path may be a secret itself.
        secret=True,
    )
    keep_token: str | None = _option(
        None,
        "Labelling",
        "Token that --keep-to sends along (Authorization: Bearer). Other users can read a command "
        "line but not the environment variable.",
        "TOKEN",
        variable="POCKETLENS_KEEP_TOKEN",
        secret=True,
    )
    web: str | None = _option(
        None,
        "Network",
        "Show a web page, by default on port 8080 and for this machine only. With an address that "
        "others can reach, like 0.0.0.0:8080, it needs a token.",
        "[[HOST:]PORT]",
        bare="8080",
    )
    web_token: str | None = _option(
        None,
        "Network",
        "Token of the page; without it each run makes a new one. Other users can read a command "
        "line but not the environment variable.",
        "TOKEN",
        variable="POCKETLENS_WEB_TOKEN",
        secret=True,
    )
    mqtt: str | None = _option(
        None,
        "Network",
        "Publish the decision to an MQTT broker, where Home Assistant finds it: "
        "mqtt://user:password@host:1883/topic, or mqtts://.",
        "URL",
        variable="POCKETLENS_MQTT",
    )
    webhook: str | None = _option(
        None,
        "Network",
        "POST each event to this URL, as the JSON of its line in --jsonl.",
        "URL",
        variable="POCKETLENS_WEBHOOK",
        # Its address is a secret itself.
        secret=True,
    )
    display: bool = _option(
        False, "Output", "Show the frames in a window; q or Esc ends.", desktop=True
    )
    jsonl: str | None = _option(
        None,
        "Output",
        "Write one JSON object per frame and line; 'event' is true if the decision changed.",
        "FILE|-",
        writes="file",
    )
    overwrite: bool = False
    quiet: bool = False

    @property
    def silent(self) -> bool:
        """Whether standard output is for machines only."""
        return self.quiet or self.jsonl == STANDARD_OUTPUT


SINK_OPTIONS: dict[str, SinkOption] = {
    entry.name: entry.metadata["option"] for entry in fields(SinkRequest) if entry.metadata
}
"""The sinks' options, by the field of `SinkRequest`."""


def flag(name: str) -> str:
    """Return the option of a field, as it is written on a command line."""
    return f"--{name.replace('_', '-')}"


def targets(values: Mapping[str, Any], kind: Literal["file", "folder"]) -> dict[str, str]:
    """Return what sinks write of a kind, by field: those of `values` that name something."""
    named = {
        name: values.get(name) for name, option in SINK_OPTIONS.items() if option.writes == kind
    }
    return {name: target for name, target in named.items() if target is not None}


SINKS: dict[str, Callable[[SinkRequest], bool]] = {
    "sinks.keep": lambda request: request.keep is not None or request.keep_to is not None,
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
