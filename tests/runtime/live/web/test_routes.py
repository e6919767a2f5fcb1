"""Every route over a real connection: what it answers, and to whom."""

import base64
import contextlib
import json
import re
import socket
import threading
import time

import cv2
import numpy as np
import pytest
from timing import PATIENCE_S, wait_for

from pocketlens.choices import SHIFT_KINDS
from pocketlens.runtime.live.frames import ShiftState
from pocketlens.runtime.live.web.feed import Feed

TOKEN = "correct-horse-battery"
PATHS = (
    *("/", "/snapshot.jpg", "/stream.mjpg", "/inbox.zip", "/events", "/api/state"),
    *("/metrics", "/healthz"),
)
FOREIGN = "evil.example"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def guarded(open_show):
    return open_show(token=TOKEN)


def test_the_paths_here_are_those_of_the_route_table():
    pytest.importorskip("starlette", reason="the web extra is not installed")
    from pocketlens.runtime.live.web.jpegs import Jpegs
    from pocketlens.runtime.live.web.routes import Routes

    feed = Feed()
    routes = Routes(feed, Jpegs(feed)).routes
    assert tuple(route.path for route in routes) == PATHS
    # Nothing can be changed from outside.
    assert {method for route in routes for method in route.methods} == {"GET", "HEAD"}


