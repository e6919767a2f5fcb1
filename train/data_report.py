"""A check of photos for people, as lines and as a page, and for machines, as JSON."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pocketlens.files import write_json, write_text
from pocketlens.names import shown
from pocketlens.report.html import counted, render, thumbnail_url
from pocketlens.train.data_check import EXTREME_ASPECT, IMBALANCE, TINY_SIDE, Copies, DataCheck

LOGGER = logging.getLogger("pocketlens")

SCHEMA_VERSION = 1
PAGE_NAME = "data.html"
JSON_NAME = "data.json"

_BAR_WIDTH = 40
_NAMED_AT_MOST = 10
_COPIES_NAMED = 6
# On the page: how many groups of copies, how many photos of each, how many cases of a finding.
_GROUPS_SHOWN = 12
_SHOWN_OF_A_GROUP = 4
_NAMED_ON_A_PAGE = 200


@dataclass(frozen=True)
class Finding:
    """One kind of finding: how grave it is, what it means, and each case of it as a line.

    `gravity` is "bad" (skipped, or a wrong label), "warning" or "note" (nothing to do).
    """

    gravity: str
    title: str
    cases: tuple[str, ...]


def findings(check: DataCheck) -> tuple[Finding, ...]:
    """Return what was found, the gravest first; nothing where there is nothing to say."""
    plain = [group for group in check.copies if len(set(group.labels)) == 1]
    exact = [group for group in plain if group.exact]
    near = [group for group in plain if not group.exact]
    most = max(check.counts.values())
    scarce = tuple(
        f"{label}: {count}, the largest has {most}"
        for label, count in check.counts.items()
        if count * IMBALANCE <= most
    )
    every = (
        Finding("bad", "unreadable: skipped", tuple(check.unreadable.values())),
        Finding(
            "bad",
            "the same photo under two labels: one of them is wrong",
            _copies(check.conflicts),
        ),
        Finding(
            "bad",
            "not named like a picture: skipped (save raw photos as JPEG)",
            check.unsupported,
        ),
        Finding("warning", "class folders without photos: no class", check.empty_classes),
        Finding(
            "warning",
            "the same photo in two splits of the layout: results look better than they are",
            _copies(check.across),
        ),
        Finding(
            "warning",
            "far fewer photos than the largest class: likely to be recognised worse",
            scarce,
        ),
        Finding(
            "warning",
            f"tiny: less than {TINY_SIDE} pixels on the shorter side",
            _sizes(check.tiny.items()),
        ),
        Finding(
            "warning",
            f"long and narrow: beyond {EXTREME_ASPECT:g}:1",
            _sizes(check.extreme.items()),
        ),
        Finding("note", "exact duplicates: they stay in one split", _copies(exact)),
        Finding("note", "near duplicates: they stay in one split", _copies(near)),
        Finding(
            "note",
            "named like another format: read by their content",
            tuple(f"{name}: {form}" for name, form in check.misnamed.items()),
        ),
        Finding("note", "turned upright by their EXIF orientation", check.rotated),
    )
    return tuple(
        dataclasses.replace(finding, cases=tuple(map(shown, finding.cases)))
        for finding in every
        if finding.cases
    )


def smallest_and_largest(check: DataCheck) -> tuple[str, str]:
    """Return the labels of the classes with fewest and with most readable photos."""
    return min(check.counts, key=check.counts.__getitem__), max(
        check.counts, key=check.counts.__getitem__
    )


def headline(check: DataCheck) -> str:
    """Return what there is, in one sentence."""
    skipped = f", {len(check.unreadable)} unreadable" if check.unreadable else ""
    layout = "" if len(check.found.splits) == 1 else f", split into {', '.join(check.found.splits)}"
    classes = counted(len(check.counts), "class", "classes")
    photos = counted(check.readable, "readable photo")
    return f"{photos} in {classes}{skipped}{layout}."


def balance(check: DataCheck) -> str:
    """Return how even the classes are, in one sentence."""
    low, high = smallest_and_largest(check)
    if not check.readable:
        return "There is nothing to learn from."
    if len(check.counts) == 1:
        return "There is only one class."
    if check.counts[low] == check.counts[high]:
        return "All classes have the same number of photos."
    counts = f"{high} {check.counts[high]}, {low} {check.counts[low]}"
    if not check.counts[low]:
        return f"A class has no readable photo ({counts})."
    return f"Largest to smallest class: {check.imbalance:.1f} : 1 ({counts})."


def verdict(check: DataCheck) -> str:
    """Return whether these photos can be trained on, in one sentence."""
    if check.problem is not None:
        return "These photos cannot be trained on yet."
    if any(finding.gravity != "note" for finding in findings(check)):
        return "These photos can be trained on; look at what was found first."
    return "These photos can be trained on."


def print_check(check: DataCheck, stream: IO[str] | None = None) -> None:
    """Print the classes as bars and the findings, with the first cases of each."""
    from rich.console import Console

    console = Console(
        file=stream or sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=True
    )
    console.print(f"{shown(check.found.source)}: {headline(check)}\n")
    width = max(map(len, check.counts))
    most = max(1, *check.counts.values())
    for label, count in check.counts.items():
        bar = "█" * max(round(_BAR_WIDTH * count / most), count > 0)
        console.print(f"  {label:{width}}  {count:6}  {bar}")
    console.print(f"\n{balance(check)}")
    styles = {"bad": "bold red", "warning": "yellow", "note": "dim"}
    for finding in findings(check):
        console.print(f"\n{len(finding.cases)} × {finding.title}", style=styles[finding.gravity])
        for case in finding.cases[:_NAMED_AT_MOST]:
            console.print(f"  {case}")
        if len(finding.cases) > _NAMED_AT_MOST:
            console.print(f"  and {len(finding.cases) - _NAMED_AT_MOST} more")
    if check.problem is None:
        # As train divides them where no --seed is given.
        for note in check.divide(seed=0).notes:
            console.print(f"\n{note}", style="yellow")
    console.print(f"\n{verdict(check)}", style="bold")


def log_check(check: DataCheck) -> None:
    """Log the findings that call for something, as training does at its start.

    Unreadable photos are named where they are left out, when pixels are loaded.
    """
    for finding in findings(check):
        if finding.gravity == "note" or finding.cases == tuple(
            map(shown, check.unreadable.values())
        ):
            continue
        more = len(finding.cases) - _NAMED_AT_MOST
        LOGGER.warning("%d × %s:", len(finding.cases), finding.title)
        for case in finding.cases[:_NAMED_AT_MOST]:
            LOGGER.warning("  %s", case)
        if more > 0:
            LOGGER.warning("  and %d more.", more)


def to_payload(check: DataCheck) -> dict[str, Any]:
    """Return what `--json` writes, as plain JSON values.

    Files are named relative to the folder that `photos` is or lies in. `readable` counts them;
    `trainable`, and `problem` (null, or why not); `classes`
    (readable photos of each); `imbalance` (largest to smallest, null where one has none);
    `unreadable` (why), `misnamed` (what format it is), `unsupported`, `empty_classes`, `rotated`,
    `tiny` and `extreme` (stored width and height); `copies`, each with `files`, `labels` and
    `parts` of these files, `exact`, `conflict` (several labels) and `across` (several splits).
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "photos": str(check.found.source),
        "trainable": check.problem is None,
        "problem": check.problem,
        "readable": check.readable,
        "classes": dict(check.counts),
        "imbalance": round(check.imbalance, 3) if min(check.counts.values()) else None,
        "unreadable": dict(check.unreadable),
        "misnamed": dict(check.misnamed),
        "unsupported": list(check.unsupported),
        "empty_classes": list(check.empty_classes),
        "rotated": list(check.rotated),
        "tiny": {name: list(size) for name, size in check.tiny.items()},
        "extreme": {name: list(size) for name, size in check.extreme.items()},
        "copies": [
            {
                "files": list(group.names),
                "labels": list(group.labels),
                "parts": list(group.splits),
                "exact": group.exact,
                "conflict": group in check.conflicts,
                "across": group in check.across,
            }
            for group in check.copies
        ],
    }


