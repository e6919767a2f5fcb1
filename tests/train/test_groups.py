"""Which photos stay together, and how near copies follow what earlier runs had."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlens.runtime.runs import SPLITS
from pocketlens.train.duplicates import MAX_BITS, Fingerprint, NearCopies
from pocketlens.train.groups import group_photos
from pocketlens.train.lineage import SeenPhotos

# A photo is a place on a line here: as many bits of its hash are set as it is far along, so near
# copies are those no further apart than the limit, like the frames of a camera that moves slowly.
LENGTH = 144
# Of the two, one is no near copy of the other, but a photo between them is one of both.
LEFT, BETWEEN, RIGHT = 0, MAX_BITS, 2 * MAX_BITS


def on_line(place: int) -> str:
    bits = np.packbits(np.arange(LENGTH) < place).tobytes().ljust(24, b"\0")
    return Fingerprint(bits, bytes(48)).to_hex()


def digest(place: int) -> str:
    """Like a SHA-256, in no order that has to do with the place."""
    return f"{(place * 2654435761 + 17) % 2**32:08x}"


def photos(*places: int) -> dict[str, str]:
    return {digest(place): on_line(place) for place in places}


def had(splits: dict[int, str]) -> SeenPhotos:
    return SeenPhotos({digest(place): split for place, split in splits.items()}, photos(*splits))


def test_near_copies_are_what_is_within_the_limit() -> None:
    places = [LEFT, BETWEEN, RIGHT]
    copies = NearCopies([Fingerprint.from_hex(on_line(place)) for place in places])
    assert [copies.of(index).tolist() for index in range(3)] == [[1], [0, 2], [1]]
    assert copies.groups().tolist() == [0, 0, 0]


def test_a_group_is_called_by_its_smallest() -> None:
    groups = group_photos(photos(LEFT, BETWEEN, RIGHT), SeenPhotos())
    name = min(digest(place) for place in (LEFT, BETWEEN, RIGHT))
    assert set(groups.names.values()) == {name}
    assert not groups.bound
    assert not groups.between
    assert group_photos({}, SeenPhotos()).names == {}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("is_gone", [True, False])
def test_near_copies_follow_what_had_a_split(split: str, is_gone: bool) -> None:
    """Whether the original is still there or not, and by way of others."""
    there = photos(BETWEEN, RIGHT) if is_gone else photos(LEFT, BETWEEN, RIGHT)
    groups = group_photos(there, had({LEFT: split}))
    assert len({groups.names[name] for name in there}) == 1
    assert groups.bound == {groups.names[digest(RIGHT)]: split}
    assert groups.names[digest(RIGHT)] in there
    assert not groups.between


@pytest.mark.parametrize(
    ("left", "right"), [("train", "test"), ("test", "train"), ("val", "test"), ("train", "val")]
)
@pytest.mark.parametrize("is_gone", [True, False])
def test_what_is_between_two_splits_is_left_out(left: str, right: str, is_gone: bool) -> None:
    """Joined by it, one of the two would move."""
    there = photos(BETWEEN, RIGHT) if is_gone else photos(LEFT, BETWEEN, RIGHT)
    groups = group_photos(there, had({LEFT: left, RIGHT: right}))
    assert groups.between == {digest(BETWEEN)}
    assert groups.bound[groups.names[digest(RIGHT)]] == right
    assert groups.bound[groups.names[digest(LEFT)]] == left
    assert groups.names[digest(BETWEEN)] not in groups.bound


def test_each_follows_what_it_is_nearest_to() -> None:
    """Of a whole row of frames one is left out, in the middle."""
    row = range(0, 4 * MAX_BITS + 1, MAX_BITS)
    groups = group_photos(photos(*row), had({0: "train", 4 * MAX_BITS: "test"}))
    given = [groups.bound.get(groups.names[digest(place)]) for place in row]
    assert given == ["train", "train", None, "test", "test"]
    assert groups.between == {digest(2 * MAX_BITS)}


def test_what_only_those_between_lead_to_is_free() -> None:
    """It shows nothing that another split has."""
    colours = bytearray(48)
    # Bits that lie elsewhere: a near copy of the one between, and of neither of the two.
    aside = np.packbits(
        (np.arange(LENGTH) < BETWEEN) | (np.arange(LENGTH) >= LENGTH - MAX_BITS + 2)
    ).tobytes()
    free = {"aaaa": Fingerprint(aside.ljust(24, b"\0"), bytes(colours)).to_hex()}
    groups = group_photos(
        {**photos(LEFT, BETWEEN, RIGHT), **free}, had({LEFT: "train", RIGHT: "test"})
    )
    assert groups.between == {digest(BETWEEN)}
    assert groups.names["aaaa"] == "aaaa"
    assert "aaaa" not in groups.bound


def test_of_copies_with_two_splits_the_one_further_from_the_test_counts() -> None:
    """Runs that divided the photos otherwise: what one has learned from, no other tests on."""
    groups = group_photos(photos(LEFT, BETWEEN), had({LEFT: "test", BETWEEN: "val"}))
    assert list(groups.bound.values()) == ["val"]


@given(
    earlier=st.dictionaries(st.integers(0, LENGTH), st.sampled_from(SPLITS), max_size=12),
    there=st.sets(st.integers(0, LENGTH), min_size=1, max_size=20),
    back=st.sets(st.integers(0, LENGTH), max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_nothing_that_had_a_split_leaves_it_and_nothing_leaks(
    earlier: dict[int, str], there: set[int], back: set[int]
) -> None:
    # What is near had one split before, as a training leaves it.
    known: dict[int, str] = {}
    for place, split in sorted(earlier.items()):
        around = [known[other] for other in known if abs(other - place) <= MAX_BITS]
        if len(set(around)) < 2:
            known[place] = around[0] if around else split
    present = there | {place for place in known if place in back}
    groups = group_photos(photos(*present), had(known))
    given = {
        place: groups.bound.get(groups.names[digest(place)], f"free {groups.names[digest(place)]}")
        for place in present
        if digest(place) not in groups.between
    }
    for place in present & known.keys():
        assert given[place] == known[place]
    for one, split in given.items():
        for other, another in given.items():
            assert abs(one - other) > MAX_BITS or split == another
        # Nor of what is gone.
        for other, another in known.items():
            assert abs(one - other) > MAX_BITS or split == another
    for place in present - given.keys():
        around = {
            split for other, split in {**given, **known}.items() if abs(other - place) <= MAX_BITS
        }
        assert len(around) > 1, "left out for no reason"
