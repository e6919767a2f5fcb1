"""Choosing the photos that int8's ranges are measured on."""

from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="conversion needs the train extra")

from pocketlens.convert.photos import choose_from_folder, choose_stratified
from pocketlens.errors import DataError
from pocketlens.runtime.photos import Photo


def test_stratified_choice_is_even() -> None:
    photos = [
        Photo(Path(f"{label}/{index}"), (label,)) for label in range(3) for index in range(50)
    ]
    chosen = choose_stratified(photos, 30, seed=1)
    counts = [sum(path.parent.name == str(label) for path in chosen) for label in range(3)]
    assert counts == [10, 10, 10]
    assert len(set(chosen)) == 30
    assert chosen == choose_stratified(photos, 30, seed=1)
    assert chosen != choose_stratified(photos, 30, seed=2)


def test_stratified_choice_of_uneven_classes() -> None:
    photos = [Photo(Path(f"a/{index}"), (0,)) for index in range(3)]
    photos += [Photo(Path(f"b/{index}"), (1,)) for index in range(50)]
    chosen = choose_stratified(photos, 20, seed=0)
    assert sum(path.parent.name == "a" for path in chosen) == 3
    assert len(chosen) == 20
    assert len(choose_stratified(photos, 500, seed=0)) == 53


def test_folder_without_photos(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--calibration-photos"):
        choose_from_folder(tmp_path, 5, 0)