def write_data_report(folder: Path, check: DataCheck) -> None:
    """Write `data.html` and `data.json` into a folder.

    Raises:
        OutputError: they cannot be written.
    """
    write_json(folder / JSON_NAME, to_payload(check))
    write_text(folder / PAGE_NAME, data_page(check))


def data_page(check: DataCheck) -> str:
    """Return the page: classes as bars, copies side by side, every finding by name."""
    others = [group for group in check.copies if group not in check.conflicts]
    return render(
        "data.html",
        title=f"{shown(check.found.source.absolute().name)}: the photos",
        headline=headline(check),
        verdict=verdict(check),
        problem=check.problem,
        classes=check.counts,
        most=max(1, *check.counts.values()),
        balance=balance(check),
        findings=findings(check),
        named_at_most=_NAMED_ON_A_PAGE,
        json_name=JSON_NAME,
        galleries=[
            _gallery(check.found.root, title, groups)
            for title, groups in (
                ("The same photo under two labels", check.conflicts),
                ("Duplicates and near duplicates", others),
            )
            if groups
        ],
    )


def _gallery(root: Path, title: str, groups: Sequence[Copies]) -> dict[str, Any]:
    drawn = [
        {
            "photos": [
                (shown(name), thumbnail_url(root / name))
                for name in group.telling_names[:_SHOWN_OF_A_GROUP]
            ],
            "more": len(group.names) - _SHOWN_OF_A_GROUP,
        }
        for group in groups[:_GROUPS_SHOWN]
    ]
    return {"title": title, "groups": drawn, "more": len(groups) - _GROUPS_SHOWN}


def _copies(groups: Iterable[Copies]) -> tuple[str, ...]:
    lines = []
    for group in groups:
        more = len(group.names) - _COPIES_NAMED
        lines.append(
            " = ".join(group.telling_names[:_COPIES_NAMED])
            + (f" = {more} more" if more > 0 else "")
            + ("" if group.exact else " (nearly)")
        )
    return tuple(lines)


def _sizes(entries: Iterable[tuple[str, tuple[int, int]]]) -> tuple[str, ...]:
    return tuple(f"{name}: {width}×{height}" for name, (width, height) in entries)
