"""Whatever a user can do wrong: one sentence, the right exit code, no trace left behind."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pocketlens.cli.main import run

Case = Callable[["Place"], list[str]]


class Place:
    """A folder with a good model, good photos and a good photo to spoil."""

    def __init__(self, folder: Path, model: Path, photos: Path) -> None:
        self.folder = folder
        self.model = str(shutil.copy(model, folder / "model.tflite"))
        self.photos = str(shutil.copytree(photos, folder / "photos"))
        self.photo = str(shutil.copy(next((photos / "cross").iterdir()), folder / "photo.png"))

    def file(self, name: str, content: bytes | str) -> str:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def cut(self, path: str, name: str, share: float) -> str:
        data = Path(path).read_bytes()
        return self.file(name, data[: int(len(data) * share)])

    def renamed(self, label: str, new_label: str) -> str:
        Path(self.photos, label).rename(Path(self.photos, new_label))
        return self.photos

    def bomb(self) -> str:
        path = self.folder / "bomb.png"
        Image.new("1", (20_000, 20_000)).save(path)
        return str(path)


CASES: dict[str, tuple[int, str, Case]] = {
    "classify: no model": (2, "Check the path", lambda p: ["classify", "nowhere.tflite", p.photo]),
    "classify: model cut in half": (
        1,
        "Received",
        lambda p: ["classify", p.cut(p.model, "half.tflite", 0.5), p.photo],
    ),
    "classify: text as a model": (
        1,
        "content is something else",
        lambda p: ["classify", p.file("m.tflite", "hello"), p.photo],
    ),
    "classify: no photo": (2, "nothing there", lambda p: ["classify", p.model, "nowhere.jpg"]),
    "classify: text named .jpg": (
        1,
        "none of these",
        lambda p: ["classify", p.model, p.file("a.jpg", "this is text")],
    ),
    "classify: truncated photo": (
        1,
        "Expected a readable picture",
        lambda p: ["classify", p.model, p.cut(p.photo, "half.png", 0.5)],
    ),
    "classify: empty photo": (1, "Received", lambda p: ["classify", p.model, p.file("a.jpg", "")]),
    "classify: bomb": (1, "megapixels", lambda p: ["classify", p.model, p.bomb()]),
    "classify: labels that do not match": (
        2,
        "Expected 3 labels",
        lambda p: ["classify", p.model, p.photo, "--labels", p.file("l.txt", "a\nb\n")],
    ),
    "classify: no labels file": (
        2,
        "as --labels",
        lambda p: ["classify", p.model, p.photo, "--labels", "nowhere.txt"],
    ),
    "classify: mean for a model that has its own": (
        2,
        "what its card says",
        lambda p: ["classify", p.model, p.photo, "--mean", "1", "--std", "1"],
    ),
    "inspect: no model": (2, "Check the path", lambda p: ["inspect", "nowhere.tflite"]),
    "inspect: model cut in half": (
        1,
        "Received",
        lambda p: ["inspect", p.cut(p.model, "half.tflite", 0.5)],
    ),
    "inspect: existing result": (
        2,
        "--overwrite",
        lambda p: ["inspect", p.model, "--json", p.file("out.json", "precious")],
    ),
    "live: no source": (
        2,
        "Received",
        lambda p: ["live", p.model, "--source", str(p.folder / "nowhere.mp4")],
    ),
    "live: no camera": (1, "Received", lambda p: ["live", p.model, "--source", "77"]),
    "live: no server": (
        1,
        "rtsp://***@127.0.0.1:9/x",
        lambda p: ["live", p.model, "--source", "rtsp://me:secret@127.0.0.1:9/x"],
    ),
    "live: no stream": (
        1,
        "refused",
        lambda p: ["live", p.model, "--source", "http://me:secret@127.0.0.1:9/x"],
    ),
    "live: unknown protocol": (
        1,
        "rtmp://***@camera/",
        lambda p: ["live", p.model, "--source", "rtmp://me:secret@camera/"],
    ),
    "live: pattern without pictures": (
        1,
        "without any",
        lambda p: ["live", p.model, "--source", str(p.folder / "*.webp")],
    ),
    "live: format of a file": (
        2,
        "Leave --fourcc out",
        lambda p: ["live", p.model, "--source", p.file("v.mp4", "no"), "--fourcc", "MJPG"],
    ),
    "live: text as a video": (
        1,
        "Received",
        lambda p: ["live", p.model, "--source", p.file("v.mp4", "no video")],
    ),
    "live: existing recording": (
        2,
        "--overwrite",
        lambda p: [
            "live",
            p.model,
            "--source",
            p.file("v.mp4", "no video"),
            "--record",
            p.file("out.mp4", "precious"),
        ],
    ),
    "service: no model": (
        2,
        "Check the path",
        lambda p: ["service", "install", "nowhere.tflite", "--source", "0", "--print"],
    ),
    "service: a file as the source": (
        2,
        "which ends",
        lambda p: ["service", "install", p.model, "--source", p.photo, "--print"],
    ),
    "benchmark: a record without its end": (
        2,
        "not JSON",
        lambda p: ["benchmark", p.model, "--compare", p.file("old.json", '{"schema_version": 6,')],
    ),
    "benchmark: a record without its machine's name": (
        2,
        "nothing usable at task",
        lambda p: [
            *("benchmark", p.model, "--compare"),
            p.file("old.json", '{"schema_version": 6, "machine": {}, "files": []}'),
        ],
    ),
    "recommend: no photos": (2, "Expected --photos", lambda p: ["recommend", p.model]),
    "recommend: text as a model": (
        1,
        "content is something else",
        lambda p: ["recommend", p.file("m.tflite", "hello"), "--photos", p.photos],
    ),
    "recommend: no time at all": (
        2,
        "--max-latency above 0 ms",
        lambda p: ["recommend", p.model, "--photos", p.photos, "--max-latency", "0"],
    ),
    "doctor: existing result": (
        2,
        "--overwrite",
        lambda p: ["doctor", "--json", p.file("out.json", "precious")],
    ),
    "benchmark: no model": (2, "Missing argument", lambda p: ["benchmark"]),
    "benchmark: model cut in half": (
        1,
        "Received",
        lambda p: ["benchmark", p.cut(p.model, "half.tflite", 0.5)],
    ),
    "benchmark: no photos": (
        2,
        "Received",
        lambda p: ["benchmark", p.model, "--photos", str(p.folder / "nowhere")],
    ),
    "benchmark: a folder too high": (
        2,
        "photos if these are the classes",
        lambda p: ["benchmark", p.model, "--photos", str(p.folder)],
    ),
    "benchmark: other classes": (
        2,
        "Rename the labels",
        lambda p: ["benchmark", p.model, "--photos", p.renamed("cross", "bird")],
    ),
    "benchmark: existing result": (
        2,
        "--overwrite",
        lambda p: ["benchmark", p.model, "--json", p.file("out.json", "precious")],
    ),
    "benchmark: no threads": (2, "threads", lambda p: ["benchmark", p.model, "--threads", "0"]),
}


@pytest.mark.parametrize("name", CASES)
def test_one_sentence(
    name: str,
    tiny_tflite: Path,
    tiny_photos: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    code, text, case = CASES[name]
    arguments = case(Place(tmp_path, tiny_tflite, tiny_photos))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run(arguments) == code
    streams = capfd.readouterr()
    assert text in streams.err
    assert "Traceback" not in streams.err
    assert streams.out == ""
    if "Missing argument" not in text:
        (line,) = streams.err.strip().splitlines()
        assert "Expected" in line
        assert "Received" in line
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_model_that_is_no_classifier(
    tmp_path: Path, tiny_photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tf = pytest.importorskip("tensorflow", reason="makes the model")

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 3), tf.float32)])
    def brighten(pixels):
        return pixels + 1.0

    function = brighten.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    path = tmp_path / "brighten.tflite"
    path.write_bytes(converter.convert())
    capfd.readouterr()
    photo = next((tiny_photos / "cross").iterdir())
    assert run(["classify", str(path), str(photo), "--mean", "0", "--std", "1"]) == 1
    assert "Expected an image classifier" in capfd.readouterr().err


@pytest.mark.parametrize("command", ["live", "benchmark", "train"])
def test_no_permission(command: str, tiny_tflite: Path, tiny_photos: Path, tmp_path: Path) -> None:
    if command == "train":
        pytest.importorskip("tensorflow", reason="training needs the train extra")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    video = tmp_path / "video.avi"
    write_video(video)
    arguments = {
        "live": ["live", tiny_tflite, "--source", video, "--record", locked / "out.mp4"],
        "benchmark": ["benchmark", tiny_tflite, "--num-runs", "1", "--json", locked / "out.json"],
        "train": ["train", tiny_photos, "--out", locked / "run", "--weights", "none"],
    }
    call = [sys.executable, "-m", "pocketlens", *map(str, arguments[command])]
    if os.geteuid() == 0:
        # Root may write anywhere unless it gives that up.
        call = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *call]
    environment = {**os.environ, "POCKETLENS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(call, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(locked.iterdir())


def write_video(path: Path) -> None:
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for value in range(5):
        writer.write(np.full((48, 64, 3), 40 * value, np.uint8))
    writer.release()


@pytest.mark.parametrize(
    "arguments",
    [
        ["classify", "{run}", "{photos}"],
        ["inspect", "{run}"],
        ["live", "{run}", "--source", "{photos}"],
        ["benchmark", "{run}"],
        ["service", "install", "{run}", "--source", "0", "--print"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_run_in_place_of_a_file_is_told_how_to_convert(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("model.keras", "split.json"):
        (folder / name).write_text("")
    assert run([word.format(run=folder, photos=tmp_path) for word in arguments]) == 2
    error = capsys.readouterr().err
    assert f"a training run. Make one with: pocketlens convert {folder} --out DIR" in error


def test_the_model_of_a_run_is_told_how_to_convert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.keras"
    model.write_text("something")
    assert run(["inspect", str(model)]) == 1
    assert f"pocketlens convert {model} --out DIR" in capsys.readouterr().err
