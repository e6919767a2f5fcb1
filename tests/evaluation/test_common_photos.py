"""Which photos two models are compared on."""

import hashlib
from pathlib import Path

import pytest
from made_runs import make_run, write_photo

from pocketlens.card import ModelCard
from pocketlens.errors import DataError, UsageError
from pocketlens.evaluation.common_photos import (
    CommonPhotos,
    Learner,
    common_photos,
    find_run,
    run_folder,
)
from pocketlens.evaluation.seen import sketch
from pocketlens.runtime.runs import read_run

NO_CARD = ModelCard("m", ("a", "b"), (32, 32))


def learner(run: Path) -> Learner:
    return Learner(run.name, run, read_run(run).card, run)


def names_of(found: CommonPhotos) -> set[str]:
    return {photo.path.stem for photo in found.photos.photos}


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Twelve photos, a00 to a05 and b06 to b11."""
    return [
        write_photo(tmp_path / "photos" / "ab"[number // 6] / f"{number:02}.jpg", f"photo {number}")
        for number in range(12)
    ]


def test_the_test_photos_of_both_that_neither_has_learned_from(
    tmp_path: Path, photos: list[Path]
) -> None:
    folder = tmp_path / "photos"
    first = make_run(tmp_path / "one", folder, {"train": photos[:4], "test": photos[4:8]})
    # What the first tests on is among what the second chose by, and the other way round.
    second = make_run(
        tmp_path / "two",
        folder,
        {"train": photos[8:], "val": [photos[4]], "test": [photos[0], *photos[5:7]]},
    )
    found = common_photos([learner(first), learner(second)], None)
    assert names_of(found) == {"05", "06", "07"}
    assert sorted(entry.sentence for entry in found.left_out) == [
        "1 photo is left out: used to train or choose one.",
        "1 photo is left out: used to train or choose two.",
    ]
    assert found.photos.labels == ("a", "b")
    labels = {p.path.stem: found.photos.labels[p.label_indices[0]] for p in found.photos.photos}
    assert labels == {"05": "a", "06": "b", "07": "b"}


def test_given_photos_are_taken_but_for_those_that_were_seen(
    tmp_path: Path, photos: list[Path]
) -> None:
    folder = tmp_path / "photos"
    runs = [
        make_run(tmp_path / name, folder, {"train": photos[:3], "val": photos[6:8], "test": []})
        for name in ("one", "two")
    ]
    found = common_photos([learner(run) for run in runs], folder)
    assert len(found.photos.photos) == 7
    (entry,) = found.left_out
    assert entry.sentence == "5 photos are left out: used to train or choose one and two."


def test_when_all_were_seen_it_is_said(tmp_path: Path, photos: list[Path]) -> None:
    run = make_run(tmp_path / "one", tmp_path / "photos", {"train": photos, "test": []})
    other = Learner("other.tflite", tmp_path / "other.tflite", NO_CARD, None)
    with pytest.raises(DataError, match=r"none\. 12 photos .* train or choose one\. Give others"):
        common_photos([learner(run), other], tmp_path / "photos")


def test_moved_photos_and_changed_labels_are_told(
    tmp_path: Path, photos: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "photos"
    first = make_run(tmp_path / "one", folder, {"train": photos[:3], "test": photos[3:6]})
    photos[3].unlink()
    moved = folder / "b" / "04.jpg"
    moved.write_bytes(photos[4].read_bytes())
    second = make_run(tmp_path / "two", folder, {"train": photos[6:8], "test": [moved]})
    found = common_photos([learner(first), learner(second)], None)
    assert names_of(found) == {"04", "05"}
    (entry,) = found.left_out
    assert entry.sentence == "1 photo is left out: moved or deleted since one was trained."
    assert found.warnings == (
        "1 test photo has other labels in two than in one: those of two count.",
    )
    assert found.warnings[0] in caplog.text
    by_name = {p.path.stem: found.photos.labels[p.label_indices[0]] for p in found.photos.photos}
    assert by_name["04"] == "b"


def test_a_run_without_test_photos_leaves_those_of_the_other(
    tmp_path: Path, photos: list[Path]
) -> None:
    folder = tmp_path / "photos"
    first = make_run(tmp_path / "one", folder, {"train": photos[:3]})
    second = make_run(tmp_path / "two", folder, {"train": photos[6:9], "test": photos[9:]})
    found = common_photos([learner(first), learner(second)], None)
    assert names_of(found) == {"09", "10", "11"}
    assert "--no-test" in found.warnings[0]


def test_without_runs_photos_have_to_be_given(tmp_path: Path) -> None:
    others = [Learner(f"{n}.tflite", tmp_path / f"{n}.tflite", NO_CARD, None) for n in "ab"]
    with pytest.raises(UsageError, match=r"^Expected --data PHOTOS, .* a\.tflite and b\.tflite"):
        common_photos(others, None)


def test_of_a_file_a_sample_tells_about_how_many_were_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    every = [write_photo(tmp_path / "photos" / "a" / f"{n}.jpg", str(n)) for n in range(400)]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in every]
    card = ModelCard("m", ("a", "b"), (32, 32), seen=sketch(digests[:300]))
    other = ModelCard("n", ("a", "b"), (32, 32), seen=sketch(digests[:40]))
    models = [
        Learner("m.tflite", tmp_path / "m.tflite", card, None),
        Learner("n.tflite", tmp_path / "n.tflite", other, None),
    ]
    found = common_photos(models, tmp_path / "photos")
    # Few photos are all known, and are left out; of many there is a sample.
    assert len(found.photos.photos) == 360
    assert found.left_out[0].sentence.endswith(
        "40 photos are left out: used to train or choose n.tflite."
    )
    (warning,) = found.warnings
    assert warning.startswith("About ")
    assert 200 <= int(warning.split()[1]) <= 400
    assert warning in caplog.text


def test_a_file_s_run_is_found_beside_it(tmp_path: Path, photos: list[Path]) -> None:
    folder = tmp_path / "photos"
    marks = {"data_hash": "d", "seen": "0011223344556677"}
    run = make_run(tmp_path / "runs" / "one", folder, {"train": photos[:3]}, **marks)
    make_run(tmp_path / "runs" / "other", folder, {"train": photos[:3]}, data_hash="e", seen="00")
    (tmp_path / "runs" / "damaged").mkdir()
    for name in ("model.keras", "split.json", "card.json"):
        (tmp_path / "runs" / "damaged" / name).write_text("{")
    card = read_run(run).card
    for file in ("models/one.tflite", "runs/one.tflite", "runs/one/one.tflite"):
        assert find_run(tmp_path / file, card) == run, file
    assert find_run(tmp_path / "models" / "one.tflite", NO_CARD) is None
    assert find_run(tmp_path / "far" / "models" / "one.tflite", card) is None
    assert run_folder(run) == run_folder(run / "model.keras") == run
    assert run_folder(tmp_path) is None
