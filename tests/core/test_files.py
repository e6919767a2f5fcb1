"""Whole or not at all; nothing overwritten unasked."""

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pocketlens.errors import OutputError, OutputExistsError
from pocketlens.files import (
    json_text,
    one_call,
    open_new,
    refuse_files,
    refuse_folder,
    refuse_targets,
    replacing,
    staged_folder,
    write_bytes,
    write_csv,
    write_json,
    write_text,
)


def test_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_text(path, "one")
    write_text(path, "zwölf")
    assert path.read_text("utf-8") == "zwölf"
    assert list(path.parent.iterdir()) == [path]


def test_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_partial_file_keeps_the_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.keras") as partial:
        assert partial.suffix == ".keras"
        partial.write_bytes(b"")


def test_file_where_a_folder_is_needed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OutputError, match="Cannot write "):
        write_bytes(tmp_path / "a" / "b", b"")


def test_csv_quotes(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["x"], [["a,b"], ['c"d']])
    assert (tmp_path / "a.csv").read_text().splitlines() == ["x", '"a,b"', '"c""d"']


def test_json_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    write_json("-", {"a": "ü"})
    assert capsys.readouterr().out == '{\n  "a": "ü"\n}\n'


def test_staged_folder_appears_when_complete(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with staged_folder(out, overwrite=False, marker="m") as folder:
        (folder / "m").write_text("new")
        assert not out.exists()
    assert (out / "m").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_staged_folder_fails_without_a_trace(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "m").write_text("old")

    def fail() -> None:
        with staged_folder(out, overwrite=True, marker="m") as folder:
            (folder / "m").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (out / "m").read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_staged_folder_replaces_ours_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "run"
    for text in ("old", "new"):
        with staged_folder(out, overwrite=True, marker="m") as folder:
            (folder / "m").write_text(text)
    assert (out / "m").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("content", "overwrite"),
    [("m", False), ("precious", False), ("precious", True)],
    ids=["ours", "other", "other-overwrite"],
)
def test_staged_folder_refuses(tmp_path: Path, content: str, overwrite: bool) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / content).write_text("old")
    with (
        pytest.raises(OutputExistsError, match=str(out)),
        staged_folder(out, overwrite=overwrite, marker="m"),
    ):
        pass
    assert (out / content).read_text() == "old"


def test_empty_folder_may_be_filled(tmp_path: Path) -> None:
    with staged_folder(tmp_path, overwrite=False, marker="m") as folder:
        (folder / "m").write_text("")
    assert (tmp_path / "m").is_file()


@pytest.mark.parametrize(
    "write",
    [
        lambda link: write_text(link, "x"),
        open_new,
        lambda link: refuse_folder(link, overwrite=True, marker="x"),
        lambda link: refuse_files([link], overwrite=True),
    ],
    ids=["file", "lines", "folder", "early"],
)
def test_a_link_to_nowhere_is_refused(tmp_path: Path, write: Callable[[Path], object]) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "missing" / "place")
    with pytest.raises(OutputError, match="a symbolic link that leads nowhere"):
        write(link)
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_refuse_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with one_call():
        refuse_files([path], overwrite=False)
        path.write_text("")
        # Two looks of one call, between which somebody else has written it.
        with one_call(), pytest.raises(OutputExistsError, match="appeared or changed"):
            refuse_files([path], overwrite=True)
    refuse_files([path], overwrite=True)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        refuse_files([path], overwrite=False)


def test_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "m").write_text("old")
    replace = os.replace

    def fail_once(source: Path, target: Path) -> None:
        if Path(target) == out and Path(source).suffix == ".partial":
            raise OSError(28, "No space left on device")
        replace(source, target)

    without_renameat2(monkeypatch)
    monkeypatch.setattr(os, "replace", fail_once)
    with (
        pytest.raises(OutputError, match="No space left"),
        staged_folder(out, overwrite=True, marker="m") as folder,
    ):
        (folder / "m").write_text("new")
    assert (out / "m").read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def without_renameat2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do as on a system that has none."""
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())


def test_folder_called_like_ours_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "run.partial"
    other.mkdir()
    (other / "precious").write_text("")
    with staged_folder(tmp_path / "run", overwrite=False, marker="m") as folder:
        (folder / "m").write_text("")
    assert (other / "precious").is_file()


@pytest.fixture
def call() -> Iterator[None]:
    """Let all that a test does be one call."""
    with one_call():
        yield


@pytest.fixture(params=["renameat2", "older"])
def rename(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With and without a system call that renames only where nothing is."""
    if request.param == "older":
        without_renameat2(monkeypatch)
    return str(request.param)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("before", [False, True], ids=["new", "old"])
