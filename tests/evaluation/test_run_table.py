"""All runs of a folder in one table."""

from pathlib import Path

import pytest
from made_runs import make_run, write_photo

from pocketlens.errors import UsageError
from pocketlens.evaluation.intervals import wilson
from pocketlens.evaluation.run_table import list_runs, to_payload


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs, of which the second by name is the newest, and something else."""
    photos = tmp_path / "photos"
    paths = [write_photo(photos / "ab"[n % 2] / f"{n}.jpg", f"photo {n}") for n in range(20)]
    folder = tmp_path / "runs"
    tested = {"test_accuracy": 0.9, "test_count": 10, "val_accuracy": 1.0, "val_count": 5}
    make_run(
        folder / "a",
        photos,
        {"train": paths[:5], "val": paths[5:10], "test": paths[10:]},
        at_s=1_700_000_000,
        metrics=tested,
        training={"arch": "x", "seed": 0, "kept_grid_epochs": 3},
        data_hash="0123456789",
    )
    make_run(
        folder / "b",
        photos,
        {"train": paths[:15], "val": paths[15:]},
        at_s=1_700_000_060,
        metrics={"val_accuracy": 0.8, "val_count": 5},
        training={"arch": "x", "seed": 1, "kept_grid_epochs": 4, "dropout": 0.5},
    )
    make_run(folder / "c", photos, {"train": paths[:5]}, at_s=1_600_000_000)
    (folder / "notes.txt").write_text("not a run")
    return folder


def test_newest_first_with_figures(runs: Path) -> None:
    table = list_runs(runs)
    assert [row.name for row in table.runs] == ["b", "a", "c"]
    newest, middle, oldest = table.runs
    assert middle.trained_at == "2023-11-14T22:13:20Z"
    assert middle.photos == {"train": 5, "val": 5, "test": 10}
    assert (middle.accuracy, middle.measured_on, middle.measured) == (0.9, "test", 10)
    assert middle.interval == wilson(9, 10)
    assert middle.short_hash == "01234567"
    assert (newest.accuracy, newest.measured_on) == (0.8, "val")
    assert oldest.accuracy is None
    assert oldest.interval is None


def test_what_differs_are_settings_and_no_outcomes(runs: Path) -> None:
    table = list_runs(runs)
    assert set(table.differing) == {"arch", "seed", "dropout"}
    payload = to_payload(table)
    assert payload["runs"][1]["settings"] == {
        "task": "multiclass",
        "labels": ["a", "b"],
        "arch": "x",
        "seed": 0,
    }
    assert payload["runs"][1]["accuracy_interval"] == wilson(9, 10)
    assert payload["runs"][2]["accuracy_interval"] is None


def test_a_damaged_run_is_named_and_the_others_are_listed(runs: Path) -> None:
    (runs / "a" / "split.json").write_text("[")
    (runs / "b" / "card.json").write_text("{}")
    table = list_runs(runs)
    assert [row.name for row in table.runs] == ["c"]
    assert [line[:17] for line in table.warnings] == ["a is left out. Ex", "b is left out. Ex"]


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none in it\. Make one with: pocketlens train"):
        list_runs(tmp_path)
    with pytest.raises(UsageError, match="No such file"):
        list_runs(tmp_path / "nowhere")
