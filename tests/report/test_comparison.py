"""The page of a comparison: whole, escaped, and readable at every width."""

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("jinja2", reason="pages need the report extra")

from pocketlens.errors import UsageError
from pocketlens.evaluation.agreement import Flips, mcnemar_p
from pocketlens.evaluation.common_photos import LeftOut
from pocketlens.evaluation.comparison import (
    ChangedPhoto,
    ClassTally,
    ComparedModel,
    Costs,
    FileCost,
    ModelComparison,
    OnlyKnown,
    Refusing,
    Tally,
    to_payload,
)
from pocketlens.report.comparison import read_comparison, write_comparison, write_page

NASTY = "<b>&$x$\" onload='y"
LOST, WON = 40, 12


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "<i>.png"
    Image.new("RGB", (40, 30), (200, 40, 40)).save(path)
    return path


def comparison(photo: Path) -> ModelComparison:
    classes = [ClassTally(NASTY, 100, 90, 70, 25, 5)]
    classes += [ClassTally(f"class {n}", 10, 8, 7, 1, 0) for n in range(30)]
    overall = Tally(400, 330, 302, Flips(LOST, WON, mcnemar_p(LOST, WON)), tuple(classes))
    changed = [("lost", ("class 1",), (NASTY,))] * LOST + [("won", (NASTY,), ("class 1",))] * WON
    return ModelComparison(
        ComparedModel("old.tflite", "models/old.tflite", "multiclass", (NASTY, "class 1")),
        ComparedModel(
            "new.tflite",
            "models/new.tflite",
            "multiclass",
            (NASTY, "class 1", "more", "unknown"),
            Refusing("unknown", 400, 380, 20, 15),
        ),
        overall,
        Tally(8, 7, 7, Flips(0, 0, 1.0), (ClassTally("class 1", 8, 7, 7, 0, 0),)),
        (OnlyKnown("more", "b", 12, 10),),
        tuple(
            ChangedPhoto(str(photo), ("class 1",), a, b, 0.75, 0.9, change, False)
            for change, a, b in changed
        ),
        (LeftOut(5, "used to train or choose old.tflite"),),
        1,
        ("Something to mind.",),
        Costs(
            FileCost(2_000_000, 4.0, (3.9, 4.1)), FileCost(1_000_000, 2.0, None), 0.5, (0.4, 0.6)
        ),
    )


def test_the_page_has_it_all(photo: Path, tmp_path: Path) -> None:
    found = comparison(photo)
    page = write_comparison(found, tmp_path / "page").read_text("utf-8").replace("<wbr>", "")
    assert "<b>&" not in page
    assert "<i>" not in page
    for part in (
        'class="verdict bad"',
        "new.tflite is worse than old.tflite",
        "Something to mind.",
        "cannot be told apart",
        f"Lost: only old.tflite was right ({LOST})",
        f"All {LOST} are in comparison.json.",
        "Won: only new.tflite was right (12)",
        "6 more classes",
        "380 of 400",
        "15 of 20",
        "0.50 times as long",
        "5 photos are left out",
        "1 photo cannot be read.",
    ):
        assert part in page, part
    assert page.count("<img src=") == 24 + WON
    assert "http" not in page


def test_json_alone_makes_the_page(photo: Path, tmp_path: Path) -> None:
    found = comparison(photo)
    payload = json.loads(json.dumps(to_payload(found)))
    assert read_comparison(payload) == found
    page = write_page(payload, "c.json", tmp_path / "again", overwrite=False)
    assert page.read_bytes() == write_comparison(found, tmp_path / "page").read_bytes()


def test_photos_that_are_elsewhere_are_named(photo: Path, tmp_path: Path) -> None:
    found = comparison(photo)
    photo.unlink()
    page = write_comparison(found, tmp_path / "page").read_text("utf-8")
    assert "<img" not in page
    assert "&lt;i&gt;" in page


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"overall": None}, "overall"),
        ({"overall": {"photos": 0}}, "overall"),
        ({"overall": {"flips": {"lost": 500, "won": 0, "p": 1, "classes": []}}}, "overall"),
        ({"overall": {"flips": {"lost": 5, "won": 0, "p": 7, "classes": []}}}, "overall"),
        ({"changed": [{}]}, "changed[0].photo"),
        ({"only_known": [{"label": "x", "model": "c", "photos": 1, "right": 1}]}, "only_known"),
        ({"costs": {"a": {"size_bytes": 0}}}, "costs"),
    ],
)
def test_damaged_json_is_refused(
    changes: dict[str, object], place: str, photo: Path, tmp_path: Path
) -> None:
    payload = json.loads(json.dumps(to_payload(comparison(photo))))
    for name, value in changes.items():
        payload[name] = payload[name] | value if isinstance(value, dict) else value
    if place == "costs":
        payload["costs"]["a"] = {"size_bytes": 0, "classify_ms": 1, "classify_interval_ms": None}
    with pytest.raises(UsageError, match="nothing usable at") as error:
        write_page(payload, "c.json", tmp_path / "page", overwrite=False)
    assert place in str(error.value)
    assert not (tmp_path / "page").exists()


def test_nothing_changed(photo: Path, tmp_path: Path) -> None:
    same = Tally(90, 80, 80, Flips(0, 0, 1.0), (ClassTally("class 1", 90, 80, 80, 0, 0),))
    found = dataclasses.replace(
        comparison(photo), overall=same, field=None, changed=(), only_known=(), costs=None
    )
    page = write_comparison(found, tmp_path / "page").read_text("utf-8")
    assert "None: both give every photo the same answer." in page
    assert 'class="verdict warning"' in page
    assert "random sample" not in page


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_contrast_and_width(open_page, lowest_contrast, photo, tmp_path, scheme, width) -> None:  # type: ignore[no-untyped-def]
    page = open_page(
        write_comparison(comparison(photo), tmp_path / "p").as_uri(), (width, 900), scheme
    )
    assert not page.errors
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert lowest_contrast(page) >= 4.5
    assert all(not url.startswith("http") for url in page.requested)
