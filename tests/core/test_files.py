"""Whole or not at all; nothing overwritten unasked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pocketlens.errors import OutputError, OutputExistsError
from pocketlens.files import (
    refuse_files,
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
    with pytest.raises(OutputError, match="Received: "):
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


def test_refuse_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    refuse_files([path], overwrite=False)
    path.write_text("")
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

    monkeypatch.setattr(os, "replace", fail_once)
    with (
        pytest.raises(OutputError, match="No space left"),
        staged_folder(out, overwrite=True, marker="m") as folder,
    ):
        (folder / "m").write_text("new")
    assert (out / "m").read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_folder_called_like_ours_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "run.partial"
    other.mkdir()
    (other / "precious").write_text("")
    with staged_folder(tmp_path / "run", overwrite=False, marker="m") as folder:
        (folder / "m").write_text("")
    assert (other / "precious").is_file()


def test_targets_of_options(tmp_path: Path) -> None:
    taken = tmp_path / "a.json"
    taken.write_text("")
    refuse_targets(None, "-", str(tmp_path / "b.json"), overwrite=False)
    refuse_targets(str(taken), overwrite=True)
    with pytest.raises(OutputExistsError):
        refuse_targets("-", str(taken), overwrite=False)


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
    assert "Permission denied" in done.stdout
    assert not list(locked.iterdir())


def unprivileged(command: list[str]) -> list[str]:
    """Return the command such that permissions count for root too."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
