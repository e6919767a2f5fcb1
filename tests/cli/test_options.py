"""What holds for every command: groups in `--help`, paths, earlier names, the rule of `--json`."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from few_runs import few_runs

from pocketlens import choices
from pocketlens.cli.main import COMMANDS, group, run

GROUPS = {
    "live": [
        "Source",
        "Decision",
        "Recording",
        "Labelling",
        "Network",
        "Third-party model",
        "Output",
    ],
    "train": ["Photos", "Network", "Training", "Output"],
    "convert": ["Formats", "Photos", "Third-party model", "Output"],
    "benchmark": [
        "Measurement",
        "Comparison with an earlier run",
        "Third-party model",
        "Output",
    ],
}
NOT_OUR_WORDS = ("elsewhere", "all the same", "for ever", "held back", "the whole road")


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in COMMANDS:
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", entry) for inner, entry in command.commands.items())
        else:
            assert command is not None
            yield name, command


ALL = dict(commands())


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def help_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run([*name.split(), "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", GROUPS)
def test_help_has_these_groups(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.findall(r"^(\w.*):$", help_of(name, capsys), re.MULTILINE) == GROUPS[name]


@pytest.mark.parametrize("name", ALL)
def test_help_is_easy_to_read(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(name, capsys)
    assert f"Example: pocketlens {name}" in text
    assert not [word for word in NOT_OUR_WORDS if word in text.lower()]
    for paragraph in re.split(r"\n\n|\n  (?=-)|\n\w[^\n]*:\n", text):
        # Defaults and limits stand in brackets behind the sentences.
        for sentence in re.split(r"(?<=[.])\s+|\s+(?=\[(?:default|env var))", paragraph.strip()):
            lines = sentence.split("\n")
            # An option with a long name has its help on the next line.
            if re.fullmatch(r"-\S+(,? -?\S+)*", lines[0]):
                lines = lines[1:]
            assert len(lines) <= 2, sentence


@pytest.mark.parametrize("name", ALL)
def test_every_option_is_explained(name: str) -> None:
    for parameter in ALL[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts


def test_what_can_be_chosen_is_what_there_is() -> None:
    from pocketlens.runtime.interpreters import BACKENDS

    assert tuple(BACKENDS) == choices.BACKENDS


def test_what_can_be_trained_and_converted_is_what_there_is() -> None:
    pytest.importorskip("tensorflow", reason="needs the train extra")
    from pocketlens.convert.encoders import MAKING
    from pocketlens.train.augmentation import PRESETS

    assert set(MAKING) == set(choices.FORMATS)
    assert {"none", *PRESETS} == set(choices.AUGMENTATIONS)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, command in ALL.items()
        # The argument of `completion` is no file, and that of `init` is one that is not there.
        if any(isinstance(entry, click.Argument) for entry in command.params)
        and name not in ("completion", "init")
    ],
)
def test_missing_files_end_every_command_alike(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ALL[name]
    nowhere = str(tmp_path / "nowhere")
    arguments = [entry for entry in command.params if isinstance(entry, click.Argument)]
    required = ["--out", str(tmp_path / "out")] if "out" in {e.name for e in command.params} else []
    required += ["--target", "c"] if name == "export" else []
    required += ["--format", "fiftyone"] if name == "labels export" else []
    assert run([*name.split(), *[nowhere] * len(arguments), *required]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    (line,) = streams.err.strip().splitlines()
    assert line.startswith("Error: Expected")
    assert nowhere in line
    assert "nothing there" in line


def test_home_is_expanded(
    tiny_tflite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m.tflite").symlink_to(tiny_tflite)
    assert run(["inspect", "~/m.tflite", "--json=~/out.json"]) == 0
    assert json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert "parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "new"),
    [
        (["export", "{model}", "--target", "c", "--out", "x", "--images", "{no}"], "--photos"),
        (["benchmark", "{model}", "--data={no}"], "--photos"),
        (["recommend", "{model}", "--data", "{no}"], "--photos"),
        (["convert", "{model}", "--out", "x", "--data", "{no}"], "--photos"),
        (["convert", "{model}", "--out", "x", "--representative", "{no}"], "--calibration-photos"),
        (["train", "{no}", "--out", "x", "--oversample"], "--balance oversample"),
        (["train", "{no}", "--out", "x", "--no-class-weights"], "--balance none"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_earlier_names_still_work(
    words: list[str],
    new: str,
    tiny_tflite: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere = tmp_path / "nowhere"
    assert run([word.format(model=tiny_tflite, no=nowhere) for word in words]) == 2
    streams = capsys.readouterr()
    warning, error = streams.err.strip().splitlines()
    assert warning.startswith("Warning: ")
    assert f" is now {new}." in warning
    assert f"{nowhere} (nothing there)" in error
    assert streams.out == ""


class Place:
    """What the commands are called with."""

    def __init__(self, model: Path, run_folder: Path, photos: Path, folder: Path) -> None:
        self.model, self.run, self.photos, self.folder = model, run_folder, photos, folder
        self.photo = next((photos / "cross").iterdir())


QUICK = ("--num-runs", 2, "--min-secs", 0)


def call_report(place: Place) -> list[Any]:
    record = place.folder / "benchmark.json"
    assert run(["benchmark", str(place.model), *map(str, QUICK), "--json", str(record)]) == 0
    return ["report", record, "--overwrite"]


def call_labels_import(place: Place) -> list[Any]:
    table = place.folder / "table.csv"
    table.write_text(f"path,label\n{place.photo},cross\n", "utf-8")
    return ["labels", "import", table, "--photos", place.photos, "--into", place.folder / "into"]


CALLS: dict[str, Callable[[Place], list[Any]]] = {
    "demo": lambda p: ["demo", "--out", p.folder / "demo"],
    "init": lambda p: ["init", p.folder / "project", "--label", "a"],
    "check": lambda p: ["check", p.photos],
    "train": lambda p: ["train", p.photos, "--out", p.folder / "run"],
    "evaluate": lambda p: ["evaluate", p.model, p.photos],
    "compare": lambda p: [
        *("compare", p.model, p.model.with_name(p.model.name.replace("int8", "dynamic"))),
        *("--num-runs", 0),
    ],
    "convert": lambda p: [
        *("convert", p.run, "--out", p.folder / "out", "--format", "float32"),
        *("--force", "--overwrite"),
    ],
    "inspect": lambda p: ["inspect", p.model],
    "labels import": call_labels_import,
    "labels export": lambda p: [
        *("labels", "export", p.photos, "--format", "cvat", "--out", p.folder / "x.xml"),
        "--overwrite",
    ],
    "classify": lambda p: ["classify", p.model, p.photo],
    "live": lambda p: ["live", p.model, "--source", p.photo],
    "service install": lambda p: ["service", "install", p.model, "--source", "0", "--print"],
    "benchmark": lambda p: ["benchmark", p.model, *QUICK],
    "recommend": lambda p: ["recommend", p.model, "--photos", p.photos, "--threads", 1],
    "export": lambda p: [
        *("export", p.model, "--target", "c", "--out", p.folder / "app", "--overwrite"),
    ],
    "report": call_report,
    "doctor": lambda _: ["doctor"],
}


def test_every_command_is_called() -> None:
    # What `completion` prints is code, with or without --json. `collect` and
    # `studio` go on until somebody ends them; their own tests do.
    assert set(CALLS) == set(ALL) - {"completion", "collect", "studio"}


@pytest.fixture
def _instead_of_training(
    tiny_run: Path, tiny_tflite: Path, tiny_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let `train` and `demo` have results without the minutes that these take."""
    from pocketlens.benchmarks.benchmarking import benchmark
    from pocketlens.benchmarks.latency import Settings
    from pocketlens.evaluation.models import evaluate_model
    from pocketlens.runtime.runs import read_run

    def train(*_: Any, **__: Any) -> Any:
        test = evaluate_model(tiny_tflite, tiny_photos).result
        card = read_run(tiny_run).card
        return SimpleNamespace(
            folder=tiny_run,
            card=card,
            val=test,
            test=test,
            result=test,
            unknown="",
            start="",
            refusals=None,
        )

    def demo(*_: Any, **__: Any) -> Any:
        comparison = benchmark([tiny_tflite], settings=Settings(2, 0.0, 5.0, 1, 0.0))
        return SimpleNamespace(
            comparison=comparison, training=train(), video_accuracy=0.9, seconds=60.0
        )

    monkeypatch.setattr("pocketlens.train.train", train)
    monkeypatch.setattr("pocketlens.demo.pipeline.demo", demo)


