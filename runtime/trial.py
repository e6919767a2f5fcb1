"""Making an interpreter for a model file, after a trial of the file.

An interpreter does not check all that it reads in a model, and a damaged or hostile one can take
the process down with it, or all memory. A card's SHA-256 rules damage out, but tells nothing of
who wrote the file. So each is loaded and run in a child process first, once, with bounds: what
passed is remembered in the cache folder, by its SHA-256, the interpreter and the processor. After
that a start asks for one file only; what a trial needs is imported only there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any

from pocketlens.cache import cache_path
from pocketlens.errors import ModelFileError, OutputError
from pocketlens.runtime.interpreters import Backend, find_backend, load_interpreter
from pocketlens.runtime.model_files import ModelFile, read_signature

if TYPE_CHECKING:
    from logging import Logger

# A model that a small board runs live answers in far less. The first counts the processor's time,
# which a busy machine does not lengthen.
LIMIT_CPU_S = 15
LIMIT_S = 60.0
# Then it is said what takes so long.
SLOW_S = 2.0
# What it may take beside Python and the interpreter: weights are held several times, unpacked.
_LEAST_BYTES = 512 << 20
_BYTES_PER_BYTE = 8

CPU_PATH = "/sys/devices/system/cpu/modalias"

_READY = "ready"

_passed: set[str] = set()


def load_model(model: ModelFile, *, threads: int = 1, backend: str | None = None) -> Any:
    """Make an interpreter for a model file, after a trial if there was none here before.

    Args:
        model: the file as it was read.
        threads: how many threads an `invoke()` uses.
        backend: name of an interpreter; None takes the first that works.

    Raises:
        ModelFileError: the interpreter does not take the model, crashes or hangs on it, or its
            scores are not finite.
    """
    found = find_backend(backend)
    try_once(model, found)
    return load_interpreter(model.flatbuffer, threads=threads, backend=found.name)


def try_once(model: ModelFile, backend: Backend) -> None:
    """Try a model in a process of its own, unless it has passed before.

    Raises:
        ModelFileError: the interpreter does not take the model, crashes or hangs on it, or its
            scores are not finite.
    """
    # Reading has compared a card's.
    digest = model.card.model_sha256 if model.card else hashlib.sha256(model.flatbuffer).hexdigest()
    name = f"{digest}-{backend.name}-{backend.version}-{_processor()}"
    if name in _passed:
        return
    mark = _mark(name)
    if mark is None or not os.path.isfile(mark):
        tried = _try(model, backend)
        if tried and mark is not None:
            from pathlib import Path

            from pocketlens.files import write_text

            # Without a place for it the next process tries again, no more.
            with contextlib.suppress(OutputError):
                write_text(Path(mark), "")
    _passed.add(name)


def main(backend: str, path: str) -> None:
    """Be the child: try the model on standard input and print what came of it as JSON."""
    flatbuffer = sys.stdin.buffer.read()
    # Imports the interpreter, which is not to count.
    find_backend(backend)
    _give_way(_LEAST_BYTES + _BYTES_PER_BYTE * len(flatbuffer))
    print(_READY, flush=True)
    try:
        _run(flatbuffer, path, backend)
        answer: dict[str, str | None] = {"error": None}
    except ModelFileError as error:
        answer = {"error": str(error)}
    # A damaged model can make anything of what asks it.
    except Exception as error:
        came = f"{path}, at which {backend} says {type(error).__name__}: {error}"
        answer = {"error": _unusable(" ".join(came.split()))}
    print(json.dumps(answer), flush=True)


def _mark(name: str) -> str | None:
    try:
        return os.path.join(cache_path(), "tried", name)
    except OutputError:  # Nobody's process, which has no home.
        return None


def _processor() -> str:
    """Return what tells processors with other instructions apart: XNNPACK has code for each."""
    try:
        with open(CPU_PATH, "rb") as file:
            known = file.read()
    except OSError:
        known = b""
    return hashlib.sha256(known).hexdigest()[:12]


def _try(model: ModelFile, backend: Backend) -> bool:
    """Try a model in a child; False if there can be none, ModelFileError if it failed."""
    import subprocess
    import threading

    from pocketlens.workers import describe_exit, run_child

    slow = threading.Timer(SLOW_S, _say_so, (model.path,))
    slow.start()
    try:
        child = run_child(
            __name__, backend.name, model.path, given=model.flatbuffer, limit_s=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        _refuse(model.path, backend, f"gave no answer in {LIMIT_S:g} s")
    except OSError as error:
        return _not_tried(model, str(error))
    finally:
        slow.cancel()
    lines = child.stdout.decode("utf-8", "replace").splitlines()
    if _READY not in lines:
        return _not_tried(model, describe_exit(child.returncode, child.stderr))
    if child.returncode:
        why = describe_exit(child.returncode)
        if why == "SIGXCPU":
            _refuse(model.path, backend, f"gave no answer in {LIMIT_CPU_S} s")
        _refuse(model.path, backend, f"crashed ({why})")
    refusal = json.loads(lines[-1])["error"]
    if refusal:
        raise ModelFileError(refusal)
    return True


def _say_so(path: str) -> None:
    _logger().info(
        "Trying %s in a separate process first, once: a damaged model can crash the program "
        "that loads it …",
        path,
    )


def _not_tried(model: ModelFile, reason: str) -> bool:
    # A card has ruled damage out.
    if model.card is None:
        _logger().warning(
            "%s has no card, and no process could be started to try it in first (%s). "
            "It is loaded anyway; if it is damaged, this program may crash.",
            model.path,
            reason,
        )
    return False


def _refuse(path: str, backend: Backend, what: str) -> None:
    raise ModelFileError(
        _unusable(f"{path}, on which {backend.name} {what}, tried in a separate process")
    )


def _unusable(came: str) -> str:
    return (
        f"Expected a model that the interpreter can run. Received: {came}. "
        "The file is damaged or needs another interpreter."
    )


def _run(flatbuffer: bytes, path: str, backend: str) -> None:
    """Do all that is done with a model."""
    from pocketlens.runtime.operators import list_operators
    from pocketlens.runtime.third_party import answer_range

    interpreter = load_interpreter(flatbuffer, backend=backend)
    signature = read_signature(interpreter, path)
    list_operators(interpreter)
    if not all(map(math.isfinite, answer_range(interpreter, signature))):
        raise ModelFileError(
            f"Expected finite scores to come out of {path}. Received: NaN or infinite ones. "
            "Convert it again."
        )


def _give_way(more_bytes: int) -> None:
    """Take no more than that, leave no core file, and be the first to go where memory runs out."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + LIMIT_CPU_S
        # The second, harder limit ends what does not listen to the first one's signal.
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + more_bytes,) * 2)
    # The highest there is, see proc_pid_oom_score_adj(5).
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _logger() -> Logger:
    import logging

    return logging.getLogger("pocketlens")
