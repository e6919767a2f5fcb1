"""Each command where something is missing that a program takes for granted."""

import dataclasses
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.card import pack, unpack
from pocketlens.cli.main import COMMANDS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these are Unix's surroundings")

START = "from pocketlens.cli.main import main; main()"
# As for a user whom nobody knows, in a container that was given a number.
NOBODY = "import pwd\ndef none(*_): raise KeyError\npwd.getpwuid = none\n"

LABELS = ("rot", "grün", "🌹")

# What each is asked for, little enough to do it often.
CALLS = {
    "demo": ["--help"],
    "init": ["garden", "--label", "daisy", "--label", "rose"],
    "collect": ["--help"],
    "labels": ["export", "PHOTOS", "--format", "csv", "--out", "labels.csv"],
    "studio": ["--help"],
    "check": ["--help"],
    "train": ["--help"],
    "evaluate": ["MODEL", "PHOTOS", "--json", "out.json"],
    "compare": ["--help"],
    "convert": ["--help"],
    "inspect": ["MODEL"],
    "classify": ["MODEL", "PHOTOS/rot/0.png"],
    "live": ["MODEL", "--source", "PHOTOS/rot/0.png", "--jsonl", "out.jsonl"],
    "service": ["install", "MODEL", "--source", "/dev/video0", "--print"],
    "benchmark": ["--help"],
    "recommend": ["--help"],
    "report": ["--help"],
    "export": ["MODEL", "--target", "c", "--out", "exported"],
    "doctor": ["--help"],
    "completion": ["bash"],
}

# What they write.
WRITTEN = (
    "out.json",
    "out.jsonl",
    "labels.csv",
    "exported/pocketlens.sha256",
    "garden/pocketlens.toml",
)

