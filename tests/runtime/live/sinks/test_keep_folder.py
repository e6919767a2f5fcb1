"""The folder of kept frames: its limit, what is not ours in it, and a disk that is full."""

import hashlib
import subprocess
import sys

import cv2
import numpy as np
import pytest
from timing import FakeClock

from pocketlens.choices import COLLECTED, RANDOM, UNSURE
from pocketlens.errors import OutputError
from pocketlens.runtime import inbox
from pocketlens.runtime.inbox import FrameInfo
from pocketlens.runtime.live.sinks.keep_folder import KeptFolder, Room, room_at

BLOCK = 4096
PLENTY = Room(10**12, 2 * 10**12, BLOCK)
DAY_S = 86_400.0


def picture(seed, side=160):
    """A JPEG of noise, about as large as another one."""
    noise = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), np.uint8)
    return inbox.encode_jpeg(cv2.resize(noise, (side, side), interpolation=cv2.INTER_NEAREST))


def info(at_s, reason=UNSURE, margin=0.1):
    scores = {"a": 0.5 + margin / 2, "b": 0.5 - margin / 2}
    return FrameInfo(at_s, "0", (160, 160), reason, scores)


def opened(folder, limit_bytes, **more):
    kept = KeptFolder(folder, limit_bytes, clock=FakeClock(1e9), room=lambda _: PLENTY, **more)
    kept.look()
    return kept


