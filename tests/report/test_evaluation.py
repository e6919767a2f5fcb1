"""The page of an evaluation: the same with and without the photos' scores, whole and readable."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pocketlens.card import ModelCard
from pocketlens.cli.evaluate import summarise_evaluation
from pocketlens.cli.main import run
from pocketlens.evaluation.answers import to_answers
from pocketlens.evaluation.calibration import reliability
from pocketlens.evaluation.metrics import evaluate
from pocketlens.evaluation.models import ModelEvaluation, to_payload
from pocketlens.evaluation.unknown import Strangers, known_part
from pocketlens.report.evaluation import calibration, thresholds, write_evaluation
from pocketlens.runtime.photos import Photo

PHOTOS = 120
NASTY = "<b>&$x$\" onload='y"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "<i>.png"
    Image.new("RGB", (40, 30), (200, 40, 40)).save(path)
    return path


def evaluation(task: str, classes: int, photo: Path, noise: float = 1.5) -> ModelEvaluation:
    """Return what a model that is right more often than not would give."""
    rng = np.random.default_rng(0)
    labels = (NASTY, *(f"class {number}" for number in range(1, classes)))
    if task == "multiclass":
        truth = rng.integers(0, classes, PHOTOS)
        logits = 3 * np.eye(classes)[truth] + rng.normal(0, noise, (PHOTOS, classes))
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    else:
        shape = PHOTOS, classes if task == "multilabel" else 1
        truth = rng.integers(0, 2, shape)
        scores = 1 / (1 + np.exp(-3 * (truth - 0.5) - rng.normal(0, noise, shape)))
        truth = truth if task == "multilabel" else truth.ravel()
    answers = to_answers(scores.astype(np.float32), truth, labels, task)
    return ModelEvaluation(
        answers,
        evaluate(answers),
        (Photo(photo, (0,)),) * PHOTOS,
        1.2,
        reliability(answers),
        2,
        Path("models/x.tflite"),
    )


@pytest.mark.parametrize(
    ("task", "classes", "charts"),
    [
        ("multiclass", 3, {"confusion", "confusion_percent", "roc", "calibration"}),
        ("multiclass", 12, {"confusion", "confusion_percent", "roc", "calibration"}),
        ("multiclass", 50, {"confusion_percent", "roc", "calibration"}),
        ("binary", 2, {"confusion", "confusion_percent", "roc", "thresholds", "calibration"}),
        ("multilabel", 4, {"roc", "calibration"}),
    ],
)
def test_report_of_every_task(
    task: str, classes: int, charts: set[str], photo: Path, tmp_path: Path
) -> None:
    measured = evaluation(task, classes, photo)
    write_evaluation(measured, tmp_path)
    assert {path.stem for path in tmp_path.glob("*.png")} == charts
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(
        json.dumps(to_payload(measured))
    )
    page = (tmp_path / "index.html").read_text("utf-8")
    assert page.count("<svg ") == len(charts)
    assert "2 that cannot be read are left out." in page
    assert "://" not in page
    assert "<b>" not in page
    assert "<i>.png" not in page
    assert "&lt;b&gt;&amp;$x$" in page
    assert "divided by a temperature of 1.20" in page
    # What to do stands above the tables, not in them as well.
    assert page.count(": add ") > 0
    assert ": add " not in "".join(re.findall("<table.*?</table>", page, re.DOTALL))


def test_legends_lie_over_no_marks(photo: Path) -> None:
    measured = evaluation("binary", 2, photo)
    for chart in (calibration(measured.result, measured.before), thresholds(measured.answers)):
        assert chart is not None
        figure = Figure(layout="constrained")
        chart.draw(figure)
        figure.draw_without_rendering()
        (own,) = figure.legends
        assert not own.get_window_extent().count_overlaps(
            [axes.get_window_extent() for axes in figure.axes]
        )


@pytest.mark.parametrize(("task", "classes"), [("multiclass", 3), ("binary", 2), ("multilabel", 4)])
def test_json_alone_makes_the_page(task: str, classes: int, photo: Path, tmp_path: Path) -> None:
    measured = dataclasses.replace(evaluation(task, classes, photo), before=None)
    (tmp_path / "full").mkdir()
    write_evaluation(measured, tmp_path / "full")
    source = tmp_path / "full" / "report.json"
    assert run(["report", str(source), "--out", str(tmp_path / "alone")]) == 0
    assert (tmp_path / "alone" / "report.json").read_text() == source.read_text()
    full, alone = (
        (tmp_path / name / "index.html").read_text("utf-8") for name in ("full", "alone")
    )
    for part in ("classified correctly", "Most confident mistakes", "<h2>Calibration", "<h2>What"):
        assert (part in alone) == (part in full)
    assert alone.count("data:image/jpeg") == full.count("data:image/jpeg") > 0
    assert "<h2>ROC" in full
    assert "<h2>ROC" not in alone


def test_page_of_photos_that_are_elsewhere(tmp_path: Path) -> None:
    payload = to_payload(evaluation("multiclass", 3, Path("/nowhere/a.jpg")))
    (tmp_path / "pi.json").write_text(json.dumps(payload))
    assert run(["report", str(tmp_path / "pi.json")]) == 0
    page = (tmp_path / "pi-report" / "index.html").read_text("utf-8")
    assert "data:image" not in page
    assert "a.jpg" in page


def with_unknown(photo: Path, *, synthetic: bool) -> ModelEvaluation:
    """Return what a model with a label for unknown photos would give, two mistakes of a kind."""
    card = ModelCard("x", ("cat", "dog", NASTY), (8, 8), unknown=NASTY)
    sure = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.02, 0.03, 0.95]], np.float32)
    refused = np.array([[0.3, 0.1, 0.6], [0.2, 0.1, 0.7]], np.float32)
    passed = np.array([[0.55, 0.05, 0.4], [0.1, 0.83, 0.07]], np.float32)
    known = np.concatenate([sure[np.arange(30) % 2], refused])
    truth = np.append(np.arange(30) % 2, [0, 0])
    strangers = np.concatenate([sure[[2] * 18], passed])
    names = [
        f"synthetic image {n}" if synthetic else photo.with_name(f"s{n}.png") for n in range(20)
    ]
    part = known_part(
        known, truth, card, [photo] * 32, Strangers(strangers, tuple(map(Path, names)), synthetic)
    )
    answers = to_answers(part.scores, part.truth, part.labels, "multiclass")
    return ModelEvaluation(
        answers,
        evaluate(answers),
        (Photo(photo, (0,)),) * 32,
        model=Path("models/x.tflite"),
        refusals=part.refusals,
    )


@pytest.mark.parametrize("synthetic", [True, False])
def test_known_and_unknown(synthetic: bool, photo: Path, tmp_path: Path) -> None:
    measured = with_unknown(photo, synthetic=synthetic)
    (tmp_path / "full").mkdir()
    write_evaluation(measured, tmp_path / "full")
    assert (tmp_path / "full" / "unknown.png").is_file()
    page = (tmp_path / "full" / "index.html").read_text("utf-8")
    section = page[page.index("<h2>Known and unknown") : page.index("<h2>Calibration")]
    assert "<b>" not in section
    # The surest first: what of the known is refused, then which class strangers are taken for.
    assert re.findall(r"</strong> (\d+)", section) == ["70", "60", "83", "55"]
    assert re.findall(r"<strong>(cat|dog)</strong>", section) == ["dog", "cat"]
    assert section.count("true: cat") == 2
    intervals = re.findall(r"<small>([\d.]+).*? to ([\d.]+)", section)
    assert len(intervals) == 4
    assert all(float(low) < float(high) for low, high in intervals)
    for words in ("synthetic strangers accepted", "not photos", "evaluate --strangers"):
        assert (words in section) == synthetic, words
    # An image is drawn again; a photo that is elsewhere is named.
    assert section.count("data:image/jpeg") == (4 if synthetic else 2)
    assert (
        run(["report", str(tmp_path / "full" / "report.json"), "--out", str(tmp_path / "b")]) == 0
    )
    alone = (tmp_path / "b" / "index.html").read_text("utf-8")
    assert section[: section.index("<section>")] in alone


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("known_bins", [31, 1]),
        ("known_bins", [-1] + [33] + [0] * 48),
        ("stranger_bins", []),
        ("accepted", 21),
        ("auroc", "high"),
        ("auroc_interval", [0.1]),
        ("passed", [{"photo": "a.jpg"}]),
    ],
)
def test_damaged_figures_of_unknown_are_refused(
    field: str, value: object, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    payload = to_payload(with_unknown(photo, synthetic=True))
    payload["refusals"][field] = value
    (tmp_path / "pi.json").write_text(json.dumps(payload))
    assert run(["report", str(tmp_path / "pi.json")]) == 2
    assert "nothing usable at refusals" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "regression"),
        ("count", 0),
        ("accuracy", "high"),
        ("classes", []),
        ("classes", [{"label": "a"}]),
        ("confusion", [[1, 2], [3]]),
        ("threshold", 0.5),
        ("reliability", {"ece": 0.1, "log_loss": 0.1, "bins": []}),
        ("mistakes", [{"photo": 1}]),
        ("temperature", "warm"),
    ],
)
def test_damaged_json_is_refused(
    field: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    payload = to_payload(evaluation("multiclass", 3, Path("a.jpg")))
    (tmp_path / "pi.json").write_text(json.dumps({**payload, field: value}))
    assert run(["report", str(tmp_path / "pi.json")]) == 2
    error = capsys.readouterr().err
    assert "that pocketlens evaluate wrote with --json" in error
    assert f"nothing usable at {field}" in error
    assert not (tmp_path / "pi-report").exists()


def test_nothing_wrong(photo: Path, tmp_path: Path) -> None:
    write_evaluation(evaluation("multiclass", 3, photo, noise=0.1), tmp_path)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "Nothing: every photo was answered correctly." in page
    assert "Most confident mistakes" not in page


def test_temperature_at_its_limit_is_said(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "The calibration temperature ended at its limit of 10"
    for temperature in (9.9, 10.0):
        found = dataclasses.replace(evaluation("multiclass", 3, photo), temperature=temperature)
        write_evaluation(found, tmp_path)
        page = (tmp_path / "index.html").read_text("utf-8")
        summarise_evaluation(found)
        assert (said in page) == (said in capsys.readouterr().out) == (temperature == 10.0)


def test_report_needs_the_extra_report_only(
    tiny_tflite: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    arguments = ["evaluate", str(tiny_tflite), str(tiny_photos), "--report", str(tmp_path / "page")]
    code = (
        "import sys; from pocketlens.cli.main import run; "
        f"assert run({arguments!r}) == 0; "
        "assert not {'tensorflow', 'keras', 'sklearn', 'imagehash'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "page" / "index.html").is_file()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_contrast_and_width(open_page, lowest_contrast, photo, tmp_path, scheme, width):
    write_evaluation(evaluation("multiclass", 12, photo), tmp_path)
    page = open_page((tmp_path / "index.html").as_uri(), (width, 900), scheme)
    assert lowest_contrast(page) >= 4.5
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len([url for url in page.requested if not url.startswith("data:")]) == 1
