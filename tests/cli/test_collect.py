"""`pocketlens collect`: what is refused, what it keeps in the terminal, and being killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from timing import PATIENCE_S, wait_for

from pocketlens.cli.main import run
from pocketlens.project import create_project
from pocketlens.runtime import inbox
from pocketlens.runtime.labelling import read_journal
from pocketlens.runtime.photos import find_pictures
from pocketlens.runtime.pictures import decode

if sys.platform == "win32":
    pytest.skip("Windows has no such terminals", allow_module_level=True)

import pty
import termios


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--source", "fake:"], "Expected a project, or --out with a folder"),
        (["--source", "nothing.mp4", "--out", "photos"], "nothing there"),
        (["--source", "fake:", "--out", "file.txt"], "Expected --out to name a folder"),
        (["--source", "fake:", "--out", "photos", "--rate", "0"], "Expected --rate as a number"),
        (["--source", "fake:", "--out", "photos", "--web", "x"], "Expected --web as a port"),
        (["--source", "fake:", "--out", "p", "--web-token", "short"], "at least 8 letters"),
        (["--source", "fake:", "--out", "photos", "--label", "a/b"], "can be a folder's name"),
        (["--source", "fake:", "--project", "."], "Expected a project with pocketlens.toml"),
        (["--source", "fake:", "--out", "p", "--label", "a", "--terminal"], "Expected a terminal"),
        (["--source", "rtsp://x", "--out", "photos", "--size", "1x1"], "Expected --size only"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments, expected, tmp_path, monkeypatch, capsys):
    for package in ("uvicorn", "jinja2"):
        pytest.importorskip(package, reason="the studio extra is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("mine")
    assert run(["collect", *arguments]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert (tmp_path / "file.txt").read_text() == "mine"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "file.txt"]


class Terminal:
    """The command in a pseudo-terminal of its own."""

    def __init__(self, folder, *arguments, **environment):
        self.typed, number = pty.openpty()
        self.before = termios.tcgetattr(number)
        self._number = number
        self.output = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pocketlens", "collect", "--terminal", *arguments],
            cwd=folder,
            stdin=number,
            stdout=number,
            stderr=number,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **environment},
        )
        os.set_blocking(self.typed, False)

    def press(self, keys):
        os.write(self.typed, keys.encode())

    def read(self):
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self.typed, 65536):
                self.output += data
        return self.output.decode("utf-8", "replace")

    def wait_for(self, text):
        wait_for(lambda: text in self.read(), lambda: self.output[-2000:])

    def wait(self):
        until_s = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < until_s:
            self.read()
            time.sleep(0.02)
        self.read()
        return self.process.poll()

    def modes(self):
        return termios.tcgetattr(self._number)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.typed)
        os.close(self._number)


@pytest.fixture
def in_terminal(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            terminal = Terminal(tmp_path, *arguments)
            stack.callback(terminal.close)
            return terminal

        yield start


def pictures(folder):
    return sorted(find_pictures(folder)) if folder.exists() else []


@pytest.mark.real_time
def test_a_project_s_photos_by_keys(in_terminal, tmp_path):
    project = create_project(tmp_path, ["cat", "dog"])
    terminal = in_terminal("--source", "fake:", "--json", "result.json")
    terminal.wait_for("Live")
    terminal.press("1")
    wait_for(lambda: pictures(project.photos / "cat"))
    terminal.press("2")
    wait_for(lambda: pictures(project.photos / "dog"))
    terminal.press("u")
    terminal.wait_for("of dog.")
    terminal.press("q")
    assert terminal.wait() == 0
    assert "kept in" in terminal.read()
    assert terminal.modes() == terminal.before
    assert pictures(project.photos / "dog") == []
    result = json.loads((tmp_path / "result.json").read_text())
    kept = {entry["label"]: entry["kept"] for entry in result["labels"]}
    assert kept == {"cat": len(pictures(project.photos / "cat")), "dog": 0, "unknown": 0}
    assert result["source"] == "fake:"
    assert {entry.to_label for entry in read_journal(project.journal)} == {"cat", "dog", ""}


def test_in_a_project_out_is_only_another_place(tmp_path, monkeypatch, capsys):
    settings = {"camera": {"source": "nothing.mp4"}, "collect": {"rate": 2.0}}
    create_project(tmp_path, ["cat"], settings=settings)
    monkeypatch.chdir(tmp_path)
    # The project's camera.
    assert run(["collect", "--terminal"]) == 2
    assert "nothing.mp4 (nothing there)" in capsys.readouterr().err
    # A terminal is looked for when all else is right.
    assert run(["collect", "--terminal", "--source", "fake:", "--out", "other"]) == 2
    assert "Expected a terminal" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.real_time
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_good_order(in_terminal, tmp_path, number):
    terminal = in_terminal("--source", "fake:", "--out", "photos", "--label", "cat")
    terminal.wait_for("Live")
    terminal.press("1")
    wait_for(lambda: pictures(tmp_path / "photos" / "cat"))
    terminal.process.send_signal(number)
    assert terminal.wait() == 0
    assert terminal.modes() == terminal.before


SPOTS = """
import sys
import cv2, numpy as np
writer = cv2.VideoWriter(sys.argv[1], cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 240))
for number in range(90):
    spots = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    writer.write(cv2.resize(spots, (320, 240)))
