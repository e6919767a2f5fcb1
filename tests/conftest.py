"""Real photos, a real tiny run and its real files, made once a session."""

import base64
import contextlib
import dataclasses
import hashlib
import http.server
import itertools
import json
import os
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pocketlens.card import pack, unpack
from pocketlens.runtime.interpreters import find_backend

# What tests share, wherever this folder was copied to.
sys.path.insert(0, str(Path(__file__).parent / "helpers"))

TINY_LABELS = ("circle", "cross", "stripes")
TINY_SIZE = 96
FORMATS = ("float32", "float16", "dynamic", "weights8", "int8")


def draw_tiny(label: str, rng: np.random.Generator) -> np.ndarray:
    """Draw one picture: uint8 (120, 160, 3)."""
    ground = rng.integers(0, 256, 3)
    ink = tuple(int(value) for value in (ground + rng.integers(90, 160, 3)) % 256)
    picture = np.empty((120, 160, 3), np.uint8)
    picture[:] = ground
    centre = (int(rng.integers(60, 100)), int(rng.integers(50, 70)))
    radius = int(rng.integers(25, 45))
    if label == "circle":
        cv2.circle(picture, centre, radius, ink, -1)
    elif label == "cross":
        for offset in ((radius, 0), (0, radius)):
            start = (centre[0] - offset[0], centre[1] - offset[1])
            end = (centre[0] + offset[0], centre[1] + offset[1])
            cv2.line(picture, start, end, ink, 14)
    else:
        for x in range(int(rng.integers(0, 20)), 160, 24):
            cv2.line(picture, (x, 0), (x, 119), ink, 10)
    noise = rng.normal(0, 6, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def draw_nothing(rng: np.random.Generator) -> np.ndarray:
    """Draw soft spots of colour: uint8 (120, 160, 3)."""
    return cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (160, 120))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let a test fail that is skipped where everything is installed that tests need."""
    return _without_other_skips((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Do the same for a module that skips all of its tests."""
    return _without_other_skips((yield))


def _without_other_skips(report: Any) -> Any:
    allowed = os.environ.get("POCKETLENS_ALLOWED_SKIPS")
    if allowed and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        lines = Path(allowed).read_text("utf-8").splitlines()
        if not any(re.fullmatch(line, reason) for line in lines if line and line[0] != "#"):
            report.outcome = "failed"
            report.longrepr = f"Skipped for a reason that {allowed} does not list: {reason}"
    return report


@contextlib.contextmanager
def alone(home: Path) -> Iterator[None]:
    """Let one of several test processes at a time make what they share."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as stream:
        if sys.platform != "win32":  # There one process runs all tests.
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session", autouse=True)
def _surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the tests cache out of the user's own cache folder, and tables at their width."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it, and some shells do.
        patch.setenv("POCKETLENS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared test material; see CONTRIBUTING.md."""
    folder = os.environ.get("POCKETLENS_SHARED")
    if not folder:
        pytest.skip("POCKETLENS_SHARED does not name the folder of shared test material")
    path = Path(folder).absolute()
    assert path.is_dir(), f"POCKETLENS_SHARED names {path}, which is not a folder"
    return path


