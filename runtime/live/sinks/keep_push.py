"""Sending kept frames to a web server: `--keep-to`. The folder is what is still to be sent."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import logging
import math
import os
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import OutputError, PocketlensError, UsageError
from pocketlens.files import output_errors, write_bytes
from pocketlens.names import shown
from pocketlens.runtime.inbox import info_path
from pocketlens.runtime.live.measures import counted
from pocketlens.runtime.live.sinks.hooks import (
    Hook,
    parse_hook,
    reason_of,
    refusal,
    send,
    worth_another,
)
from pocketlens.runtime.live.sinks.outbox import Attempts

LOGGER = logging.getLogger("pocketlens")

# A picture of a large camera over a slow uplink.
_TIMEOUT_S = 60.0
# All that ends with a run has five seconds together.
_JOIN_S = 1.0
# Of these answers the next picture would get the same: a wrong token, a wrong address.
_OF_ALL = frozenset({401, 403, 404, 405, 501})
# A list with so many names of what is there no more is written anew.
_MOST_GONE = 1000
_SECRET = re.compile(r"[!-~]+")


def parse_receiver(url: str, token: str | None) -> Hook:
    """Read what `--keep-to` and `--keep-token` take.

    Raises:
        UsageError: it is no HTTP address, or the token has characters that a header has not.
    """
    hook = parse_hook(url, "--keep-to")
    if token is None:
        return hook
    if not _SECRET.fullmatch(token):
        raise UsageError(
            "Expected a token of letters, digits or signs without spaces for --keep-token. "
            f"Received: one of {len(token)} characters. Copy it again."
        )
    return replace(hook, headers={**hook.headers, "Authorization": f"Bearer {token}"})


class SentList:
    """The names of what a receiver has taken, in a hidden file beside the pictures.

    It is only added to. A line that a power cut left unfinished is no name, so that picture is sent
    again: receivers get the same name twice, not another one.

    Args:
        folder: of the pictures.
        hook: the receiver; another one has a list of its own.
    """

    def __init__(self, folder: Path, hook: Hook) -> None:
        place = f"{hook.secure} {hook.host} {hook.port} {hook.target}"
        digest = hashlib.sha256(place.encode()).hexdigest()
        self._path = folder / f".sent-{digest[:8]}"
        self._names: set[str] = set()
        self._whole = True

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def read(self, present: Sequence[str]) -> None:
        """Read it; of what is there no more nothing is remembered.

        Args:
            present: the names of the pictures in the folder.

        Raises:
            OutputError: it cannot be read.
        """
        with output_errors(self._path), contextlib.suppress(FileNotFoundError):
            lines = self._path.read_bytes().split(b"\n")
            self._whole = not lines[-1]
            named = {os.fsdecode(line) for line in lines[:-1]}
            self._names = named.intersection(present)
            if len(named) - len(self._names) > _MOST_GONE:
                kept = b"".join(os.fsencode(name) + b"\n" for name in sorted(self._names))
                # A full disk has the long list.
                with contextlib.suppress(OutputError):
                    write_bytes(self._path, kept)
                    self._whole = True

    def add(self, name: str) -> None:
        """Note that a picture was taken; raises OSError where it is known in this run only."""
        self._names.add(name)
        line = os.fsencode(name) + b"\n"
        with self._path.open("ab", buffering=0) as stream:
            written = stream.write(line if self._whole else b"\n" + line)
            self._whole = written == len(line) + (not self._whole)
            os.fsync(stream.fileno())


class Push:
    """Sends each picture of a folder once, the oldest first: NAME.json, then NAME.jpg, by PUT.

    Both go below the address that was given. Any answer of 200 to 299 to the picture says that the
    receiver has it. Where it does not answer, or asks for another attempt, pauses grow to five
    seconds. A picture that it refuses stays and is sent again by the next run. `sent` counts those
    of this run.

    Args:
        hook: where to send.
        sent: what it has already.
        unsent: tells what is in the folder and it has not, oldest first.
        clock: what pauses and limits go by.
    """

    def __init__(
        self,
        hook: Hook,
        sent: SentList,
        unsent: Callable[[], Sequence[Path]],
        clock: Clock = CLOCK,
    ) -> None:
        self._hook = hook
        self._list = sent
        self._unsent = unsent
        self._clock = clock
        self._attempts = Attempts(hook.name)
        self._passed: set[str] = set()
        self._troubled = False
        self._changed = threading.Condition()
        self._new = True
        self._until_s = math.inf
        self._ended = False
        self.sent = 0

    def open(self) -> None:
        """Begin to send what is there, in a thread of its own."""
        threading.Thread(target=self._run, name="keep-to", daemon=True).start()

    def wake(self) -> None:
        """Note that there is something new, without waiting."""
        with self._changed:
            self._new = True
            self._changed.notify_all()

    def close(self) -> None:
        """Send what is left, for a moment. A second call does nothing."""
        with self._changed:
            if self._until_s == math.inf:
                self._until_s = self._clock.now_s() + _JOIN_S
            self._changed.notify_all()
            self._clock.wait(self._changed, lambda: self._ended, _JOIN_S)
        left = len(self._unsent())
        if left:
            LOGGER.info(
                "%s has not taken %s yet. The next run sends what is in the folder then.",
                shown(self._hook.name),
                counted(left, "kept frames"),
            )

    def _run(self) -> None:
        try:
            while self._send_all():
                with self._changed:
                    self._clock.wait(self._changed, lambda: self._new or self._closing)
                    if not self._new:
                        return
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    @property
    def _closing(self) -> bool:
        return self._until_s < math.inf

    def _send_all(self) -> bool:
        """Send what is there; returns whether there is a use in going on."""
        while True:
            with self._changed:
                self._new = False
            left = [path for path in self._unsent() if path.name not in self._passed]
            if not left:
                return True
            for path in left:
                if self._clock.now_s() > self._until_s:
                    return False
                reason = self._send(path)
                if reason:
                    pause_s = self._attempts.failed(reason)
                    with self._changed:
                        if self._clock.wait(self._changed, lambda: self._closing, pause_s):
                            # Whoever stops the run does not wait for a server that is away.
                            return False
                    break

    def _send(self, path: Path) -> str:
        """Send a picture; returns why it has to be tried again, "" where it has not."""
        about = info_path(path)
        try:
            files = [(about, about.read_bytes(), "application/json")]
            files.append((path, path.read_bytes(), "image/jpeg"))
        except OSError:
            # It went in the meantime.
            self._passed.add(path.name)
            return ""
        for file, body, kind in files:
            target = self._target(file.name)
            try:
                status = send(
                    self._hook, "PUT", target, body, kind, timeout_s=_TIMEOUT_S, clock=self._clock
                )
            except (OSError, http.client.HTTPException) as error:
                return reason_of(error)
            reason = refusal(status)
            if reason is None:
                continue
            if worth_another(status) or status in _OF_ALL or 300 <= status < 400:
                return reason
            self._attempts.refused(reason)
            self._passed.add(path.name)
            return ""
        self.sent += 1
        self._attempts.worked()
        self._note(path.name)
        return ""

    def _target(self, name: str) -> str:
        path, mark, query = self._hook.target.partition("?")
        return f"{path.rstrip('/')}/{quote(name)}{mark}{query}"

    def _note(self, name: str) -> None:
        try:
            self._list.add(name)
        except (OSError, PocketlensError) as error:
            if not self._troubled:
                LOGGER.warning(
                    "What was sent cannot be noted, and would be sent again after a restart: %s.",
                    shown(getattr(error, "strerror", None) or error),
                )
            self._troubled = True
