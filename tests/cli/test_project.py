"""Projects: `init`, and what commands take from one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_training import SMALL_TRAINING

from pocketlens.cli.main import run
from pocketlens.project import PROJECT_FILE, create_project, read_project

FORMATS = ("dynamic", "float16", "float32", "int8", "weights8")


@pytest.fixture
def project(tmp_path: Path, tiny_photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, in which the test is."""
    root = tmp_path / "shapes"
    create_project(root, ["circle", "cross", "stripes"])
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def made(
    project: Path, tiny_home: Path, tiny_run: Path, tiny_tflite: Path, tiny_photos: Path
) -> Path:
    """A project with photos, two runs and the files of one."""
    shutil.copytree(tiny_photos, project / "photos", dirs_exist_ok=True)
    for number in (1, 2):
        copy = project / "runs" / f"shapes-{number}"
        shutil.copytree(tiny_run, copy)
        split = json.loads((copy / "split.json").read_text("utf-8"))
        (copy / "split.json").write_text(json.dumps({**split, "photos": "../../photos"}))
        os.utime(copy / "split.json", (1e9 + number, 1e9 + number))
    (project / "models" / "shapes-2").mkdir()
    shutil.copy(tiny_tflite, project / "models" / "shapes-2" / "shapes-2_int8.tflite")
    return project


def write_settings(root: Path, text: str) -> None:
    with (root / PROJECT_FILE).open("a", encoding="utf-8") as stream:
        stream.write(text)


def tables_of(text: str) -> str:
    """Return the file of a project that has these tables in place of the empty ones."""
    return f'classes = ["circle", "cross", "stripes"]\n{text}'


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(list(words)) in (1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_init_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "my flowers", "--classes", "daisy,rosé ", "--label", "a, b"]) == 0
    out = capsys.readouterr().out
    assert "Made the project my flowers with 0 photos. Classes: a, b, daisy, rosé." in out
    assert "cd 'my flowers'" in out
    for step in ("check", "train", "convert", "live"):
        assert f"  pocketlens {step} " in out
    found = read_project(tmp_path / "my flowers")
    assert found.classes == ("a, b", "daisy", "rosé")
    assert (found.photos / "rosé").is_dir()
    assert (found.photos / "unknown").is_dir()