writer.release()
"""


@pytest.mark.real_time
def test_killed_while_recording_it_has_each_photo_whole_and_once(in_terminal, tmp_path):
    project = create_project(tmp_path / "pets", ["cat"])
    video = tmp_path / "video.avi"
    subprocess.run([sys.executable, "-c", SPOTS, str(video)], check=True)
    seen = set()
    for _ in range(2):
        terminal = in_terminal(
            "--source", str(video), "--project", str(project.root), "--rate", "30"
        )
        terminal.wait_for("Live")
        before = len(pictures(project.photos))
        terminal.press("1")
        wait_for(lambda before=before: len(pictures(project.photos)) > before + 1)
        terminal.process.kill()
        terminal.wait()
        # What was there stays.
        now = {path.name for path in pictures(project.photos)}
        assert seen <= now
        seen = now
    # The next call finishes what was under way.
    terminal = in_terminal("--source", str(video), "--project", str(project.root))
    terminal.wait_for("Live")
    terminal.press("q")
    assert terminal.wait() == 0
    contents = [path.read_bytes() for path in pictures(project.photos)]
    assert len(set(contents)) == len(contents)
    for path in pictures(project.photos):
        assert decode(path).shape == (240, 320, 3)
        assert inbox.read_info(path) is not None
    added = [entry.file for entry in read_journal(project.journal)]
    names = {path.relative_to(project.root).as_posix() for path in pictures(project.photos)}
    assert set(added) == names
    assert len(added) == len(names)
    # Nothing lies anywhere else, but what was not yet a photo.
    others = [path for path in project.root.rglob("*") if path.is_file() and path.suffix != ".json"]
    assert {path.name for path in others} - {Path(name).name for name in names} <= {
        "labels.csv",
        "pocketlens.toml",
        *(path.name for path in (project.root / ".deleted").glob("*")),
    }


@pytest.mark.real_time
def test_the_page_is_served_until_it_is_interrupted(tmp_path):
    pytest.importorskip("uvicorn", reason="the studio extra is not installed")
    pytest.importorskip("jinja2", reason="the studio extra is not installed")
    import urllib.request

    arguments = ["--source", "fake:", "--out", "photos", "--label", "cat", "--web", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pocketlens", "collect", *arguments, "--json", "-"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        url = line.removeprefix("Open ").strip()
        with urllib.request.urlopen(url) as response:
            assert b"Collect photos" in response.read()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 0
    assert json.loads(output)["labels"][0]["label"] == "cat"