@pytest.fixture(scope="session")
def elsewhere_model(shared: Path) -> Path:
    """A quantized MobileNet v1 that pocketlens did not write."""
    return shared / "models" / "mobilenet_v1_0.25_128_quant.tflite"


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tiny photos, run and files lie.

    POCKETLENS_TEST_MODELS keeps them from one session for another that has no TensorFlow.
    """
    kept = os.environ.get("POCKETLENS_TEST_MODELS")
    return Path(kept).absolute() if kept else tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def tiny_photos(tiny_home: Path) -> Path:
    """A folder per class with 30 small pictures each."""
    with alone(tiny_home):
        folder = tiny_home / "photos"
        if not folder.is_dir():
            rng = np.random.default_rng(7)
            for label in TINY_LABELS:
                (folder / label).mkdir(parents=True)
                for index in range(30):
                    cv2.imwrite(str(folder / label / f"{index:02}.png"), draw_tiny(label, rng))
    return folder


@pytest.fixture(scope="session")
def tiny_run(tiny_home: Path, tiny_photos: Path) -> Path:
    """A run that was really trained, from nothing, on the tiny photos."""
    with alone(tiny_home):
        folder = tiny_home / "tiny"
        if not folder.is_dir():
            pytest.importorskip("tensorflow", reason="training needs the train extra")
            from pocketlens.train import Settings, train

            settings = Settings(
                alpha=0.35,
                image_size=TINY_SIZE,
                weights="none",
                augmentation="light",
                batch_size=16,
                fine_tune_epochs=6,
                grid_epochs=1,
                unknown="off",
            )
            train(tiny_photos, folder, settings)
    return folder


@pytest.fixture(scope="session")
def plain_run(tiny_home: Path, tiny_photos: Path) -> Path:
    """A run of a network of few layers, for what does not depend on the network."""
    with alone(tiny_home):
        folder = tiny_home / "plain"
        if not folder.is_dir():
            pytest.importorskip("tensorflow", reason="training needs the train extra")
            from small_training import SMALL_TRAINING

            from pocketlens.train import Settings, train

            train(tiny_photos, folder, Settings(**SMALL_TRAINING))
    return folder


@pytest.fixture(scope="session")
def unknown_run(tiny_home: Path, tiny_photos: Path) -> Path:
    """Like `plain_run`, with a label for unknown photos."""
    with alone(tiny_home):
        folder = tiny_home / "unknown"
        if not folder.is_dir():
            pytest.importorskip("tensorflow", reason="training needs the train extra")
            from small_training import SMALL_TRAINING

            from pocketlens.train import Settings, train

            train(tiny_photos, folder, Settings(**SMALL_TRAINING | {"unknown": "auto"}))
    return folder


@pytest.fixture(scope="session")
def unknown_models(tiny_home: Path, unknown_run: Path) -> dict[str, Path]:
    """That run's five files by format."""
    return five_files(tiny_home, unknown_run)


def five_files(home: Path, run: Path) -> dict[str, Path]:
    """Return a small run's files by format, which are made where they are not there."""
    with alone(home):
        paths = {entry: home / f"{run.name}_{entry}.tflite" for entry in FORMATS}
        if not all(path.is_file() for path in paths.values()):
            from pocketlens.convert import Demands, convert

            # Whether so small a network keeps a limit is left to chance.
            convert(run, home, samples=20, demands=Demands(max_drop=100), overwrite=True)
    return paths


@pytest.fixture(scope="session")
def tiny_models(tiny_home: Path, tiny_run: Path) -> dict[str, Path]:
    """The tiny run's five files by format."""
    return five_files(tiny_home, tiny_run)


@pytest.fixture(scope="session")
def tiny_binary_table(tiny_home: Path, tiny_photos: Path) -> Path:
    """A table of the circles and the crosses among the tiny photos."""
    with alone(tiny_home):
        path = tiny_home / "binary.csv"
        rows = [f"{n}/{i:02}.png,{n}\n" for n in ("circle", "cross") for i in range(30)]
        if not path.is_file():
            path.write_text("path,label\n" + "".join(f"{tiny_photos.name}/{row}" for row in rows))
    return path


