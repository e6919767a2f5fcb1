"""Capturing: frames of a source with their numbers and times, and whether they still come."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from functools import partial

from pocketlens.clock import CLOCK
from pocketlens.runtime.live.frames import Capture
from pocketlens.runtime.live.sources import SourceRequest, check_wishes, open_source


def open_capture(request: SourceRequest, stop: threading.Event | None = None) -> Capture:
    """Open a source and begin to read it: a camera in a process of its own, a file in a thread.

    Where processes cannot share memory by descriptors (Windows), a camera is read in a thread too,
    and one that falls silent ends with an error.

    Args:
        request: what to open.
        stop: ends the wait for a camera when it is set; there are no frames then.

    Raises:
        UsageError: something is asked of a source that has no such thing.
        SourceError: it is not there, does not open, or has no readable frame.
        MissingDependencyError: it needs a package that is not installed.
    """
    check_wishes(request)
    if request.live and sys.platform != "win32":
        from pocketlens.runtime.live.capture.process import ProcessCapture

        request = replace(request, begun_s=CLOCK.now_s())
        return ProcessCapture(partial(open_source, request), name=request.name, stop=stop)
    from pocketlens.runtime.live.capture.thread import ThreadCapture

    return ThreadCapture(open_source(request))
