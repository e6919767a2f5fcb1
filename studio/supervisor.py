"""The process that looks after a job: starts its command, cancels it when asked, notes its end.

It has a session of its own, so that it outlives the studio and its terminal. Being the parent, it
alone can end the command without meaning another process that got its number.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from pocketlens import processes
from pocketlens.clock import CLOCK, Clock
from pocketlens.files import write_json
from pocketlens.studio.jobs import (
    CANCEL_NAME,
    END_NAME,
    KILL_NAME,
    PROCESS_NAME,
    STARTED_NAME,
    read_command,
    write_process,
)
from pocketlens.workers import start_command

_LOOK_S = 0.2


def main(folder: str, root: str, lock: str, kill_after_s: str) -> None:
    """Run the command of a job to its end.

    Args:
        folder: that of the job.
        root: where the command runs.
        lock: descriptor of the lock that it holds as long as it runs, negative for none.
        kill_after_s: how many seconds it may take to end after Ctrl-C.
    """
    job, number = Path(folder), int(lock)
    # The studio notes that too, unless it was killed meanwhile.
    me = processes.known(os.getpid())
    if me:
        write_process(job / STARTED_NAME, me)
    # A studio in the background of a shell ignores Ctrl-C, and children would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        child = start_command(
            *read_command(job),
            cwd=root,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[] if number < 0 else [number],
        )
    except OSError as error:
        print(f"Error: The command cannot be started: {error}", file=sys.stderr)
        _note_end(job, 1, CLOCK, number, killed=False)
        return
    process = processes.known(child.pid)
    if process:
        write_process(job / PROCESS_NAME, process)
    killed = look_after(child, job, float(kill_after_s), CLOCK)
    _note_end(job, child.returncode, CLOCK, number, killed=killed)


def look_after(
    child: subprocess.Popen[bytes], job: Path, kill_after_s: float, clock: Clock
) -> bool:
    """Wait for a command's end, which comes sooner when it is asked for.

    Args:
        child: the command's process, in a session of its own.
        job: the folder where files say that it is to end.
        kill_after_s: how long it may take to end after Ctrl-C, in seconds.
        clock: what that is measured by.

    Returns:
        whether it had to be killed.
    """
    asked_s: float | None = None
    while child.poll() is None:
        if asked_s is None and (job / CANCEL_NAME).exists():
            asked_s = clock.now_s()
            _interrupt(child)
        late = asked_s is not None and clock.now_s() - asked_s >= kill_after_s
        if late or (job / KILL_NAME).exists():
            _kill(child)
            child.wait()
            return True
        clock.sleep(_LOOK_S)
    return False


def _interrupt(child: subprocess.Popen[bytes]) -> None:
    """Do what Ctrl-C does."""
    if sys.platform == "win32":
        # There a process without a console hears of none.
        child.terminate()
        return
    child.send_signal(signal.SIGINT)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill a process and those that it has started."""
    if sys.platform == "win32":
        child.kill()
        return
    try:
        # Its number is its session's and group's, and nobody else's before it is waited for.
        os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        child.kill()


def _note_end(job: Path, code: int, clock: Clock, lock: int, *, killed: bool) -> None:
    if lock >= 0:
        # Who reads that it has ended can start the next one at once.
        os.close(lock)
    write_json(job / END_NAME, {"code": code, "ended_s": clock.wall_s(), "killed": killed})
