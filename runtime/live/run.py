"""One run of `pocketlens live`: a classifier, a source, and all that shall see the results."""

from __future__ import annotations

import contextlib
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from pocketlens.files import STANDARD_OUTPUT
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.live.capture.opening import open_capture
from pocketlens.runtime.live.decisions import Decider, DecisionSettings
from pocketlens.runtime.live.loop import classify_source
from pocketlens.runtime.live.sinks import Remote, open_remote
from pocketlens.runtime.live.sinks.event_recording import EventRecording
from pocketlens.runtime.live.sinks.lines import open_outputs, summary_line
from pocketlens.runtime.live.sinks.recording import Recording, labelled_recorder
from pocketlens.runtime.live.sinks.systemd import find_service
from pocketlens.runtime.live.sources import SourceRequest


@dataclass(frozen=True)
class LocalOutputs:
    """What a run writes and shows on this machine: the options of `pocketlens live`, by name."""

    json_target: str | None
    jsonl_target: str | None
    record: str | None
    record_events: str | None
    keep_events: int
    display: bool
    max_frames: int | None
    overwrite: bool


def run_live(
    classifier: Classifier,
    request: SourceRequest,
    settings: DecisionSettings,
    sent: Remote,
    outputs: LocalOutputs,
    stop: threading.Event,
) -> dict[str, Any]:
    """Run until the end, say what it came to, and return that as plain JSON values.

    Args:
        classifier: open.
        request: the source and what is asked of it.
        settings: how decisions are made of answers.
        sent: what goes to other machines.
        outputs: what stays on this one.
        stop: ends the run when it is set.

    Raises:
        SourceError: the source does not open or failed for good.
        OutputError: an output cannot be written.
    """
    # Measured on two cores: OpenCV's threads halve a frame no faster than one does, since memory is
    # what they wait for, and they wait busily: that takes the cores from decoding and encoding.
    cv2.setNumThreads(1)
    decider = Decider(classifier.labels, classifier.task, classifier.threshold, settings)
    # The first inference prepares what the others find ready; no frame shall wait for it.
    classifier.scores(np.zeros((*classifier.size_wh[::-1], 3), np.uint8))
    silent = STANDARD_OUTPUT in (outputs.json_target, outputs.jsonl_target)
    recording = events = None
    with contextlib.ExitStack() as stack:
        capture = stack.enter_context(closing(open_capture(request, stop)))
        if outputs.record is not None:
            recording = stack.enter_context(
                Recording(Path(outputs.record), capture.fps, overwrite=outputs.overwrite)
            )
        if outputs.record_events is not None:
            events = stack.enter_context(
                EventRecording(
                    Path(outputs.record_events),
                    capture.fps,
                    live=capture.live,
                    keep=outputs.keep_events,
                )
            )
        receivers = stack.enter_context(
            open_remote(
                sent,
                classifier,
                source=request.name,
                counts=lambda: capture.counts,
                announce=lambda line: click.echo(line, err=True),
            )
        )
        shown = stack.enter_context(
            open_outputs(
                jsonl_target=outputs.jsonl_target,
                display=outputs.display,
                silent=silent,
                counts=lambda: capture.counts,
                stop=stop,
            )
        )
        for receiver in receivers:
            shown.add(receiver)
        if (service := find_service()) is not None:
            # Entered last, so that systemd hears of the end at once.
            shown.add(stack.enter_context(service))
        summary = classify_source(
            classifier,
            capture,
            decisions=decider,
            observers=shown.observers,
            watchers=shown.watchers,
            recorder=labelled_recorder(recording, live=capture.live, events=events)
            if recording or events
            else None,
            record_watcher=events.watch if events else None,
            max_frames=outputs.max_frames,
            stop=stop,
        )
    written = {}
    if events:
        written = {"event_videos": events.written, "event_videos_lost": events.lost}
    if shown.log:
        written["lines_lost"] = shown.log.lost
    click.echo(summary_line(summary, written), err=True)
    return {**summary.to_dict(), **written}
