"""Keeping libraries quiet that print from C++ whatever Python's logging says."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import IO

_STANDARD_ERROR = 2


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back what the block writes to standard error, from any language.

    What was suppressed goes to the log at debug level (`-v`), also when the block fails: whoever
    catches that says what is wrong in one sentence. Must be entered before TensorFlow is imported
    for its own level to count. Not for blocks that draw progress bars.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with _memory_file() as held, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = os.dup(_STANDARD_ERROR)
        os.dup2(held.fileno(), _STANDARD_ERROR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, _STANDARD_ERROR)
            os.close(saved)
            held.seek(0)
            text = held.read().decode("utf-8", "replace").strip()
            # Where nobody has imported it, nobody listens at these levels.
            if text and "logging" in sys.modules:
                import logging

                logging.getLogger("pocketlens").debug("%s", text)


def _memory_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("suppressed"), "w+b")
    # Imported only here: it brings much, and Linux does without.
    import tempfile

    return tempfile.TemporaryFile()
