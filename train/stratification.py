"""Dividing photos with several labels each, so that every label is divided by the same shares.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of
multi-label data"), of groups of photos that stay together instead of single photos: the label with
the fewest photos left goes first, and each of its groups to the part that wants most of it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

# Photos without any label are divided too, as if that were one.
_NO_LABEL = -1

Labels = tuple[int, ...]


def divide_groups(
    groups: Mapping[str, Sequence[Labels]], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return the part of each group.

    Args:
        groups: the label indices of each photo in a group, by the group's name.
        shares: of all photos, by the part's name; together 1.
        seed: decides between groups that are alike.
    """
    counts = {
        name: Counter(label for labels in photos for label in (labels or (_NO_LABEL,)))
        for name, photos in groups.items()
    }
    order = list(groups)
    random.Random(seed).shuffle(order)  # noqa: S311 (no secret)
    left = sum(counts.values(), Counter())
    wanted = {
        part: {label: share * count for label, count in left.items()}
        for part, share in shares.items()
    }
    room = {part: share * sum(map(len, groups.values())) for part, share in shares.items()}
    placed: dict[str, str] = {}
    while left:
        rarest = min(left, key=lambda label: (left[label], label))
        # Large groups first: what is left then fits into what is still wanted.
        held = [name for name in order if name not in placed and counts[name][rarest]]
        for name in sorted(held, key=lambda name: -counts[name][rarest]):
            part = max(shares, key=lambda part: (wanted[part][rarest], room[part]))
            placed[name] = part
            room[part] -= len(groups[name])
            for label, count in counts[name].items():
                wanted[part][label] -= count
        left = Counter()
        for name in order:
            if name not in placed:
                left.update(counts[name])
    return placed


def fill_gaps(
    groups: Mapping[str, Sequence[Labels]], placed: dict[str, str], parts: Sequence[str]
) -> None:
    """Give a part that has nothing of a label a group with it, where another part can spare one.

    A part can spare the only group of a label as little as the last photo of any other label that
    the group has. The smallest group goes, out of the part with most of the label.
    """
    held = {
        name: {label for labels in photos for label in labels} for name, photos in groups.items()
    }
    have = {part: Counter[int]() for part in parts}
    for name, part in placed.items():
        have[part].update(held[name])
    for label in sorted(set().union(*held.values())):
        for part in parts:
            if have[part][label]:
                continue
            spare = [
                name
                for name, other in placed.items()
                if label in held[name] and all(have[other][entry] > 1 for entry in held[name])
            ]
            if not spare:
                continue
            chosen = min(
                spare, key=lambda name: (-have[placed[name]][label], len(groups[name]), name)
            )
            have[placed[chosen]].subtract(held[chosen])
            have[part].update(held[chosen])
            placed[chosen] = part