@pytest.mark.usefixtures("call", "rename")
def test_what_appears_meanwhile_is_kept(tmp_path: Path, before: bool, overwrite: bool) -> None:
    folder, file = tmp_path / "run", tmp_path / "a.json"
    if before and overwrite:
        folder.mkdir()
        (folder / "m").write_text("old")
        file.write_text("old")
    refuse_folder(folder, overwrite=overwrite, marker="m")
    refuse_files([file], overwrite=overwrite)

    def make() -> None:
        with staged_folder(folder, overwrite=overwrite, marker="m") as staged:
            (staged / "m").write_text("ours")
            other = tmp_path / "other"
            other.mkdir()
            (other / "m").write_text("theirs")
            if folder.exists():
                shutil.rmtree(folder)
            other.rename(folder)

    with pytest.raises(OutputExistsError, match="appeared or changed"):
        make()
    (tmp_path / "b").write_text("theirs")
    (tmp_path / "b").replace(file)
    with pytest.raises(OutputExistsError, match="appeared or changed"):
        write_text(file, "ours")
    assert (folder / "m").read_text() == file.read_text() == "theirs"
    assert sorted(tmp_path.iterdir()) == [file, folder]


@pytest.mark.usefixtures("call", "rename")
def test_what_was_there_is_replaced_with_overwrite(tmp_path: Path) -> None:
    folder, file = tmp_path / "run", tmp_path / "a.json"
    folder.mkdir()
    (folder / "m").write_text("old")
    file.write_text("old")
    refuse_files([file], overwrite=True)
    write_text(file, "new")
    with staged_folder(folder, overwrite=True, marker="m") as staged:
        (staged / "m").write_text("new")
    assert (folder / "m").read_text() == file.read_text() == "new"
    assert sorted(tmp_path.iterdir()) == [file, folder]


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.usefixtures("call", "rename")
def test_the_old_one_may_be_removed_by_others_once_it_has_stepped_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    out = tmp_path / "out"
    look = Path.lstat

    def removed_then(path: Path) -> os.stat_result:
        status = look(path)
        if path != out and path.is_dir() and (path / "m").read_text() == "old":
            for entry in path.iterdir():
                entry.unlink()
            path.rmdir()
        elif path != out and path.is_file() and path.read_text() == "old":
            path.unlink()
        return status

    if kind == "file":
        out.write_text("old")
        refuse_files([out], overwrite=True)
        monkeypatch.setattr(Path, "lstat", removed_then)
        write_text(out, "new")
    else:
        out.mkdir()
        (out / "m").write_text("old")
        with staged_folder(out, overwrite=True, marker="m") as folder:
            (folder / "m").write_text("new")
            monkeypatch.setattr(Path, "lstat", removed_then)
    monkeypatch.undo()
    assert (out if kind == "file" else out / "m").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.usefixtures("call", "rename")
def test_lines_replace_only_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("old")
    refuse_files([file], overwrite=True)
    (tmp_path / "b").write_text("theirs")
    (tmp_path / "b").replace(file)
    with pytest.raises(OutputExistsError, match="appeared or changed"):
        open_new(file)
    assert file.read_text() == "theirs"
    refuse_files([file], overwrite=True)
    with open_new(file) as stream:
        stream.write(b"new")
        assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.usefixtures("call")
