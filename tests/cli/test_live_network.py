"""`pocketlens live` with a page, MQTT and a webhook, from the outside."""

import contextlib
import http.client
import http.server
import json
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
from timing import PATIENCE_S, wait_for

from pocketlens.cli.main import run

SECRET = "hunter2"
# It takes five seconds at most on a machine that does nothing else.
LONGEST_S = 30


class Live:
    """The command in a process of its own."""

    def __init__(self, model, *options, code=None):
        begin = ["-c", code] if code else ["-m", "pocketlens"]
        command = [sys.executable, *begin, "live", str(model), *map(str, options)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    @property
    def url(self):
        """Where the page is, as it is announced."""

        def announced():
            assert self.process.poll() is None, self.lines
            return [line for line in self.lines if line.startswith("Watch it at ")]

        return wait_for(announced)[0].split()[-1]

    def end(self):
        """Ask it to end; returns its exit code and how long that took, in seconds."""
        started_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_S)
        self._reading.join(PATIENCE_S)
        return code, time.monotonic() - started_s


@pytest.fixture
def start():
    with contextlib.ExitStack() as stack:

        def begin(model, *options, **how):
            live = Live(model, *options, **how)
            stack.callback(live.process.stdout.close)
            stack.callback(live.process.wait)
            stack.callback(live.process.kill)
            return live

        yield begin


def get(url, **headers):
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.real_time
def test_a_page_of_a_real_camera_that_ends_in_time_while_it_is_watched(
    tiny_tflite, mjpeg_server, start
):
    pytest.importorskip("uvicorn", reason="the web extra is not installed")
    source = mjpeg_server.url(f"me:{SECRET}@")
    live = start(tiny_tflite, "--source", source, "--web", 0)
    state = wait_for(lambda: (got := json.loads(get(live.url + "api/state")[1]))["text"] and got)
    assert state["model"] == tiny_tflite.name
    assert len(state["categories"]) == 3
    assert state["events"][0]["text"] == state["text"]
    assert get(live.url + "snapshot.jpg")[1].startswith(b"\xff\xd8")
    mjpeg_server.stop()
    stale = wait_for(
        lambda: (got := json.loads(get(live.url + "api/state")[1]))["state"] == "stale" and got
    )
    assert SECRET not in json.dumps(stale)
    assert stale["text"] is None
    watching = [http.client.HTTPConnection(*live.url.split("/")[2].split(":")) for _ in range(4)]
    for connection, path in zip(watching, ("/events", "/stream.mjpg") * 2, strict=True):
        connection.request("GET", path)
    code, seconds = live.end()
    assert (code, seconds < LONGEST_S) == (0, True)
    for connection in watching:
        connection.close()
    assert not [line for line in live.lines if SECRET in line or "Traceback" in line]


@pytest.mark.real_time
def test_it_ends_in_time_though_everybody_hangs(tiny_tflite, mjpeg_server, start):
    for extra in ("uvicorn", "paho"):
        pytest.importorskip(extra, reason="the web and mqtt extras are not installed")
    with socket.create_server(("127.0.0.1", 0)) as silent, contextlib.ExitStack() as stack:
        port = silent.getsockname()[1]
        remote = ["--mqtt", f"mqtt://127.0.0.1:{port}/a", "--webhook", f"http://127.0.0.1:{port}/"]
        live = start(tiny_tflite, "--source", mjpeg_server.url(), "--web", 0, *remote)
        wait_for(lambda: get(live.url + "healthz")[0] == 200)
        place = live.url.split("/")[2].split(":")
        for path in ("events", "stream.mjpg", "snapshot.jpg") * 5:
            viewer = stack.enter_context(socket.create_connection(place))
            viewer.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 4)
        code, seconds = live.end()
    assert (code, seconds < LONGEST_S) == (0, True)


def test_others_need_the_token_that_is_printed_once(tiny_tflite, mjpeg_server, start, monkeypatch):
    pytest.importorskip("uvicorn", reason="the web extra is not installed")
    live = start(tiny_tflite, "--source", mjpeg_server.url(), "--web", "0.0.0.0:0")
    page, _, token = live.url.partition("?token=")
    port = re.search(r":(\d+)/", page)[1]
    here = f"http://127.0.0.1:{port}/api/state"
    assert get(here)[0] == 401
    assert get(here, Authorization=f"Bearer {token}")[0] == 200
    live.end()
    assert sum(token in line for line in live.lines) == 1
    monkeypatch.setenv("POCKETLENS_WEB_TOKEN", f"a-{SECRET}")
    live = start(tiny_tflite, "--source", mjpeg_server.url(), "--web", "0.0.0.0:0")
    port = re.search(r":(\d+)/$", live.url)[1]
    assert get(f"http://127.0.0.1:{port}/api/state", Authorization=f"Bearer a-{SECRET}")[0] == 200
    live.end()
    assert not [line for line in live.lines if SECRET in line]


