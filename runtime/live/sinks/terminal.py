"""A line for each event, where standard output is not a terminal but people may read it."""

from __future__ import annotations

import click

from pocketlens.names import OR, shown
from pocketlens.runtime.classifier import Category
from pocketlens.runtime.live.frames import FrameResult, Sink
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.pictures import Pixels


def make_sink(request: SinkRequest) -> Sink:
    """Return the lines."""
    return EventLines()


class EventLines(Sink):
    """Prints a line for each event: time, labels, each with its score, those of its set too."""

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Print the result if it is an event."""
        decision = result.decision
        if decision.changed:
            text = ", ".join(map(_scored, decision.categories)) or decision.absent
            text = OR.join((text, *map(_scored, result.alternatives)))
            click.echo(f"{result.time_s:.2f} s  {shown(text)}")


def _scored(entry: Category) -> str:
    return f"{entry.label}  {entry.score:.2f}"
