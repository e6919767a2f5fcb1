"""Whether people who watch, and do not take what is sent, slow down classification.

Run by hand (`make viewers MODEL=file.tflite`). 1280x720 frames are classified at a camera's rate
while, in turns of a few seconds, nobody watches, and a process of its own holds 50 connections
that ask for pictures and events and read nothing. Ends with 1 where the 95th percentile of the
latencies grows by more than 5 %. Then, for information, the same with viewers that do read.
"""

import argparse
import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.live.capture.thread import ThreadCapture
from pocketlens.runtime.live.frames import FrameResult, RunInfo, Sink
from pocketlens.runtime.live.loop import classify_source
from pocketlens.runtime.live.sources.fake import FakeCamera
from pocketlens.runtime.live.web import WebPage
from pocketlens.runtime.live.web.access import WebAddress

SIZE_WH = (1280, 720)
INTERVAL_S = 1 / 30
TURN_S = 4.0
# What follows a change of turns belongs to neither.
SETTLE_S = 0.5
STALLED = 50
READING = 8
MOST_GROWTH = 1.05
PATHS = ("/stream.mjpg", "/events", "/snapshot.jpg", "/")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=4.0)
    chosen = parser.parse_args()
    figures = {}
    with Classifier(chosen.model) as classifier:
        for name, count in (("stalled", STALLED), ("reading", READING)):
            figures[name] = compare(classifier, 30 * chosen.minutes, name, count)
            print(json.dumps({name: figures[name]}), flush=True)
    sys.exit(figures["stalled"]["p95_ratio"] > MOST_GROWTH)


def compare(classifier: Classifier, seconds: float, name: str, count: int) -> dict[str, float]:
    """Classify with and without viewers in turns, half of the time each."""
    announced: list[str] = []
    times_ms: tuple[list[float], list[float]] = ([], [])
    shares: tuple[list[float], list[float]] = ([], [])
    # Which turn it is, and since when its frames count.
    turn = [0, time.monotonic() + SETTLE_S]
    page = WebPage(WebAddress("127.0.0.1", 0), announce=announced.append)

    class Turns(Sink):
        def opened(self, run: RunInfo) -> None:
            url = announced[0].split()[-1]
            command = [sys.executable, __file__, "hold", name, url, str(count)]
            self.holder = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert self.holder.stdout
            self.holder.stdout.readline()
            threading.Thread(target=self.take_turns, args=(run.stop,)).start()

        def result(self, frame_bgr: np.ndarray, result: FrameResult) -> None:
            if time.monotonic() > turn[1]:
                times_ms[int(turn[0])].append(result.classify_ms)

        def closed(self) -> None:
            self.holder.kill()
            self.holder.wait()

        def take_turns(self, stop: threading.Event) -> None:
            assert self.holder.stdin
            ends_s = time.monotonic() + seconds
            while time.monotonic() < ends_s:
                for watching in (0, 1):
                    before_s = serving_s()
                    self.holder.stdin.write("on\n" if watching else "off\n")
                    self.holder.stdin.flush()
                    # Connecting is part of being watched; nobody minds how the others leave.
                    turn[:] = watching, time.monotonic() + (0 if watching else SETTLE_S)
                    time.sleep(TURN_S)
                    shares[watching].append((serving_s() - before_s) / TURN_S)
            stop.set()

    capture = ThreadCapture(FakeCamera(size_wh=SIZE_WH, interval_s=INTERVAL_S))
    run = RunInfo(model=Path(classifier.model.path).name, source="fake")
    classify_source(classifier, capture, sinks=[page, Turns()], run=run)
    capture.close()
    alone, watched = (np.percentile(entries, (50, 95)) for entries in times_ms)
    return {
        "viewers": count,
        "frames": len(times_ms[0]) + len(times_ms[1]),
        "median_ms": round(float(alone[0]), 3),
        "median_ratio": round(float(watched[0] / alone[0]), 4),
        "p95_ms": round(float(alone[1]), 3),
        "p95_ratio": round(float(watched[1] / alone[1]), 4),
        "server_cpu_alone": round(float(np.mean(shares[0])), 4),
        "server_cpu_watched": round(float(np.mean(shares[1])), 4),
    }


def serving_s() -> float:
    """Return how much processor time the server's thread has taken, in seconds."""
    (serving,) = (entry for entry in threading.enumerate() if entry.name == "web")
    assert serving.ident
    return time.clock_gettime(time.pthread_getcpuclockid(serving.ident))


def hold(name: str, url: str, count: int) -> None:
    """Be so many viewers from "on" to "off": "stalled" ones that do not read, or "reading" ones."""
    parts = urlsplit(url)
    place = (parts.hostname or "", parts.port or 80)
    connections: list[socket.socket] = []
    print("ready", flush=True)
    for line in sys.stdin:
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        connections.clear()
        if line.strip() != "on":
            continue
        for number in range(count):
            connection = socket.create_connection(place)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connections.append(connection)
            path = PATHS[number % len(PATHS)] if name == "stalled" else PATHS[0]
            request = f"GET {path} HTTP/1.1\r\nHost: {place[0]}\r\n\r\n".encode()
            # Who asks again and again without reading the answers is the worst.
            connection.sendall(request * (4 if name == "stalled" else 1))
            if name == "reading":
                threading.Thread(target=read, args=(connection,), daemon=True).start()


def read(connection: socket.socket) -> None:
    """Read until it ends."""
    with contextlib.suppress(OSError):
        while connection.recv(1 << 16):
            pass


if __name__ == "__main__":
    if sys.argv[1:2] == ["hold"]:
        hold(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
