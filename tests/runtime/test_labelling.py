"""Labels: nothing is overwritten in silence, lost or doubled, also by kills and by two at once."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from timing import FakeClock

from pocketlens.errors import ConflictError, LabelsError, OutputError, UsageError
from pocketlens.project import Project, create_project
from pocketlens.runtime import inbox, labelling
from pocketlens.runtime.inbox import FrameInfo
from pocketlens.runtime.labelling import Placement, read_journal


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return create_project(tmp_path / "flowers", ["daisy", "rose"])


def jpeg_of(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (24, 32, 3), np.uint8)
    return inbox.encode_jpeg(pixels)


def info_of(number: int) -> FrameInfo:
    return FrameInfo(1e9 + number, "0", (32, 24), "unsure")


def fill(project: Project, count: int) -> list[Path]:
    return [inbox.add(project.inbox, jpeg_of(n), info_of(n)).path for n in range(count)]


def place(project: Project, picture: Path, label: str, expected: str | None = None) -> Path:
    return labelling.place(
        project.photos, picture, label, journal=project.journal, who="ann", expected=expected
    )


def undo(project: Project, who: str = "ann") -> Placement:
    return labelling.undo(project.photos, journal=project.journal, who=who)


def pictures(project: Project) -> Counter[bytes]:
    """Return how often each picture is in the project."""
    return Counter(path.read_bytes() for path in project.root.rglob("*.jpg"))


def test_a_label_moves_the_picture_with_what_is_known_about_it(project: Project) -> None:
    (picture,) = fill(project, 1)
    clock = FakeClock(start_s=1.5e9)
    placed = labelling.place(
        project.photos,
        picture,
        " rose ",
        journal=project.journal,
        who="ann, the \u202efirst\n",
        expected="",
        clock=clock,
    )
    assert placed == project.photos / "rose" / picture.name
    assert inbox.read_info(placed) == inbox.read_info(placed.with_suffix(".json"))
    assert inbox.read_info(placed) is not None
    assert list(project.inbox.iterdir()) == []
    (entry,) = read_journal(project.journal)
    assert entry.at_s == 1.5e9
    assert entry.who == "ann, the \\u202efirst\\n"
    assert (entry.action, entry.from_label, entry.to_label) == ("label", "", "rose")
    assert (entry.file, entry.reason) == (f"photos/rose/{picture.name}", "unsure")
    header, line, end = project.journal.read_text("utf-8").split("\n")
    assert header == "at,who,action,sha256,file,from,to,reason"
    assert line.startswith('2017-07-14T02:40:00.000Z,"ann, the')
    assert end == ""


def test_a_label_is_corrected_taken_away_and_confirmed(project: Project) -> None:
    (picture,) = fill(project, 1)
    rose = place(project, picture, "rose")
    assert place(project, rose, "rose", expected="rose") == rose
    daisy = place(project, rose, "daisy", expected="rose")
    back = place(project, daisy, "")
    assert back == picture
    actions = [(e.action, e.from_label, e.to_label) for e in read_journal(project.journal)]
    assert actions == [
        ("label", "", "rose"),
        ("move", "rose", "rose"),
        ("move", "rose", "daisy"),
        ("move", "daisy", ""),
    ]
    assert pictures(project) == {jpeg_of(0): 1}


def test_who_comes_second_is_told_who_was_first(project: Project) -> None:
    (picture,) = fill(project, 1)
    rose = place(project, picture, "rose", expected="")
    with pytest.raises(ConflictError, match="is 'rose' by now: ann has done that at 20"):
        place(project, picture, "daisy", expected="")
    with pytest.raises(ConflictError, match="has label 'rose' by now and not label 'daisy'"):
        place(project, rose, "", expected="daisy")
    (project.inbox / "x.jpg").write_bytes(b"x")
    (project.inbox / "x.jpg").unlink()
    with pytest.raises(ConflictError, match="no longer there"):
        place(project, project.inbox / "x.jpg", "rose")
    assert [path.name for path in project.photos.rglob("*.jpg")] == [rose.name]


def test_no_picture_replaces_another(project: Project) -> None:
    for folder in (project.inbox, project.photos / "rose"):
        (folder / "a.jpg").write_bytes(jpeg_of(len(folder.name)))
    (project.photos / "rose" / "a-2.png").write_bytes(b"png")
    placed = place(project, project.inbox / "a.jpg", "rose")
    assert placed.name == "a-3.jpg"
    assert len(pictures(project)) == 2
    # The .json of a picture of another kind is its own.
    (project.photos / "daisy" / "b.png").write_bytes(b"png")
    (project.photos / "daisy" / "b.json").write_text("{}")
    (project.inbox / "b.jpg").write_bytes(b"b")
    (project.inbox / "b.json").write_text(info_of(3).to_json())
    assert place(project, project.inbox / "b.jpg", "daisy").name == "b-2.jpg"
    assert (project.photos / "daisy" / "b.json").read_text() == "{}"


def test_of_the_same_picture_one_stays(project: Project) -> None:
    (picture,) = fill(project, 1)
    rose = place(project, picture, "rose")
    (again,) = fill(project, 1)
    results = labelling.place_all(
        project.photos, [(again, "")], "rose", journal=project.journal, who="ann"
    )
    assert [r.path for r in results if isinstance(r, Placement) and r.already] == [rose]
    assert pictures(project) == {jpeg_of(0): 1}
    assert list(project.inbox.iterdir()) == []


def test_a_group_is_placed_at_once_and_conflicts_stay_alone(project: Project) -> None:
    first, second, third = fill(project, 3)
    place(project, second, "daisy")
    results = labelling.place_all(
        project.photos,
        [(first, ""), (second, ""), (third, ""), (third, "")],
        "rose",
        journal=project.journal,
        who="ben",
    )
    assert [type(result) for result in results] == [
        Placement,
        ConflictError,
        Placement,
        ConflictError,
    ]
    assert len(read_journal(project.journal)) == 3
    assert pictures(project) == {jpeg_of(n): 1 for n in range(3)}


def test_undo_goes_back_step_by_step_for_each_person(project: Project) -> None:
    first, second = fill(project, 2)
    rose = place(project, first, "rose")
    place(project, rose, "daisy")
    labelling.place(project.photos, second, "daisy", journal=project.journal, who="ben")
    assert undo(project).path == rose
    assert undo(project).path == first
    with pytest.raises(UsageError, match="nothing that is not undone"):
        undo(project)
    assert undo(project, "ben").path == second
    # What came after an undo can be taken back again.
    place(project, first, "rose")
    assert undo(project).path == first
    assert [entry.action for entry in read_journal(project.journal)][-1] == "undo"
    assert set(project.inbox.glob("*.json")) == {
        first.with_suffix(".json"),
        second.with_suffix(".json"),
    }


def test_undo_leaves_alone_what_somebody_has_done_since(project: Project) -> None:
    (picture,) = fill(project, 1)
    rose = place(project, picture, "rose")
    daisy = labelling.place(project.photos, rose, "daisy", journal=project.journal, who="ben")
    with pytest.raises(ConflictError, match="is 'daisy' by now: ben"):
        undo(project)
    labelling.place(project.photos, daisy, "rose", journal=project.journal, who="ben")
    with pytest.raises(ConflictError, match="is 'rose' by now: ben"):
        undo(project)
    assert rose.is_file()


def test_what_is_added_with_a_label_can_be_undone(project: Project) -> None:
    def add() -> Placement:
        return labelling.add_labelled(
            project.photos, jpeg_of(1), info_of(1), "rose", journal=project.journal, who="ann"
        )

    added = add()
    assert added.path.parent == project.photos / "rose"
    assert add().path == added.path
    assert inbox.read_info(added.path) == info_of(1)
    gone = undo(project)
    assert gone.path.parent == project.root / labelling.DELETED
    assert not list(project.photos.rglob("*.*"))
    assert [entry.action for entry in read_journal(project.journal)] == ["add", "undo"]
    assert pictures(project) == {jpeg_of(1): 1}


def test_deleting_keeps_the_picture_where_nobody_looks(project: Project) -> None:
    (picture,) = fill(project, 1)
    rose = place(project, picture, "rose")
    gone = labelling.delete(
        project.photos, rose, journal=project.journal, who="ann", expected="rose"
    )
    assert gone.is_file()
    with pytest.raises(ConflictError, match="is deleted by now"):
        place(project, rose, "daisy")
    assert undo(project).path == rose
    assert labelling.known_hashes(project.journal) == {read_journal(project.journal)[0].sha256}


def test_names_that_cannot_be_shown_are_labelled_and_undone(project: Project) -> None:
    odd = project.inbox / os.fsdecode("caf\xe9 ü\n:".encode("latin-1") + b".jpg")
    odd.write_bytes(jpeg_of(1))
    placed = place(project, odd, "rose")
    assert placed.name == odd.name
    entry = read_journal(project.journal)[0]
    assert entry.file == "photos/rose/caf\\xe9 \\xfc\\n:.jpg"
    assert undo(project).path == odd


@pytest.mark.parametrize("label", ["..", ".", "../x", "a/b", ".hidden", "x" * 300])
def test_labels_that_leave_the_folder_are_refused(project: Project, label: str) -> None:
    (picture,) = fill(project, 1)
    with pytest.raises(LabelsError, match="can be a folder's name"):
        place(project, picture, label)
    assert picture.is_file()


def test_pictures_of_elsewhere_are_refused(project: Project, tmp_path: Path) -> None:
    for path in (
        tmp_path / "x.jpg",
        project.photos / "x.jpg",
        project.inbox / "a" / "x.jpg",
        project.inbox / "x.json",
        project.inbox / ".x.0123456789abcdef.partial.jpg",
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        with pytest.raises(UsageError, match="Expected a picture in"):
            place(project, path, "rose")
    outside = project.inbox / ".." / ".." / "x.jpg"
    with pytest.raises(UsageError, match="Expected a picture in"):
        place(project, outside, "rose")


@pytest.mark.parametrize(
    "torn", ["2026-01-01T00:00:00.000Z,ann,lab", '2026-01-01T00:00:00.000Z,"an', "\udcff\0", ""]
)
def test_a_torn_last_line_costs_no_other_line(project: Project, torn: str) -> None:
    first, second = fill(project, 2)
    place(project, first, "rose")
    with project.journal.open("ab") as stream:
        stream.write(torn.encode("utf-8", "surrogateescape"))
    assert len(read_journal(project.journal)) == 1
    place(project, second, "rose")
    entries = read_journal(project.journal)
    assert [entry.file.rpartition("/")[2] for entry in entries] == [first.name, second.name]


def test_a_journal_without_its_last_line_break_is_read_whole(project: Project) -> None:
    first, second = fill(project, 2)
    place(project, first, "rose")
    project.journal.write_bytes(project.journal.read_bytes().rstrip().replace(b"\n", b"\r\n"))
    place(project, second, "rose")
    assert len(read_journal(project.journal)) == 2


def test_a_full_disk_leaves_all_where_it_was(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = fill(project, 2)
    place(project, first, "rose")
    before = project.journal.read_bytes()
    real = os.fsync

    def full(number: int) -> None:
        if os.readlink(f"/proc/self/fd/{number}") == str(project.journal):
            raise OSError(28, "No space left on device")
        real(number)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        place(project, second, "rose")
    with pytest.raises(OutputError, match="No space left"):
        labelling.add_labelled(
            project.photos, jpeg_of(7), info_of(7), "rose", journal=project.journal, who="ann"
        )
    monkeypatch.undo()
    assert project.journal.read_bytes() == before
    assert second.is_file()
    assert second.with_suffix(".json").is_file()
    assert pictures(project) == {jpeg_of(0): 1, jpeg_of(1): 1}
    labelling.recover(project.photos, project.journal)
    assert project.journal.read_bytes() == before


# Labels all pictures of the inbox again and again; the parent kills it somewhere in between.
LABEL_UNTIL_KILLED = """
import sys
from pathlib import Path
from pocketlens.errors import ConflictError
from pocketlens.project import read_project
from pocketlens.runtime import inbox, labelling
project, who = read_project(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for entry in inbox.entries(project.inbox):
    try:
        placed = labelling.place(project.photos, entry.path, who, journal=project.journal,
                                 who=who, expected="")
    except ConflictError:
        print("conflict", entry.path.name, flush=True)
    else:
        print("labelled", entry.path.name, flush=True)
"""


def start(project: Project, who: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", LABEL_UNTIL_KILLED, str(project.root), who],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def assert_whole(project: Project, count: int) -> dict[str, str]:
    """Look at what is there; returns the label of each picture by its name."""
    assert pictures(project) == {jpeg_of(n): 1 for n in range(count)}
    found = {}
    for path in project.root.rglob("*.jpg"):
        assert inbox.read_info(path) is not None
        found[path.name] = labelling.label_of(project.photos, path) or ""
    assert len(list(project.root.rglob("*.json"))) == count
    last = {
        entry.file.rpartition("/")[2]: entry.to_label for entry in read_journal(project.journal)
    }
    assert last == {name: label for name, label in found.items() if label}
    return found


def test_a_kill_loses_and_doubles_nothing(project: Project) -> None:
    count = 24
    fill(project, count)
    confirmed: set[str] = set()
    for kill in range(3):
        child = start(project, "rose")
        go(child)
        assert child.stdout is not None
        for _ in range(kill + 1):
            confirmed.add(child.stdout.readline().split()[1])
        child.send_signal(signal.SIGKILL)
        confirmed |= {line.split()[1] for line in child.stdout if line.endswith("\n")}
        child.wait()
        labelling.recover(project.photos, project.journal)
        labels = assert_whole(project, count)
        assert {name for name, label in labels.items() if label} >= confirmed
    assert len(confirmed) > 3


@pytest.mark.parametrize("at", range(8))
def test_a_kill_at_each_step_is_made_good(project: Project, at: int) -> None:
    """The child ends without a word before its step number `at` of file system calls."""
    fill(project, 3)
    code = f"""
import os, sys
from pathlib import Path
from pocketlens import files
from pocketlens.project import read_project
from pocketlens.runtime import inbox, labelling
left = {at}
def dying(name, real):
    def call(*args, **more):
        global left
        if left == 0:
            os.kill(os.getpid(), 9)
        left -= 1
        return real(*args, **more)
    return call
for module, name in ((os, "link"), (os, "fsync"), (os, "replace"), (labelling, "rename_new"),
                     (Path, "unlink")):
    setattr(module, name, dying(name, getattr(module, name)))
project = read_project(Path(sys.argv[1]))
pictures = [(entry.path, "") for entry in inbox.entries(project.inbox)]
labelling.place_all(project.photos, pictures, "rose", journal=project.journal, who="rose")
"""
    done = subprocess.run([sys.executable, "-c", code, str(project.root)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    labelling.recover(project.photos, project.journal)
    labels = assert_whole(project, 3)
    assert len(set(labels.values())) == 1
    labelling.recover(project.photos, project.journal)
    assert assert_whole(project, 3) == labels


def test_two_at_once_get_each_picture_once(project: Project) -> None:
    count = 16
    fill(project, count)
    children = [start(project, who) for who in ("rose", "daisy")]
    for child in children:
        go(child)
    outputs = [child.communicate(timeout=60)[0].splitlines() for child in children]
    labels = assert_whole(project, count)
    for who, lines in zip(("rose", "daisy"), outputs, strict=True):
        assert len(lines) == count
        mine = {line.split()[1] for line in lines if line.startswith("labelled")}
        assert mine == {name for name, label in labels.items() if label == who}


def test_a_note_of_somebody_else_stops_nobody(project: Project) -> None:
    (picture,) = fill(project, 1)
    for text in ("", "[]", '{"moves": 1}', json.dumps({"moves": [], "lines": "", "after": "x"})):
        (project.root / ".labelling").write_text(text)
        assert place(project, picture, "") == picture
        assert not (project.root / ".labelling").exists()


def test_training_finds_no_file_that_is_not_used(project: Project) -> None:
    from pocketlens.runtime.photos import find_others, scan

    for path in fill(project, 2):
        cv2.imread(str(path))
        place(project, path, "rose")
    found = scan(project.photos)
    assert found.labels == ("rose",)
    assert len(found.photos) == 2
    assert list(find_others(project.photos)) == []


def test_labels_that_differ_only_in_capitals_are_refused(project: Project) -> None:
    (picture,) = fill(project, 1)
    with pytest.raises(LabelsError, match=r"'Rose' beside 'rose'"):
        place(project, picture, "Rose")
    assert picture.is_file()
    with pytest.raises(LabelsError, match=r"'DAISY' beside 'daisy'"):
        labelling.add_labelled(
            project.photos, jpeg_of(1), info_of(1), "DAISY", journal=project.journal, who="ann"
        )
    assert sorted(path.name for path in project.photos.iterdir()) == ["daisy", "rose", "unknown"]
