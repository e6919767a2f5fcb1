"""Work done beside the caller: cores to use, threads that work ahead, Python child processes."""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from subprocess import CompletedProcess, Popen

T = TypeVar("T")
R = TypeVar("R")


def count_cores(root: str = "/") -> int:
    """Return how many cores this process may use, at least 1.

    That is what the scheduler allows it (`sched_getaffinity`), or less where a container or a
    service has a CPU limit: half a core too many is rounded up. See cgroups(7), `cpu.max` in
    https://docs.kernel.org/admin-guide/cgroup-v2.html and, of version 1, `cpu.cfs_quota_us` in
    https://docs.kernel.org/scheduler/sched-bwc.html.

    Args:
        root: folder that has `proc` and `sys`.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _cgroup_limits(root))]))


def map_ahead(work: Callable[[T], R], items: Iterable[T], threads: int, ahead: int) -> Iterator[R]:
    """Yield `work(item)` for each item, in order.

    Args:
        work: is called in `threads` threads; an error it raises comes out in its turn.
        items: may be endless; are taken in this thread.
        threads: how many items are worked on at once.
        ahead: how many items have been taken at most whose result was not yielded yet.
    """
    # Imported only here: it brings logging and queues, which children are started without.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        remaining = iter(items)
        pending = deque(pool.submit(work, item) for item in islice(remaining, ahead))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(work, item) for item in islice(remaining, 1))
            yield result


def start_child(module: str, *arguments: str, **options: Any) -> Popen[bytes]:
    """Start a Python process that calls a module's `main` with arguments, and nothing else.

    The child gets this process's `sys.path`, entry by entry, so that it imports the very packages
    that are imported here: from a checkout, a wheel, or a folder that a program has added. What
    lies in the current folder does not stand in for a library unless it does so here.

    Args:
        module: its whole name, such as "pocketlens.runtime.trial".
        arguments: what `main` is called with.
        options: keyword arguments of `subprocess.Popen`; pipes are binary. With
            `start_new_session=True` a Ctrl-C in the terminal does not reach the child.

    Raises:
        OSError: no process can be started, or this program has no Python to start it with.
    """
    return _start(f"from {module} import main; main(*sys.argv[1:])", arguments, options)


def start_command(*arguments: str, **options: Any) -> Popen[bytes]:
    """Start `pocketlens ARGUMENTS` as `start_child` starts a module.

    Raises:
        OSError: no process can be started, or this program has no Python to start it with.
    """
    return _start("from pocketlens.cli.main import main; main()", arguments, options)


def _start(program: str, arguments: Sequence[str], options: Mapping[str, Any]) -> Popen[bytes]:
    import subprocess

    if getattr(sys, "frozen", False) or not sys.executable:
        raise OSError("this program has no Python of its own to start")
    # In ASCII, since a folder's name need not be valid in this locale.
    path = ascii([entry for entry in sys.path if isinstance(entry, str)])
    # Before the path is set only what is built in is imported, whatever the current folder holds.
    program = f"import sys; sys.path[:] = {path}; {program}"
    return subprocess.Popen([sys.executable, "-c", program, *arguments], **options)


def run_child(
    module: str, *arguments: str, given: bytes = b"", limit_s: float | None = None
) -> CompletedProcess[bytes]:
    """Run a module's `main` in a child to its end and return what it printed.

    Args:
        module: its whole name.
        arguments: what `main` is called with.
        given: what it finds on its standard input.
        limit_s: after so many seconds it is killed.

    Raises:
        OSError: no process can be started.
        subprocess.TimeoutExpired: it was killed after `limit_s`.
    """
    import subprocess

    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with start_child(module, *arguments, **pipes) as child:
        try:
            printed, said = child.communicate(given, limit_s)
        except BaseException:  # Ctrl-C, too, leaves no child behind.
            child.kill()
            raise
    return subprocess.CompletedProcess(child.args, child.returncode, printed, said)


def describe_exit(code: int, said: bytes = b"") -> str:
    """Return why a child failed: a signal, the last line that it said, or its exit code.

    Args:
        code: a Popen's `returncode`.
        said: what came out of its standard error.
    """
    if code < 0:
        import signal

        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {code}"


def _cgroup_limits(root: str) -> Iterator[float]:
    """Yield the CPU limits in cores of this process's control groups and those around them."""
    for line in _read(root, "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        parts = [part for part in group.split("/") if part]
        # Inside a container, the group may have a name that only the host knows: then its limit
        # is that of the root.
        for count in range(len(parts), -1, -1):
            folder = "/".join(["sys/fs/cgroup", *filter(None, [controllers]), *parts[:count]])
            if controllers:
                limit = [_read(root, f"{folder}/cpu.cfs_{name}_us") for name in ("quota", "period")]
            else:
                limit = _read(root, f"{folder}/cpu.max").split()
            # "max" and -1 are no limit.
            if len(limit) == 2 and all(text.strip().isdecimal() for text in limit):
                quota, period = map(int, limit)
                if quota and period:
                    yield quota / period


def _read(root: str, name: str) -> str:
    try:
        with open(os.path.join(root, name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