def test_a_recording_that_lost_its_name_is_kept_under_another(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    refuse_files([path], overwrite=False)

    def record() -> None:
        with replacing(path, keep=True) as partial:
            partial.write_bytes(b"ours")
            for name in ("a.mp4", "a-2.mp4"):
                (tmp_path / name).write_bytes(b"theirs")

    with pytest.raises(OutputExistsError, match=r"The new file is .*a-3\.mp4"):
        record()
    assert [(tmp_path / f"a{n}.mp4").read_bytes() for n in ("", "-2", "-3")] == [
        b"theirs",
        b"theirs",
        b"ours",
    ]


# Both wait for the other one between looking and writing.
RACE = """
import sys
from collections.abc import Callable
from pathlib import Path
from pocketlens.errors import OutputExistsError
from pocketlens.files import one_call, open_new, refuse_files, staged_folder, write_text
me, top, kind, count = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
for number in range(count):
    target = top / str(number)
    lost = False
    try:
        with one_call():
            if kind == "file":
                refuse_files([target], overwrite=False)
                print("ready", flush=True)
                sys.stdin.readline()
                write_text(target, me)
            elif kind == "lines":
                refuse_files([target], overwrite=False)
                print("ready", flush=True)
                sys.stdin.readline()
                with open_new(target) as stream:
                    stream.write(me.encode())
            else:
                with staged_folder(target, overwrite=False, marker="m") as folder:
                    (folder / "m").write_text(me)
                    print("ready", flush=True)
                    sys.stdin.readline()
    except OutputExistsError:
        lost = True
    print("lost" if lost else "won", flush=True)
"""


@pytest.mark.parametrize("kind", ["file", "lines", "folder"])
def test_of_two_writers_exactly_one_wins(tmp_path: Path, kind: str) -> None:
    count = 40
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", RACE, me, str(tmp_path), kind, str(count)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for me in "AB"
        ]
        for number in range(count):
            for writer in writers:
                assert writer.stdout.readline() == "ready\n"
            # Sometimes there is a third one, who has no manners.
            target = tmp_path / str(number)
            third = number % 4 == 3
            if third:
                target.mkdir() if kind == "folder" else target.touch()
                (target / "theirs" if kind == "folder" else target).write_text("C")
            for writer in writers:
                writer.stdin.write("go\n")
                writer.stdin.flush()
            said = [writer.stdout.readline().strip() for writer in writers]
            assert sorted(said) == (["lost", "lost"] if third else ["lost", "won"])
            held = target / ("theirs" if third else "m") if kind == "folder" else target
            assert held.read_text() == ("C" if third else "AB"[said.index("won")])
    assert len(list(tmp_path.iterdir())) == count


KILLED = """
import os, sys
from pathlib import Path
from pocketlens.files import replacing, staged_folder
top = Path(sys.argv[1])
with replacing(top / "a.bin") as file, staged_folder(top / "run", overwrite=False, marker="m"):
    file.write_bytes(b"half")
    print("ready", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks on Windows")
def test_what_a_killed_process_left_is_removed_and_never_what_another_makes(tmp_path: Path) -> None:
    def start() -> "subprocess.Popen[str]":
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout.readline() == "ready\n"
        return child

    similar = tmp_path / ".a.1234.partial.bin"
    similar.write_bytes(b"somebody's")
    with start() as killed:
        abandoned = set(tmp_path.iterdir()) - {similar}
        killed.communicate("now\n")
    assert len(abandoned) == 2
    with start() as alive:
        made = set(tmp_path.iterdir()) - {similar}
        assert len(made) == 2
        assert not made & abandoned
        write_text(tmp_path / "b", "")
        assert set(tmp_path.iterdir()) == {*made, similar, tmp_path / "b"}
        alive.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks on Windows")
def test_what_somebody_takes_for_abandoned_before_it_is_locked_is_left_to_him(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    flock, taken = fcntl.flock, []

    def taken_first(number: int, operation: int) -> None:
        if not taken:
            taken.extend(tmp_path.iterdir())
            raise BlockingIOError
        flock(number, operation)

    monkeypatch.setattr(fcntl, "flock", taken_first)
    with staged_folder(tmp_path / "run", overwrite=False, marker="m") as folder:
        assert [folder] != taken != []
        # As he does.
        taken[0].rmdir()
        (folder / "m").write_text("new")
    assert (tmp_path / "run" / "m").read_text() == "new"


def test_secrets_are_nobody_elses_from_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    write = Path.write_bytes

    def watched(path: Path, data: bytes) -> int:
        modes.append(path.stat().st_mode & 0o777)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", watched)
    write_text(tmp_path / "a", "secret", mode=0o600)
    assert [*modes, (tmp_path / "a").stat().st_mode & 0o777] == [0o600, 0o600]


@pytest.mark.usefixtures("call")
def test_links_are_followed_and_stay(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    names = {"run": "disk/run", "a.json": "disk/a.json"}
    for name, target in names.items():
        (tmp_path / name).symlink_to(target)
    for overwrite in (False, True):
        refuse_files([tmp_path / "a.json"], overwrite=overwrite)
        write_text(tmp_path / "a.json", str(overwrite))
        with staged_folder(tmp_path / "run", overwrite=overwrite, marker="m") as folder:
            (folder / "m").write_text(str(overwrite))
        for name in ("a.json", "run/m"):
            assert (tmp_path / name).read_text() == str(overwrite)
    assert all((tmp_path / name).is_symlink() for name in names)
    with pytest.raises(OutputExistsError):
        refuse_files([tmp_path / "a.json"], overwrite=False)
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    for refuse in (
        lambda: refuse_files([loop], overwrite=True),
        lambda: refuse_folder(loop, overwrite=True, marker="m"),
    ):
        with pytest.raises(OutputError, match="symbolic link"):
            refuse()


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 120 + ".json")
    write_text(path, "x")
    assert path.read_text() == "x"


def test_json_that_an_encoding_lacks_is_escaped(tmp_path: Path) -> None:
    assert json_text({"a": "grün"}) == '{"a": "grün"}'
    assert json_text({"a": "grün"}, "UTF8") == '{"a": "grün"}'
    for encoding in ("ascii", "ISO-8859-1", "cp1252"):
        assert json_text({"a": "grün"}, encoding) == '{"a": "gr\\u00fcn"}'
    # A name that is no UTF-8, as `os.fsdecode` gives it.
    write_json(tmp_path / "a.json", {"a": "caf\udce9"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": "caf\udce9"}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes on Windows")
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(OutputExistsError, match="is not a regular file") as caught:
        refuse_files([tmp_path / "a.json"], overwrite=overwrite)
    assert "--overwrite" not in str(caught.value)


def test_targets_of_options(tmp_path: Path) -> None:
    taken = tmp_path / "a.json"
    taken.write_text("")
    refuse_targets(None, "-", str(tmp_path / "b.json"), overwrite=False)
    refuse_targets(str(taken), overwrite=True)
    with pytest.raises(OutputExistsError):
        refuse_targets("-", str(taken), overwrite=False)


ASIDE = """
import ctypes, os, sys
from pathlib import Path
from pocketlens.files import one_call, refuse_files, write_text
replace = os.replace
def kill(source, target):
    replace(source, target)
    os.kill(os.getpid(), 9)