@pytest.fixture(scope="session")
def tiny_pairs_table(tiny_home: Path) -> Path:
    """A table of 60 pictures, each of which shows two of the tiny labels, one or none."""
    with alone(tiny_home):
        folder = tiny_home / "pairs"
        path = folder / "photos.jsonl"
        if not path.is_file():
            folder.mkdir(parents=True)
            rng = np.random.default_rng(11)
            lines = []
            for index in range(60):
                # All 16 pairs of a label or nothing, again and again.
                names = [(*TINY_LABELS, None)[number] for number in (index % 4, index // 4 % 4)]
                halves = [draw_tiny(name, rng) if name else draw_nothing(rng) for name in names]
                cv2.imwrite(str(folder / f"{index:02}.png"), np.hstack(halves))
                labels = sorted({name for name in names if name})
                lines.append(json.dumps({"path": f"{index:02}.png", "labels": labels}) + "\n")
            path.write_text("".join(lines))
    return path


@pytest.fixture(scope="session")
def task_models(
    tiny_home: Path, tiny_binary_table: Path, tiny_pairs_table: Path
) -> dict[str, dict[str, Path]]:
    """The five files of a small binary and a small multilabel run, by task and format."""
    tables = {"binary": tiny_binary_table, "multilabel": tiny_pairs_table}
    models = {}
    for task, table in tables.items():
        models[task] = {entry: tiny_home / f"{task}_{entry}.tflite" for entry in FORMATS}
        if all(path.is_file() for path in models[task].values()):
            continue
        pytest.importorskip("tensorflow", reason="training needs the train extra")
        from pocketlens.convert import Demands, convert
        from pocketlens.train import Settings, train

        settings = Settings(
            task=task,
            positive="circle" if task == "binary" else None,
            arch="cnn_small",
            image_size=64,
            weights="none",
            augmentation="light",
            batch_size=16,
            fine_tune_epochs=2,
            grid_epochs=1,
            unknown="off",
        )
        train(table, tiny_home / task, settings, overwrite=True)
        convert(
            tiny_home / task,
            tiny_home,
            samples=20,
            demands=Demands(max_drop=100),
            overwrite=True,
        )
    return models


@pytest.fixture(scope="session")
def tiny_tflite(tiny_models: dict[str, Path]) -> Path:
    """One small real file."""
    return tiny_models["int8"]


BOUNDARY = "frame"
# Different pictures, made once: drawing them takes longer than sending them.
JPEGS = [
    cv2.imencode(".jpg", np.full((48, 64, 3), grey, np.uint8))[1].tobytes()
    for grey in range(40, 200, 4)
]


class MjpegServer:
    """Sends frames to whoever asks; `answers` says what stands in for single ones."""

    def __init__(self):
        self.interval_s = 0.03
        self.jpegs = JPEGS
        self.faults = {}
        self.lengths = True
        self.header = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        self.password = None
        self.digest = False
        self.status = None
        self.silent = False
        self.sent = 0
        self.sockets = []
        self._server = None
        self.port = 0

    def url(self, credentials=""):
        return f"http://{credentials}127.0.0.1:{self.port}/stream.mjpg"

    def start(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.sockets.append(self.connection)
                outer.serve(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self):
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        self.hang_up()

    def hang_up(self):
        sockets, self.sockets = self.sockets, []
        for entry in sockets:
            with contextlib.suppress(OSError):
                entry.shutdown(socket.SHUT_RDWR)

    def serve(self, handler):
        if not self._authorized(handler):
            handler.send_response(401)
            kind = 'Digest realm="camera", nonce="abc", qop="auth", algorithm=MD5'
            handler.send_header("WWW-Authenticate", kind if self.digest else 'Basic realm="camera"')
            handler.end_headers()
            return
        if self.status:
            handler.send_error(self.status)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", self.header)
        handler.end_headers()
        server = self._server
        for jpeg in itertools.cycle(self.jpegs):
            while self.silent and self._server is server:
                time.sleep(0.02)
            if self._server is not server:
                return
            number, self.sent = self.sent, self.sent + 1
            data = self.faults.get(number, jpeg)
            length = f"Content-Length: {len(data)}\r\n" if self.lengths else ""
            head = f"\r\n--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n{length}\r\n"
            handler.wfile.write(head.encode() + data)
            time.sleep(self.interval_s)

    def _authorized(self, handler):
        if self.password is None:
            return True
        given = handler.headers.get("Authorization", "")
        if not self.digest:
            return given == "Basic " + base64.b64encode(f"me:{self.password}".encode()).decode()
        fields = dict(re.findall(r'(\w+)="?([^",]+)"?', given))
        if not fields:
            return False

        def md5(*parts):
            return hashlib.md5(":".join(parts).encode()).hexdigest()

        secret = md5("me", "camera", self.password)
        wanted = md5(
            secret,
            *(fields[name] for name in ("nonce", "nc", "cnonce", "qop")),
            md5("GET", fields["uri"]),
        )
        return fields["response"] == wanted


@pytest.fixture
def one_piece():
    """For tests that say which operators XNNPACK takes."""
    if find_backend().name == "tflite-runtime":
        pytest.skip("in tflite-runtime 2.14 XNNPACK takes dynamic files in pieces, int8 ones not")


@pytest.fixture(scope="session")
def mjpeg_server_class():
    """The server, for who wants it longer than a test takes."""
    return MjpegServer


@pytest.fixture
def mjpeg_server():
    server = MjpegServer().start()
    yield server
    server.stop()


@pytest.fixture
def with_card() -> Callable[..., Path]:
    """Write a copy of a file whose card is changed: `with_card(source, target, labels=...)`."""

    def write(source: Path, target: Path, **changes: object) -> Path:
        unpacked = unpack(source.read_bytes())
        target.write_bytes(pack(unpacked.flatbuffer, dataclasses.replace(unpacked.card, **changes)))
        return target

    return write


@pytest.fixture(scope="module")
def launch_chromium() -> Iterator[Callable[..., Any]]:
    """Start a real Chromium: `launch_chromium("--flag", ...)`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("there is no Chromium")
    # Chromium's sandbox does not work for root, who runs many containers.
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with playwright.sync_playwright() as running, contextlib.ExitStack() as stack:

        def launch(*flags: str) -> Any:
            browser = running.chromium.launch(executable_path=program, args=[*sandbox, *flags])
            stack.callback(browser.close)
            return browser

        yield launch


@pytest.fixture(scope="module")
def chromium(launch_chromium: Callable[..., Any]) -> Any:
    """A real browser."""
    return launch_chromium()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a page, `open_page(url, size_wh=..., scheme=...)`; note its errors and requests."""
    with contextlib.ExitStack() as stack:

        def start(url: str, size_wh: tuple[int, int] = (1440, 900), scheme: str = "light") -> Any:
            width, height = size_wh
            phone = width < 500
            context = chromium.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                has_touch=phone,
                is_mobile=phone,
                device_scale_factor=2 if phone else 1,
            )
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.errors, page.requested = [], []
            page.on("pageerror", lambda error: page.errors.append(str(error)))
            context.on("request", lambda request: page.requested.append(request.url))
            page.on(
                "console",
                lambda message: (
                    # The browser itself reports every request that fails.
                    None
                    if message.type != "error" or "Failed to load resource" in message.text
                    else page.errors.append(message.text)
                ),
            )
            page.goto(url)
            return page

        yield start


@pytest.fixture(scope="session")
def lowest_contrast() -> Callable[[Any], float]:
    """The lowest contrast of a page's texts with the ground that they are on.

    WCAG 2.2, success criterion 1.4.3.
    """
    return lambda page: page.evaluate(LOWEST_CONTRAST)


LOWEST_CONTRAST = r"""async () => {
  // What is on its way from one colour to another has neither.
  await Promise.all(document.getAnimations().filter(each => each instanceof CSSTransition)
    .map(each => each.finished.catch(() => null)));
  const parse = colour => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const [r, g, b, alpha = 1] = parse(getComputedStyle(e).backgroundColor);
      layers.push([[r, g, b], alpha]);
      if (alpha === 1) break;
    }
    // What is translucent lets through what is behind it.
    return layers.reverse().reduce((behind, [colour, alpha]) =>
      colour.map((v, i) => alpha * v + (1 - alpha) * behind[i]), [255, 255, 255]);
  };
  let lowest = 21;
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest("noscript, script, style")) continue;
    const [a, b] = [parse(getComputedStyle(element).color), ground(element)].map(light);
    lowest = Math.min(lowest, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return lowest; }"""
