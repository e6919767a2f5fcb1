"""Keys of a real pseudo-terminal, and the terminal as it was afterwards."""

import contextlib
import os
import signal
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no such terminals", allow_module_level=True)

import pty
import termios

from pocketlens.errors import UsageError
from pocketlens.runtime.live.keys import Keys


@pytest.fixture
def terminal():
    """A terminal's two ends: the number at which keys are typed, and its stream."""
    typed, number = pty.openpty()
    with os.fdopen(number, encoding="utf-8") as stream:
        yield typed, stream
    os.close(typed)


def modes(stream):
    return termios.tcgetattr(stream.fileno())


def test_keys_come_one_by_one_without_enter(terminal):
    typed, stream = terminal
    with Keys(stream) as keys:
        assert keys.read(0) == ""
        os.write(typed, b"12u")
        assert [keys.read(5) for _ in range(3)] == ["1", "2", "u"]
        assert keys.read(0) == ""
        # Nothing of it is shown.
        assert not modes(stream)[3] & termios.ECHO
        # Ctrl-C still interrupts.
        assert modes(stream)[3] & termios.ISIG


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, SystemExit, RuntimeError])
def test_the_terminal_is_given_back_however_it_ends(terminal, error):
    _, stream = terminal
    before = modes(stream)
    handler = signal.getsignal(signal.SIGTSTP)
    with contextlib.ExitStack() as stack:
        if error is not None:
            stack.enter_context(pytest.raises(error))
        stack.enter_context(Keys(stream))
        assert modes(stream) != before
        if error is not None:
            raise error
    assert modes(stream) == before
    assert signal.getsignal(signal.SIGTSTP) == handler


def test_a_terminal_that_is_gone_ends_the_keys():
    typed, number = pty.openpty()
    with os.fdopen(number, encoding="utf-8") as stream, Keys(stream) as keys:
        os.close(typed)
        with pytest.raises(EOFError):
            keys.read(5)


def test_what_is_no_terminal_is_one_sentence(tmp_path):
    path = tmp_path / "file"
    path.write_text("1")
    with path.open() as stream, pytest.raises(UsageError, match="Expected a terminal for --term"):
        Keys(stream).__enter__()
