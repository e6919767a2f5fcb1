"""What FFmpeg and libjpeg say about a frame: they give one whatever is missing from it.

Both say so on standard error and nowhere else. A process that reads a source has a file there,
which is looked at after each frame: one `fstat`, 0.8 µs.
"""

from __future__ import annotations

import contextlib
import os
import re

# As FFmpeg writes its lines; OpenCV has it write errors only, unless one of these is set: then all
# goes to standard output.
_FFMPEG = re.compile(r"\[[\w,./:-]+ @ 0x[0-9a-f]+\] *(.*)")
_SETTINGS = ("OPENCV_FFMPEG_LOGLEVEL", "OPENCV_FFMPEG_DEBUG")
_JPEG = re.compile(r"(?:Corrupt JPEG data|Premature end of JPEG|Inconsistent progression).*")
# Cameras round the size of a JPEG up.
_PADDING = re.compile(r"Corrupt JPEG data: (?:\d|1[0-6]) extraneous bytes before marker 0xd9")
# Said of streams whose pictures are whole: notes for displays, units without a picture, and
# references that a stream gives up which it never had.
_HARMLESS = re.compile(r"SEI type|missing picture in access unit|mmco: unref short|co located POC")
_MOST_BYTES = 1 << 20


def complaint(text: str) -> str:
    """Return what the first line says that is about a damaged picture, "" where none is."""
    for line in text.splitlines():
        ffmpeg = _FFMPEG.search(line)
        if ffmpeg and not _HARMLESS.search(line):
            return ffmpeg[1].strip(" .") or "an error of FFmpeg"
        jpeg = _JPEG.search(line)
        if jpeg and not _PADDING.search(line):
            return jpeg[0].strip(" .")
    return ""


class Complaints:
    """Follows a file that libraries write to. Hears nothing before `listen`."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._seen = 0

    @property
    def listens(self) -> bool:
        """Whether it follows a file."""
        return self._descriptor is not None

    def listen(self, descriptor: int) -> None:
        """Follow a regular file from its present end; whoever writes appends.

        Must come before OpenCV opens anything.
        """
        for name in _SETTINGS:
            os.environ.pop(name, None)
        self._seen = os.fstat(descriptor).st_size
        self._descriptor = descriptor

    def news(self) -> str:
        """Return the first complaint since the last call, "" where there is none."""
        if self._descriptor is None:
            return ""
        size = os.fstat(self._descriptor).st_size
        if size == self._seen:
            return ""
        data = os.pread(self._descriptor, _MOST_BYTES, self._seen)
        self._seen = size
        if size > _MOST_BYTES:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
                self._seen = 0
        return complaint(data.decode("utf-8", "replace"))


COMPLAINTS = Complaints()
"""Of this process; `capture.child` has it listen."""
