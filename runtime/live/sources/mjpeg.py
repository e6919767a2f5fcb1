"""HTTP streams of JPEGs (multipart/x-mixed-replace), as IP cameras and webcam servers have them."""

from __future__ import annotations

import http.client
import re
import threading
import urllib.error
import urllib.request
from urllib.parse import unquote, urlsplit, urlunsplit

from pocketlens.errors import SourceError
from pocketlens.runtime.live.sources import SourceRequest, redact
from pocketlens.runtime.live.sources.jpeg import decode_jpeg
from pocketlens.runtime.live.staleness import allowance_s
from pocketlens.runtime.pictures import Pixels

# A 50 megapixel JPEG has about this many bytes.
MAX_PART_BYTES = 32_000_000

_MAX_HEADER_BYTES = 16_384
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(
    rb"^content-length:[ \t]*([0-9]{1,12})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_JPEG_END = b"\xff\xd9"
# Line ends, dashes and spaces around a boundary's name.
_MARK_EXTRA = 12
# A boundary has at most 70 characters, see RFC 2046.
_MOST_DASHES = 80

# Shorter than the capture's own limits, so that a silent server does not cost its process.
_TIMEOUT_S = 3.0
# How many frames later than expected a server may be.
_LATE_FRAMES = 3.0
_CHUNK_BYTES = 1 << 18
_JOIN_S = 1.0


class MjpegStream:
    """A stream of JPEGs over HTTP.

    A thread receives as fast as the server sends and keeps the newest frame only, so that slow
    decoding adds no delay. Users and passwords in the URL answer Basic and Digest authentication.

    Args:
        request: its address is an `http://` or `https://` URL; `fps` is the rate to expect, None
            waits three seconds for a frame.

    Raises:
        SourceError: nothing answers there, or not with such a stream.
    """

    live = True
    time_s: float | None = None
    file: str | None = None
    stamp: float | None = None

    def __init__(self, request: SourceRequest) -> None:
        self.fps = request.fps
        self.skipped = 0
        self._name = request.name
        timeout_s = allowance_s(_TIMEOUT_S, _LATE_FRAMES, request.fps)
        response = _connect(request.address, self._name, timeout_s)
        self._parts = Parts(response.headers.get_boundary(""))
        self._newest: bytes | None = None
        self._ended = False
        self._closed = False
        self._error: SourceError | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(
            target=self._receive, args=(response,), name="mjpeg", daemon=True
        )
        self._thread.start()

    def read(self) -> Pixels | None:
        """Wait for the next frame and return it, uint8 (height, width, 3) BGR.

        Raises:
            PictureError: a frame is damaged.
            SourceError: the connection failed, or no bytes came for too long.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended)
            data, self._newest = self._newest, None
        if data is not None:
            return decode_jpeg(data)
        if self._error is not None:
            raise self._error
        return None

    def close(self) -> None:
        """Leave the stream; a thread that waits for bytes ends when they come or time out."""
        with self._changed:
            self._closed = self._ended = True
            self._newest = None
            self._changed.notify_all()
        self._thread.join(_JOIN_S)

    def _receive(self, response: http.client.HTTPResponse) -> None:
        try:
            with response:
                while not self._closed and (data := response.read1(_CHUNK_BYTES)):
                    for part in self._parts.feed(data):
                        self._keep(part)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._error = SourceError(
                f"Expected another frame from {self._name}. Received: {_reason(error)}."
            )
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _keep(self, part: bytes) -> None:
        with self._changed:
            self.skipped += self._newest is not None
            self._newest = part
            self._changed.notify_all()


def _connect(address: str, name: str, timeout_s: float) -> http.client.HTTPResponse:
    try:
        parts = urlsplit(address)
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        passwords.add_password(None, bare, user, password)
        opener = urllib.request.build_opener(
            # A camera is near: a proxy for the world outside has no business here.
            urllib.request.ProxyHandler({}),
            *(
                handler(passwords)
                for handler in (
                    urllib.request.HTTPBasicAuthHandler,
                    urllib.request.HTTPDigestAuthHandler,
                )
                if user
            ),
        )
        response: http.client.HTTPResponse = opener.open(bare, timeout=timeout_s)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SourceError(
            f"Expected an MJPEG stream at {name}. Received: {_reason(error)}. "
            "Check the address, user and password, and that the camera is on."
        ) from error
    kind = response.headers.get_content_type()
    if not kind.startswith("multipart/") or not response.headers.get_boundary():
        response.close()
        came = f"{kind} without a boundary" if kind.startswith("multipart/") else kind
        raise SourceError(
            f"Expected an MJPEG stream (multipart/x-mixed-replace) at {name}. Received: {came}. "
            "Look up the address of the camera's MJPEG stream."
        )
    return response


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {redact(str(error.reason))}"
    if isinstance(cause, TimeoutError):
        return "nothing for too long"
    text = (cause.strerror if isinstance(cause, OSError) else None) or str(cause)
    return redact(text) or type(error).__name__


class Parts:
    """Takes bytes as they come and gives parts as soon as they are there.

    A part ends at its declared length or, where it has none, where its bytes end like a JPEG, so
    that no frame has to wait for the next one's first bytes. Where the bytes of a declared length
    are no JPEG, a boundary within cuts the part short: that is what a server does whose camera
    fails in the middle of a frame.

    Args:
        boundary: as the Content-Type has it, with or without dashes before it.

    Raises:
        SourceError: from `feed`, a part or its header is too long.
    """

    def __init__(self, boundary: str) -> None:
        # Servers disagree on whether the two dashes belong to the name.
        name = boundary.strip().strip('"').lstrip("-").encode("latin-1", "replace")
        self._name = b"--" + name
        self._mark = re.compile(re.escape(self._name) + rb"[ \t]*\r?\n")
        # A short name occurs in pictures, too; servers forget the line end between the two.
        self._between = re.compile(
            rb"(?:\r?\n|(?<=\xff\xd9))-*" + re.escape(self._name) + rb"(?:--)?[ \t]*\r?\n"
        )
        self._longest = len(name) + _MARK_EXTRA
        self._held = bytearray()
        self._in_body = False
        self._length: int | None = None
        self._searched = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the parts that they complete, which may be damaged or empty."""
        self._held += data
        parts = []
        while (self._in_body or self._enter_body()) and (part := self._take()) is not None:
            parts.append(part)
        return parts

    def _enter_body(self) -> bool:
        mark = self._mark.search(self._held)
        if mark is None:
            del self._held[: -self._longest]
            return False
        del self._held[: mark.start()]
        end = _HEADER_END.search(self._held)
        if end is None or end.end() > _MAX_HEADER_BYTES:
            if len(self._held) > _MAX_HEADER_BYTES:
                raise SourceError("the header of a frame does not end")
            return False
        length = _LENGTH.search(self._held, 0, end.end())
        self._length = int(length[1]) if length else None
        if self._length is not None and self._length > MAX_PART_BYTES:
            raise SourceError(f"a frame of {self._length} bytes")
        del self._held[: end.end()]
        self._in_body, self._searched = True, 0
        return True

    def _take(self) -> bytes | None:
        end = self._end()
        if end is None:
            if len(self._held) > MAX_PART_BYTES:
                raise SourceError(f"a frame of more than {MAX_PART_BYTES} bytes")
            return None
        part = bytes(self._held[:end])
        del self._held[:end]
        self._in_body = False
        return part

    def _end(self) -> int | None:
        """Return where the part ends, None where its end has not come."""
        size, length = len(self._held), self._length
        if length is not None and size >= length:
            if _ends_like_a_jpeg(self._held[max(0, length - 4) : length]):
                return length
            cut = self._find_boundary(0, length)
            return length if cut is None else cut
        start, self._searched = max(0, self._searched - self._longest), size
        found = self._find_boundary(start, size)
        if found is not None:
            # Of a declared length that is too long: a whole picture came, and then the next part.
            whole = _ends_like_a_jpeg(self._held[max(0, found - 4) : found])
            if length is None or whole:
                return self._find_boundary(0, size)
        if length is None and _ends_like_a_jpeg(self._held[-4:]):
            return size
        return None

    def _find_boundary(self, start: int, end: int) -> int | None:
        """Return where what stands before the next part begins, None where nothing does yet.

        A pattern alone would take twenty times as long for all the bytes of a picture.
        """
        at = start
        while (at := self._held.find(self._name, at, end)) >= 0:
            dashes = self._held[max(0, at - _MOST_DASHES) : at]
            first = at - len(dashes) + len(dashes.rstrip(b"-"))
            for begin in range(max(0, first - 2), first + 1):
                if self._between.match(self._held, begin, end):
                    return begin
            at += 1
        return None


def _ends_like_a_jpeg(data: bytes | bytearray) -> bool:
    return data.rstrip().endswith(_JPEG_END)
