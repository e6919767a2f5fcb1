"""Two models on the same photos: whether the second is better, worse, or not to be told apart.

The first is what there is, the second what might replace it: a photo is "lost" that only the first
answers rightly, and "won" that only the second does. Photos that either was trained or chosen on
are left out (`evaluation.common_photos`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pocketlens.evaluation.agreement import Flips, p_text, photos_to_tell
from pocketlens.evaluation.common_photos import LeftOut
from pocketlens.evaluation.intervals import Interval, wilson
from pocketlens.names import shown

SCHEMA_VERSION = 1
BETTER, WORSE, UNDECIDED = VERDICTS = ("better", "worse", "undecided")
LOST, WON, OTHER = CHANGES = ("lost", "won", "other")


@dataclass(frozen=True)
class Refusing:
    """What a model with a label for unknown photos, or a novelty, refuses.

    Of the `known` photos `kept` did not get `label`; of the `strangers`, photos of anything else,
    `refused` did. A novelty is no label, so it is called "novel".
    """

    label: str
    known: int
    kept: int
    strangers: int
    refused: int


@dataclass(frozen=True)
class ComparedModel:
    """One of the two: what it is called, its path, what it answers, and what it refuses."""

    name: str
    model: str
    task: str
    labels: tuple[str, ...]
    refusing: Refusing | None = None


@dataclass(frozen=True)
class ClassTally:
    """The photos of one class: how many each model answers rightly, and only one of them."""

    label: str
    photos: int
    a: int
    b: int
    lost: int
    won: int


@dataclass(frozen=True)
class Tally:
    """How many of some photos each model answers rightly, `a` the first and `b` the second.

    `flips` are those that only one of them does. `classes` are those with photos, the one first
    that loses the largest share of them, net.
    """

    photos: int
    a: int
    b: int
    flips: Flips
    classes: tuple[ClassTally, ...]

    @property
    def a_interval(self) -> Interval:
        """The 95 % Wilson score interval of the first model's accuracy."""
        return wilson(self.a, self.photos)

    @property
    def b_interval(self) -> Interval:
        """That of the second's."""
        return wilson(self.b, self.photos)

    @property
    def verdict(self) -> str:
        """What the second model is: better, worse, or undecided, by McNemar's exact test."""
        if self.flips.is_noise:
            return UNDECIDED
        return WORSE if self.flips.net_lost > 0 else BETTER

    @property
    def photos_to_tell(self) -> int | None:
        """How many photos would tell them apart (`agreement.photos_to_tell`), None where these do.

        Where both answer as many rightly, that is for a difference of a point.
        """
        if self.verdict != UNDECIDED:
            return None
        return photos_to_tell(self.flips.lost, self.flips.won, self.photos)

    def sentence(self, a: str, b: str) -> str:
        """Return what came of it in words, for models that are called `a` and `b`."""
        lost, won, p = self.flips.lost, self.flips.won, p_text(self.flips.p, "p = ")
        counts = f"of {_counted(self.photos)} it wins {won} and loses {lost} ({p})"
        verdict, needed = self.verdict, self.photos_to_tell
        if needed is None:
            return f"{b} is {verdict} than {a}: {counts}."
        told = f"{b} cannot be told apart from {a}: {counts}."
        if lost == won:
            return f"{told} A difference of a point would take about {_rounded(needed)} photos."
        return f"{told} If it goes on like that, about {_rounded(needed)} photos would tell."


@dataclass(frozen=True)
class OnlyKnown:
    """A label that only one model has, "a" or "b": of so many photos it answers `right`."""

    label: str
    model: str
    photos: int
    right: int


@dataclass(frozen=True)
class ChangedPhoto:
    """A photo that the models answer differently.

    `truth`, `a` and `b` are labels: what is true and what each model says, with the score of its
    answer in 0-1 (of several labels, that of the least sure one). `change` is "lost", "won" or,
    where both are wrong, "other". `field` tells whether it is of the random sample of what a camera
    saw.
    """

    photo: str
    truth: tuple[str, ...]
    a: tuple[str, ...]
    b: tuple[str, ...]
    a_score: float
    b_score: float
    change: str
    field: bool


@dataclass(frozen=True)
class FileCost:
    """What a file costs: bytes, and the median time from a 1280x720 frame to labels, in ms."""

    size_bytes: int
    classify_ms: float
    classify_interval_ms: Interval | None


