"""The command: what it prints, writes and refuses."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from made_runs import make_run, write_photo

from pocketlens.cli.main import run

UNTIMED = ("--num-runs", "0")


@pytest.fixture
def pair(
    tiny_models: dict[str, Path], tmp_path: Path, with_card: Callable[..., Path]
) -> tuple[str, str]:
    """Two files that have seen nothing; the second is right where the first is not."""
    files = []
    for name, labels in (("old", ("cross", "circle", "stripes")), ("new", ())):
        changes: dict[str, object] = {"seen": "", "labels": labels} if labels else {"seen": ""}
        files.append(str(with_card(tiny_models["float32"], tmp_path / f"{name}.tflite", **changes)))
    return files[0], files[1]


@pytest.fixture
def circles(tiny_photos: Path, tmp_path: Path) -> str:
    """Photos of which the second file knows the label, and the first does not."""
    for label, count in (("circle", 30), ("cross", 2)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for path in sorted((tiny_photos / label).iterdir())[:count]:
            shutil.copy(path, tmp_path / "photos" / label)
    return str(tmp_path / "photos")


def test_better_and_worse_both_end_with_0(
    pair: tuple[str, str], circles: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = pair
    assert run(["compare", old, new, "--data", circles, *UNTIMED]) == 0
    printed = capsys.readouterr().out
    said = "new.tflite is better than old.tflite: of 32 photos it wins 30 and loses 2 (p < 0.001)."
    assert printed.splitlines()[-1] == said
    assert "Won: " in printed
    assert "  and 25 more won" in printed
    assert max(map(len, printed.split("Lost:")[0].splitlines())) <= 100
    assert run(["compare", new, old, "--data", circles, *UNTIMED]) == 0
    assert "old.tflite is worse than new.tflite" in capsys.readouterr().out


def test_json_and_page(
    pair: tuple[str, str], circles: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="pages need the report extra")
    call = ["compare", *pair, "--data", circles, *UNTIMED, "--report", str(tmp_path / "page")]
    assert run([*call, "--json", "-"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["verdict"] == "better"
    written = json.loads((tmp_path / "page" / "comparison.json").read_text("utf-8"))
    assert written == payload
    page = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert payload["sentence"].replace("<", "&lt;") in page.replace("<wbr>", "")
    # The JSON alone makes the same page, on any machine that has the photos.
    (tmp_path / "c.json").write_text(json.dumps(payload))
    assert run(["report", str(tmp_path / "c.json"), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "index.html").read_text("utf-8") == page
    assert run(call) == 2
    assert "which exists. Choose another" in capsys.readouterr().err
    assert run([*call, "--overwrite"]) == 0


def test_two_files_are_timed_in_turn(
    pair: tuple[str, str], circles: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "c.json"
    call = ["compare", *pair, "--data", circles, "--num-runs", "2", "--json", str(target)]
    assert run(call) == 0
    costs = json.loads(target.read_text())["costs"]
    assert costs["a"]["size_bytes"] == os.path.getsize(pair[0])
    assert costs["a"]["classify_ms"] > 0
    # Too few runs for an interval, and so for a difference.
    assert costs["ratio_interval"] is None
    assert (
        "new.tflite takes as long as old.tflite, as far as can be told" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["old", "new", "old"], "Received: 3.", id="three"),
        pytest.param(["old"], "old.tflite, one model. Name another one.", id="one file"),
        pytest.param([], "neither a project nor a folder runs here", id="nothing here"),
        pytest.param(["."], "none in it. Make one with", id="a folder without runs"),
        pytest.param([".", "--report", "page"], "Expected two models with", id="page of a table"),
        pytest.param(["old", "new", "--num-runs", "-1"], "Expected --num-runs", id="few runs"),
        pytest.param(["old", "."], "Expected a run with", id="no run"),
        pytest.param(["old", "new"], "Expected --data PHOTOS", id="no photos"),
    ],
)
def test_wrong_calls_end_in_one_sentence(
    arguments: list[str],
    said: str,
    pair: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"old": pair[0], "new": pair[1]}
    assert run(["compare", *(files.get(word, word) for word in arguments)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("Error: Expected ")
    assert said in line


def test_all_runs_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    paths = [write_photo(photos / "ab"[n % 2] / f"{n}.jpg", f"photo {n}") for n in range(20)]
    splits = {"train": paths[:8], "val": paths[8:10], "test": paths[10:]}
    make_run(
        tmp_path / "runs" / "one",
        photos,
        splits,
        metrics={"test_accuracy": 0.5, "test_count": 10},
        training={"seed": 1, "weights": "none"},
    )
    make_run(
        tmp_path / "runs" / "two",
        photos,
        {"train": paths[:8], "val": paths[8:]},
        at_s=1_700_000_000,
        metrics={"val_accuracy": 0.75, "val_count": 12},
        training={"seed": 2, "weights": "none"},
    )
    monkeypatch.chdir(tmp_path)
    assert run(["compare"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("two") < printed.index("one")
    assert "2023-11-14 22:13" in printed
    assert "50.0 (23.7–76.3)" in printed
    assert "75.0 (46.8–91.1)*" in printed
    assert "* On validation photos" in printed
    differing = printed.split("Settings that differ:")[1]
    assert "seed 2" in differing
    assert "weights" not in differing
    (tmp_path / "pocketlens.toml").write_text('classes = ["circle"]\n')
    monkeypatch.chdir(photos)
    assert run(["compare"]) == 0
    assert capsys.readouterr().out == printed
    assert run(["compare", str(tmp_path / "runs"), "--json", "-"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in payload["runs"]] == ["two", "one"]
    assert payload["differing"] == ["seed"]
