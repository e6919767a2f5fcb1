"""Which photos must stay together: near copies, and those of photos that earlier runs had.

A group is called by the smallest SHA-256 of its photos, so what files are called does not matter.

What earlier runs had keeps its split, and near copies of it follow it there. A new photo may be a
near copy of two that have different splits, without these being copies of each other: a frame
between two others. In either split it would show the one what the other tests, and moving either
would change the test split, so such a photo is left out of all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pocketlens.runtime.runs import SPLITS
from pocketlens.train.duplicates import Fingerprint, NearCopies, near_groups
from pocketlens.train.lineage import SeenPhotos
from pocketlens.train.splits import most_bound


@dataclass(frozen=True)
class Groups:
    """Photos by the SHA-256 of their content.

    `names` has for each the text that its group shares, `bound` the split that earlier runs give a
    group, by its name. `between` are those that belong to no split: near copies of photos in
    several.
    """

    names: Mapping[str, str]
    bound: Mapping[str, str]
    between: frozenset[str]


def group_photos(fingerprints: Mapping[str, str], earlier: SeenPhotos) -> Groups:
    """Group photos with their near copies, also those by way of photos that are gone.

    Args:
        fingerprints: that of each photo as text, by the SHA-256 of its content.
        earlier: what earlier runs had.
    """
    prints = {**earlier.fingerprints, **fingerprints}
    # Exact copies share one fingerprint; comparing one of each is enough. Those that only earlier
    # runs had come last: they join groups, and none is called by them.
    digests = sorted(fingerprints) + sorted(earlier.fingerprints.keys() - fingerprints.keys())
    if not digests:
        return Groups({}, {}, frozenset())
    copies = NearCopies([Fingerprint.from_hex(prints[digest]) for digest in digests])
    splits = {
        index: earlier.splits[digest]
        for index, digest in enumerate(digests)
        if digest in earlier.splits
    }
    groups = copies.groups()
    had: dict[int, set[str]] = defaultdict(set)
    for index, split in splits.items():
        had[int(groups[index])].add(split)
    bound = {group: found.copy().pop() for group, found in had.items() if len(found) == 1}
    between: set[int] = set()
    for group in sorted(had.keys() - bound.keys()):
        members = np.flatnonzero(groups == group)
        known = [int(index) for index in members if int(index) in splits]
        given = _follow(copies, _settled(copies, known, splits))
        between |= {index for index, split in given.items() if split is None}
        for split in SPLITS:
            same = [index for index in members if given.get(int(index)) == split]
            if same:
                groups[same] = same[0]
                bound[int(same[0])] = split
        # What only those in between lead to is free, and groups of its own.
        free = np.array([index for index in members if int(index) not in given], np.int64)
        if len(free):
            alone = near_groups([Fingerprint.from_hex(prints[digests[index]]) for index in free])
            groups[free] = free[alone]
    return Groups(
        {
            digest: digest if index in between else digests[groups[index]]
            for index, digest in enumerate(digests)
        },
        {digests[group]: split for group, split in bound.items()},
        frozenset(digests[index] for index in between),
    )


def _settled(
    copies: NearCopies, known: Sequence[int], splits: Mapping[int, str]
) -> dict[int, str | None]:
    """Return the splits of what earlier runs had; of copies of each other, the most binding."""
    given: dict[int, str | None] = {}
    for start in known:
        if start in given:
            continue
        cluster, waiting = {start}, [start]
        while waiting:
            near = {int(index) for index in copies.of(waiting.pop())} & splits.keys()
            waiting += near - cluster
            cluster |= near
        given |= dict.fromkeys(cluster, most_bound(splits[index] for index in cluster))
    return given


def _follow(copies: NearCopies, given: dict[int, str | None]) -> dict[int, str | None]:
    """Return the splits that others get from their near copies, None for two different ones.

    Those next to a photo with a split come first, so each follows what it is nearest to.
    """
    given = dict(given)
    edge = sorted(given)
    while edge:
        near = {int(other) for index in edge for other in copies.of(index)} - given.keys()
        edge = []
        # One after the other: what the first is given counts for the next.
        for index in sorted(near):
            around = {given.get(int(other)) for other in copies.of(index)} - {None}
            given[index] = around.pop() if len(around) == 1 else None
            if given[index] is not None:
                edge.append(index)
    return given
