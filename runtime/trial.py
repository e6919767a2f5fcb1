"""Making an interpreter for a model file, after a trial where the file has no card.

An interpreter does not check all that it reads in a model, and a damaged one can take the process
down with it. A card's SHA-256 rules damage out; a third-party file has none. So it is loaded and
run in a child process first, once: what passed is remembered by its SHA-256 in the cache folder.
Files with a card do without, so what only a trial needs is imported only there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import sys
import time
from typing import TYPE_CHECKING, Any

from pocketlens.errors import ModelFileError, OutputError
from pocketlens.runtime.interpreters import Backend, find_backend, load_interpreter
from pocketlens.runtime.model_files import ModelFile, read_signature

if TYPE_CHECKING:
    from logging import Logger
    from pathlib import Path

# A model that a small board runs live answers in far less.
LIMIT_S = 60.0

_READY = "ready"

_passed: set[str] = set()


def load_model(model: ModelFile, *, threads: int = 1, backend: str | None = None) -> Any:
    """Make an interpreter for a model file, after a trial where it has no card.

    Args:
        model: the file as it was read.
        threads: how many threads an `invoke()` uses.
        backend: name of an interpreter; None takes the first that works.

    Raises:
        ModelFileError: the interpreter does not take the model, crashes or hangs on it, or its
            scores are not finite.
    """
    found = find_backend(backend)
    if model.card is None:
        try_once(model, found)
    return load_interpreter(model.flatbuffer, threads=threads, backend=found.name)


def try_once(model: ModelFile, backend: Backend) -> None:
    """Try a model in a process of its own, unless it has passed before.

    Raises:
        ModelFileError: the interpreter does not take the model, crashes or hangs on it, or its
            scores are not finite.
    """
    digest = hashlib.sha256(model.flatbuffer).hexdigest()
    name = f"{digest}-{backend.name}-{backend.version}"
    if name in _passed:
        return
    mark = _mark(name)
    if mark is None or not mark.is_file():
        started = time.perf_counter()
        tried = _try(model, backend)
        if tried:
            _logger().info(
                "%s has no card, so it was tried in a process of its own first (%.2f s). "
                "This is done once per file.",
                model.path,
                time.perf_counter() - started,
            )
        if tried and mark is not None:
            # Without a place for it the next process tries again, no more.
            with contextlib.suppress(OutputError):
                from pocketlens.files import write_text

                write_text(mark, "")
    _passed.add(name)


def main(backend: str, path: str) -> None:
    """Be the child: try the model on standard input and print what came of it as JSON."""
    _give_way()
    print(_READY, flush=True)
    flatbuffer = sys.stdin.buffer.read()
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


def _mark(name: str) -> Path | None:
    from pocketlens.files import cache_folder

    try:
        return cache_folder() / "tried" / name
    except RuntimeError:  # Nobody's process: `Path.home` finds no home.
        return None


def _try(model: ModelFile, backend: Backend) -> bool:
    """Try a model in a child; False if there can be none, ModelFileError if it failed."""
    import subprocess

    from pocketlens.workers import describe_exit, run_child

    try:
        child = run_child(
            __name__, backend.name, model.path, given=model.flatbuffer, limit_s=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        _refuse(model.path, backend, f"gave no answer in {LIMIT_S:g} s")
    except OSError as error:
        return _not_tried(model.path, str(error))
    lines = child.stdout.decode("utf-8", "replace").splitlines()
    if _READY not in lines:
        return _not_tried(model.path, describe_exit(child.returncode, child.stderr))
    if child.returncode:
        _refuse(model.path, backend, f"crashed ({describe_exit(child.returncode)})")
    refusal = json.loads(lines[-1])["error"]
    if refusal:
        raise ModelFileError(refusal)
    return True


def _not_tried(path: str, reason: str) -> bool:
    _logger().warning(
        "%s has no card, and no process could be started to try it in first (%s). "
        "It is loaded anyway; if it is damaged, this program may crash.",
        path,
        reason,
    )
    return False


def _refuse(path: str, backend: Backend, what: str) -> None:
    raise ModelFileError(
        _unusable(f"{path}, on which {backend.name} {what}, tried in a process of its own")
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


def _give_way() -> None:
    """Leave no core file behind, and be the first to go where memory runs out."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The highest there is, see proc_pid_oom_score_adj(5).
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _logger() -> Logger:
    import logging

    return logging.getLogger("pocketlens")
