"""Training that is cut off and goes on: the same run as if nothing had been."""

import contextlib
import csv
import logging
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.cli.main import run
from pocketlens.errors import ModelFileError, OutputError, UsageError
from pocketlens.train import Settings, Training, train
from pocketlens.train.callbacks import Epoch, History
from pocketlens.train.checkpoints import read_checkpoint
from pocketlens.train.unfinished import UnfinishedRun

EPOCHS = (("head", 1), ("head", 2), ("fine-tune", 1), ("fine-tune", 2), ("grid", 1), ("grid", 2))

# Ends itself when a line is logged, as a power cut would.
CHILD = """
import logging, os, signal, sys
from pathlib import Path
from pocketlens.train import Settings, train
from pocketlens.train.callbacks import Epoch, History
from pocketlens.train.checkpoints import read_checkpoint
class Cut(logging.Handler):
    def emit(self, record):
        if sys.argv[4] in " ".join(record.getMessage().split()):
            os.kill(os.getpid(), signal.SIGKILL)
logging.getLogger("pocketlens").addHandler(Cut())
logging.getLogger("pocketlens").setLevel(logging.INFO)
settings = Settings(arch="cnn_deep", image_size=32, weights=sys.argv[3], batch_size=16,
                    head_epochs=2, fine_tune_epochs=2, grid_epochs=2)
train(Path(sys.argv[1]), Path(sys.argv[2]), settings, resume=True)
"""


@pytest.fixture(scope="module")
def settings(plain_run: Path) -> Settings:
    """Those of CHILD."""
    return Settings(
        arch="cnn_deep",
        image_size=32,
        weights=str(plain_run),
        batch_size=16,
        head_epochs=2,
        fine_tune_epochs=2,
        grid_epochs=2,
    )


@pytest.fixture(scope="module")
def cut_off(
    tmp_path_factory: pytest.TempPathFactory, tiny_photos: Path, settings: Settings
) -> Path:
    """Where a run would be that was killed twice.

    The line of an epoch is logged before its checkpoint is written, so that epoch is lost.
    """
    out = tmp_path_factory.mktemp("cut") / "run"
    for moment in ("head epoch 2/2", "fine-tune epoch 2/2"):
        arguments = [*map(str, (tiny_photos, out, settings.weights)), moment]
        command = [sys.executable, "-c", CHILD, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not out.exists()
    return out


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, tiny_photos: Path, settings: Settings
) -> Training:
    """The same training, never cut off."""
    return train(tiny_photos, tmp_path_factory.mktemp("whole") / "run", settings)


