"""Processes that others have started: knowing one again, and whether it still runs.

A number is given to another process some time after its own has ended, so a process is known by
its number and the time at which it began.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import NamedTuple

_PS_LIMIT_S = 5.0
# In /proc/PID/stat, counted behind the name, which is in brackets and may hold anything; proc(5).
_STATE, _BEGUN = 0, 19
_ENDED = "ZXx"


class Process(NamedTuple):
    """A process: its number, and when it began in the words of the system."""

    pid: int
    begun: str


def known(pid: int) -> Process | None:
    """Return by what a process is known again; None where there is none, or it has ended."""
    begun = _begun(pid)
    return None if begun is None else Process(pid, begun)


def runs(process: Process) -> bool:
    """Return whether a process still runs; one that got its number later is another one."""
    return known(process.pid) == process


def send_signal(process: Process, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; returns whether it was there."""
    if not hasattr(os, "pidfd_open") or not hasattr(signal, "pidfd_send_signal"):
        if not runs(process):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
            return True
        return False
    try:
        # From here on it is this process, whoever gets its number.
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if not runs(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


def _begun(pid: int) -> str | None:
    if sys.platform.startswith("linux"):
        return _begun_linux(pid)
    if sys.platform == "win32":
        return _begun_windows(pid)
    return _begun_by_ps(pid)


def _begun_linux(pid: int) -> str | None:
    """Return the boot, and the clock ticks since then at which a process began."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
    except OSError:
        return None
    if len(fields) <= _BEGUN or fields[_STATE] in _ENDED:
        return None
    return f"{boot} {fields[_BEGUN]}"


def _begun_by_ps(pid: int) -> str | None:
    import subprocess

    try:
        done = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
            capture_output=True,
            check=False,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            timeout=_PS_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    state, _, begun = done.stdout.decode("ascii", "replace").strip().partition(" ")
    return begun.strip() if begun and state[0] not in _ENDED else None


def _begun_windows(pid: int) -> str | None:
    if sys.platform != "win32":
        return None
    import ctypes
    from ctypes import wintypes

    # PROCESS_QUERY_LIMITED_INFORMATION; STILL_ACTIVE is the exit code of one that has not ended.
    limited_information, still_active = 0x1000, 259
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = wintypes.HANDLE
    handle = kernel.OpenProcess(limited_information, False, pid)
    if not handle:
        return None
    try:
        code = wintypes.DWORD()
        times = [wintypes.FILETIME() for _ in range(4)]
        found = kernel.GetExitCodeProcess(wintypes.HANDLE(handle), ctypes.byref(code))
        found = found and kernel.GetProcessTimes(wintypes.HANDLE(handle), *map(ctypes.byref, times))
        if not found or code.value != still_active:
            return None
        return str(times[0].dwHighDateTime << 32 | times[0].dwLowDateTime)
    finally:
        kernel.CloseHandle(wintypes.HANDLE(handle))