ctypes.CDLL = lambda *_, **__: object()
os.replace = kill
file = Path(sys.argv[1])
with one_call():
    refuse_files([file], overwrite=True)
    write_text(file, "new")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal on Windows")
def test_what_was_set_aside_by_a_killed_process_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")
    done = subprocess.run([sys.executable, "-c", ASIDE, str(file)], check=False)
    assert done.returncode == -9
    write_text(tmp_path / "b", "")
    assert "old" in [path.read_text() for path in tmp_path.iterdir()]


@pytest.mark.parametrize("call", ["refuse_files([path], overwrite=True)", "write_text(path, 'x')"])
def test_a_folder_that_may_not_be_entered(tmp_path: Path, call: str) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    code = (
        "from pocketlens.files import refuse_files, write_text; from pathlib import Path\n"
        "from pocketlens.errors import OutputError; import sys\n"
        "path = Path(sys.argv[1])\n"
        f"try: {call}\n"
        "except OutputError as error: print(error); sys.exit(3)"
    )
    command = [sys.executable, "-c", code, str(locked / "in" / "a.txt")]
    done = subprocess.run(unprivileged(command), capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert f"Permission denied: {locked} belongs to" in done.stdout


def test_no_permission(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    code = (
        "from pocketlens.files import write_text; from pathlib import Path; import sys\n"
        "from pocketlens.errors import OutputError\n"
        "try: write_text(Path(sys.argv[1]), 'x')\n"
        "except OutputError as error: print(error); sys.exit(3)"
    )
    command = [sys.executable, "-c", code, str(locked / "a.txt")]
    done = subprocess.run(unprivileged(command), capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert f"Permission denied: {locked} belongs to {locked.owner()}" in done.stdout
    assert not list(locked.iterdir())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="there is no /proc on this system")
@pytest.mark.parametrize(
    "refuse",
    [
        lambda path: refuse_files([path], overwrite=False),
        lambda path: refuse_folder(path, overwrite=True, marker="index.html"),
    ],
    ids=["file", "folder"],
)
def test_a_place_where_even_root_cannot_write_is_found_at_once(
    refuse: Callable[[Path], None],
) -> None:
    with pytest.raises(OutputError, match="Cannot write /proc/results"):
        refuse(Path("/proc/results"))


def test_looking_leaves_a_folder_as_it_was(tmp_path: Path) -> None:
    before = tmp_path.stat().st_mtime_ns
    refuse_files([tmp_path / "a.json"], overwrite=False)
    assert tmp_path.stat().st_mtime_ns == before
    assert not list(tmp_path.iterdir())


def unprivileged(command: list[str]) -> list[str]:
    """Return the command such that permissions count for root too."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