def test_init_never_overwrites(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (project / PROJECT_FILE).read_bytes()
    assert "which has a pocketlens.toml" in fails(capsys, "init", ".", "--label", "x")
    assert (project / PROJECT_FILE).read_bytes() == before


def test_init_takes_photos_in_and_can_be_repeated_after_a_kill(
    tmp_path: Path, tiny_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "from").mkdir()
    shutil.copytree(tiny_photos / "circle", tmp_path / "from" / "circle")
    shutil.copytree(tiny_photos / "cross", tmp_path / "from" / "background")
    inner = tmp_path / "from" / "circle" / "inner"
    inner.mkdir()
    shutil.copy(tiny_photos / "cross" / "01.png", inner / "00.png")
    root = tmp_path / "p"
    call = ["init", str(root), "--from", str(tmp_path / "from"), "--json", "-"]
    assert run(call) == 0
    said = json.loads(capsys.readouterr().out)
    # Counter-examples are no class.
    assert said == {"project": str(root), "classes": ["circle"], "task": "multiclass", "photos": 61}
    assert (root / "photos" / "circle" / "00-2.png").is_file()
    # As after a kill: the file comes last.
    (root / PROJECT_FILE).unlink()
    (root / "photos" / "circle" / "07.png").unlink()
    assert run([*call, "--link"]) == 0
    assert json.loads(capsys.readouterr().out) == said
    linked = root / "photos" / "circle" / "07.png"
    assert linked.samefile(tmp_path / "from" / "circle" / "07.png")


def test_init_of_photos_that_are_there(tmp_path: Path, tiny_photos: Path) -> None:
    shutil.copytree(tiny_photos, tmp_path / "p" / "photos")
    assert run(["init", str(tmp_path / "p")]) == 0
    assert read_project(tmp_path / "p").classes == ("circle", "cross", "stripes")


def test_init_of_a_table(tmp_path: Path, tiny_photos: Path) -> None:
    table = tmp_path / "t.csv"
    rows = [f"{tiny_photos / label / '00.png'},{label}" for label in ("circle", "cross")]
    table.write_text("path,label\n" + "\n".join(rows))
    assert run(["init", str(tmp_path / "p"), "--from", str(table)]) == 0
    assert [path.parent.name for path in sorted((tmp_path / "p").rglob("*.png"))] == [
        "circle",
        "cross",
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--label", "a", "--label", " a"], "'a' twice"),
        (["--label", "a/b"], "which has a slash"),
        (["--label", ".."], "dot hides"),
        (["--classes", "a,A"], "more than capital letters"),
        (["--classes", "a,b,c", "--task", "binary"], "two classes"),
        (["--task", "multilabel"], "Expected --task as one of multiclass, binary"),
        (["--from", "missing"], "as --from"),
        (["--link"], "Expected --from PHOTOS with --link"),
        (["--source", "rtsp://me:secret@camera/1"], "without a password"),
        (["--from", "divided"], "not divided into splits"),
        (["--from", "empty"], "folder per class"),
    ],
)
def test_init_refuses_before_it_makes_anything(
    words: list[str],
    says: str,
    tmp_path: Path,
    tiny_photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for split in ("train", "val"):
        shutil.copytree(tiny_photos / "circle", tmp_path / "divided" / split / "circle")
    error = fails(capsys, "init", "new", *words)
    assert says in error
    assert "secret" not in error
    assert not (tmp_path / "new").exists()


def test_init_keeps_a_source_that_is_a_file_findable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v.mp4").write_bytes(b"")
    assert run(["init", "p", "--source", "v.mp4"]) == 0
    assert read_project(tmp_path / "p").settings["camera"] == {"source": str(tmp_path / "v.mp4")}
    assert run(["init", "q", "--source", "0"]) == 0
    assert read_project(tmp_path / "q").settings["camera"] == {"source": "0"}


def test_names_that_are_no_utf8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    (odd / "v.mp4").write_bytes(b"")
    assert "not UTF-8" in fails(capsys, "init", str(tmp_path / "p"), "--source", str(odd / "v.mp4"))
    assert run(["init", str(odd), "--label", "a\x1b[0m"]) == 0
    assert read_project(odd).classes == ("a\\x1b[0m",)
    capsys.readouterr()
    assert "caf\\xe9/photos" in fails(capsys, "check", "--project", str(odd))


def test_photos_are_those_of_the_project(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("imagehash", reason="checking photos needs the train extra")
    assert run(["check"]) == 0
    assert "photos: 90 readable photos" in capsys.readouterr().out
    monkeypatch.chdir(made.parent)
    assert run(["check", "--project", made.name]) == 0
    assert f"{made.name}/photos: 90" in capsys.readouterr().out


def test_commands_take_what_is_not_said(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect"]) == 0
    assert "models/shapes-2/shapes-2_int8.tflite" in capsys.readouterr().out
    assert run(["benchmark", "--num-runs", "1", "--min-secs", "0", "--json", "b.json"]) == 0
    result = json.loads((made / "b.json").read_text())
    assert result["files"][0]["accuracy"]["total"] > 0
    assert run(["live", "--source", "photos/circle", "--max-frames", "1"]) == 0
    assert run(["export", "--target", "c", "models/shapes-2/shapes-2_int8.tflite"]) == 0
    assert (made / "exports" / "shapes-2_int8-c").is_dir()


def test_a_word_that_is_no_model_is_for_the_photos(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["classify", "photos/circle/00.png", "photos/cross/00.png", "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert [Path(entry["path"]).name for entry in json.loads(captured.out)["pictures"]] == [
        "00.png",
        "00.png",
    ]
    assert "shapes-2_int8.tflite" in captured.err
    model = "models/shapes-2/shapes-2_int8.tflite"
    assert run(["evaluate", model]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("Project shapes: PHOTOS runs/shapes-2\n")
    assert "shapes-2_int8.tflite on" in captured.out
    write_settings(made, f'[evaluate]\nmodel = "{model}"\n')
    assert run(["evaluate", "photos"]) == 0
    assert "shapes-2_int8.tflite on 90 photos" in capsys.readouterr().out
    # What is said in full stays what it is.
    assert "photos/circle" in fails(capsys, "evaluate", "photos/circle", "photos")


def test_below_the_project_and_from_elsewhere(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(made / "photos" / "circle")
    assert run(["classify", "00.png"]) == 0
    monkeypatch.chdir(tmp_path)
    assert run(["inspect", "--project", "shapes"]) == 0
    assert "shapes/models/shapes-2/shapes-2_int8.tflite" in capsys.readouterr().out
    assert "Expected a project with pocketlens.toml" in fails(capsys, "check", "--project", "/")
    assert "Received: no such folder" in fails(capsys, "check", "--project", "missing")


def test_paths_need_no_project(
    tiny_tflite: Path, tiny_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Outside of a project nothing of TOML is loaded, and nothing else is said than before."""
    photo = tiny_photos / "circle" / "00.png"
    for words in (["--help"], ["classify", str(tiny_tflite), str(photo)], ["check"]):
        code = (
            "import sys\nfrom pocketlens.cli.main import run\n"
            f"code = run({words!r})\n"
            "print('LOADED', {'tomllib', 'tomli', 'pocketlens.cli.projects'} & set(sys.modules))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
        )
        assert done.stdout.splitlines()[-1] == "LOADED set()"
        assert "Project" not in done.stderr
    assert "Missing argument 'PHOTOS'" in done.stderr


def test_what_the_project_lacks_is_said(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Train one with: pocketlens train" in fails(capsys, "convert")
    assert "Make some with: pocketlens convert" in fails(capsys, "live")
    shutil.rmtree(project / "photos")
    assert "as PHOTOS. Received: photos (nothing there)" in fails(capsys, "check")


def test_the_file_gives_options_and_the_command_line_wins(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_settings(
        made,
        """[classify]
top-k = 2
json = "answers.json"
model = "models/shapes-2/shapes-2_int8.tflite"
""",
    )
    assert run(["classify", "photos/circle/00.png"]) == 0
    written = json.loads((made / "answers.json").read_text("utf-8"))
    assert len(written["pictures"][0]["categories"]) == 2
    # A path of the file counts from the project.
    (made / "answers.json").unlink()
    os.chdir(made / "photos")
    assert run(["classify", "circle/00.png", "--top-k", "1"]) == 0
    written = json.loads((made / "answers.json").read_text("utf-8"))
    assert len(written["pictures"][0]["categories"]) == 1


def test_the_camera_is_for_all_that_open_it(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (made / PROJECT_FILE).write_text(
        tables_of('[camera]\nsource = "photos/circle"\nfps = 2\n[live]\nmax-frames = 2\nfps = 4.0')
    )
    assert run(["live", "--json", "-"]) == 0
    captured = json.loads(capsys.readouterr().out)
    assert captured["frames"] == 2
    assert captured["source"].endswith("photos/circle")
    monkeypatch.setenv("POCKETLENS_SOURCE", "photos/cross")
    assert run(["live", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "photos/cross"
    assert run(["live", "--json", "-", "--source", "photos/stripes"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "photos/stripes"


def test_a_service_is_installed_from_a_project(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["service", "install", "--source", "0", "--print"]) == 0
    unit = capsys.readouterr().out
    assert "shapes-2_int8.tflite --source 0" in unit.replace('"', "")
    assert f"WorkingDirectory={made}" in unit


@pytest.mark.parametrize(
    ("words", "text", "says"),
    [
        ("check", "[chek]\n", "Received: [chek]. Did you mean check?"),
        ("check", '["a\\u001b"]\n', "Received: [a\\x1b]"),
        ("check", "x = 1\n", "Expected classes or task or a table such as [train]"),
        ("check", "train = 3\n", "Received: train."),
        ("check", "[[check]]\n", "Received: check. Known are: classes, task."),
        ("check", "[check\n", "Expected TOML"),
        (
            "train",
            "[train]\nbatch_size = 3\n",
            "[train] batch_size in {file}. Received: one that it does not have. Did you mean",
        ),
        ("train", '[train]\nbatch-size = "many"\n', "In [train] batch-size in {file}: Expected"),
        ("train", "[train]\nbatch-size = [1]\n", "Expected text or a number as [train] batch-size"),
        ("train", "[train]\nbatch-size = 1.5\n", "Received: 1.5"),
        ("train", "[train]\nhead-epochs = true\n", "as [train] head-epochs in {file}"),
        ("train", "[train]\nno-flip = 1\n", "Expected true or false as [train] no-flip"),
        ("train", '[train]\naugment = "stron"\n', "Did you mean strong?"),
        ("train", "[train]\nseed = 2026-01-01\n", "Received: 2026-01-01"),
        ("train", "[train]\noverwrite = true\n", "Received: one that it does not have"),
        ("train", "[train]\nhelp = true\n", "Received: one that it does not have"),
        ("convert", '[convert]\nformat = ["int8", "int4"]\n', "In [convert] format in {file}"),
        ("convert", "[convert]\nformat = [true]\n", "or a list of them,"),
        ("live", '[camera]\nsize = "big"\n', "In [camera] size in {file}: Expected --size"),
        ("live", "[camera]\nsorce = 0\n", "[camera] sorce in {file}"),
        ("check", "[check]\nstrict = {a = 1}\n", "as [check] strict"),
    ],
)
def test_a_wrong_file_is_one_sentence(
    words: str, text: str, says: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / PROJECT_FILE).write_text(tables_of(text))
    error = fails(capsys, *words.split())
    assert says.format(file=project / PROJECT_FILE) in error
    assert str(project / PROJECT_FILE) in error
    assert error.count("\n") == 1
    # Help helps nevertheless.
    assert run([*words.split(), "--help"]) == 0


def test_an_error_of_the_command_says_which_options_are_from_the_file(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow", reason="training needs the train extra")
    (project / PROJECT_FILE).write_text(tables_of("[train]\nalpha = 0.1\n"))
    (project / "photos" / "circle" / "x.jpg").write_bytes(b"x")
    error = fails(capsys, "train")
    assert f"--alpha: from {project / PROJECT_FILE}" in error
    assert "from /" not in fails(capsys, "train", "--alpha", "0.2")


def test_runs_and_models_get_names_of_their_own(
    project: Path, tiny_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow", reason="training needs the train extra")
    shutil.copytree(tiny_photos, project / "photos", dirs_exist_ok=True)
    (project / "runs" / ".shapes-7.partial").mkdir()
    (project / "runs" / "other").mkdir()
    small = {**SMALL_TRAINING, "fine_tune_epochs": 1}
    named = {"augmentation": "augment"}
    write_settings(
        project,
        "".join(
            f"{named.get(key, key).replace('_', '-')} = {json.dumps(value)}\n"
            for key, value in small.items()
        ),
    )
    text = (project / PROJECT_FILE).read_text("utf-8")
    head, _, options = text.partition("[live]")
    options = options.split("\n", 2)[2]
    (project / PROJECT_FILE).write_text(head.replace("[train]", f"[train]\n{options}", 1))
    assert run(["train"]) == 0
    assert "Project shapes: PHOTOS photos, --out runs/shapes-8" in capsys.readouterr().err
    split = json.loads((project / "runs" / "shapes-8" / "split.json").read_text("utf-8"))
    assert split["photos"] == "../../photos"
    (project / "models" / "shapes-8").mkdir()
    assert run(["convert", "--format", "float32"]) == 0
    assert (project / "models" / "shapes-8-2" / "shapes-8_float32.tflite").is_file()
    # All of it may move.
    project.rename(project.parent / "moved")
    os.chdir(project.parent / "moved")
    assert run(["evaluate"]) == 0


def test_an_interrupted_training_is_resumed_by_its_name(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("shapes-3", "shapes-4"):
        (project / "runs" / f".{name}.partial").mkdir()
    os.utime(project / "runs" / ".shapes-4.partial", (1, 1))
    fails(capsys, "train", "--resume", "--batch-size", "0")
    run(["train", "--resume", "--batch-size", "0"])
    assert "--out runs/shapes-3" in capsys.readouterr().err
    run(["train", "--batch-size", "0"])
    assert "--out runs/shapes-5" in capsys.readouterr().err


def test_a_dataset_needs_no_photos_of_the_project(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["train", "--dataset", "cifar10", "--batch-size", "0"])
    err = capsys.readouterr().err
    assert "PHOTOS" not in err
    assert "--out runs/shapes-1" in err


def test_nothing_is_copied_for_a_project_that_cannot_be(
    tiny_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "two"
    error = fails(capsys, "init", str(folder), "--from", str(tiny_photos), "--task", "binary")
    assert "Expected two classes for the task binary. Received: 3." in error
    assert not folder.exists()
    assert "Expected a path as FOLDER" in fails(capsys, "init", "", "--label", "cat")


def test_compare_and_labels_know_the_project_from_anywhere(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["compare", "--project", made.name]) == 0
    assert "shapes-1" in capsys.readouterr().out
    command = ["labels", "export", "--format", "csv", "--out", "l.csv", "--project", made.name]
    assert run(command) == 0
    assert (tmp_path / "l.csv").read_text().count("\n") == 91
