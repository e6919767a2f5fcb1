"""Two real models on the same photos: what is lost and won, and what is said of it."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from made_runs import write_info

from pocketlens.card import unpack
from pocketlens.errors import LabelsError, UsageError
from pocketlens.evaluation import compare_models
from pocketlens.evaluation.agreement import mcnemar_p
from pocketlens.evaluation.comparing import is_field_sample
from pocketlens.evaluation.comparison import ModelComparison, to_payload
from pocketlens.evaluation.intervals import wilson
from pocketlens.evaluation.seen import sketch
from pocketlens.runtime.hints import ModelHints

LABELS = ("circle", "cross", "stripes")


@pytest.fixture
def models(
    tiny_models: dict[str, Path], tmp_path: Path, with_card: Callable[..., Path]
) -> Callable[..., Path]:
    """Write the tiny float32 file with another card, as one that has seen nothing."""

    def write(name: str, **changes: object) -> Path:
        changes = {"seen": sketch([]), "data_hash": "d"} | changes
        return with_card(tiny_models["float32"], tmp_path / f"{name}.tflite", **changes)

    return write


def answers_of(comparison: ModelComparison) -> dict[str, tuple[tuple[str, ...], ...]]:
    return {Path(entry.photo).name: (entry.truth, entry.a, entry.b) for entry in comparison.changed}


def test_lost_and_won_are_counted_by_class(models: Callable[..., Path], tiny_photos: Path) -> None:
    # The same scores under names that are turned by one: what the first says of circles the other
    # says of crosses.
    first, second = models("one"), models("two", labels=("cross", "stripes", "circle"))
    found = compare_models(first, second, tiny_photos)
    overall = found.overall
    assert overall.photos == sum(entry.photos for entry in overall.classes) == 90
    for side in ("a", "b"):
        assert getattr(overall, side) == sum(getattr(entry, side) for entry in overall.classes)
    flips = overall.flips
    assert overall.b - overall.a == flips.won - flips.lost
    assert flips.p == mcnemar_p(flips.lost, flips.won)
    assert overall.a_interval == wilson(overall.a, 90)
    # No photo can be right for both: that would be the same name.
    assert (flips.lost, flips.won) == (overall.a, overall.b)
    assert len(found.changed) == 90
    kinds = [entry.change for entry in found.changed]
    assert kinds == sorted(kinds, key=["lost", "won", "other"].index)
    assert kinds.count("lost") == flips.lost
    for entry in found.changed:
        assert (entry.change == "lost") == (entry.a == entry.truth)
        assert (entry.change == "won") == (entry.b == entry.truth)
    lost = [entry.b_score for entry in found.changed if entry.change == "lost"]
    assert lost == sorted(lost, reverse=True)
    by_class = [(entry.won - entry.lost) / entry.photos for entry in overall.classes]
    assert by_class == sorted(by_class)
    other_way = compare_models(second, first, tiny_photos).overall
    assert (other_way.flips.lost, other_way.flips.won) == (flips.won, flips.lost)


def test_the_same_answers_cannot_be_told_apart(
    models: Callable[..., Path], tiny_photos: Path
) -> None:
    found = compare_models(models("one"), models("two"), tiny_photos)
    assert found.verdict == "undecided"
    assert not found.changed
    assert found.overall.photos_to_tell == 783
    assert found.sentence == (
        "two.tflite cannot be told apart from one.tflite: of 90 photos it wins 0 and loses 0 "
        "(p = 1.00). A difference of a point would take about 790 photos."
    )


def test_by_default_they_are_compared_on_the_test_photos_of_their_run(
    tiny_models: dict[str, Path], tiny_run: Path
) -> None:
    found = compare_models(tiny_models["int8"], tiny_models["float32"])
    split = json.loads((tiny_run / "split.json").read_text())
    assert found.overall.photos == len(split["parts"]["test"])
    assert not found.left_out
    assert not found.warnings


def test_a_run_and_its_file_answer_alike(tiny_models: dict[str, Path], tiny_run: Path) -> None:
    pytest.importorskip("tensorflow", reason="runs need the train extra")
    found = compare_models(tiny_run, tiny_models["float32"])
    assert found.overall.photos == 21
    assert found.overall.a == found.overall.b
    assert found.a.name == tiny_run.name


def test_seen_photos_among_the_given_are_left_out(
    tiny_models: dict[str, Path], tiny_photos: Path
) -> None:
    found = compare_models(tiny_models["int8"], tiny_models["float32"], tiny_photos)
    assert found.overall.photos == 21
    (entry,) = found.left_out
    assert entry.photos == 69
    assert "tiny_int8.tflite and tiny_float32.tflite" in entry.reason
    assert entry.sentence in found.notes


def test_a_label_that_one_lacks_counts_apart(
    models: Callable[..., Path], tiny_photos: Path
) -> None:
    first, second = models("old", labels=("circle", "cross", "bird")), models("new")
    found = compare_models(first, second, tiny_photos)
    assert found.overall.photos == 60
    assert {entry.label for entry in found.overall.classes} == {"circle", "cross"}
    (entry,) = found.only_known
    assert (entry.label, entry.model, entry.photos) == ("stripes", "b", 30)
    assert "Only new.tflite has the label stripes: such photos are counted apart." in found.notes
    assert "Only old.tflite has the label bird: such photos are counted apart." in found.notes
    # A wrong answer is one whether or not the other model has its label.
    assert found.overall.flips.lost == found.overall.flips.won == 0
    (other,) = compare_models(second, first, tiny_photos).only_known
    assert (other.model, other.right) == ("a", entry.right)


def test_labels_that_neither_has_are_left_out(
    models: Callable[..., Path], tiny_photos: Path
) -> None:
    names = ("circle", "cross", "bird")
    found = compare_models(models("a", labels=names), models("b", labels=names), tiny_photos)
    assert found.overall.photos == 60
    assert "30 photos are left out: neither model has their labels." in found.notes


def test_nothing_in_common_is_an_error(models: Callable[..., Path], tiny_photos: Path) -> None:
    other = models("b", labels=("x", "y", "z"))
    with pytest.raises(LabelsError, match="labels in common"):
        compare_models(models("a"), other, tiny_photos)


def test_the_label_unknown_counts_apart(
    models: Callable[..., Path], unknown_models: dict[str, Path], tiny_photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_photos, tmp_path / "photos")
    shutil.copytree(tiny_photos / "cross", tmp_path / "photos" / "unknown")
    known = compare_models(models("old"), unknown_models["int8"], tmp_path / "photos")
    assert known.a.refusing is None
    refusing = known.b.refusing
    assert refusing is not None
    # The model's own test photos are what is left of the known ones; copies have the same content.
    assert refusing.known == known.overall.photos == 21
    assert 0 <= refusing.kept <= 21
    assert refusing.strangers == 6
    assert f"keeps {refusing.kept} of 21 known photos and refuses" in " ".join(known.notes)
    assert "Only" not in " ".join(known.notes)


def test_a_binary_and_a_multiclass_model_are_compared_by_label(
    models: Callable[..., Path], task_models: dict[str, dict[str, Path]], tiny_photos: Path
) -> None:
    found = compare_models(task_models["binary"]["float32"], models("three"), tiny_photos)
    assert {entry.label for entry in found.overall.classes} == {"circle", "cross"}
    assert {entry.label for entry in found.only_known} == {"stripes"}
    for entry in found.changed:
        assert 0.5 <= entry.a_score <= 1


def test_multilabel_models_are_compared_on_whole_answers(
    task_models: dict[str, dict[str, Path]], tmp_path: Path, with_card: Callable[..., Path]
) -> None:
    file = task_models["multilabel"]["float32"]
    threshold = with_card(file, tmp_path / "other.tflite", threshold=0.99)
    shutil.copytree(file.parent / "pairs", tmp_path / "pairs")
    found = compare_models(file, threshold, tmp_path / "pairs" / "photos.jsonl")
    # Nothing is above that: only photos of nothing are right.
    split = json.loads((file.parent / "multilabel" / "split.json").read_text())
    empty = [labels for labels in split["parts"]["test"].values() if labels == []]
    assert found.overall.b == len(empty)
    assert all(entry.b == () for entry in found.changed)
    assert found.overall.photos + sum(entry.photos for entry in found.left_out) == 60
    renamed = with_card(file, tmp_path / "new.tflite", labels=("circle", "cross", "lines"))
    fewer = compare_models(file, renamed, tmp_path / "pairs" / "photos.jsonl")
    # What both know of a photo is the same.
    assert fewer.overall.flips.lost == fewer.overall.flips.won == 0
    assert not fewer.changed
    assert {entry.label for entry in fewer.only_known} <= {"stripes"}


def test_one_label_and_several_are_not_compared(
    models: Callable[..., Path], task_models: dict[str, dict[str, Path]], tiny_photos: Path
) -> None:
    with pytest.raises(UsageError, match=r"multilabel ones\. Received: one\.tflite \(multiclass\)"):
        compare_models(models("one"), task_models["multilabel"]["int8"], tiny_photos)


def test_the_random_sample_of_the_field_is_counted_apart(
    models: Callable[..., Path], tiny_photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(tiny_photos, folder)
    for number in range(5):
        write_info(folder / "cross" / f"{number:02}.png", "random")
    write_info(folder / "circle" / "00.png", "unsure")
    second = models("two", labels=("cross", "circle", "stripes"))
    found = compare_models(models("one"), second, folder)
    assert found.field is not None
    assert found.field.photos == 5
    assert {entry.label for entry in found.field.classes} == {"cross"}
    assert found.field_sentence.startswith("On the random sample of the field: two.tflite ")
    assert sum(entry.field for entry in found.changed) <= 5
    assert found.overall.photos == 90


def test_what_the_json_beside_a_photo_says(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    assert not is_field_sample(photo)
    for reason, expected in (("random", True), ("unsure", False)):
        write_info(photo, reason)
        assert is_field_sample(photo) is expected
    for text in ('["random"]', "random", "[" * 100_000, ""):
        (tmp_path / "photo.json").write_text(text)
        assert not is_field_sample(photo)


def test_names_and_errors(models: Callable[..., Path], tiny_photos: Path, tmp_path: Path) -> None:
    one = models("one")
    with pytest.raises(UsageError, match=r"^Expected each file once"):
        compare_models(one, one, tiny_photos)
    with pytest.raises(UsageError, match=r"^Expected --data PHOTOS"):
        compare_models(one, models("two"))
    (tmp_path / "sub").mkdir()
    copied = shutil.copy(one, tmp_path / "sub" / "one.tflite")
    found = compare_models(one, copied, tiny_photos)
    assert found.b.name == "sub/one.tflite"


def test_hints_are_for_the_file_without_a_card(
    models: Callable[..., Path], tiny_photos: Path, tmp_path: Path, tiny_models: dict[str, Path]
) -> None:
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(unpack(tiny_models["float32"].read_bytes()).flatbuffer)
    with zipfile.ZipFile(bare, "a") as archive:
        archive.writestr("labels.txt", "one\ntwo\nthree\n")
    found = compare_models(models("one"), bare, tiny_photos, ModelHints(labels=LABELS))
    assert found.overall.flips.lost == found.overall.flips.won == 0
    turned = ModelHints(labels=("cross", "stripes", "circle"))
    found = compare_models(models("other"), bare, tiny_photos, turned)
    assert found.a.labels == LABELS
    assert found.overall.flips.lost == found.overall.a > 0
    with pytest.raises(UsageError, match="its card says"):
        compare_models(models("one"), models("two"), tiny_photos, ModelHints(mean=0.0, std=1.0))


def test_an_unreadable_photo_is_counted_once(
    models: Callable[..., Path], tiny_photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(tiny_photos, folder)
    (folder / "cross" / "torn.png").write_bytes(b"no picture")
    found = compare_models(models("one"), models("two"), folder)
    assert found.skipped == 1
    assert found.overall.photos == 90
    assert "1 photo cannot be read." in found.notes


def test_json_has_the_verdicts(models: Callable[..., Path], tiny_photos: Path) -> None:
    found = compare_models(models("one"), models("two"), tiny_photos)
    payload = json.loads(json.dumps(to_payload(found)))
    assert payload["verdict"] == payload["overall"]["verdict"] == "undecided"
    assert payload["overall"]["a_interval"] == list(found.overall.a_interval)
    assert payload["field"] is None
    assert payload["costs"] is None
