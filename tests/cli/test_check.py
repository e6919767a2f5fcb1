"""`pocketlens check` and `--strict` on the command line."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("imagehash", reason="checking photos needs the train extra")

from pocketlens.cli.main import run


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos(tiny_photos: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_photos, tmp_path / "photos")


@pytest.fixture
def spoiled(photos: Path) -> Path:
    """Photos with a truncated one and one that is under two labels."""
    path = photos / "circle" / "00.png"
    path.write_bytes(path.read_bytes()[:500])
    shutil.copy(photos / "circle" / "01.png", photos / "cross" / "wrong.png")
    return photos


def test_summary(spoiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(spoiled)]) == 0
    out = capsys.readouterr().out
    assert "90 readable photos in 3 classes, 1 unreadable." in out
    assert "1 × unreadable: skipped" in out
    assert "circle/00.png" in out
    assert "circle/01.png = cross/wrong.png\n" in out
    assert "can be trained on; look" in out
    bars = {line.split()[0]: line.count("█") for line in out.splitlines() if "█" in line}
    assert bars == {"circle": 37, "cross": 40, "stripes": 39}


def test_few_photos_to_measure_with_are_said(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted((photos / "cross").iterdir())[8:]:
        path.unlink()
    assert run(["check", str(photos)]) == 0
    out = capsys.readouterr().out
    for split in ("val", "test"):
        assert re.search(rf"Only .* of cross.* in {split}: .*figures say little", out)


def test_json(spoiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(spoiled), "--json", "-"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["trainable"] is True
    assert payload["problem"] is None
    assert payload["classes"] == {"circle": 29, "cross": 31, "stripes": 30}
    assert payload["imbalance"] == pytest.approx(31 / 29, abs=1e-3)
    assert list(payload["unreadable"]) == ["circle/00.png"]
    (conflict,) = [group for group in payload["copies"] if group["conflict"]]
    assert conflict["files"] == ["circle/01.png", "cross/wrong.png"]
    assert conflict["exact"] is True


def test_report(spoiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = spoiled / "cross" / "<b>&.png"
    shutil.copy(spoiled / "circle" / "02.png", odd)
    arguments = ["check", str(spoiled), "--report", str(tmp_path / "report")]
    assert run(arguments) == 0
    page = (tmp_path / "report" / "data.html").read_text("utf-8")
    assert page.count('class="bar"') == 3
    assert page.count("data:image/jpeg;base64,") >= 4
    assert "cross/&lt;b&gt;&amp;.png" in page
    assert "<b>&.png" not in page
    assert "://" not in page
    assert json.loads((tmp_path / "report" / "data.json").read_text())["trainable"] is True
    assert run(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run([*arguments, "--overwrite"]) == 0


def test_strict(spoiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(spoiled), "--strict"]) == 1
    err = capsys.readouterr().err
    assert "1 unreadable (circle/00.png); 1 under two labels (circle/01.png = cross/wrong" in err
    (spoiled / "circle" / "00.png").unlink()
    (spoiled / "cross" / "wrong.png").unlink()
    assert run(["check", str(spoiled), "--strict"]) == 0


def test_strict_training_refuses_before_it_starts(
    spoiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow", reason="training needs the train extra")
    assert run(["train", str(spoiled), "--out", str(tmp_path / "run"), "--strict"]) == 1
    assert "as --strict asks. Received: 1 unreadable" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("case", ["one class", "few", "unreadable", "missing", "empty"])
def test_refuses_what_training_refuses_in_the_same_words(
    photos: Path, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow", reason="training needs the train extra")
    if case == "one class":
        shutil.rmtree(photos / "cross")
        shutil.rmtree(photos / "stripes")
    elif case == "few":
        for path in sorted((photos / "cross").iterdir())[5:]:
            path.unlink()
    elif case == "unreadable":
        for path in (photos / "cross").iterdir():
            path.write_text("no picture")
    elif case in ("missing", "empty"):
        shutil.rmtree(photos)
        if case == "empty":
            photos.mkdir()
    code = 2 if case == "missing" else 1
    assert run(["check", str(photos)]) == code
    streams = capsys.readouterr()
    assert "Expected" in streams.err
    assert ("cannot be trained on yet" in streams.out) == (case not in ("missing", "empty"))
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), "--weights", "none"]) == code
    assert capsys.readouterr().err == streams.err


def test_problem_is_in_the_json_too(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(photos / "cross")
    shutil.rmtree(photos / "stripes")
    assert run(["check", str(photos), "--json", "-"]) == 1
    streams = capsys.readouterr()
    payload = json.loads(streams.out)
    assert payload["trainable"] is False
    assert f"Error: {payload['problem']}\n" == streams.err


def test_check_loads_no_tensorflow(photos: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pocketlens.cli.main import run; "
        f"assert run(['check', {str(photos)!r}]) == 0; "
        "assert not {'tensorflow', 'keras', 'sklearn', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_names_that_are_no_utf8(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for path in list((photos / "circle").iterdir()):
        path.rename(path.with_name(os.fsdecode(b"\xe9") + path.name))
    bad = photos / "circle" / os.fsdecode(b"\xe9\n.png")
    bad.write_bytes(b"no picture")
    (photos / "cross").rename(photos / os.fsdecode(b"cr\xf6ss"))
    report = tmp_path / "report"
    assert run(["check", str(photos), "--report", str(report)]) == 0
    assert r"circle/\xe9\n.png" in capfd.readouterr().out
    payload = json.loads((report / "data.json").read_bytes())
    assert list(payload["classes"]) == ["circle", r"cr\xf6ss", "stripes"]
    assert list(payload["unreadable"]) == [f"circle/{bad.name}"]
    page = (report / "data.html").read_text("utf-8").replace("<wbr>", "")
    assert r"\xe9\n.png" in page
