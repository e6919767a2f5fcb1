"""Reading photos in processes: same facts, dead children, no process left."""

import logging
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("imagehash", reason="checking photos needs the train extra")

from pocketlens.errors import DataError
from pocketlens.runtime.decoding import MAX_BYTES, MEMORY
from pocketlens.train import photo_facts as module
from pocketlens.train.photo_facts import photo_readers, read_photo
from pocketlens.workers import start_child


@pytest.fixture
def named(tmp_path: Path) -> list[tuple[Path, str]]:
    """Photos and other files, with names that are hard to hand over."""
    rng = np.random.default_rng(0)
    names = ["plain.png", "two\nlines.png", "Füße 🌷.png", "missing.png", "text.png"]
    if os.name == "posix":
        names.append(os.fsdecode(b"\xff.png"))
    for name in names:
        path = tmp_path / name
        if name == "text.png":
            path.write_text("no picture")
        elif name != "missing.png":
            Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(path)
    return [(tmp_path / name, f"class/{name}") for name in names]


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> list["subprocess.Popen[bytes]"]:
    """Let any number be many; gives the processes that are started."""
    monkeypatch.setattr(module, "_FEW", 1)
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, **options: Any) -> "subprocess.Popen[bytes]":
        started.append(start_child(name, **options))
        return started[-1]

    monkeypatch.setattr(module, "start_child", start)
    return started


def test_processes_find_what_this_one_finds(
    named: list[tuple[Path, str]], many: list["subprocess.Popen[bytes]"]
) -> None:
    with photo_readers(2, len(named)) as read:
        assert read(named) == [read_photo(path, name) for path, name in named]
        assert read(named[:1]) == [read_photo(*named[0])]
        assert len(many) == 2
    assert [child.poll() for child in many] == [0, 0]


def test_few_photos_start_no_process(
    named: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "start_child", None)
    with photo_readers(2, len(named)) as read:
        assert read(named) == [read_photo(path, name) for path, name in named]


def test_a_process_that_dies_ends_in_a_sentence(
    named: list[tuple[Path, str]], many: list["subprocess.Popen[bytes]"]
) -> None:
    with photo_readers(1, len(named)) as read:
        read(named[:1])
        many[0].send_signal(signal.SIGTERM)
        many[0].wait()
        with pytest.raises(DataError, match=r"SIGTERM while it read class/plain\.png to"):
            read(named)
    assert many[0].poll() == -15


def test_without_processes_photos_are_read_all_the_same(
    named: list[tuple[Path, str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(module, "_FEW", 1)
    monkeypatch.setattr(module, "start_child", refuse)
    with caplog.at_level(logging.WARNING), photo_readers(2, len(named)) as read:
        assert read(named) == [read_photo(path, name) for path, name in named]
    assert "no more processes" in caplog.text


def test_processes_share_the_memory_of_this_one(
    named: list[tuple[Path, str]], many: list["subprocess.Popen[bytes]"]
) -> None:
    order = []
    with photo_readers(1, len(named)) as read:
        thread = threading.Thread(target=lambda: order.append(len(read(named[:1]))))
        with MEMORY.held(MAX_BYTES):
            thread.start()
            thread.join(0.3)
            order.append(0)
        thread.join()
    assert order == [0, 1]
