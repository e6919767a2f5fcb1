"""`evaluate` of a `.tflite` file, as on a device: no TensorFlow, no scikit-learn, no plots."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pocketlens.card import ModelCard, unpack
from pocketlens.cli.main import run
from pocketlens.errors import LabelsError, UsageError
from pocketlens.evaluation import evaluate_model
from pocketlens.evaluation.answers import label_matrix, same_labels
from pocketlens.evaluation.mistakes import mistakes
from pocketlens.evaluation.scorers import Scorer
from pocketlens.runtime import Classifier
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.photos import LabelledPhotos, scan
from pocketlens.runtime.pictures import Pixels
from pocketlens.runtime.runs import evaluation_photos

TASKS = ("multiclass", "binary", "multilabel")
# The packages of the extras, and what they bring along.
BLOCKED = (
    "tensorflow",
    "keras",
    "ai_edge_quantizer",
    "flatbuffers",
    "sklearn",
    "scipy",
    "matplotlib",
    "jinja2",
    "imagehash",
    "tensorboard",
    "starlette",
    "paho",
    "pocketlens.train",
    "pocketlens.convert",
)


def on_the_device(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command where the packages of the extras cannot be imported."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r}))\n"
        "from pocketlens.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def case_of(task: str, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """Return a file and photos of a task; only what is asked for is trained."""
    if task == "multiclass":
        return request.getfixturevalue("tiny_tflite"), request.getfixturevalue("tiny_photos")
    table = {"binary": "tiny_binary_table", "multilabel": "tiny_pairs_table"}[task]
    model = request.getfixturevalue("task_models")[task]["int8"]
    return model, request.getfixturevalue(table)


@pytest.mark.parametrize("task", TASKS)
def test_own_model(task: str, request: pytest.FixtureRequest) -> None:
    model, photos = case_of(task, request)
    done = on_the_device("evaluate", model, photos, "--json", "-")
    assert done.returncode == 0, done.stderr
    with Classifier(model) as classifier:
        check(json.loads(done.stdout), classifier, evaluation_photos(photos))
    printed = on_the_device("evaluate", model, photos)
    assert printed.returncode == 0, printed.stderr
    assert "calibration error" in printed.stdout


@pytest.mark.parametrize("task", TASKS)
def test_third_party_model(task: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    known, photos = case_of(task, request)
    with Classifier(known) as classifier:
        names = classifier.labels
    # Without its card, and with its metadata under a name where nobody looks for it.
    plain, labels = tmp_path / "plain.tflite", tmp_path / "names.txt"
    flatbuffer = unpack(known.read_bytes()).flatbuffer
    plain.write_bytes(flatbuffer.replace(b"TFLITE_METADATA", b"UNKNOWN_RECORDS"))
    labels.write_text("\n".join(names))
    # One score and two labels are binary without a word.
    said = ["--task", task] if task == "multilabel" else []
    done = on_the_device("evaluate", plain, photos, "--labels", labels, *said, "--json", "-")
    assert done.returncode == 0, done.stderr
    hints = ModelHints(labels=names, task=task)
    with Classifier(plain, hints=hints) as classifier:
        assert classifier.model.card is None
        check(json.loads(done.stdout), classifier, evaluation_photos(photos))


def check(payload: dict[str, Any], classifier: Classifier, photos: LabelledPhotos) -> None:
    """Compare `evaluate`'s figures with scikit-learn's of what `classify` answers."""
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the dev extra")
    photos = photos.with_labels(classifier.labels, classifier.task)
    results = [classifier.classify_photo(photo.path) for photo in photos.photos]
    count = len(classifier.labels)
    scores = np.stack([result.scores for result in results])
    said = label_matrix([tuple(c.index for c in result.answers) for result in results], count)
    truth = label_matrix([photo.label_indices for photo in photos.photos], count)
    assert payload["task"] == classifier.task
    assert payload["labels"] == list(classifier.labels)
    assert payload["count"] == len(results)
    assert payload["threshold"] == (
        None if classifier.task == "multiclass" else classifier.threshold
    )
    assert payload["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
    for average in ("macro", "weighted"):
        expected = metrics.f1_score(
            truth.astype(int), said.astype(int), average=average, zero_division=0
        )
        assert payload[f"{average}_f1"] == pytest.approx(expected)
    for index, entry in enumerate(payload["classes"]):
        expected = metrics.roc_auc_score(truth[:, index], scores[:, index])
        assert entry["auc"] == pytest.approx(expected, abs=1e-6)
    if classifier.task != "multilabel":
        expected = metrics.confusion_matrix(truth.argmax(axis=1), said.argmax(axis=1))
        assert payload["confusion"] == expected.tolist()


def test_unreadable_photos_are_counted(
    tiny_tflite: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_photos, tmp_path / "photos")
    next((tmp_path / "photos" / "cross").iterdir()).write_bytes(b"")
    measured = evaluate_model(tiny_tflite, tmp_path / "photos")
    assert measured.skipped == 1
    assert measured.result.count == 89


def test_some_classes_are_enough(tiny_tflite: Path, tiny_photos: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_photos / "cross", tmp_path / "photos" / "cross")
    result = evaluate_model(tiny_tflite, tmp_path / "photos").result
    assert [entry.support for entry in result.classes] == [0, 30, 0]
    assert result.accuracy == result.classes[1].recall


def test_foreign_class(tiny_tflite: Path, tiny_photos: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_photos / "cross", tmp_path / "photos" / "zebra")
    with pytest.raises(LabelsError, match="zebra"):
        evaluate_model(tiny_tflite, tmp_path / "photos")


def test_command_line(
    tiny_tflite: Path, tiny_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(tiny_tflite), str(tiny_photos)]) == 0
    text = capsys.readouterr().out
    assert "Accuracy" in text
    assert "stripes" in text
    target = tmp_path / "out.json"
    assert run(["evaluate", str(tiny_tflite), str(tiny_photos), "--json", str(target)]) == 0
    payload = json.loads(target.read_text())
    assert payload["count"] == 90
    assert payload["labels"] == ["circle", "cross", "stripes"]
    assert run(["evaluate", str(tiny_tflite), str(tiny_photos), "--json", str(target)]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_third_party_tflite(shared: Path, elsewhere_model: Path, tmp_path: Path) -> None:
    names = (shared / "data" / "imagenet_samples" / "labels.txt").read_text().splitlines()
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"{number} {name}" for number, name in enumerate(["-", *names])))
    files = sorted(path for path in (shared / "data" / "imagenet_samples").rglob("*.jpg"))[:40]
    for path in files:
        index = int("".join(filter(str.isdigit, path.stem))) + 1
        folder = tmp_path / "photos" / f"{index} {names[index - 1]}"
        folder.mkdir(parents=True)
        shutil.copy(path, folder)
    found = evaluate_model(elsewhere_model, tmp_path / "photos", ModelHints(labels)).result
    assert found.count == 40
    assert found.top5 is not None
    assert found.top5 >= found.accuracy > 0.2


def test_either_of_two_labels_of_one_name_is_right():
    labels = ("crane", "red", "crane (2)", "box (2)", "lily (white)")
    assert same_labels(labels, {"crane", "red"}) == {2: 0}
    assert same_labels(labels, {"crane", "crane (2)"}) == {}
    assert same_labels(("1 (2)", "1"), {"1"}) == {0: 1}
    assert same_labels(("a", "a (2)", "a (3)"), {"a"}) == {1: 0, 2: 0}
    assert same_labels(("Beetle", "Beetle (1998)", "Beetle (1)"), {"Beetle"}) == {}


@pytest.mark.parametrize(
    ("scores", "answer"),
    [((0.3, 0.4, 0.3), "red"), ((0.1, 0.4, 0.5), "crane"), ((0.5, 0.4, 0.1), "crane")],
)
def test_two_labels_of_one_name_together_beat_no_other(
    scores: tuple[float, ...], answer: str, tmp_path: Path
) -> None:
    for label in ("crane", "red"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / label / "1.png")
    card = ModelCard("m", ("crane", "red", "crane (2)"), (8, 8))

    def score(pictures: Sequence[Pixels]) -> list[NDArray[np.float32]]:
        return [np.array(scores, np.float32) for _ in pictures]

    found = evaluate_model(Scorer(Path("m"), card, (score,)), tmp_path)
    (wrong,) = mistakes(found.answers)
    assert wrong.answer == answer


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_logits_of_any_size_are_taken_as_such(tiny_photos: Path) -> None:
    labels = scan(tiny_photos).labels
    card = ModelCard("logits", labels, (8, 8), task="multilabel")

    def logits(pictures: Sequence[Pixels]) -> list[NDArray[np.float32]]:
        return [np.array([-200, 200, 0], np.float32) for _ in pictures]

    found = evaluate_model(Scorer(Path("logits"), card, (logits,)), tiny_photos)
    assert (found.answers.scores == (0, 1, 0.5)).all()
    with pytest.raises(UsageError, match=r"--activation is none. Received: -200 to 200"):
        evaluate_model(
            Scorer(Path("logits"), card, (logits,)), tiny_photos, ModelHints(activation="none")
        )
