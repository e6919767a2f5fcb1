"""`pocketlens train`: what it says, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="training needs the train extra")

from pocketlens.cli.main import run
from pocketlens.runtime.runs import read_run


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))


def existing_run(folder: Path) -> None:
    folder.mkdir()
    (folder / "model.keras").write_text("precious")


@pytest.mark.parametrize(
    ("case", "code", "text"),
    [
        ("missing", 2, "as PHOTOS"),
        ("empty", 1, "Expected a folder per class"),
        ("one class", 1, "at least two classes"),
        ("few", 1, "at least 6 photos"),
        ("unreadable class", 1, "readable photos"),
        ("existing", 2, "--overwrite"),
        ("out is a file", 2, "Expected a new folder"),
        ("image size", 2, "--image-size 7"),
        ("existing json", 2, "precious.json"),
        ("weights", 2, "--weights"),
    ],
)
def test_bad_input(
    case: str,
    code: int,
    text: str,
    tiny_photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "run"
    options = ["--weights", "none", "--alpha", "0.35", "--image-size", "64"]
    if case in (
        "existing",
        "out is a file",
        "image size",
        "unreadable class",
        "existing json",
        "weights",
    ):
        shutil.copytree(tiny_photos, photos)
    if case == "empty":
        photos.mkdir()
    elif case == "one class":
        shutil.copytree(tiny_photos / "circle", photos / "circle")
    elif case == "few":
        shutil.copytree(tiny_photos, photos)
        for path in sorted((photos / "cross").iterdir())[5:]:
            path.unlink()
    elif case == "unreadable class":
        for path in (photos / "cross").iterdir():
            path.write_text(f"no picture {path.name}")
    elif case == "existing":
        existing_run(out)
    elif case == "out is a file":
        out.write_text("precious")
    elif case == "image size":
        options[-1] = "7"
    elif case == "existing json":
        (tmp_path / "precious.json").write_text("precious")
        options += ["--json", str(tmp_path / "precious.json")]
    elif case == "weights":
        options[1] = "nowhere.h5"
    before = sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts)
    assert run(["train", str(photos), "--out", str(out), *options]) == code
    streams = capsys.readouterr()
    assert text in streams.err
    assert "Received" in streams.err
    assert "Traceback" not in streams.err
    assert streams.out == ""
    after = sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts)
    assert after == before
    if case == "existing":
        assert (out / "model.keras").read_text() == "precious"


def test_existing_run_is_refused_before_anything_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    existing_run(tmp_path / "run")
    # Neither TensorFlow nor photos nor a download are looked for.
    monkeypatch.setattr("pocketlens.imports.find_spec", lambda _: None)
    for photos in ([str(tmp_path)], ["--dataset", "cifar10"]):
        assert run(["train", *photos, "--out", str(tmp_path / "run")]) == 2
        assert "which exists" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["run", "circle/run", "../photos/new/run"])
def test_run_among_the_photos_is_refused(
    out: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    (photos / "circle").mkdir(parents=True)
    assert run(["train", str(photos), "--out", str(photos / out)]) == 2
    assert "Expected --out outside the photos. Received: " in capsys.readouterr().err
    assert [path.name for path in photos.rglob("*")] == ["circle"]


def test_command_line(
    tiny_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = ["train", str(tiny_photos), "--out", str(out), "--weights", "none"]
    arguments += ["--arch", "cnn_small", "--image-size", "64"]
    arguments += ["--fine-tune-epochs", "1", "--grid-epochs", "0"]
    assert run([*arguments, "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["labels"] == ["circle", "cross", "stripes", "unknown"]
    assert report["test"]["count"] == len(read_run(out).photos("test").photos)
    assert report["val"]["count"] == len(read_run(out).photos("val").photos)
    assert report["unknown"] == ""
    assert run([*arguments, "--overwrite", "--no-test"]) == 0
    printed = capsys.readouterr().out
    assert "Accuracy" in printed
    assert "No test photos (--no-test)" in printed
    assert "These are the validation photos" in (out / "report" / "index.html").read_text("utf-8")
    assert run(["evaluate", str(out), str(out)]) == 1
    assert "has no test photos: it was trained with --no-test" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "run"]