def on_disk(folder):
    """What the files of a folder take, in whole blocks."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return sum(-(-path.stat().st_size // BLOCK) * BLOCK for path in files)


def names(folder):
    return sorted(path.name for path in folder.glob("*.jpg"))


@pytest.mark.parametrize("limit_bytes", [100_000, 300_000])
def test_the_limit_holds_whenever_one_looks(tmp_path, limit_bytes):
    kept = opened(tmp_path, limit_bytes)
    draw = np.random.default_rng(1)
    for number in range(24):
        side = int(draw.integers(60, 300))
        reason = RANDOM if number % 3 == 0 else UNSURE
        kept.add(picture(number, side), info(1e9 + number, reason, draw.uniform(0, 0.3)))
        assert on_disk(tmp_path) <= limit_bytes
        assert kept.size_bytes == on_disk(tmp_path)
        assert kept.pictures == len(names(tmp_path)) >= 1
    assert limit_bytes - on_disk(tmp_path) < max(limit_bytes / 2, 90_000)
    assert {path.with_suffix(".jpg").name for path in tmp_path.iterdir()} == set(names(tmp_path))


def test_what_teaches_more_stays_and_the_random_sample_keeps_its_part(tmp_path):
    kept = opened(tmp_path, 400_000)
    for number in range(44):
        reason = RANDOM if number % 2 == 0 else UNSURE
        kept.add(picture(number), info(1e9 - 44 + number, reason, 0.01 if number < 12 else 0.25))
    found = [entry.info for entry in inbox.entries(tmp_path)]
    at_random = [entry.at_s for entry in found if entry.reason == RANDOM]
    unsure = [entry for entry in found if entry.reason == UNSURE]
    # The newest of the random ones, and of the others those with the smallest margin.
    assert at_random == [1e9 - 2 * n for n in range(len(at_random), 0, -1)]
    assert len(at_random) == pytest.approx(len(found) / 4, abs=1)
    assert sum(entry.scores["a"] < 0.52 for entry in unsure) == 6


def test_what_would_be_the_first_to_go_is_not_written(tmp_path):
    kept = opened(tmp_path, 150_000)
    for number in range(6):
        assert kept.add(picture(number), info(1e9, margin=0.01))
    before = names(tmp_path)
    assert kept.add(picture(99), info(1e9, margin=0.29)) is None
    assert names(tmp_path) == before


def test_what_a_receiver_has_goes_before_the_rest(tmp_path):
    sent = set()
    kept = opened(tmp_path, 200_000, is_sent=sent.__contains__)
    for number in range(4):
        kept.add(picture(number), info(1e9 + number, margin=0.01 * number))
    sent |= set(names(tmp_path)[:2])
    assert [path.name for path in kept.unsent()] == names(tmp_path)[2:]
    assert kept.count_unsent() == 2
    for number in range(4, 8):
        kept.add(picture(number), info(1e9 + number, margin=0.2))
    assert not sent.intersection(names(tmp_path))


def test_what_people_put_there_is_neither_counted_nor_removed(tmp_path):
    own = tmp_path / "holiday.jpg"
    own.write_bytes(picture(1000, 600))
    collected = inbox.add(tmp_path, picture(1001, 600), info(1e9 - 1, COLLECTED)).path
    kept = opened(tmp_path, 100_000)
    assert kept.pictures == kept.size_bytes == 0
    for number in range(20):
        kept.add(picture(number), info(1e9 + number))
    assert own.exists()
    assert collected.exists()
    assert collected.with_suffix(".json").exists()
    theirs = sum(path.stat().st_size for path in (own, collected))
    assert on_disk(tmp_path) - theirs - 3 * BLOCK <= 100_000


def test_a_new_run_goes_on_with_what_is_there(tmp_path):
    first = opened(tmp_path, 300_000)
    for number in range(6):
        first.add(picture(number), info(1e9 + number))
    again = opened(tmp_path, 300_000)
    assert (again.pictures, again.size_bytes) == (first.pictures, first.size_bytes)
    # With less room than there was, what is too much goes with the next frame.
    less = opened(tmp_path, 60_000)
    less.add(picture(50), info(1e9 + 50))
    assert on_disk(tmp_path) <= 60_000


def test_what_others_took_away_makes_room(tmp_path):
    kept = opened(tmp_path, 300_000)
    for number in range(6):
        kept.add(picture(number), info(1e9 + number))
    for path in list(tmp_path.iterdir())[:4]:
        path.unlink()
    kept.look()
    assert kept.pictures == len(names(tmp_path))
    (tmp_path / names(tmp_path)[0]).rename(tmp_path.parent / "labelled.jpg")
    kept.add(picture(77), info(1e9 + 77))
    assert kept.pictures == len(names(tmp_path))


def test_a_picture_is_known_by_its_content(tmp_path):
    kept = opened(tmp_path, 300_000)
    kept.add(picture(1), info(1e9))
    inbox.add(tmp_path, picture(2), info(1e9 - 1, COLLECTED))
    kept.look()
    expected = {hashlib.sha256(picture(number)).hexdigest()[:8] for number in (1, 2)}
    assert kept.digests() == expected


def test_a_frame_that_is_larger_than_all_the_room_is_refused_in_a_sentence(tmp_path):
    kept = opened(tmp_path, 30_000)
    kept.add(picture(1, 60), info(1e9))
    with pytest.raises(
        OutputError, match=r"A frame takes .* MB, more than the 0\.03 MB .*--keep-mb"
    ):
        kept.add(picture(2, 400), info(1e9))
    assert len(names(tmp_path)) == 1


def test_some_room_is_left_to_others(tmp_path):
    rooms = [PLENTY]
    kept = KeptFolder(tmp_path, 10**6, room=lambda _: rooms[0], clock=FakeClock(1e9))
    kept.add(picture(1), info(1e9))
    rooms[0] = Room(49 * 10**6, 10**9, BLOCK)
    for attempt in (kept.check, lambda: kept.add(picture(2), info(1e9 + 1))):
        with pytest.raises(OutputError, match=r"Little room is left .*: 49 MB, of which 50 MB"):
            attempt()
    # Of a large disk a gigabyte, not a twentieth.
    rooms[0] = Room(2 * 10**9, 10**12, BLOCK)
    kept.add(picture(2), info(1e9 + 1))
    assert len(names(tmp_path)) == 2


def test_the_room_of_a_disk(tmp_path):
    room = room_at(tmp_path)
    assert 0 <= room.free_bytes < room.all_bytes
    assert room.block_bytes > 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if (
        not sys.platform.startswith("linux")
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("needs Linux's tmpfs and the right to mount one")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_others_filled_loses_nothing_that_was_kept(small_disk):
    """The limit is larger than the disk, of which no room is left to others here."""
    folder = small_disk / "keep"
    kept = KeptFolder(
        folder,
        10**9,
        clock=FakeClock(1e9),
        # As where a quota, of which this says nothing, is what is used up.
        room=lambda _: PLENTY,
    )
    for number in range(10):
        kept.add(picture(number), info(1e9 + number))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (small_disk / "others").write_bytes(bytes(room_at(small_disk).free_bytes))
    for number in range(10, 20):
        with pytest.raises(OutputError, match="No space left on device"):
            kept.add(picture(number), info(1e9 + number))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (small_disk / "others").unlink()
    kept.add(picture(20), info(1e9 + 20))
    assert len(names(folder)) == 11


def test_at_its_limit_a_full_disk_loses_nothing_either(small_disk):
    folder = small_disk / "keep"
    kept = KeptFolder(folder, 200_000, clock=FakeClock(1e9), room=lambda _: PLENTY)
    for number in range(12):
        kept.add(picture(number), info(1e9 + number, margin=0.1))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (small_disk / "others").write_bytes(bytes(room_at(small_disk).free_bytes))
    for number in range(12, 24):
        with pytest.raises(OutputError):
            kept.add(picture(number, 220), info(1e9 + number, margin=0.0))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