def test_events_of_a_video_reach_the_webhook_before_it_ends(tiny_tflite, tiny_photos, tmp_path):
    taken = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            taken.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    log = tmp_path / "log.jsonl"
    url = f"http://me:{SECRET}@127.0.0.1:{server.server_address[1]}/hook"
    options = ["--source", str(tiny_photos / "circle"), "--webhook", url, "--jsonl", str(log)]
    assert run(["live", str(tiny_tflite), *options]) == 0
    server.shutdown()
    server.server_close()
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    events = [entry for entry in lines if entry.get("event")]
    assert events
    assert [taken.get_nowait() for _ in range(taken.qsize())] == events


# The command with a name server that never answers about one name, and does not let Python go on.
HUNG = """
import ctypes, socket, sys
resolve = socket.getaddrinfo
def hang(host, *how, **more):
    while host == "hooks.example":
        ctypes.CDLL(None).sleep(1000)
    return resolve(host, *how, **more)
socket.getaddrinfo = hang
from pocketlens.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="its C library has no sleep")
@pytest.mark.parametrize(
    "remote", ["--webhook=http://hooks.example/", "--mqtt=mqtt://hooks.example/a"]
)
def test_a_name_server_that_never_answers(tiny_tflite, tiny_photos, tmp_path, remote):
    pytest.importorskip("paho", reason="the mqtt extra is not installed")
    source, log = tiny_photos / "circle", tmp_path / "log.jsonl"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            HUNG,
            "live",
            tiny_tflite,
            "--source",
            source,
            remote,
            "--jsonl",
            log,
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert len(entries) == len(list(source.iterdir()))
    events = sum(entry["event"] for entry in entries)
    assert f"did not get the last {events} of what was to be sent" in done.stderr
    (summary,) = re.findall("events? in ([0-9.]+) s:", done.stderr)
    assert float(summary) < 10


def test_a_camera_ends_in_time_though_a_name_server_never_answers(
    tiny_tflite, mjpeg_server, start, monkeypatch
):
    remote = ["--webhook", "http://hooks.example/", "--jsonl", "-"]
    live = start(tiny_tflite, "--source", mjpeg_server.url(), *remote, code=HUNG)
    assert json.loads(live.process.stdout.readline())["event"]
    code, seconds = live.end()
    assert (code, seconds < 5) == (0, True), live.lines


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--web", "nonsense"], "Expected --web as a port", id="web"),
        pytest.param(["--web", "70000"], "Expected --web as a port", id="port"),
        pytest.param(["--web", "0", "--web-token", SECRET], "at least 8", id="token"),
        pytest.param(["--mqtt", f"http://me:{SECRET}@x"], "Expected --mqtt", id="mqtt"),
        pytest.param(["--webhook", f"mqtt://me:{SECRET}@x"], "Expected --webhook", id="webhook"),
    ],
)
def test_wrong_calls_are_one_sentence(tiny_tflite, capfd, options, words):
    for extra in ("uvicorn", "paho"):
        pytest.importorskip(extra, reason="the web and mqtt extras are not installed")
    assert run(["live", str(tiny_tflite), *options]) == 2
    err = capfd.readouterr().err
    assert words in err
    assert len(err.splitlines()) == 1
    assert SECRET not in err


def test_a_taken_port_is_one_sentence(tiny_tflite, tiny_photos, capfd):
    pytest.importorskip("uvicorn", reason="the web extra is not installed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ["--source", str(tiny_photos / "circle"), "--web", str(port)]
        assert run(["live", str(tiny_tflite), *options]) == 1
    assert f"free port at 127.0.0.1:{port}" in capfd.readouterr().err


def test_who_asks_for_nothing_of_it_waits_for_none_of_its_modules(tiny_tflite, tiny_photos):
    code = (
        "import sys; from pocketlens.cli.main import run; assert run(sys.argv[1:]) == 0; "
        "print('LOADED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "live", tiny_tflite, "--source", tiny_photos / "circle"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.splitlines()[-1].split()[1:])
    assert not {"asyncio", "uvicorn", "starlette", "paho", "http.client"} & loaded
    assert not {name for name in loaded if name.startswith("pocketlens.runtime.live.web")}
