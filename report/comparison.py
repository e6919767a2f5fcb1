"""A comparison of two models as an HTML page, made of what `compare --json` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pocketlens.evaluation.agreement import p_text
from pocketlens.evaluation.comparison import (
    BETTER,
    CHANGES,
    LOST,
    OTHER,
    WON,
    WORSE,
    ChangedPhoto,
    ModelComparison,
    OnlyKnown,
    Refusing,
    Tally,
    to_payload,
)
from pocketlens.files import refuse_folder, staged_folder, write_json, write_text
from pocketlens.names import shown
from pocketlens.report.html import counted, percent, render, thumbnail_url
from pocketlens.report.records import DamagedError, from_json, not_written

PAGE_NAME = "index.html"
# By this file a folder is known to be such a page.
JSON_NAME = "comparison.json"

BYTES_PER_MB = 1_000_000
_CLASSES_OPEN = 25
# How many photos there are to see of each kind of change: at 5 kB each, a page stays small.
_SHOWN = {LOST: 24, WON: 24, OTHER: 12}
_TITLES = {
    LOST: "Lost: only {a} was right",
    WON: "Won: only {b} was right",
    OTHER: "Wrong in another way",
}
_BOXES = {BETTER: "verdict", WORSE: "verdict bad"}


def write_comparison(comparison: ModelComparison, out: Path, *, overwrite: bool = False) -> Path:
    """Write the page and the JSON of a comparison into a new folder; return the page.

    Raises:
        OutputExistsError, OutputError: the folder is taken or cannot be written.
    """
    return _write(to_payload(comparison), comparison, out, overwrite=overwrite)


def write_page(payload: dict[str, Any], name: str, out: Path, *, overwrite: bool) -> Path:
    """Write the page of what `compare --json` wrote; return it.

    Args:
        payload: the JSON values.
        name: what to call them in errors.
        out: the folder.
        overwrite: whether to replace such a page.

    Raises:
        UsageError: the JSON is damaged.
        OutputExistsError, OutputError: the folder is taken or cannot be written.
    """
    try:
        comparison = read_comparison(payload)
    except DamagedError as error:
        reason = f"nothing usable at {error}"
        raise not_written("pocketlens compare", name, reason) from None
    return _write(payload, comparison, out, overwrite=overwrite)


def refuse_page(folder: Path, *, overwrite: bool) -> None:
    """Raise OutputExistsError if the folder is taken by something else, or may not be replaced."""
    refuse_folder(folder, overwrite=overwrite, marker=JSON_NAME)


def read_comparison(payload: dict[str, Any]) -> ModelComparison:
    """Return the comparison that `evaluation.comparison.to_payload` made JSON of.

    Raises:
        DamagedError: the payload is none.
    """
    comparison = from_json(ModelComparison, payload)
    tallies = {"overall": comparison.overall, "field": comparison.field}
    sound = {name: tally is None or _is_sound(tally) for name, tally in tallies.items()}
    sound["changed"] = all(entry.change in CHANGES for entry in comparison.changed)
    sound["only_known"] = all(entry.model in ("a", "b") for entry in comparison.only_known)
    costs = comparison.costs
    sound["costs"] = costs is None or min(costs.a.size_bytes, costs.b.size_bytes) > 0
    for place, is_sound in sound.items():
        if not is_sound:
            raise DamagedError(place)
    return comparison


def _is_sound(tally: Tally) -> bool:
    flips = tally.flips
    return (
        min(tally.a, tally.b, flips.lost, flips.won) >= 0
        and 0 < tally.photos >= max(tally.a, tally.b, flips.lost + flips.won)
        and 0 <= flips.p <= 1
        and all(entry.photos > 0 for entry in tally.classes)
    )


def comparison_context(comparison: ModelComparison) -> dict[str, Any]:
    """Return what `comparison.html` shows of a comparison."""
    a, b = shown(comparison.a.name), shown(comparison.b.name)
    classes = [_class_row(entry) for entry in comparison.overall.classes]
    return {
        "title": f"{a} and {b}",
        "a": a,
        "b": b,
        "paths": [(a, shown(comparison.a.model)), (b, shown(comparison.b.model))],
        "comparison": comparison,
        "box": _BOXES.get(comparison.verdict, "verdict warning"),
        "tiles": tally_tiles(comparison.overall, a, b),
        "field_tiles": tally_tiles(comparison.field, a, b) if comparison.field else None,
        "classes": classes[:_CLASSES_OPEN],
        "more_classes": classes[_CLASSES_OPEN:],
        "only_known": [_only_row(entry, a, b) for entry in comparison.only_known],
        "refusing": [
            _refusing_row(name, model.refusing)
            for name, model in ((a, comparison.a), (b, comparison.b))
        ]
        if comparison.a.refusing or comparison.b.refusing
        else None,
        "costs": _cost_rows(comparison, a, b),
        "galleries": [
            gallery
            for change in CHANGES
            if (gallery := _gallery(change, comparison.changed, a, b))["total"]
        ],
    }


def tally_tiles(tally: Tally, a: str, b: str) -> list[tuple[str, str, str]]:
    """Return the figures of a tally as tiles: name, value, small print."""
    return [
        (a, percent(tally.a / tally.photos), _between(tally.a_interval)),
        (b, percent(tally.b / tally.photos), _between(tally.b_interval)),
        ("lost", str(tally.flips.lost), f"only {a} right"),
        ("won", str(tally.flips.won), f"only {b} right"),
        ("McNemar's p", p_text(tally.flips.p), f"of {counted(tally.photos)}"),
    ]


def _between(interval: tuple[float, float]) -> str:
    low, high = map(percent, interval)
    return f"{low} to {high}"


def _class_row(entry: Any) -> list[str]:
    shares = [percent(right / entry.photos) for right in (entry.a, entry.b)]
    return [entry.label, *shares, str(entry.lost), str(entry.won), str(entry.photos)]


def _only_row(entry: OnlyKnown, a: str, b: str) -> list[str]:
    right = f"{entry.right} ({percent(entry.right / max(entry.photos, 1))})"
    return [entry.label, a if entry.model == "a" else b, right, str(entry.photos)]


def _refusing_row(name: str, found: Refusing | None) -> list[str]:
    if found is None:
        return [name, "–", "–", "–"]
    return [
        name,
        found.label,
        f"{found.kept} of {found.known}",
        f"{found.refused} of {found.strangers}" if found.strangers else "–",
    ]


def _cost_rows(comparison: ModelComparison, a: str, b: str) -> list[list[str]]:
    if comparison.costs is None:
        return []
    costs = comparison.costs
    return [
        [
            name,
            f"{cost.size_bytes / BYTES_PER_MB:.2f}",
            f"{cost.classify_ms:.2f}",
            "{:.2f} to {:.2f}".format(*cost.classify_interval_ms)
            if cost.classify_interval_ms
            else "–",
        ]
        for name, cost in ((a, costs.a), (b, costs.b))
    ]


def _gallery(change: str, changed: Sequence[ChangedPhoto], a: str, b: str) -> dict[str, Any]:
    of_kind = [entry for entry in changed if entry.change == change]
    return {
        "title": _TITLES[change].format(a=a, b=b),
        "total": len(of_kind),
        "photos": [_photo(entry) for entry in of_kind[: _SHOWN[change]]],
    }


def _photo(entry: ChangedPhoto) -> dict[str, Any]:
    path = Path(entry.photo)
    return {
        "url": thumbnail_url(path),
        "name": shown(path.name),
        "truth": _labels(entry.truth),
        "a": _labels(entry.a),
        "b": _labels(entry.b),
        "a_score": percent(entry.a_score, 0),
        "b_score": percent(entry.b_score, 0),
        "field": entry.field,
    }


def _labels(labels: Sequence[str]) -> str:
    return " + ".join(labels) or "nothing"


def _write(
    payload: dict[str, Any], comparison: ModelComparison, out: Path, *, overwrite: bool
) -> Path:
    page = render("comparison.html", **comparison_context(comparison))
    with staged_folder(out, overwrite=overwrite, marker=JSON_NAME) as folder:
        write_json(folder / JSON_NAME, payload)
        write_text(folder / PAGE_NAME, page)
    return out / PAGE_NAME
