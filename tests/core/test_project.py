"""The project folder and its file."""

from pathlib import Path

import pytest

from pocketlens.errors import (
    LabelsError,
    OutputExistsError,
    PocketlensError,
    ProjectError,
    UsageError,
)
from pocketlens.project import (
    PROJECT_FILE,
    class_folder,
    create_project,
    find_project,
    project_root,
    read_project,
)


def test_a_new_project_reads_as_it_was_made(tmp_path: Path) -> None:
    settings = {"camera": {"source": 'rtsp://a/"b\\c', "fps": 2.5}, "train": {"no-flip": True}}
    labels = ["daisy", "tulips", "Zoë's [1] # x", "unknown"]
    made = create_project(tmp_path / "flowers", labels, settings=settings)
    found = read_project(tmp_path / "flowers")
    assert found.classes == made.classes == ("daisy", "tulips", "Zoë's [1] # x")
    assert found.task == "multiclass"
    assert {key: found.settings[key] for key in settings} == settings
    for path in (found.inbox, found.runs, found.models, *map(found.photos.joinpath, labels)):
        assert path.is_dir()


def test_nothing_that_is_there_changes(tmp_path: Path) -> None:
    photo = tmp_path / "photos" / "a" / "1.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"1")
    project = create_project(tmp_path, ["a", "b"])
    text = project.file.read_text("utf-8")
    with pytest.raises(OutputExistsError, match=r"which has a pocketlens\.toml"):
        create_project(tmp_path, ["c"])
    assert project.file.read_text("utf-8") == text
    assert photo.read_bytes() == b"1"
    assert not (tmp_path / "photos" / "c").exists()


def test_a_project_is_found_from_below_only(tmp_path: Path) -> None:
    project = create_project(tmp_path / "here", ["a", "b"])
    below = project.photos / "a"
    found = find_project(below)
    assert found is not None
    assert found.root == project.root
    assert find_project(tmp_path) is None
    assert project_root(project.root) == project.root


def test_the_nearest_project_counts(tmp_path: Path) -> None:
    create_project(tmp_path, ["a", "b"])
    inner = create_project(tmp_path / "x" / "inner", ["c", "d"])
    found = find_project(inner.inbox)
    assert found is not None
    assert found.classes == ("c", "d")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'classes = ["a"', "Expected TOML in"),
        (b'classes = ["\xff"]', "Received: bytes that are not UTF-8"),
        (b"a = " + b"[" * 3000, "Expected TOML"),
        (b"", 'Received: nothing. Write it like: classes = ["cat", "dog"]'),
        (b'classes = "cat"', 'Received: "cat". Write it like'),
        (b'classes = ["a", 2]', 'Received: ["a", 2]'),
        (b'classes = ["a", " a "]', "Received: 'a' twice"),
        (b'classes = ["A", "a"]', "more than capital letters"),
        (b'classes = ["a/b"]', "which has a slash"),
        (b'classes = [".a"]', "dot hides"),
        (b'classes = [""]', "an empty one"),
        (b'classes = ["a"]\ntask = "multi"', 'Received: "multi". Did you mean multiclass?'),
        (b'classes = ["a"]\ntask = "multilabel"', "Expected task as multiclass or binary"),
        (b"classes = []\ntask = 1979-05-27", "1979-05-27"),
        (b'clases = ["a"]', "Received: clases. Did you mean classes?"),
        (b'"x\\u001b[0m" = 1', r"Received: x\x1b[0m. Known are: classes, task."),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: bytes, says: str) -> None:
    (tmp_path / PROJECT_FILE).write_bytes(text)
    with pytest.raises(ProjectError) as caught:
        read_project(tmp_path)
    assert says in str(caught.value)
    assert str(tmp_path / PROJECT_FILE) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_windows_files_are_read(tmp_path: Path) -> None:
    (tmp_path / PROJECT_FILE).write_bytes(
        b'\xef\xbb\xbfclasses = ["a"]\r\n[train]\r\nepochs = 2\r\n'
    )
    assert read_project(tmp_path).settings == {"train": {"epochs": 2}}


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / PROJECT_FILE).write_bytes(b"#" * (2 << 20))
    with pytest.raises(ProjectError, match="at most 1 MB"):
        read_project(tmp_path)


def test_what_is_no_project_says_how_to_make_one(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match="pocketlens init FOLDER"):
            read_project(folder)


def test_an_unreadable_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_project(tmp_path, ["a"])

    def denied(*_args: object, **_more: object) -> None:
        # Root may read everything, so no mode of a file does it.
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ProjectError, match="Permission denied"):
        read_project(tmp_path)


def test_values_that_toml_cannot_hold_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    root = tmp_path / "new"
    with pytest.raises(UsageError, match=r"caf\\xe9\.mp4, which is not UTF-8"):
        create_project(root, ["a"], settings={"camera": {"source": "caf\udce9.mp4"}})
    with pytest.raises(UsageError, match="Expected multiclass or binary"):
        create_project(root, ["a"], task="multilabel")
    with pytest.raises(LabelsError, match="two classes"):
        create_project(root, ["a", "b", "c"], task="binary")
    assert not root.exists()


def test_a_file_where_a_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "photos").write_text("")
    with pytest.raises(PocketlensError, match="Cannot write"):
        create_project(tmp_path, ["a"])
    assert not (tmp_path / PROJECT_FILE).exists()


def test_a_folder_in_another_form_of_the_name_is_the_class(tmp_path: Path) -> None:
    decomposed = tmp_path / " cafe\u0301"
    decomposed.mkdir()
    assert class_folder(tmp_path, "café") == decomposed
    assert class_folder(tmp_path, "tea") == tmp_path / "tea"
