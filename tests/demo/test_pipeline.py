"""The demo on a small scale: everything is made and the page shows it."""

import re
from pathlib import Path

import cv2
import pytest

pytest.importorskip("tensorflow", reason="the demo needs the train extra")

from pocketlens.benchmarks import Settings as TimingSettings
from pocketlens.cli.main import run
from pocketlens.demo.pipeline import Demo, Scale, demo
from pocketlens.synthetic.cards import LABELS

# All in one process, so that the demo runs once.
pytestmark = pytest.mark.xdist_group("demo")

SMALL = Scale(
    train=210,
    val=70,
    test=70,
    epochs=2,
    grid_epochs=1,
    video_seconds=4.0,
    timing=TimingSettings(num_runs=3, min_secs=0.0, max_secs=20.0, warmup_runs=1),
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    home = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETLENS_CACHE", str(home / "cache"))
        return demo(home / "out", scale=SMALL)


@pytest.mark.networks
def test_everything_is_there(small: Demo) -> None:
    names = {path.name for path in small.folder.iterdir()}
    assert names == {
        "benchmark",
        "benchmark.png",
        "cards",
        "frames",
        "index.html",
        "models",
        "photos",
        "printables",
        "video.jsonl",
        "video.mp4",
        "video_labelled.mp4",
    }
    assert len(list((small.folder / "models").glob("*.tflite"))) == 5
    assert [path.name for path in small.folder.parent.iterdir() if "partial" in path.name] == []


@pytest.mark.networks
def test_every_link_of_the_page_leads_somewhere(small: Demo) -> None:
    text = (small.folder / "index.html").read_text("utf-8")
    links = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(links) > 30
    for link in links:
        assert "://" not in link
        # What a chart names within itself.
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in text
        else:
            assert (small.folder / link).exists(), link
    assert "synthetic" in text
    assert ".partial" not in text


@pytest.mark.networks
def test_commands_of_the_page_name_a_model_that_exists(small: Demo) -> None:
    text = (small.folder / "index.html").read_text("utf-8")
    models = re.findall(r"pocketlens (?:classify|live) (\S+)", text)
    assert models
    assert all(Path(model).is_file() for model in models)


@pytest.mark.networks
def test_labelled_video_is_as_long_as_the_video(small: Demo) -> None:
    lengths = []
    for name in ("video.mp4", "video_labelled.mp4"):
        video = cv2.VideoCapture(str(small.folder / name))
        lengths.append(int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
        video.release()
    assert lengths == [100, 100]
    assert len((small.folder / "video.jsonl").read_text().splitlines()) == 100


@pytest.mark.networks
def test_run_can_be_converted_again_from_where_it_lies(small: Demo, tmp_path: Path) -> None:
    run_folder = str(small.folder / "cards")
    assert run(["convert", run_folder, "--out", str(tmp_path), "--format", "float32"]) == 0


@pytest.mark.networks
def test_labels_are_those_of_the_pictures(small: Demo) -> None:
    assert small.training.card.labels == LABELS


def test_existing_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "precious.txt").write_text("")
    assert run(["demo", "--out", str(tmp_path)]) == 2
    assert "Expected a new folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