# What is to happen to a command: the Python before it, the environment, what is closed.
Surrounding = tuple[str, dict[str, str | None], tuple[int, ...]]
SURROUNDINGS: dict[str, Surrounding] = {
    "no home": (
        NOBODY,
        dict.fromkeys(("HOME", "POCKETLENS_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")),
        (),
    ),
    "read-only home": ("", dict.fromkeys(("HOME", "POCKETLENS_CACHE", "TMPDIR"), "READ-ONLY"), ()),
    "no output": ("", {}, (1,)),
    "no errors": ("", {}, (2,)),
    "no streams": ("", {}, (0, 1, 2)),
    "latin-1": ("", {"PYTHONIOENCODING": "latin-1"}, ()),
    "C": ("", {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, ()),
}


# Where it may say one sentence in place of doing it: a unit of the user lies in the home folder,
# and folders that are not called in ASCII have other names in a locale that only has that.
REFUSALS = {
    ("service", "no home"): "This user has no home folder.",
    ("evaluate", "C"): "Expected photos of the model's labels",
    ("labels", "C"): "Expected names in UTF-8",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_tflite: Path) -> Path:
    """A model whose labels have letters that ASCII lacks, photos, and a folder without rights."""
    folder = tmp_path_factory.mktemp("place")
    for label in LABELS:
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(4):
            picture = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(picture).save(folder / "photos" / label / f"{number}.png")
    found = unpack(tiny_tflite.read_bytes())
    assert found.card is not None
    model = pack(found.flatbuffer, dataclasses.replace(found.card, labels=LABELS))
    (folder / "model.tflite").write_bytes(model)
    (folder / "read-only").mkdir(mode=0o555)
    return folder


def close(numbers: tuple[int, ...]) -> None:
    for number in numbers:
        os.close(number)


@pytest.fixture
def call(place: Path, tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Call a command in a surrounding."""

    def start(surrounding: str, *words: str) -> "subprocess.CompletedProcess[str]":
        before, changes, closed = SURROUNDINGS[surrounding]
        environment = dict(os.environ)
        for name, value in changes.items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value.replace("READ-ONLY", str(place / "read-only"))
        names = {"MODEL": place / "model.tflite", "PHOTOS": place / "photos"}
        arguments = [
            str(names.get(first, first)) + slash + rest
            for first, slash, rest in (word.partition("/") for word in words)
        ]
        # Root may write anywhere unless it gives that up.
        drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
        return subprocess.run(
            [
                *(drop if surrounding == "read-only home" and os.geteuid() == 0 else []),
                *(sys.executable, "-c", before + START, *arguments),
            ],
            capture_output=True,
            encoding="latin-1" if surrounding == "latin-1" else "utf-8",
            env=environment,
            cwd=tmp_path,
            timeout=60,
            check=False,
            preexec_fn=partial(close, closed),
        )

    return start


def test_every_command_is_called() -> None:
    assert set(CALLS) == set(COMMANDS)


@pytest.mark.parametrize("surrounding", SURROUNDINGS)
@pytest.mark.parametrize("command", CALLS)
def test_each_works_or_says_one_sentence(
    command: str,
    surrounding: str,
    call: Callable[..., "subprocess.CompletedProcess[str]"],
    tmp_path: Path,
) -> None:
    done = call(surrounding, command, *CALLS[command])
    assert "Traceback" not in done.stderr
    if done.returncode and (command, surrounding) in REFUSALS:
        # On a busy machine the first try of the file takes long, which is said before.
        said = done.stderr.strip().splitlines()
        (line,) = (entry for entry in said if not entry.startswith("Trying "))
        assert line.startswith(f"Error: {REFUSALS[command, surrounding]}")
        return
    assert done.returncode == 0, done.stderr
    for name in WRITTEN:
        if name.partition("/")[0] in CALLS[command]:
            assert (tmp_path / name).stat().st_size
    # A file with the number of a closed stream would have got what is printed.
    written = {name.partition("/")[0] for name in WRITTEN}
    assert {path.name for path in tmp_path.iterdir()} <= written
    assert bool(done.stdout) == (1 not in SURROUNDINGS[surrounding][2])


def test_labels_that_an_encoding_lacks(
    call: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:
    shown = call("latin-1", "classify", "MODEL", "PHOTOS/rot/0.png").stdout
    assert {line.split()[-1] for line in shown.splitlines()[1:]} == {"rot", "grün", "?"}
    photo = "PHOTOS/rot/0.png"
    for surrounding in ("latin-1", "C"):
        for words in (
            ["classify", "MODEL", photo, "--json", "-"],
            ["classify", "MODEL", photo, "--jsonl", "-"],
            ["live", "MODEL", "--source", photo, "--top-k", "3", "--jsonl", "-"],
        ):
            done = call(surrounding, *words)
            assert done.returncode == 0
            assert done.stdout.isascii()
            text = done.stdout if "--json" in words else done.stdout.splitlines()[-1]
            assert "gr\\u00fcn" in text
            assert "🌹" in str(json.loads(text))


def test_results_that_cannot_be_delivered(
    call: Callable[..., "subprocess.CompletedProcess[str]"], place: Path, tmp_path: Path
) -> None:
    done = call("no output", "classify", "MODEL", "PHOTOS/rot/0.png", "--json", "-")
    assert done.returncode == 1
    assert done.stderr == "Error: Standard output is closed. Give a file in place of '-'.\n"
    if Path("/dev/full").exists():
        with open("/dev/full", "w") as full:
            words = ["classify", str(place / "model.tflite"), str(place / "photos/rot/0.png")]
            done = subprocess.run(
                [sys.executable, "-c", START, *words],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 1
        assert done.stderr == "Error: No space left on device.\n"


def test_a_pipe_is_refused_at_once(
    call: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    pipe = tmp_path / "photo.png"
    os.mkfifo(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    for words in (["MODEL", "photo.png"], ["photo.png", "PHOTOS/rot/0.png"]):
        done = call("latin-1", "classify", *words)
        assert done.returncode == 2
        assert "photo.png (a pipe, socket or device)" in done.stderr