@pytest.mark.parametrize(
    "call",
    [
        "classify MODEL MODEL --jsonl - --json -",
        "evaluate MODEL PHOTOS --report x --json x",
        "compare MODEL MODEL --report x --json x",
        "benchmark MODEL --report x --json ./x",
        "benchmark MODEL --plot x.png --json x.png",
        "recommend MODEL --photos PHOTOS --report x --json x",
        "convert MODEL --out x --json x",
        "export MODEL --target c --out x --json x",
        "labels export PHOTOS --format fiftyone --out x --json x",
        "labels import PHOTOS --out x --json x",
        "train PHOTOS --out x --json x",
        "live MODEL --source 0 --record-events x --jsonl x",
    ],
)
def test_one_place_for_two_results_is_refused(
    call: str,
    tiny_tflite: Path,
    tiny_photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"MODEL": str(tiny_tflite), "PHOTOS": str(tiny_photos)}
    assert run([places.get(word, word) for word in call.split()]) == 2
    assert "Expected different places for --" in capfd.readouterr().err
    assert not any(tmp_path.iterdir())


NEED_TRAIN = {"demo", "check", "train", "evaluate", "convert"}


@pytest.mark.parametrize("name", CALLS)
def test_json_goes_beside_the_normal_output_or_alone_to_standard_output(
    name: str,
    tiny_tflite: Path,
    tiny_run: Path,
    tiny_photos: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    few_runs(monkeypatch, 2)
    if name in NEED_TRAIN:
        pytest.importorskip("tensorflow", reason="needs the train extra")
    if name == "report":
        pytest.importorskip("jinja2", reason="needs the report extra")
    if name in ("demo", "train"):
        request.getfixturevalue("_instead_of_training")
    arguments = [*map(str, CALLS[name](Place(tiny_tflite, tiny_run, tiny_photos, tmp_path)))]
    capfd.readouterr()
    code = run([*arguments, "--json", str(tmp_path / "out.json")])
    beside = capfd.readouterr()
    # What live tells people while it runs goes to standard output, where a pipe takes its lines.
    assert beside.out.strip(), beside.err
    with pytest.raises(json.JSONDecodeError):
        json.loads(beside.out)
    in_file = json.loads((tmp_path / "out.json").read_text("utf-8"))
    if name == "init":
        # It never does it again.
        shutil.rmtree(tmp_path / "project")
    assert run([*arguments, "--json", "-"]) == code
    alone = json.loads(capfd.readouterr().out)
    assert type(alone) is type(in_file)
    if isinstance(alone, dict):
        assert alone.keys() == in_file.keys()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["classify", "--top-k", "0"],
            "Expected --top-k as a whole number of 1 or more. Received: 0.",
        ),
        (["live", "--fps", "0"], "Expected --fps as a number from 0.01 to 1000. Received: 0."),
        (["convert", "--samples", "x"], "Expected --samples as a whole number of 1 or more."),
        (["train", "--batch-size", "x"], "Expected --batch-size as a whole number. Received: x."),
        (["convert", "--format", "int8", "--format", "int4"], "float16, dynamic, weights8, int8."),
        (["train", "--task", "both"], "one of multiclass, binary, multilabel. Received: both."),
    ],
)
def test_wrong_values_are_told_in_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    more = {"classify": [str(tmp_path)] * 2, "live": [str(tmp_path)]}
    more |= {name: [str(tmp_path), "--out", str(tmp_path / "o")] for name in ("convert", "train")}
    assert run([*arguments, *more[arguments[0]]]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["live", "model.tflite", "--fps", "nan"],
        ["collect", "--rate", "nan"],
        ["live", "model.tflite", "--keep-random", "99999999999999999999"],
    ],
    ids=" ".join,
)
def test_a_number_outside_its_range_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    said = capsys.readouterr().err
    assert f"Expected {words[-2]} as a" in said
    assert f"Received: {words[-1]}." in said
