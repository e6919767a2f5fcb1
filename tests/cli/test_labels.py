"""`pocketlens labels`: what is said, in a project and outside of one."""

import json
from pathlib import Path

import pytest

from pocketlens.cli.main import run
from pocketlens.project import create_project
from pocketlens.runtime.labelling import read_journal


@pytest.fixture
def photos(tmp_path: Path, tiny_photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two real photos of two labels, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for label in ("circle", "cross"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        photo = sorted((tiny_photos / label).iterdir())[0]
        (tmp_path / "photos" / label / f"{label}.png").write_bytes(photo.read_bytes())
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("name", "out"),
    [("label-studio", "x.json"), ("cvat", "x.zip"), ("fiftyone", "x"), ("csv", "x.csv")],
)
def test_out_and_in_again(
    name: str, out: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["labels", "export", "photos", "--format", name, "--out", out]) == 0
    assert "  circle: 1\n  cross: 1\n" in capsys.readouterr().out
    assert run(["labels", "import", out, "--photos", "photos", "--into", "again"]) == 0
    streams = capsys.readouterr()
    assert streams.out == "again: 2 added\n  circle: 1\n  cross: 1\n"
    assert streams.err == ""
    for path in photos.rglob("*.png"):
        assert (Path("again") / path.relative_to(photos)).read_bytes() == path.read_bytes()


def test_size_of_photos_in_cvat(photos: Path) -> None:
    assert run(["labels", "export", "photos", "--format", "cvat", "--out", "x.xml"]) == 0
    assert 'width="160" height="120"' in Path("x.xml").read_text("utf-8")


def test_boxes_are_counted(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = '<box label="bee" xtl="0" ytl="0" xbr="1" ybr="1" occluded="0"/>'
    Path("x.xml").write_text(
        "<annotations>"
        f'<image name="circle.png"><tag label="circle"/>{box}{box}</image>'
        f'<image name="cross.png">{box}</image></annotations>',
        "utf-8",
    )
    assert run(["labels", "import", "x.xml", "--into", "again", "--json", "x.json"]) == 0
    assert capsys.readouterr().err == "Left out: boxes (3), photos without a label (1).\n"
    written = json.loads(Path("x.json").read_text("utf-8"))
    assert written["left_out"] == {"boxes": 3, "photos without a label": 1}
    assert written["photos"] == {"added": 1}
    Path("y.xml").write_text(f'<annotations><image name="a.png">{box}</image></annotations>')
    assert run(["labels", "import", "y.xml", "--into", "again"]) == 1
    assert "Received: boxes (1), photos without a label (1)." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["import", "t.csv"], "either --into with a folder for photos or --out with a table"),
        (["import", "t.csv", "--into", "x", "--out", "y.csv"], "Received: both."),
        (["import", "t.csv", "--out", "y.txt"], "Expected a table as --out, .csv or .jsonl."),
        (["import", "t.csv", "--into", "t.csv"], "Expected a folder as --into. Received: t.csv"),
        (["import", "t.csv", "--into", "x", "--field", "y"], "Expected no --field for a table."),
        (["export", "photos", "--format", "cvat", "--out", "x"], "named .xml or .zip for cvat"),
        (
            ["export", "photos", "--format", "cvat", "--out", "x.xml", "--copy"],
            "Expected --copy with fiftyone, or with cvat and a .zip file.",
        ),
        (
            ["export", "photos", "--format", "csv", "--out", "x.csv", "--prefix", "x"],
            "Expected --prefix with label-studio.",
        ),
        (["export", "--format", "csv", "--out", "x.csv"], "Expected PHOTOS, or a call inside a"),
    ],
)
def test_wrong_calls(
    words: list[str], said: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("t.csv").write_text("path,label\nphotos/circle/circle.png,circle\n", "utf-8")
    before = sorted(photos.parent.rglob("*"))
    assert run(["labels", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert sorted(photos.parent.rglob("*")) == before


def test_in_a_project_the_inbox_gets_its_labels(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = create_project(photos.parent / "shapes", ["circle", "cross"])
    for path in photos.rglob("*.png"):
        path.rename(project.inbox / path.name)
    monkeypatch.chdir(project.root)
    words = ["labels", "export", "inbox", "--format", "label-studio", "--out", "tasks.json"]
    assert run(words) == 0
    assert "0 labels, 2 photos without one" in capsys.readouterr().out
    tasks = json.loads(Path("tasks.json").read_text("utf-8"))
    for task in tasks:
        label = task["data"]["image"].rpartition("/")[2].removesuffix(".png")
        value = {"choices": [label]}
        choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": value}
        task["annotations"] = [{"result": [choice], "completed_by": {"email": "b@example.com"}}]
    Path("tasks.json").write_text(json.dumps(tasks), "utf-8")
    assert run(["labels", "import", "tasks.json"]) == 0
    assert "photos: 2 moved" in capsys.readouterr().out
    assert not any(project.inbox.iterdir())
    for label in ("circle", "cross"):
        assert (project.photos / label / f"{label}.png").is_file()
    assert {entry.who for entry in read_journal(project.journal)} == {"b@example.com"}
    assert run(["labels", "export", "--format", "csv", "--out", "labels.jsonl"]) == 0
    rows = [json.loads(line) for line in Path("labels.jsonl").read_text("utf-8").splitlines()]
    assert {row["labelled_by"] for row in rows} == {"b@example.com"}
