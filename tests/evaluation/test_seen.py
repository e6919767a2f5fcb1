"""Figures on photos that a model was trained or chosen on are told apart."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pytest

from pocketlens.card import ModelCard, pack, unpack
from pocketlens.cli.main import run
from pocketlens.evaluation.seen import sketch, warn_if_seen
from pocketlens.runtime.photos import Photo, scan
from pocketlens.runtime.runs import read_split

CARD = ModelCard("m", ("a", "b"), (32, 32))
QUICK = ("--num-runs", "2", "--warmup-runs", "1", "--min-secs", "0")


def photos_in(folder: Path, count: int) -> list[Photo]:
    photos = [Photo(folder / f"{number}.png", (0,)) for number in range(count)]
    for photo in photos:
        photo.path.write_text(photo.path.name)
    return photos


def digests(photos: list[Photo]) -> list[str]:
    return [hashlib.sha256(photo.path.read_bytes()).hexdigest() for photo in photos]


@pytest.mark.parametrize(
    ("seen", "said"), [(0, ""), (1, "1 of the 60 photos was used"), (40, "40")]
)
def test_few_photos_are_counted_exactly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, seen: int, said: str
) -> None:
    photos = photos_in(tmp_path, 60)
    card = dataclasses.replace(CARD, seen=sketch(digests(photos[:seen])))
    warn_if_seen([(tmp_path / "m.tflite", card)], photos)
    assert caplog.text.count("optimistic") == (seen > 0)
    assert said in caplog.text
    assert "About" not in caplog.text


def test_the_sentence_is_in_json_and_on_the_page(
    tiny_tflite: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="pages need the report extra")
    photos = scan(tiny_photos)
    unpacked = unpack(tiny_tflite.read_bytes())
    card = dataclasses.replace(unpacked.card, seen=sketch(digests(list(photos.photos[:50]))))
    model = tmp_path / "seen.tflite"
    model.write_bytes(pack(unpacked.flatbuffer, card))
    said = f"50 of the {len(photos.photos)} photos were used to train or choose seen.tflite"
    target = tmp_path / "evaluation.json"
    assert run(["evaluate", str(model), str(tiny_photos), "--json", str(target)]) == 0
    assert said in json.loads(target.read_text())["warnings"][0]
    assert run(["report", str(target), "--out", str(tmp_path / "page")]) == 0
    assert said in (tmp_path / "page" / "index.html").read_text("utf-8")
    target = tmp_path / "benchmark.json"
    call = ["benchmark", str(model), "--photos", str(tiny_photos), *QUICK]
    assert run([*call, "--json", str(target)]) == 0
    assert said in json.loads(target.read_text())["warnings"][0]
    assert run(["report", str(target), "--out", str(tmp_path / "other")]) == 0
    assert said in (tmp_path / "other" / "index.html").read_text("utf-8")


def test_of_many_photos_a_sample_tells_how_many(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = photos_in(tmp_path, 1200)
    card = dataclasses.replace(CARD, seen=sketch(digests(photos[:800])))
    assert len(card.seen) == 512
    warn_if_seen([(tmp_path / "m.tflite", card)], photos[400:])
    found = re.search(r"About (\d+) of the 800 photos were used", caplog.text)
    assert found
    assert 270 <= int(found[1]) <= 530
    caplog.clear()
    warn_if_seen([(tmp_path / "m.tflite", card)], photos[800:])
    assert not caplog.text


def test_a_run_knows_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos = photos_in(tmp_path, 300)
    every = digests(photos)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "model.keras").write_text("")
    seen = {"train": every[:100], "val": every[100:150], "test": every[150:200]}
    seen = {split: dict.fromkeys(names, "") for split, names in seen.items()}
    split = {"photos": "..", "parts": {}, "seen": seen}
    (folder / "split.json").write_text(json.dumps(split))
    photos[0].path.unlink()
    for model in (folder, folder / "model.keras"):
        caplog.clear()
        warn_if_seen([(model, CARD)], photos)
        assert f"149 of the 299 photos were used to train or choose {model.name}," in caplog.text


@pytest.mark.parametrize("command", ["evaluate", "benchmark"])
def test_commands_warn(
    command: str,
    tiny_run: Path,
    tiny_models: dict[str, Path],
    tiny_photos: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = read_split(tiny_run).seen
    assert seen is not None
    unpacked = unpack(tiny_models["int8"].read_bytes())
    assert unpacked.card is not None
    kept = sketch(digest for split in ("train", "val") for digest in seen[split])
    card = dataclasses.replace(unpacked.card, seen=kept)
    files = [tmp_path / "one.tflite", tmp_path / "two.tflite"]
    for file in files:
        file.write_bytes(pack(unpacked.flatbuffer, card))
    if command == "evaluate":
        arguments = [str(files[0]), str(tiny_photos)]
    else:
        arguments = [*map(str, files), "--photos", str(tiny_photos), *QUICK]
    assert run([command, *arguments]) == 0
    assert caplog.text.count("were used to train or choose one.tflite") == 1
    caplog.clear()
    arguments[arguments.index(str(tiny_photos))] = str(tiny_run)
    assert run([command, *arguments]) == 0
    assert "optimistic" not in caplog.text
