"""The place of a run that is made: SIGKILL at any moment, one process at a time."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pocketlens.errors import OutputExistsError
from pocketlens.train.unfinished import (
    UnfinishedRun,
    refuse_run,
    saying_how_to_resume,
    unfinished_run,
)

# Makes a run in twenty steps of some milliseconds, going on from where the last process was.
CHILD = """
import sys
from pathlib import Path
from pocketlens.files import write_text
from pocketlens.train.unfinished import unfinished_run
with unfinished_run(Path(sys.argv[1]), overwrite=True, resume=True) as unfinished:
    kept = unfinished.checkpoint
    first = len(kept.read_text()) // 100_000 if kept.is_file() else 0
    print("at it", flush=True)
    for step in range(first, 20):
        write_text(unfinished.run / "history.csv", "h" * 100_000 * (step + 1))
        write_text(unfinished.scratch / "features", "f" * 1_000_000)
        write_text(kept, "c" * 100_000 * (step + 1))
    write_text(unfinished.run / "model.keras", "m" * 1_000_000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    out = tmp_path / "run"
    checkpoint = UnfinishedRun.of(out).checkpoint
    chooser = random.Random(0)
    steps, kills = 0, 0
    while not out.exists():
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        try:
            _, errors = process.communicate(
                timeout=chooser.uniform(0, 0.05) if kills < 12 else None
            )
            assert process.returncode == 0, errors.decode()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            # It may have come to its end in the moment before.
            assert process.returncode in (-signal.SIGKILL, 0)
            kills += process.returncode != 0
        if checkpoint.is_file():
            before, steps = steps, len(checkpoint.read_text()) // 100_000
            assert checkpoint.read_text() == "c" * 100_000 * steps
            assert steps >= before
    assert kills > 0
    assert {path.name for path in out.iterdir()} <= {"history.csv", "model.keras"}
    assert (out / "model.keras").read_text() == "m" * 1_000_000
    # What was killed after the very last step may have left the emptied place beside the run.
    refuse_run(out, overwrite=True, resume=True)


def test_only_one_training_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with unfinished_run(out, overwrite=False, resume=False) as unfinished:
        unfinished.checkpoint.write_bytes(b"mine")
        with pytest.raises(OutputExistsError, match="Another process is already training"):
            refuse_run(out, overwrite=True, resume=False)
        with (
            pytest.raises(OutputExistsError, match="Another process is already training"),
            unfinished_run(out, overwrite=True, resume=False),
        ):
            pass
        assert unfinished.checkpoint.read_bytes() == b"mine"
        (unfinished.run / "model.keras").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_nothing_stays_of_a_training_without_an_epoch(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="no epoch"),
        unfinished_run(tmp_path / "run", overwrite=False, resume=True),
    ):
        raise ValueError("no epoch")
    assert not list(tmp_path.iterdir())


def test_earlier_run_comes_back_after_a_cut_while_it_was_replaced(tmp_path: Path) -> None:
    out = tmp_path / "run"
    unfinished = UnfinishedRun.of(out)
    earlier = unfinished.folder / "run.old"
    earlier.mkdir(parents=True)
    (unfinished.folder / "lock").touch()
    (earlier / "model.keras").write_text("earlier")
    with (
        pytest.raises(OutputExistsError, match="--overwrite"),
        unfinished_run(out, overwrite=False, resume=True),
    ):
        pass
    assert (out / "model.keras").read_text() == "earlier"
    with unfinished_run(out, overwrite=True, resume=True) as unfinished:
        (unfinished.run / "model.keras").write_text("new")
    assert (out / "model.keras").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_folder_of_that_name_with_something_else_is_left_alone(tmp_path: Path) -> None:
    other = UnfinishedRun.of(tmp_path / "run").folder
    other.mkdir()
    (other / "precious").write_text("")
    with (
        pytest.raises(OutputExistsError, match="something else"),
        unfinished_run(tmp_path / "run", overwrite=True, resume=False),
    ):
        pass
    assert [path.name for path in other.iterdir()] == ["precious"]


@pytest.mark.parametrize("finished", [False, True], ids=["first epoch", "later"])
def test_interruption_says_whether_there_is_something_to_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, finished: bool
) -> None:
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        interrupt(out, finished=finished)
    assert ("with --resume continues" in caplog.text) == finished
    assert ("there is nothing to resume" in caplog.text) != finished


def interrupt(out: Path, *, finished: bool) -> None:
    with (
        saying_how_to_resume(out),
        unfinished_run(out, overwrite=False, resume=False) as unfinished,
    ):
        if finished:
            unfinished.checkpoint.write_bytes(b"an epoch")
        raise KeyboardInterrupt


def test_run_that_appears_during_the_training(tmp_path: Path) -> None:
    """It stays, and so do the hours of training: --overwrite alone would begin anew."""
    out = tmp_path / "run"

    def make(*, resume: bool) -> None:
        with unfinished_run(out, overwrite=False, resume=resume) as unfinished:
            (unfinished.run / "model.keras").write_text("ours")
            assert unfinished.checkpoint.is_file() == resume
            unfinished.checkpoint.write_text("last epoch")
            if not resume:
                out.mkdir()
                (out / "model.keras").write_text("theirs")

    with pytest.raises(OutputExistsError, match=r"Move it away .* with --resume: finished epochs"):
        make(resume=False)
    assert (out / "model.keras").read_text() == "theirs"
    out.rename(tmp_path / "aside")
    make(resume=True)
    assert (out / "model.keras").read_text() == "ours"


def make_run(out: Path, content: str) -> None:
    with unfinished_run(out, overwrite=True, resume=False) as unfinished:
        (unfinished.run / "model.keras").write_text(content)


# Looks at its target as `train` does at its start, reads photos for minutes, and looks again.
SLOW = """
import sys
from pathlib import Path
from pocketlens.errors import OutputExistsError
from pocketlens.files import one_call
from pocketlens.train.unfinished import refuse_run, unfinished_run
out, overwrite = Path(sys.argv[1]), sys.argv[2] == "overwrite"
with one_call():
    refuse_run(out, overwrite=overwrite, resume=False)
    print("looked", flush=True)
    sys.stdin.readline()
    try:
        refuse_run(out, overwrite=overwrite, resume=False)
        with unfinished_run(out, overwrite=overwrite, resume=False) as unfinished:
            (unfinished.run / "model.keras").write_text("ours")
    except OutputExistsError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("before", "meanwhile", "overwrite", "words"),
    [
        pytest.param("old", "run", True, "appeared or changed", id="other run replaced"),
        pytest.param("", "run", True, "appeared or changed", id="run appeared"),
        pytest.param("", "run", False, "Expected a new folder", id="run appeared, not asked"),
        pytest.param("", "epochs", False, "There is an unfinished run", id="epochs appeared"),
        pytest.param("old", "", True, "", id="nothing happened"),
    ],
)
def test_what_others_made_between_two_looks_stays(
    tmp_path: Path, before: str, meanwhile: str, overwrite: bool, words: str
) -> None:
    out = tmp_path / "run"
    if before:
        make_run(out, before)
    chosen = "overwrite" if overwrite else ""
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, str(out), chosen],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "looked\n"
        if meanwhile == "run":
            make_run(out, "theirs")
        elif meanwhile:
            with pytest.raises(KeyboardInterrupt):
                interrupt(out, finished=True)
        said, _ = process.communicate("\n")
    assert (words in said) if words else not said
    if meanwhile == "epochs":
        assert UnfinishedRun.of(out).checkpoint.read_bytes() == b"an epoch"
    else:
        assert (out / "model.keras").read_text() == ("theirs" if meanwhile else "ours")