@pytest.fixture
def out(cut_off: Path, tmp_path: Path) -> Path:
    """The same in a folder of its own."""
    copy = tmp_path / "runs" / "run"
    shutil.copytree(UnfinishedRun.of(cut_off).folder, UnfinishedRun.of(copy).folder)
    return copy


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_cut_off_in_every_phase_is_the_same_run(
    tiny_photos: Path,
    settings: Settings,
    out: Path,
    whole: Training,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Interrupt(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "grid" in record.getMessage() and "2/2" in record.getMessage():
                raise KeyboardInterrupt

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    handler = Interrupt()
    monkeypatch.setattr("pocketlens.train.callbacks.LOGGER.handlers", [handler])
    with caplog.at_level(logging.INFO, "pocketlens"), pytest.raises(KeyboardInterrupt):
        train(tiny_photos, out, settings, resume=True)
    monkeypatch.undo()
    monkeypatch.setattr("pocketlens.train.training.write_report", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_photos, out, settings, resume=True)
    monkeypatch.undo()
    assert not out.exists()
    finished = train(tiny_photos, out, settings, resume=True)
    assert [path.name for path in out.parent.iterdir()] == ["run"]
    assert not [path for path in out.rglob("*") if "partial" in path.name]
    assert [(row["phase"], int(row["epoch"])) for row in history(out)] == list(EPOCHS)

    assert finished.test.count == whole.test.count
    for row, other in zip(history(out), history(whole.folder), strict=True):
        for name in ("loss", "val_loss", "learning_rate"):
            assert float(row[name]) == pytest.approx(float(other[name]), rel=1e-3), row
    weights = [
        keras.models.load_model(folder / "model.keras", compile=False).get_weights()
        for folder in (out, whole.folder)
    ]
    # A weight at the edge between two levels may go to either, by the order of a sum.
    same = [
        np.isclose(one, other, rtol=1e-3, atol=1e-4) for one, other in zip(*weights, strict=True)
    ]
    assert np.mean(np.concatenate([entry.ravel() for entry in same])) > 0.99


def test_unfinished_run_is_not_replaced_unasked(
    tiny_photos: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = UnfinishedRun.of(out).checkpoint.read_bytes()
    assert run(["train", str(tiny_photos), "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert "--resume" in message
    assert "--overwrite" in message
    assert UnfinishedRun.of(out).checkpoint.read_bytes() == before


def test_other_settings_are_refused(tiny_photos: Path, settings: Settings, out: Path) -> None:
    other = replace(settings, grid_epochs=3, seed=7)
    with pytest.raises(UsageError, match=r"Received: seed 7 \(so far 0\), grid epochs 3 \(so far"):
        train(tiny_photos, out, other, resume=True)
    assert UnfinishedRun.of(out).checkpoint.is_file()


def test_other_photos_are_refused(
    tiny_photos: Path, tmp_path: Path, settings: Settings, out: Path
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(tiny_photos, photos)
    (photos / "cross" / "00.png").rename(photos / "cross" / "another.png")
    with pytest.raises(UsageError, match=r"1 new photo \(cross/another.png\), 1 missing photo"):
        train(photos, out, settings, resume=True)
    assert UnfinishedRun.of(out).checkpoint.is_file()


def test_damaged_checkpoint_is_refused(tiny_photos: Path, settings: Settings, out: Path) -> None:
    path = UnfinishedRun.of(out).checkpoint
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ModelFileError, match="--overwrite"):
        train(tiny_photos, out, settings, resume=True)


@contextlib.contextmanager
def small_files(size: int) -> Iterator[None]:
    """Limit the size of files, in bytes: the errors of a full disk.

    Python ignores the signal that comes with it, so that calls fail as they do without room. A
    test has to leave the block itself: what pytest prints may go to a file too.
    """
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits on file sizes")
def test_no_room_for_the_logs(tmp_path: Path) -> None:
    epochs = [Epoch("head", number, 1.0, 0.5, 1.0, 0.5, 1e-3, 1.0) for number in range(1, 9)]
    with (
        pytest.raises(OutputError, match=r"Cannot write .*: File too large\. Choose") as raised,
        small_files(600),
    ):
        History(tmp_path).restore(epochs)
    assert "logs" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits on file sizes")
def test_disk_full(
    tiny_photos: Path,
    tmp_path: Path,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The head's checkpoints fit, those of all layers with their optimizer do not."""
    out = tmp_path / "runs" / "run"
    line = ["train", str(tiny_photos), "--out", str(out), "--weights", settings.weights]
    line += ["--arch", "cnn_deep", "--image-size", "32", "--head-epochs", "1", "--grid-epochs", "0"]
    line += ["--fine-tune-epochs", "1", "--batch-size", "16"]
    # From the first epoch on, since the weights to start from are read by way of a larger file.
    with contextlib.ExitStack() as limits, monkeypatch.context() as patch:

        def limit(*_: object) -> None:
            limits.enter_context(small_files(8_000_000))

        patch.setattr(History, "on_epoch_begin", limit)
        assert run(line) == 1
    error = (
        f"Error: Cannot write {UnfinishedRun.of(out).checkpoint}: "
        "File too large. Choose a place with room where you may write."
    )
    assert capsys.readouterr().err.strip().splitlines()[-1:] == [error]
    assert "the same command with --resume continues from there" in caplog.text
    left = UnfinishedRun.of(out)
    assert read_checkpoint(left.checkpoint).phase == "head"
    assert not [path for path in left.folder.rglob("*") if ".partial" in path.name]
    assert run([*line, "--resume"]) == 0
    assert [(row["phase"], row["epoch"]) for row in history(out)] == [
        ("head", "1"),
        ("fine-tune", "1"),
    ]


def test_resuming_nothing_says_that_it_starts_anew(
    tiny_photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pocketlens.train.training.Trainer.train", interrupt)
    settings = Settings(alpha=0.35, image_size=64, weights="none")
    with caplog.at_level(logging.INFO, "pocketlens"), pytest.raises(KeyboardInterrupt):
        train(tiny_photos, tmp_path / "run", settings, resume=True)
    assert "No epoch was finished before, so training starts from the beginning." in caplog.text
    assert "0 finished" not in caplog.text