@pytest.mark.parametrize("path", [*PATHS, "/nowhere"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_no_route_answers_without_the_token_or_to_a_foreign_host(guarded, path, method):
    right = bearer(TOKEN)
    assert guarded.get(path, method).status == 401
    assert guarded.get(path, method, **bearer("wrong-horse-battery")).status == 401
    assert guarded.get(path, method, Cookie=f"pocketlens-{guarded.port}={TOKEN}").status == 401
    assert guarded.get(path, method, **right, Host=FOREIGN).status == 421
    assert guarded.get(path, method, **right, Sec_Fetch_Site="cross-site").status == 403
    expected = 404 if path == "/nowhere" else 405 if method == "POST" else 200
    assert guarded.get(path, method, **right).status == expected


@pytest.mark.parametrize("path", PATHS)
def test_without_a_token_foreign_hosts_and_pages_are_refused_all_the_same(show, path):
    assert show.get(path).status == 200
    assert show.get(path, Host="localhost:1").status == 200
    assert show.get(path, Host=FOREIGN).status == 421
    assert show.get(path, Host=f"127.0.0.1.{FOREIGN}").status == 421
    for site in ("cross-site", "same-site"):
        assert show.get(path, Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors").status == 403


@pytest.mark.parametrize("path", [*PATHS, "/nowhere", "/?token=wrong"])
def test_every_answer_has_the_headers_that_protect(guarded, path):
    for extra in ({}, bearer(TOKEN), {"Host": FOREIGN}):
        headers = guarded.get(path, **extra).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert not [name for name in headers if name.lower().startswith("access-control")]
        assert "server" not in {name.lower() for name in headers}


def test_two_hosts_are_none(show):
    with socket.create_connection(("127.0.0.1", show.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert re.match(rb"HTTP/1.1 4\d\d ", connection.recv(100))
    with socket.create_connection(("127.0.0.1", show.port)) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 421 ")


def test_the_token_becomes_a_cookie_and_leaves_the_address(guarded):
    answer = guarded.get(f"/?token={TOKEN}")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    for word in ("HttpOnly", "SameSite=lax", "Max-Age=2592000"):
        assert word in cookie
    pair = cookie.partition(";")[0]
    assert guarded.get("/", Cookie=pair).status == 200
    assert guarded.get("/api/state", Cookie=f"a=b; {pair}").status == 200
    # A new run with the same token takes the same cookie.
    guarded.stop()
    guarded.start()
    assert guarded.get("/", Cookie=pair).status == 200


def test_a_token_in_the_address_of_anything_else_is_none(guarded):
    for path in PATHS[1:]:
        assert guarded.get(f"{path}?token={TOKEN}").status == 401


def test_who_has_no_token_is_asked_for_it(guarded):
    page = guarded.get("/", Accept="text/html")
    assert page.status == 401
    assert b'name="token"' in page.body
    assert b"not the token" not in page.body
    wrong = guarded.get("/?token=wrong-horse", Accept="text/html")
    assert (wrong.status, b"That is not the token" in wrong.body) == (401, True)
    assert b"wrong-horse" not in wrong.body
    program = guarded.get("/api/state", Accept="application/json")
    assert program.headers["www-authenticate"] == "Bearer"
    assert b"Authorization: Bearer" in program.body


def test_a_made_token_is_announced_once_and_stays_out_of_the_log(open_show, caplog, capfd):
    caplog.set_level("DEBUG")
    show = open_show(host="0.0.0.0")
    (line,) = show.lines
    token = re.fullmatch(r"Watch it at http://[^/]+/\?token=(\S{20,})", line)[1]
    assert show.get("/api/state").status == 401
    assert show.get("/api/state", **bearer(token)).status == 200
    show.get(f"/?token={token}")
    show.get(f"/nowhere?token={token}")
    with socket.create_connection(("127.0.0.1", show.port)) as connection:
        connection.sendall(f"GET /?token={token} nonsense\r\n\r\n".encode())
        connection.recv(100)
    show.stop()
    assert token not in caplog.text + "".join(capfd.readouterr())


def test_a_given_token_is_not_announced(open_show):
    show = open_show(host="0.0.0.0", token=TOKEN)
    assert TOKEN not in show.lines[0]


def test_basic_authorization_for_programs_that_know_no_other(guarded):
    pair = base64.b64encode(f"me:{TOKEN}".encode()).decode()
    assert guarded.get("/snapshot.jpg", Authorization=f"Basic {pair}").status == 200


def test_the_state_is_what_was_classified(show):
    entry = show.get("/api/state").json
    assert (entry["text"], entry["source"]) == ("red", "http://***@camera/stream")
    assert entry["dropped"] == 3
    assert [event["text"] for event in entry["events"]] == ["red"]
    show.label = "blue"
    wait_for(lambda: show.get("/api/state").json["text"] == "blue")


def picture_of(answer):
    assert answer.headers["content-type"] == "image/jpeg"
    return cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)


def test_a_snapshot_is_a_new_frame_each_time(show):
    numbers = []
    for _ in range(4):
        after = f"?after={numbers[-1]}" if numbers else ""
        answer = show.get(f"/snapshot.jpg{after}")
        assert answer.status == 200
        blue, _, red = picture_of(answer)[10, 10]
        assert red > 150 > blue
        numbers.append(int(answer.headers["x-frame-number"]))
    assert numbers == sorted(set(numbers))
    assert show.get("/snapshot.jpg?after=nonsense").status == 200
    # Of a run before this one, with more frames.
    assert show.get("/snapshot.jpg?after=99999").status == 200


def test_a_large_frame_is_made_smaller(open_show):
    show = open_show(size_wh=(1920, 1080))
    assert picture_of(show.get("/snapshot.jpg")).shape == (720, 1280, 3)


def test_a_stale_source_has_no_picture_and_no_health(show):
    assert show.get("/healthz").status == 200
    show.silent.set()
    wait_for(lambda: show.get("/healthz").status == 503)
    assert show.get("/healthz").json == {"state": "stale", "reason": "the cable is loose"}
    answer = show.get("/snapshot.jpg")
    assert (answer.status, b"the cable is loose" in answer.body) == (503, True)
    assert b"pocketlens_source_up 0" in show.get("/metrics").body
    show.silent.clear()
    wait_for(lambda: show.get("/healthz").status == 200)
    assert show.get("/snapshot.jpg").status == 200


def test_who_waits_for_a_picture_is_told_that_none_comes(show):
    connection = show.connect()
    number = show.get("/snapshot.jpg").headers["x-frame-number"]
    show.silent.set()
    wait_for(lambda: show.feed.state()[0] == "stale")
    connection.request("GET", f"/snapshot.jpg?after={number}")
    assert connection.getresponse().status == 503
    connection.close()


def test_the_stream_is_multipart_with_whole_frames(show):
    connection = show.connect()
    connection.request("GET", "/stream.mjpg")
    response = connection.getresponse()
    kind = response.headers["content-type"]
    assert kind == "multipart/x-mixed-replace; boundary=frame"
    data = b""
    while data.count(b"--frame\r\n") < 4:
        data += response.read1(65536)
    connection.close()
    for part in data.split(b"--frame\r\n")[1:4]:
        head, _, body = part.partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])
        assert body[:length].startswith(b"\xff\xd8")
        assert body[:length].endswith(b"\xff\xd9")
        assert body[length:] == b"\r\n"


class Events:
    """Reads server-sent events."""

    def __init__(self, show, **headers):
        self._connection = show.connect()
        self._connection.request("GET", "/events", headers=headers)
        self.response = self._connection.getresponse()

    def __iter__(self):
        fields = {}
        for line in self.response:
            name, colon, value = line.decode().rstrip("\n").partition(": ")
            if colon:
                fields[name] = value
            elif "data" in fields:
                yield fields["event"], fields.get("id"), json.loads(fields["data"])
                fields = {}

    def close(self):
        self.response.close()
        self._connection.close()


def test_events_come_with_numbers_and_the_state_between_them(show):
    events = Events(show)
    assert events.response.headers["content-type"].startswith("text/event-stream")
    seen = []
    for kind, number, entry in events:
        seen.append((kind, number, entry.get("text")))
        if len(seen) == 3:
            show.label = "blue"
        if kind == "event" and entry["text"] == "blue":
            break
    events.close()
    assert seen[0][::2] == ("event", "red")
    assert ("state", None, "red") in seen
    first, last = seen[0][1], seen[-1][1]
    assert first != last
    # Who comes back gets what was missed, and nothing twice.
    again = Events(show, **{"Last-Event-ID": first})
    assert next(iter(again))[:2] == ("event", last)
    again.close()


def test_metrics_are_in_the_format_that_prometheus_reads(show):
    answer = show.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.body.decode().splitlines()
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    values = {}
    for line in lines:
        if not line.startswith("#"):
            match = re.fullmatch(r'([a-z_]+)(\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? (\S+)', line)
            assert match, line
            assert match[1] in named
            values[match[1] + (match[2] or "")] = float(match[3])
    assert values["pocketlens_source_up"] == 1
    assert values["pocketlens_dropped_total"] == 3
    assert values["pocketlens_frames_total"] > 0
    assert values['pocketlens_latency_seconds{stage="classify"}'] == pytest.approx(0.002)
    assert all("unit" not in name for name in named)


def test_metrics_have_a_gauge_for_each_kind_of_shift(show):
    def held():
        text = show.get("/metrics").body.decode()
        return re.findall(r'^pocketlens_shift\{kind="([a-z]+)"\} ([01])$', text, re.MULTILINE)

    assert held() == [(kind, "0") for kind in SHIFT_KINDS]
    show.feed.note_shift(ShiftState("grey", 60.0, 50))
    assert held() == [(kind, str(int(kind == "grey"))) for kind in SHIFT_KINDS]
    assert show.get("/api/state").json["shift"]["shift"] == "grey"
    show.feed.watches_shift = False
    assert held() == []


def test_closing_ends_streams_that_are_read(show):
    events = Events(show)
    next(iter(events))
    stalled = [show.connect() for _ in range(3)]
    for connection in stalled:
        connection.request("GET", "/stream.mjpg")
    show.stop()
    # The server waits for nobody, and whoever closes it waits for two seconds at most.
    wait_for(lambda: "web" not in [thread.name for thread in threading.enumerate()])
    for connection in (events, *stalled):
        connection.close()


def test_a_number_of_five_thousand_digits_is_answered(show):
    assert show.get("/snapshot.jpg?after=" + "9" * 5000).status == 200
    assert show.get("/snapshot.jpg?after=-1").status == 200


def test_who_only_holds_connections_keeps_nobody_out(open_show, clock):
    # Time stands still, so that none of them is cut off for being idle.
    guarded = open_show(token=TOKEN, clock=clock)
    with contextlib.ExitStack() as stack:
        for _ in range(80):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", guarded.port)))
            # Half a request is none, and one without the token lets nobody in.
            idle.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        assert guarded.get("/api/state", **bearer(TOKEN)).status == 200


def test_who_asks_nothing_is_cut_off_after_ten_seconds(open_show, clock):
    show = open_show(clock=clock)
    with socket.create_connection(("127.0.0.1", show.port), PATIENCE_S) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        # It is known by then, since connections are taken in order.
        assert show.get("/healthz").status == 200
        clock.advance(10.5)
        with contextlib.suppress(ConnectionResetError):
            assert idle.recv(10) == b""


def test_an_answer_that_is_old_is_not_live(open_show, clock):
    show = open_show(clock=clock)
    assert show.get("/healthz").json == {"state": "live"}
    show.hold.set()
    wait_for(show.held.is_set)
    clock.advance(5.0)
    assert show.get("/healthz").status == 200
    assert "pocketlens_answer_age_seconds 5.0\n" in show.get("/metrics").body.decode()
    clock.advance(0.001)
    answer = show.get("/healthz")
    assert (answer.status, answer.json["reason"]) == (503, "no answer for 5 s")
    show.hold.clear()
    wait_for(lambda: show.get("/healthz").status == 200)


def test_wrong_tokens_are_answered_slowly_and_missing_ones_at_once(guarded, monkeypatch):
    monkeypatch.setattr("pocketlens.runtime.live.web.guard._WRONG_TOKEN_S", 0.5)

    def seconds(path="/", **headers):
        started_s = time.monotonic()
        assert guarded.get(path, **headers).status == 401
        return time.monotonic() - started_s

    assert seconds(**bearer("wrong-horse-battery")) >= 0.5
    assert seconds("/?token=wrong-horse-battery") >= 0.5
    assert seconds(Cookie=f"pocketlens-{guarded.port}={'0' * 64}") >= 0.5
    # A missing one is not: an hour would be noticed.
    monkeypatch.setattr("pocketlens.runtime.live.web.guard._WRONG_TOKEN_S", 3600.0)
    seconds()
