"""No photo of the test split, nor a copy of one, reaches training, validation or calibration."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="training needs the train extra")

import keras

from pocketlens.convert import Demands, convert
from pocketlens.convert import photos as photos_of
from pocketlens.evaluation.calibration import tempered
from pocketlens.evaluation.seen import sketch
from pocketlens.runtime.photos import LabelledPhotos
from pocketlens.runtime.pictures import decode, resize
from pocketlens.runtime.runs import SPLITS, read_run
from pocketlens.train import Settings, evaluate_model, phases, train, training
from pocketlens.train import training as measuring

SIZE = 64
SETTINGS = Settings(
    arch="cnn_small",
    image_size=SIZE,
    weights="none",
    batch_size=16,
    fine_tune_epochs=1,
    grid_epochs=0,
    unknown="off",
)
COPIED, PLAIN = 8, 22


@dataclass(frozen=True)
class Seen:
    """A run on photos with planted copies, and what its steps were given."""

    run: Path
    splits: dict[str, Any]
    validation: list[np.ndarray]
    augmented: set[bytes]
    fitted: list[tuple[np.ndarray, np.ndarray]]
    test_scores: np.ndarray


def plant_copies(path: Path) -> None:
    """Save three copies of a photo: turned by EXIF, smaller, and compressed again."""
    image = Image.open(path).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    # 6 says that it has to be turned a quarter clockwise to be upright.
    image.rotate(90, expand=True).save(path.with_name(f"{path.stem}-turned.jpg"), exif=exif)
    image.resize((image.width // 2, image.height // 2)).save(
        path.with_name(f"{path.stem}-small.png")
    )
    image.save(path.with_name(f"{path.stem}-again.jpg"), quality=40)


@pytest.fixture(scope="module")
def seen(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    home = tmp_path_factory.mktemp("leakage")
    for label in ("daisy", "tulips"):
        folder = home / "photos" / label
        folder.mkdir(parents=True)
        sources = sorted((shared / "data" / "flowers" / label).iterdir())[: COPIED + PLAIN]
        for number, source in enumerate(sources):
            path = folder / f"{number:02}.jpg"
            path.write_bytes(source.read_bytes())
            if number < COPIED:
                plant_copies(path)
    splits: dict[str, Any] = {}
    validation, fitted = [], []
    augmented: set[bytes] = set()
    really_fit, really_load = keras.Model.fit, training.load_pixels
    really_fit_temperature, really_augment = measuring.fit_temperature, phases.augment

    def load(*arguments: Any) -> Any:
        splits.update(really_load(*arguments))
        return splits

    def fit(model: Any, *arguments: Any, **named: Any) -> Any:
        validation.append(
            np.concatenate([np.asarray(batch[0]) for batch in named["validation_data"]])
        )
        return really_fit(model, *arguments, **named)

    def augment(pixels: np.ndarray, *arguments: Any, **named: Any) -> np.ndarray:
        augmented.update(picture.tobytes() for picture in pixels)
        return really_augment(pixels, *arguments, **named)

    def fit_temperature(scores: Any, truth: Any, task: str) -> float:
        fitted.append((scores, truth))
        return really_fit_temperature(scores, truth, task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCKETLENS_CACHE", str(home / "cache"))
        patch.setattr(training, "load_pixels", load)
        patch.setattr(keras.Model, "fit", fit)
        patch.setattr(phases, "augment", augment)
        patch.setattr(measuring, "fit_temperature", fit_temperature)
        train(home / "photos", home / "run", SETTINGS)
    scores = evaluate_model(home / "run", home / "run").answers.scores
    return Seen(home / "run", splits, validation, augmented, fitted, scores)


def originals(names: Any) -> set[tuple[str, str]]:
    """Return of which photos these are, whatever has become of them."""
    return {(Path(name).parent.name, Path(name).stem[:2]) for name in names}


def paths_of(run: Path, split: str) -> list[Path]:
    return [photo.path.resolve() for photo in read_run(run).photos(split).photos]


def pixels_of(run: Path, split: str) -> np.ndarray:
    """Decode the photos of a split anew, as they lie there."""
    return np.stack([resize(decode(path), (SIZE, SIZE)) for path in paths_of(run, split)])


def test_copies_of_a_photo_are_in_its_split(seen: Seen) -> None:
    splits = json.loads((seen.run / "split.json").read_text())["parts"]
    assert sum(map(len, splits.values())) == 2 * (4 * COPIED + PLAIN)
    held = {split: originals(splits[split]) for split in SPLITS}
    assert sum(map(len, held.values())) == len(set.union(*held.values())) == 2 * (COPIED + PLAIN)
    copied = {split for split in SPLITS if any("-" in name for name in splits[split])}
    assert len(copied) > 1


def test_each_step_gets_the_photos_of_its_split(seen: Seen) -> None:
    for split in SPLITS:
        np.testing.assert_array_equal(seen.splits[split].pixels, pixels_of(seen.run, split))
        names = [photo.path for photo in seen.splits[split].photos]
        assert names == paths_of(seen.run, split)


def test_all_that_is_augmented_is_training_photos(seen: Seen) -> None:
    of_splits = {
        split: {picture.tobytes() for picture in pixels_of(seen.run, split)} for split in SPLITS
    }
    assert seen.augmented == of_splits["train"]
    assert not seen.augmented & (of_splits["val"] | of_splits["test"])


def test_validation_is_not_augmented(seen: Seen) -> None:
    expected = pixels_of(seen.run, "val")
    assert len(seen.validation) == 1
    for pixels in seen.validation:
        np.testing.assert_array_equal(pixels, expected.astype(np.float32))


def test_temperature_comes_from_plain_validation_photos(seen: Seen) -> None:
    ((scores, truth),) = seen.fitted
    run = read_run(seen.run)
    np.testing.assert_array_equal(truth, [p.label_indices[0] for p in run.photos("val").photos])
    model = keras.models.load_model(run.model, compile=False)
    now = model.predict(pixels_of(seen.run, "val").astype(np.float32), verbose=0)
    temperature = run.card.metrics["temperature"]
    np.testing.assert_allclose(tempered(scores, temperature, "multiclass"), now, atol=1e-3)


def test_test_photos_are_not_augmented(seen: Seen) -> None:
    model = keras.models.load_model(read_run(seen.run).model, compile=False)
    scores = model.predict(pixels_of(seen.run, "test").astype(np.float32), verbose=0)
    np.testing.assert_allclose(scores, seen.test_scores, atol=1e-4)


def test_the_card_knows_what_was_learned_from_and_chosen_by(seen: Seen) -> None:
    known = [*paths_of(seen.run, "train"), *paths_of(seen.run, "val")]
    digests = (hashlib.sha256(path.read_bytes()).hexdigest() for path in known)
    assert read_run(seen.run).card.seen == sketch(digests)


def test_int8_is_calibrated_on_plain_training_photos(
    seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[tuple[list[Path], list[np.ndarray]]] = []
    really = photos_of.load_pixels

    def load(paths: list[Path], *arguments: Any) -> Any:
        used.append(([path.resolve() for path in paths], really(paths, *arguments)))
        return used[-1][1]

    checked: list[Path] = []
    really_labelled = photos_of.load_labelled

    def load_labelled(photos: LabelledPhotos, *arguments: Any) -> Any:
        checked.extend(photo.path.resolve() for photo in photos.photos)
        return really_labelled(photos, *arguments)

    monkeypatch.setattr(photos_of, "load_pixels", load)
    monkeypatch.setattr(photos_of, "load_labelled", load_labelled)
    convert(seen.run, tmp_path, ["int8"], samples=20, demands=Demands(max_drop=100))
    splits = {split: set(paths_of(seen.run, split)) for split in SPLITS}
    ((calibrated, pixels),) = used
    assert len(calibrated) == 20
    assert set(calibrated) <= splits["train"]
    assert set(checked) <= splits["val"]
    test_photos = originals(map(str, splits["test"]))
    assert not originals(map(str, [*calibrated, *checked])) & test_photos
    for path, given in zip(calibrated, pixels, strict=True):
        np.testing.assert_array_equal(given, resize(decode(path), (SIZE, SIZE)))