@dataclass(frozen=True)
class Costs:
    """Two files' costs on this machine, timed in turn with one thread.

    `ratio` is the second's time over the first's, with the interval that holds it for another run
    with 95 %, None where the runs were too few for one.
    """

    a: FileCost
    b: FileCost
    ratio: float
    ratio_interval: Interval | None

    def sentence(self, a: str, b: str) -> str:
        """Return it in words."""
        if self.ratio_interval is None or self.ratio_interval[0] <= 1 <= self.ratio_interval[1]:
            speed = f"{b} takes as long as {a}, as far as can be told"
        else:
            speed = f"{b} takes {self.ratio:.2f} times as long as {a}"
        between = ""
        if self.ratio_interval is not None:
            between = " (95 % interval {:.2f} to {:.2f})".format(*self.ratio_interval)
        size = self.b.size_bytes / self.a.size_bytes
        return f"{speed}{between}, and has {size:.2f} times its size."


@dataclass(frozen=True)
class ModelComparison:
    """Two models, `a` what there is and `b` what might replace it, on the same photos.

    `overall` counts the photos of labels that both know, `field` those among them that are a random
    sample of what a camera saw, None without any. `only_known` are labels that one model lacks;
    their photos count nowhere else. `changed` are the photos of `overall` with different answers:
    lost, won, then others, each the surest wrong answers first. `left_out` tells of photos that
    were not compared, `skipped` counts those that cannot be read. `costs` are there for two
    `.tflite` files that were timed.
    """

    a: ComparedModel
    b: ComparedModel
    overall: Tally
    field: Tally | None
    only_known: tuple[OnlyKnown, ...]
    changed: tuple[ChangedPhoto, ...]
    left_out: tuple[LeftOut, ...]
    skipped: int
    warnings: tuple[str, ...]
    costs: Costs | None = None

    @property
    def verdict(self) -> str:
        """What the second model is on all photos: better, worse, or undecided."""
        return self.overall.verdict

    @property
    def sentence(self) -> str:
        """What came of it."""
        return self.overall.sentence(shown(self.a.name), shown(self.b.name))

    @property
    def field_sentence(self) -> str:
        """What came of the random sample of what a camera saw, "" without any."""
        if self.field is None:
            return ""
        words = self.field.sentence(shown(self.a.name), shown(self.b.name))
        return f"On the random sample of the field: {words}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of the photos and labels, a sentence each."""
        notes = [entry.sentence for entry in self.left_out]
        if self.skipped:
            notes.append(f"{_counted(self.skipped)} cannot be read.")
        for model, other in ((self.a, self.b), (self.b, self.a)):
            own = (*other.labels, other.refusing.label if other.refusing else "")
            more = [label for label in model.labels if label not in own]
            if model.refusing and model.refusing.label in more:
                more.remove(model.refusing.label)
            if more:
                noun = "the label" if len(more) == 1 else "the labels"
                notes.append(
                    f"Only {shown(model.name)} has {noun} {few(more)}: such photos are counted "
                    "apart."
                )
        notes += filter(None, (_refusing_text(model) for model in (self.a, self.b)))
        return tuple(notes)


def to_payload(comparison: ModelComparison) -> dict[str, Any]:
    """Return a comparison as plain JSON values: docs/reference/compare-json.md."""
    values = asdict(comparison)
    for name in ("overall", "field"):
        tally: Tally | None = getattr(comparison, name)
        if tally is not None:
            values[name] |= {
                "a_interval": tally.a_interval,
                "b_interval": tally.b_interval,
                "verdict": tally.verdict,
                "photos_to_tell": tally.photos_to_tell,
            }
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": comparison.verdict,
        "sentence": comparison.sentence,
        "field_sentence": comparison.field_sentence,
        "notes": list(comparison.notes),
        **values,
    }


def _refusing_text(model: ComparedModel) -> str:
    found = model.refusing
    if found is None:
        return ""
    text = (
        f"{shown(model.name)} also says {found.label!r}, which counts apart: it keeps "
        f"{found.kept} of {_counted(found.known, 'known photo')}"
    )
    if found.strangers:
        text += f" and refuses {found.refused} of {_counted(found.strangers, 'stranger')}"
    return f"{text}."


def _counted(number: int, noun: str = "photo") -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _rounded(number: int) -> str:
    """Return a number with two figures that count."""
    step = 10 ** max(0, len(str(number)) - 2)
    return f"{-(-number // step) * step:,}"


def few(names: Iterable[str], most: int = 6) -> str:
    """Return names for a sentence, of many the first ones."""
    names = list(names)
    more = f", … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more
