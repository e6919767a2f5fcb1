"""One run of `pocketlens live`: a classifier, a source, and the sinks that take the results."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

import click
import cv2
import numpy as np

from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.live.capture.opening import open_capture
from pocketlens.runtime.live.decisions import Decider, DecisionSettings
from pocketlens.runtime.live.frames import RunInfo, Sink
from pocketlens.runtime.live.loop import classify_source
from pocketlens.runtime.live.shifts import make_watch
from pocketlens.runtime.live.sources import SourceRequest


def run_live(
    classifier: Classifier,
    request: SourceRequest,
    settings: DecisionSettings,
    sinks: Sequence[Sink],
    stop: threading.Event,
    *,
    max_frames: int | None = None,
    watch_shift_s: float | None = None,
) -> dict[str, Any]:
    """Run until the end, print a summary to standard error and return it as plain JSON values.

    Args:
        classifier: open.
        request: the source and what is asked of it.
        settings: how decisions are made of answers.
        sinks: what takes the results, not opened.
        stop: ends the run when it is set.
        max_frames: ends the run after this number of frames.
        watch_shift_s: seconds between frames that are compared with the photos the model was made
            with; 0 for none, None for as many as are usual where its card tells of these.

    Raises:
        SourceError: the source does not open or failed for good.
        OutputError: an output cannot be written.
        UsageError: `watch_shift_s` cannot be, or the model's card does not tell of its photos.
    """
    shifts = make_watch(classifier.card, watch_shift_s, classifier.model.path)
    # Measured on two cores: OpenCV's threads halve a frame no faster than one does, since memory is
    # what they wait for, and they wait busily: that takes the cores from decoding and encoding.
    cv2.setNumThreads(1)
    decider = Decider(classifier.labels, classifier.task, classifier.threshold, settings)
    # The first inference allocates what later ones reuse; no frame should wait for it.
    classifier.scores(np.zeros((*classifier.size_wh[::-1], 3), np.uint8))
    run = RunInfo(
        model=os.path.basename(classifier.model.path),
        model_hash=partial(_digest, classifier.model.path),
        task=classifier.task,
        labels=tuple(classifier.labels),
        threshold=classifier.threshold,
        source=request.name,
        device=socket.gethostname(),
    )
    with closing(open_capture(request, stop)) as capture:
        summary = classify_source(
            classifier,
            capture,
            sinks=sinks,
            decisions=decider,
            shifts=shifts,
            run=run,
            max_frames=max_frames,
            stop=stop,
        )
    written = {name: count for sink in sinks for name, count in sink.counts().items()}
    click.echo(summary.line(written), err=True)
    return {**summary.to_dict(), **written}


def _digest(path: str) -> str:
    """Return the SHA-256 of a file as hex, "" where it can no longer be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""
