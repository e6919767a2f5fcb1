"""Commands that a page starts and that outlive it: one at a time, all that is known on the disk.

A job is a folder in `.studio/jobs/` of the project:

    job.json      the words of the command, and when it was asked for
    started.json  the process that looks after it (`studio.supervisor`)
    process.json  the process of the command
    log.txt       what the command prints
    cancel, kill  are there from when somebody asked for it
    end.json      the exit code and the time; there when it has ended

Whoever starts a job holds a lock, which the job's processes inherit: it goes with the last of them,
however they end, and keeps every other studio of this project away until then. A studio that ends,
even by SIGKILL, leaves the job alone, and the next one finds it here.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pocketlens import processes
from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import BusyError, UsageError
from pocketlens.files import output_errors, write_bytes, write_json
from pocketlens.names import shown
from pocketlens.processes import Process
from pocketlens.workers import describe_exit, start_child

if sys.platform != "win32":
    import fcntl

STATE_FOLDER = ".studio"
"""What the studio keeps in a project: jobs, comparisons. Nothing in it is needed by commands."""

JOB_NAME, STARTED_NAME, PROCESS_NAME, END_NAME = (
    "job.json",
    "started.json",
    "process.json",
    "end.json",
)
CANCEL_NAME, KILL_NAME, LOG_NAME = "cancel", "kill", "log.txt"

RUNNING, CANCELLING, DONE, CANCELLED, FAILED, LOST = STATES = (
    "running",
    "cancelling",
    "done",
    "cancelled",
    "failed",
    "lost",
)
"""Of a job. It has failed with any other exit code than 0, and also if it was killed from outside.
One is lost whose end nobody saw, since the process that looks after it was killed, too."""

KILL_AFTER_S = 30.0
"""How long a command may take to end after Ctrl-C, in seconds."""

_SUPERVISOR = "pocketlens.studio.supervisor"
_INTERRUPTED = 130
# From its folder to its first process a job takes milliseconds, unless its studio was killed.
_STARTING_S = 10.0
_LOG_BYTES = 256 * 1024
_NO_JOB = "There is no such job. Load the page again."


@dataclass(frozen=True)
class Job:
    """A job as it is now.

    Attributes:
        folder: where all of it is.
        command: the words behind `pocketlens`.
        asked_s: when it was asked for, in seconds since 1970.
        state: one of `STATES`.
        code: the exit code, that of `subprocess`: negative for a signal; None as long as it runs,
            or where nobody saw its end.
        ended_s: when it ended, in seconds since 1970; None like `code`.
        killed: whether it had to be killed after it was cancelled.
    """

    folder: Path
    command: tuple[str, ...]
    asked_s: float
    state: str
    code: int | None = None
    ended_s: float | None = None
    killed: bool = False

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.state in (RUNNING, CANCELLING)

    @property
    def log(self) -> Path:
        """The file with what the command prints."""
        return self.folder / LOG_NAME

    @property
    def sentence(self) -> str:
        """What has become of it, in words."""
        command = shown(self.command[0])
        if self.state == RUNNING:
            return f"{command} runs."
        if self.state == CANCELLING:
            return f"{command} was asked to end, as by Ctrl-C."
        if self.state == DONE:
            return f"{command} is done."
        if self.state == CANCELLED:
            return f"{command} was cancelled{' and had to be killed' if self.killed else ''}."
        if self.code is None:
            return f"{command} has ended, and nobody saw how. Its last lines may tell."
        if self.code == -getattr(signal, "SIGKILL", 9):
            return f"{command} was killed from outside. Most often the memory was full."
        return f"{command} failed ({describe_exit(self.code)})."


@dataclass(frozen=True)
class LogPart:
    """A part of a log: text whose control characters are escaped, and the byte behind it.

    `skipped` says that what came before was left out, since it is too much.
    """

    text: str
    next_byte: int
    skipped: bool = False


class Jobs:
    """The jobs of a project.

    Args:
        root: the project's folder, where commands run.
        clock: tells when jobs were asked for.
        kill_after_s: how long a command may take to end after Ctrl-C, in seconds.
    """

    def __init__(
        self, root: Path, *, clock: Clock = CLOCK, kill_after_s: float = KILL_AFTER_S
    ) -> None:
        self.root = root.absolute()
        self.folder = self.root / STATE_FOLDER / "jobs"
        self._clock = clock
        self._kill_after_s = kill_after_s
        # Kept so that they are reaped; nothing else needs them.
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, command: Sequence[str]) -> Job:
        """Start a command in the project's folder.

        Raises:
            BusyError: another one runs, of this studio or of another one.
            OutputError: its files cannot be written.
        """
        self._make_folder()
        with self._lock() as lock:
            busy = self.running()
            if busy:
                raise _busy(busy)
            asked_s = self._clock.wall_s()
            stamp = datetime.fromtimestamp(asked_s, timezone.utc).strftime("%Y%m%dT%H%M%S.%f")[:-3]
            folder = self.folder / f"{stamp}Z-{secrets.token_hex(4)}"
            with output_errors(folder):
                folder.mkdir()
            write_json(folder / JOB_NAME, {"command": list(command), "asked_s": asked_s})
            with output_errors(folder), (folder / LOG_NAME).open("ab") as log:
                child = start_child(
                    _SUPERVISOR,
                    str(folder),
                    str(self.root),
                    str(lock),
                    str(self._kill_after_s),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.root,
                    # A Ctrl-C for the studio is none for it, nor is the end of the terminal.
                    start_new_session=True,
                    pass_fds=[] if lock < 0 else [lock],
                    env=_environment(),
                )
            self._children.append(child)
            supervisor = processes.known(child.pid)
            if supervisor:
                write_process(folder / STARTED_NAME, supervisor)
            return self.get(folder.name)

    def running(self) -> Job | None:
        """Return the job that runs, None if none does."""
        return next((job for job in self.all() if job.is_running), None)

    def all(self) -> list[Job]:
        """Return all jobs, the newest first."""
        try:
            names = sorted((entry.name for entry in self.folder.iterdir()), reverse=True)
        except OSError:
            return []
        found = []
        for name in names:
            with contextlib.suppress(UsageError):
                found.append(self.get(name))
        return found

    def get(self, name: str) -> Job:
        """Return a job by the name of its folder, as it is now.

        Raises:
            UsageError: there is none.
        """
        self._children = [child for child in self._children if child.poll() is None]
        folder = self.folder / name
        asked = _read(folder / JOB_NAME)
        command = asked.get("command")
        if not isinstance(command, list) or not command:
            raise UsageError(_NO_JOB)
        job = Job(folder, tuple(map(str, command)), _number(asked.get("asked_s")) or 0.0, RUNNING)
        cancelled = (folder / CANCEL_NAME).exists()
        end = _read(folder / END_NAME)
        if not end and self._runs(job):
            return replace(job, state=CANCELLING if cancelled else RUNNING)
        # It may have ended, and its end been written, between two looks.
        end = end or _read(folder / END_NAME)
        code = end.get("code")
        if not isinstance(code, int):
            return replace(job, state=CANCELLED if cancelled else LOST)
        state = DONE if code == 0 else CANCELLED if cancelled or code == _INTERRUPTED else FAILED
        ended_s, killed = _number(end.get("ended_s")), end.get("killed") is True
        return replace(job, state=state, code=code, ended_s=ended_s, killed=killed)

    def cancel(self, job: Job, *, at_once: bool = False) -> Job:
        """Ask a job to end, as Ctrl-C does; it is killed if that takes too long, or `at_once`.

        Nothing happens to one that has ended. Returns the job as it is then.
        """
        if not self.get(job.name).is_running:
            return self.get(job.name)
        with output_errors(job.folder):
            for name in (CANCEL_NAME, *([KILL_NAME] if at_once else [])):
                (job.folder / name).touch()
        if not _is_alive(job.folder / STARTED_NAME):
            # Nobody looks after it, so the signal comes from here.
            process = read_process(job.folder / PROCESS_NAME)
            if process:
                kill = getattr(signal, "SIGKILL", signal.SIGTERM)
                processes.send_signal(process, kill if at_once else signal.SIGINT)
        return self.get(job.name)

    def read_log(self, job: Job, from_byte: int = 0) -> LogPart:
        """Return what a job has printed from a byte on, in whole lines as long as it runs."""
        try:
            with job.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                begin = from_byte if 0 <= from_byte <= size else 0
                skipped = size - begin > _LOG_BYTES
                begin = size - _LOG_BYTES if skipped else begin
                file.seek(begin)
                data = file.read(_LOG_BYTES)
        except OSError:
            return LogPart("", 0)
        if skipped:
            cut = data.find(b"\n") + 1
            begin, data = begin + cut, data[cut:]
        if job.is_running:
            data = data[: data.rfind(b"\n") + 1]
        return LogPart(_log_text(data), begin + len(data), skipped)

    def _make_folder(self) -> None:
        with output_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        ignored = self.folder.parent / ".gitignore"
        if not ignored.exists():
            write_bytes(ignored, b"*\n")

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int]:
        """Hold the lock of all jobs, whose descriptor a child may inherit; -1 where none are."""
        if sys.platform == "win32":
            yield -1
            return
        with output_errors(self.folder):
            number = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _busy(self.running()) from None
            except OSError:
                # Some network file systems cannot lock; there it goes by the processes alone.
                pass
            yield number
        finally:
            # The lock itself belongs to all that have inherited it.
            os.close(number)

    def _runs(self, job: Job) -> bool:
        if any(_is_alive(job.folder / name) for name in (STARTED_NAME, PROCESS_NAME)):
            return True
        if (job.folder / STARTED_NAME).exists():
            return False
        return abs(self._clock.wall_s() - job.asked_s) < _STARTING_S


def write_process(path: Path, process: Process) -> None:
    """Write down by what a process is known again."""
    write_json(path, process._asdict())


def read_process(path: Path) -> Process | None:
    """Return the process that is written down, None where there is none."""
    values = _read(path)
    pid, begun = values.get("pid"), values.get("begun")
    return Process(pid, begun) if isinstance(pid, int) and isinstance(begun, str) else None


def read_command(folder: Path) -> list[str]:
    """Return the words of the command of the job in a folder."""
    return [str(word) for word in _read(folder / JOB_NAME)["command"]]


def _is_alive(path: Path) -> bool:
    process = read_process(path)
    return process is not None and processes.runs(process)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    # RecursionError: a list in a list in a list …
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _busy(job: Job | None) -> BusyError:
    if job is None:
        return BusyError("Another job of this project begins or ends. Try again in a moment.")
    return BusyError(
        f"pocketlens {shown(job.command[0])} already runs in this project. Wait for it, or cancel "
        "it."
    )


def _environment() -> dict[str, str]:
    # Lines are to come as they are printed, in UTF-8, and tables in a width that a page has.
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "COLUMNS": "100"}


def _log_text(data: bytes) -> str:
    lines = data.decode("utf-8", "replace").split("\n")
    # What a carriage return has written over is gone in a terminal, too.
    return "\n".join(shown(line.rstrip("\r").rpartition("\r")[2].expandtabs()) for line in lines)
