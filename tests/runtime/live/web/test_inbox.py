"""Kept frames as a ZIP file: whole, in order, from where the last call ended, in little memory."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tracemalloc
import zipfile

import pytest
from kept_frames import scene
from timing import wait_for

from pocketlens.choices import UNSURE
from pocketlens.errors import UsageError
from pocketlens.runtime import inbox
from pocketlens.runtime.inbox import FrameInfo
from pocketlens.runtime.live.frames import KeepCounts
from pocketlens.runtime.live.web import archive
from pocketlens.runtime.live.web.archive import find, parse_since, zip_of

TOKEN = "open-sesame"
NOON_S = 1_700_000_000.0


def fill(folder, times_s):
    """Put a picture into a folder for each time and return their names."""
    return [
        inbox.add(
            folder,
            inbox.encode_jpeg(scene(round(1e5 * time_s))),
            FrameInfo(NOON_S + time_s, "0", (160, 120), UNSURE, {"fox": 0.5, "cat": 0.5}),
        ).path.name
        for time_s in times_s
    ]


def pictures_of(body):
    with zipfile.ZipFile(io.BytesIO(body)) as found:
        assert found.testzip() is None
        return [name for name in found.namelist() if name.endswith(".jpg")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("2023-11-14T22:13:20.000Z", NOON_S, id="as-it-is-said"),
        pytest.param("20231114T221320.250Z", NOON_S + 0.25, id="as-in-names"),
        pytest.param("2023-11-14T22:13:20", NOON_S, id="seconds"),
        pytest.param("2023-11-14 22:13:20+00:00", NOON_S, id="offset"),
        pytest.param("2023-11-14T22:13:20 00:00", NOON_S, id="offset-whose-plus-became-a-space"),
        pytest.param("2023-11-14", NOON_S - 80_000, id="a-day"),
    ],
)
def test_times_that_are_read(text, seconds):
    assert parse_since(text) == pytest.approx(seconds, abs=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2023-13-01", "2023-11-14T25:00:00", "1700000000", "0000-00-00"),
        *("2023-11-14T22:13:20+05:00", "٢٠٢٣-١١-١٤", "9" * 5000, "2023-11-14T22:13:20Z\n; rm"),
    ],
)
def test_other_times_are_refused_in_a_sentence(text):
    with pytest.raises(UsageError, match=r"Expected since as a time in UTC\. Received: .{2,70}\. "):
        parse_since(text)


def test_the_pictures_of_an_inbox_after_a_time_oldest_first(tmp_path):
    names = fill(tmp_path, [30, 10, 20])
    (tmp_path / "holiday.jpg").write_bytes(b"of somebody")
    (tmp_path / "notes.txt").write_text("mine")
    found = find(tmp_path, None)
    assert [path.name for path in found.pictures] == sorted(names)
    assert (found.newest, found.left) == ("2023-11-14T22:13:50.000Z", 0)
    later = find(tmp_path, parse_since("2023-11-14T22:13:30.000Z"))
    assert [path.name for path in later.pictures] == sorted(names)[1:]
    none = find(tmp_path, parse_since(found.newest))
    assert none == ([], found.newest, 0)
    assert find(tmp_path / "missing", None) == ([], None, 0)


def test_many_pictures_come_in_several_files_none_twice_and_none_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_PICTURES", 4)
    # Two of them at the same millisecond, at the end of the first file.
    names = fill(tmp_path, [1, 2, 3, 4, 4.0001, 5, 6])
    got, since = [], None
    for left in (2, 0, 0):
        found = find(tmp_path, since)
        assert found.left == left
        got += [path.name for path in found.pictures]
        since = parse_since(found.newest)
    assert sorted(got) == sorted(names)


def test_a_zip_file_that_programs_open(tmp_path):
    names = fill(tmp_path, range(3))
    found = find(tmp_path, None)
    data = b"".join(zip_of(found.files, found.newest))
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        expected = [other for name in names for other in (name.replace(".jpg", ".json"), name)]
        assert opened.namelist() == expected
        for name in expected:
            assert opened.read(name) == (tmp_path / name).read_bytes()
        assert opened.comment.decode() == found.newest
        assert opened.infolist()[0].date_time[0] >= 2023
    path = tmp_path / "kept.zip"
    path.write_bytes(data)
    for program in (["unzip", "-t"], ["bsdtar", "-tf"]):
        if shutil.which(program[0]):
            subprocess.run([*program, str(path)], check=True, capture_output=True)


def test_a_picture_that_goes_before_its_turn_is_left_out(tmp_path):
    names = fill(tmp_path, range(3))
    pieces = zip_of(find(tmp_path, None).files)
    first = next(pieces)
    for suffix in (".jpg", ".json"):
        (tmp_path / names[1]).with_suffix(suffix).unlink()
    assert pictures_of(first + b"".join(pieces)) == [names[0], names[2]]


def test_of_much_only_one_picture_is_in_memory(tmp_path):
    for number in range(40):
        (tmp_path / f"20231114T2213{number:02}.000Z-{number:08x}.jpg").write_bytes(bytes(1 << 20))
    tracemalloc.start()
    try:
        total = longest = 0
        for piece in zip_of(find(tmp_path, None).files):
            total += len(piece)
            longest = max(longest, len(piece))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total > 40 << 20
    assert longest <= 64 << 10
    assert peak < 8 << 20


def test_over_the_page_with_its_token(open_show, tmp_path):
    names = fill(tmp_path, range(4))
    show = open_show(token=TOKEN, inbox=tmp_path)
    assert show.get("/inbox.zip").status == 401
    assert show.get("/inbox.zip", authorization="Bearer wrong-one").status == 401
    assert show.get("/inbox.zip", host="evil.example").status == 421
    answer = show.get("/inbox.zip", authorization=f"Bearer {TOKEN}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/zip"
    assert pictures_of(answer.body) == names
    assert answer.headers["x-newest"] == "2023-11-14T22:13:23.000Z"
    assert (answer.headers["x-pictures"], answer.headers["x-left"]) == ("4", "0")
    again = show.get(
        f"/inbox.zip?since={answer.headers['x-newest']}", authorization=f"Bearer {TOKEN}"
    )
    assert pictures_of(again.body) == []
    assert again.headers["x-newest"] == answer.headers["x-newest"]
    fill(tmp_path, [9])
    newer = show.get(
        f"/inbox.zip?since={answer.headers['x-newest']}", authorization=f"Bearer {TOKEN}"
    )
    assert len(pictures_of(newer.body)) == 1
    # As in a script whose first call it is.
    all_again = show.get("/inbox.zip?since=", authorization=f"Bearer {TOKEN}")
    assert len(pictures_of(all_again.body)) == 5


def test_head_tells_the_same_without_the_pictures(open_show, tmp_path):
    fill(tmp_path, range(2))
    show = open_show(inbox=tmp_path)
    answer = show.get("/inbox.zip", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["x-newest"] == "2023-11-14T22:13:21.000Z"
    for method in ("POST", "PUT", "DELETE"):
        assert show.get("/inbox.zip", method=method).status == 405


def test_what_is_wrong_is_said_in_a_sentence(open_show, tmp_path):
    answer = open_show(inbox=None).get("/inbox.zip")
    assert answer.status == 404
    assert answer.body.decode() == (
        "This run keeps no frames. Start pocketlens live with --keep DIR."
    )
    show = open_show(inbox=tmp_path)
    answer = show.get("/inbox.zip?since=%3Cscript%3E%00")
    assert answer.status == 400
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.body.decode().startswith("Expected since as a time in UTC. Received: '<script>")
    shutil.rmtree(tmp_path)
    tmp_path.write_text("a file")
    assert show.get("/inbox.zip").status == 503
    tmp_path.unlink()
    assert pictures_of(show.get("/inbox.zip").body) == []


def test_a_third_download_at_a_time_has_to_wait(open_show, tmp_path):
    for number in range(30):
        (tmp_path / f"20231114T2213{number:02}.000Z-{number:08x}.jpg").write_bytes(bytes(1 << 20))
    show = open_show(inbox=tmp_path)
    # They take nothing, so that they stay.
    held = [show.connect() for _ in range(2)]
    for connection in held:
        connection.request("GET", "/inbox.zip")
        assert connection.getresponse().status == 200
    answer = show.get("/inbox.zip")
    assert answer.status == 503
    assert answer.body.decode().startswith("2 downloads are running, which is the limit.")
    held[0].close()
    wait_for(lambda: show.get("/inbox.zip", method="HEAD").status == 200)
    wait_for(lambda: show.get("/inbox.zip").status == 200)
    held[1].close()


def test_the_state_and_the_metrics_tell_what_is_kept(open_show):
    show = open_show()
    assert "keeping" not in show.get("/api/state").json
    assert "pocketlens_kept" not in show.get("/metrics").body.decode()
    show.keeping = KeepCounts(
        {"unsure": 3, "random": 2},
        near_copies=7,
        dropped=1,
        lost=4,
        trouble="The disk is full.",
        pictures=5,
        size_bytes=1_000_000,
        limit_bytes=500_000_000,
    )
    assert show.get("/api/state").json["keeping"] == {
        "kept": {"unsure": 3, "random": 2},
        "near_copies": 7,
        "dropped": 1,
        "lost": 4,
        "trouble": "The disk is full.",
        "pictures": 5,
        "bytes": 1_000_000,
        "limit_bytes": 500_000_000,
    }
    lines = show.get("/metrics").body.decode().splitlines()
    for line in (
        'pocketlens_kept_total{reason="unsure"} 3',
        'pocketlens_kept_total{reason="random"} 2',
        'pocketlens_not_kept_total{why="near_copies"} 7',
        'pocketlens_not_kept_total{why="dropped"} 1',
        'pocketlens_not_kept_total{why="lost"} 4',
        "pocketlens_keep_up 0",
        "pocketlens_keep_pictures 5",
        "pocketlens_keep_bytes 1000000",
        "pocketlens_keep_limit_bytes 500000000",
    ):
        assert line in lines
    assert not [line for line in lines if "keep_sent" in line]
    show.keeping = KeepCounts({"unsure": 3}, sent=2, unsent=1)
    lines = show.get("/metrics").body.decode().splitlines()
    assert {"pocketlens_keep_sent_total 2", "pocketlens_keep_unsent 1"} <= set(lines)
    assert show.get("/api/state").json["keeping"]["unsent"] == 1


def test_names_say_their_content_and_json_is_beside_each(tmp_path):
    (name,) = fill(tmp_path, [1.5])
    digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert name == f"20231114T221321.500Z-{digest[:8]}.jpg"
    assert json.loads((tmp_path / name).with_suffix(".json").read_text())["reason"] == "unsure"


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="Windows makes few links")
def test_a_link_leads_to_no_other_file(tmp_path):
    (name,) = fill(tmp_path / "keep", [1])
    (tmp_path / "secret").write_bytes(b"a secret")
    link = tmp_path / "keep" / "20231114T221320.000Z-00000000.jpg"
    link.symlink_to(tmp_path / "secret")
    body = b"".join(zip_of([tmp_path / "keep" / name, link]))
    assert b"a secret" not in body
    assert pictures_of(body) == [name]
