"""The whole loop of a project, from nothing to a second model that is better, by keys in Chromium.

Run by hand (`make loop`), some minutes. Videos that the demo draws are the camera: the first shows
four cards in one room, and photos for a first model are collected from it; the next ones, in other
rooms, are classified by `live --keep`; what it keeps is labelled in the studio, the model trained
again and the two compared, on the studio's page and on frames of these rooms that nobody has seen:
other cards at other places, at another time. Somebody who looks at a picture and knows what it
shows is played by a list of the videos' frames: the label of a picture is that of the frame that it
is most like.

Everything on the pages is reached by Tab and done by keys. With POCKETLENS_SCREENSHOTS=DIR each
page is taken on a desktop and on a phone, light and dark, with its tree of accessible names.

The exit status is 1 where the second model is not better with p < 0.05, or a page was wider than
its screen or had an error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, sync_playwright

from pocketlens.choices import UNKNOWN
from pocketlens.demo.video import UNSURE, write_video
from pocketlens.evaluation.comparison import BETTER
from pocketlens.project import Project, read_project
from pocketlens.runtime.inbox import encode_jpeg, picture_paths, read_info
from pocketlens.runtime.photos import find_pictures
from pocketlens.synthetic.cards import NOTHING

CARDS = ("heart", "ring", "star", "tree")
# Scenes and light so unlike those of the first room that a model which knows that one alone is
# wrong about every second card there; in most others it is right.
FIRST_ROOM, ROOMS = 1, (10, 15, 20, 28)
SIZE_WH = (480, 360)
FPS = 12
# How many times a card is shown in each video, and for how long.
FIRST_TURNS, FIELD_TURNS, HELD_TURNS = 5, 3, 5
TURN_S, HELD_TURN_S = 2.5, 0.9
# Of a turn so many frames are photos to compare on.
HELD_A_TURN = 2
# A day of a video is ten minutes.
RANDOM_A_DAY = 480
ENOUGH_P = 0.05
PATIENCE_MS = 600_000
MOST_TABS = 120
THUMBNAIL_WH = (40, 30)
# So long before a card leaves somebody lets go of the key, in seconds.
AHEAD_S = 0.35

# By the table of pocketlens.toml: a network so small that two cores train it in a minute or two.
SETTINGS = {
    "train": 'arch = "cnn_small"\nimage-size = 64\nfine-tune-epochs = 30\ngrid-epochs = 2\n',
    "convert": 'format = ["int8"]\n',
    "collect": "rate = 8.0\n",
}

SCREENS = {"desktop": (1440, 900), "phone": (390, 844)}


class Eye:
    """Knows what a picture shows, by the frame of the videos that it is most like."""

    def __init__(self, *films: tuple[Path, list[str]]) -> None:
        thumbnails: list[NDArray[np.float32]] = []
        self.labels: list[str] = []
        for path, labels in films:
            frames = [thumbnail(frame) for frame in frames_of(path)]
            if len(frames) != len(labels):
                raise SystemExit(f"{path}: {len(frames)} frames, {len(labels)} labels")
            thumbnails += frames
            self.labels += labels
        self._thumbnails = np.stack(thumbnails)

    def frame(self, jpeg: bytes) -> int:
        """Return the number of the frame that a picture is most like."""
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        away = np.abs(self._thumbnails - thumbnail(picture)).mean(axis=(1, 2, 3))
        return int(away.argmin())

    def label(self, jpeg: bytes) -> str:
        """Return what a picture shows: a card, NOTHING, or UNSURE for a part of a card."""
        return self.labels[self.frame(jpeg)]


def thumbnail(frame_bgr: NDArray[Any]) -> NDArray[np.float32]:
    """Return a frame so small that a JPEG of it is nearly the same."""
    small = cv2.resize(frame_bgr, THUMBNAIL_WH, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def frames_of(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video, BGR."""
    capture = cv2.VideoCapture(str(path))
    while True:
        found, frame = capture.read()
        if not found:
            capture.release()
            return
        yield np.asarray(frame, np.uint8)


class Loop:
    """What the steps share: the folder, the browser, the times and what was wrong."""

    def __init__(self, home: Path, browser: Browser) -> None:
        self.home = home
        self.root = home / "cards"
        self.browser = browser
        self.times: dict[str, float] = {}
        self.wrong: list[str] = []
        self.keys: Counter[str] = Counter()
        shots = os.environ.get("POCKETLENS_SCREENSHOTS")
        self.shots = Path(shots) if shots else None
        if self.shots:
            self.shots.mkdir(parents=True, exist_ok=True)

    @property
    def project(self) -> Project:
        """The project as it is now."""
        return read_project(self.root)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Take the time of a step."""
        begun_s = time.monotonic()
        yield
        self.times[name] = time.monotonic() - begun_s
        print(f"{self.times[name]:6.1f} s  {name}", flush=True)

    def run(self, *words: str) -> str:
        """Run a command in the project; returns its standard output."""
        line = [sys.executable, "-m", "pocketlens", *words]
        folder = self.root if self.root.is_dir() else self.home
        done = subprocess.run(line, cwd=folder, text=True, capture_output=True)
        if done.returncode:
            raise SystemExit(f"pocketlens {' '.join(words)}\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextlib.contextmanager
    def serve(self, *words: str) -> Iterator[str]:
        """Run a command that serves pages; yields their address and ends it by SIGINT."""
        log = self.home / f"{words[0]}.log"
        line = [sys.executable, "-m", "pocketlens", *words, "--web", "127.0.0.1:0"]
        with log.open("w") as stream:
            process = subprocess.Popen(line, cwd=self.root, stdout=stream, stderr=stream)
        try:
            while not (found := re.search(r"Open (http://\S+)", log.read_text())):
                if process.poll() is not None:
                    raise SystemExit(f"pocketlens {' '.join(words)}\n{log.read_text()}")
                time.sleep(0.1)
            yield found[1].rstrip("/")
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(30)
        if code:
            self.wrong.append(f"{words[0]} ended with {code}: {log.read_text()[-500:]}")

    def open(self, url: str, screen: str = "desktop", scheme: str = "light") -> Page:
        """Open a page whose errors count."""
        width, height = SCREENS[screen]
        phone = screen == "phone"
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            has_touch=phone,
            is_mobile=phone,
            device_scale_factor=2 if phone else 1,
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.wrong.append(f"{page.url}: {error}"))
        page.goto(url)
        return page

    def look(self, page: Page, name: str) -> None:
        """Take a page as it is now, and anew on other screens; each must fit."""
        if not self.shots:
            return
        page.screenshot(path=self.shots / f"{name}-now.png")
        (self.shots / f"{name}.txt").write_text(page.locator("body").aria_snapshot())
        for screen in SCREENS:
            for scheme in ("light", "dark"):
                other = self.open(page.url, screen, scheme)
                other.wait_for_timeout(1500)
                other.screenshot(path=self.shots / f"{name}-{screen}-{scheme}.png", full_page=True)
                root = "document.documentElement"
                if other.evaluate(f"{root}.scrollWidth > {root}.clientWidth"):
                    self.wrong.append(f"{name} is wider than a {screen}")
                other.context.close()

    def press(self, page: Page, key: str) -> None:
        """Press a key."""
        self.keys[key] += 1
        page.keyboard.press(key)

    def reach(self, page: Page, selector: str) -> None:
        """Go to an element by Tab alone, and see that it shows that it is the one."""
        wanted = page.locator(selector)
        for _ in range(MOST_TABS):
            if wanted.evaluate("element => element === document.activeElement"):
                if not wanted.evaluate("element => element.matches(':focus-visible')"):
                    self.wrong.append(f"{page.url}: {selector} does not show that it has the focus")
                return
            self.press(page, "Tab")
        raise SystemExit(f"{page.url}: {selector} is not reached by Tab")

    def push(self, page: Page, selector: str) -> None:
        """Push a button by keys."""
        self.reach(page, selector)
        self.press(page, "Enter")


def draw(home: Path) -> tuple[Eye, Eye, list[Path], Path]:
    """Draw the camera's videos and the photos to compare on.

    Returns who knows the first and the field's videos, the field's videos, and the photos' folder.
    """
    first = home / "first.mp4"
    shown = film(first, 1, TURN_S, CARDS * FIRST_TURNS, FIRST_ROOM)
    field = []
    for room in ROOMS:
        path = home / f"field-{room}.mp4"
        field.append((path, film(path, 100 + room, TURN_S, CARDS * FIELD_TURNS, room)))
    held, scratch = home / "held", home / "held.mp4"
    for room in ROOMS:
        labels = film(scratch, 200 + room, HELD_TURN_S, CARDS * HELD_TURNS, room)
        seen: list[int] = []
        for number, (frame, label) in enumerate(zip(frames_of(scratch), labels, strict=True)):
            seen = [*seen, number] if label in CARDS else []
            if seen and len(seen) % 2 == 1 and len(seen) < 2 * HELD_A_TURN:
                target = held / label / f"{room}-{number:04}.jpg"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(encode_jpeg(frame))
    return Eye((first, shown)), Eye(*field), [path for path, _ in field], held


def film(path: Path, seed: int, turn_s: float, cards: Sequence[str], room: int) -> list[str]:
    """Draw one video; returns what its frames show."""
    return write_video(path, seed, turn_s * len(cards), FPS, SIZE_WH, cards=cards, room=room)


def set_up(file: Path) -> None:
    """Write the settings into a project's file, as somebody does in an editor."""
    text = file.read_text()
    for table, lines in SETTINGS.items():
        text = text if f"[{table}]\n" in text else f"{text}\n[{table}]\n"
        text = text.replace(f"[{table}]\n", f"[{table}]\n{lines}")
    file.write_text(text)


def collect(loop: Loop, eye: Eye) -> Counter[str]:
    """Collect photos of four classes by holding their keys while the camera shows them."""
    ahead = round(AHEAD_S * FPS)
    with loop.serve("collect", "--no-browser") as url:
        page = loop.open(url)
        page.get_by_text("Live", exact=True).wait_for()
        digits = {label: str(place + 1) for place, label in enumerate(CARDS)}
        held, last, until_s = "", 0, time.monotonic() + 2 * TURN_S * len(CARDS) * FIRST_TURNS
        while time.monotonic() < until_s:
            response = page.context.request.get(f"{url}/collect/snapshot.jpg")
            if not response.ok:
                continue
            now = eye.frame(response.body())
            if now < last - 10 * ahead:
                break
            last = now
            coming = set(eye.labels[now : now + ahead])
            label = coming.pop() if len(coming) == 1 else UNSURE
            if held and label != held:
                page.keyboard.up(digits[held])
                held = ""
            if label in CARDS and not held:
                page.keyboard.down(digits[label])
                loop.keys[digits[label]] += 1
                held = label
        if held:
            page.keyboard.up(digits[held])
        page.wait_for_function("() => document.getElementById('recording').hidden")
        loop.look(page, "collect")
        # What was recorded last is taken back by a key.
        before = count(loop.project).total()
        loop.press(page, "z")
        until_s = time.monotonic() + 10
        while count(loop.project).total() >= before:
            if time.monotonic() > until_s:
                loop.wrong.append("z took back nothing that was collected")
                break
            time.sleep(0.2)
        page.context.close()
    return count(loop.project)


def count(project: Project) -> Counter[str]:
    """Count the photos of each label."""
    return Counter(path.parent.name for path in find_pictures(project.photos))


def job(page: Page, name: str) -> None:
    """Wait for the end of a job that a page shows."""
    page.wait_for_function(
        "() => /^(done|failed|cancelled|lost)/.test("
        "document.getElementById('job-state').textContent)"
    )
    state = page.locator("#job-state").inner_text()
    if not state.startswith("done"):
        log = page.locator("#job-log").inner_text()
        raise SystemExit(f"{name}: {state}\n{log[-3000:]}")


def train(loop: Loop, page: Page, url: str, number: int) -> None:
    """Train by the page."""
    page.goto(f"{url}/train")
    loop.push(page, "#start")
    page.wait_for_url("**/train?*job=*")
    if number == 1:
        page.wait_for_function(
            "() => !document.getElementById('curves').hidden || /^[^r]/.test("
            "document.getElementById('job-state').textContent)"
        )
        loop.look(page, "train-running")
    job(page, "train")
    loop.look(page, f"train-{number}")


def convert(loop: Loop, page: Page) -> None:
    """Convert the run whose training a page shows."""
    loop.push(page, "#job-steps a:first-child")
    page.wait_for_url("**command=convert*")
    loop.push(page, "#start")
    page.wait_for_url("**command=convert*job=*")
    job(page, "convert")
    loop.look(page, "convert")


def attempt(loop: Loop, page: Page, photos: list[Path]) -> None:
    """Try the file: a frame of the camera, and photos."""
    loop.push(page, "#job-steps a:first-child")
    page.wait_for_url("**/try*")
    loop.push(page, "#next")
    page.wait_for_function("() => document.getElementById('answer').textContent !== '–'")
    loop.reach(page, "#photos")
    with page.expect_file_chooser() as chooser:
        loop.press(page, "Enter")
    chooser.value.set_files(photos)
    page.wait_for_function(
        "count => document.querySelectorAll('#tried-list strong').length === count",
        arg=len(photos),
    )
    loop.look(page, "try")


def keep(loop: Loop, films: list[Path]) -> Counter[str]:
    """Classify the field's videos and keep what is worth a label."""
    for film in films:
        loop.run(
            *("live", "--source", str(film), "--keep", "inbox"),
            *("--keep-random", str(RANDOM_A_DAY), "--json", "-"),
        )
    infos = [read_info(path) for path in picture_paths(loop.project.inbox)]
    return Counter(info.reason for info in infos if info)


def label(loop: Loop, page: Page, url: str, eye: Eye) -> Counter[str]:
    """Label the inbox by keys: agree with the model where it is right, else give the label."""
    page.goto(f"{url}/label/inbox")
    page.wait_for_timeout(1000)
    page.wait_for_function("() => document.getElementById('progress').hidden")
    page.reload()
    page.wait_for_function("() => document.getElementById('progress').hidden")
    loop.look(page, "label")
    digits = page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('#labels [data-label]')]"
        ".map(button => [button.dataset.label, button.getAttribute('aria-keyshortcuts')]))"
    )
    truths: dict[str, str] = {}

    def truth(key: str) -> str:
        if key not in truths:
            truths[key] = eye.label(page.context.request.get(f"{url}/label/large/{key}").body())
        return truths[key]

    done: Counter[str] = Counter()
    # The first tile has no focus before somebody goes there.
    loop.reach(page, "#tiles .tile.current")
    while True:
        current = page.evaluate(
            "() => (tile => tile && { ...tile.dataset })(document.querySelector('.tile.current'))"
        )
        if current is None:
            break
        right = truth(current["key"])
        chosen = [current]
        if int(current["size"]) > 1:
            loop.press(page, "g")
            page.wait_for_function("() => document.querySelector('.tile[aria-selected=true]')")
            chosen = page.evaluate(
                "() => [...document.querySelectorAll('.tile[aria-selected=true]')]"
                ".map(tile => ({ ...tile.dataset }))"
            )
            if any(truth(one["key"]) != right for one in chosen):
                loop.press(page, "Escape")
                chosen = [current]
            elif loop.shots and not done["groups"]:
                page.screenshot(path=loop.shots / "label-group-now.png")
            done["groups"] += len(chosen) > 1
        if right == UNSURE:
            loop.press(page, "x")
            done["deleted"] += len(chosen)
        else:
            wanted = UNKNOWN if right == NOTHING else right
            agrees = all(one["proposal"] == wanted for one in chosen)
            loop.press(page, "Enter" if agrees else digits[wanted])
            if not done["undone"] and len(chosen) == 1:
                # The first one is taken back, and comes once more.
                loop.press(page, "z")
                page.locator(f'.tile.current[data-key="{current["key"]}"]').wait_for()
                done["undone"] += 1
            else:
                done["agreed" if agrees else "labelled"] += len(chosen)
        page.wait_for_function(
            "keys => keys.every(key => !document.getElementById(`tile-${key}`))"
            " || document.querySelector('.labelling').dataset.busy === ''",
            arg=[one["key"] for one in chosen],
        )
    page.wait_for_function("() => document.querySelector('.labelling').dataset.busy === ''")
    loop.look(page, "label-empty")
    left = picture_paths(loop.project.inbox)
    if left:
        loop.wrong.append(f"{len(left)} pictures are still in the inbox")
    page.goto(f"{url}/label/doubtful")
    page.wait_for_timeout(1000)
    loop.look(page, "doubtful")
    page.goto(f"{url}/label/deleted")
    loop.look(page, "deleted")
    return done


def compare(loop: Loop, page: Page, url: str, held: Path) -> tuple[str, dict[str, Any]]:
    """Compare the two runs by the page: on the test photos of both, then on what nobody has seen.

    Returns the sentence about the latter, and what the page keeps of it.
    """
    shutil.copytree(held, loop.root / held.name)
    for name, folder in (("compare", ""), ("compare-held", held.name)):
        page.goto(f"{url}/runs")
        if not folder:
            loop.look(page, "runs")
        else:
            # Letters choose in a list.
            loop.reach(page, "#compare-data")
            page.keyboard.type(folder)
        loop.push(page, "form.pair button")
        page.wait_for_url("**/runs/compare?*")
        loop.push(page, "#compare")
        page.locator(".verdict, #job-state[data-state=stale]").first.wait_for()
        loop.look(page, name)
        if not page.locator(".verdict").count():
            raise SystemExit(f"compare: {page.locator('#job-log').inner_text()[-3000:]}")
        print(f"          {page.locator('.verdict').inner_text()}")
    made = loop.root.glob(".studio/compared/*/comparison.json")
    newest = max(made, key=lambda path: path.stat().st_mtime)
    return page.locator(".verdict").inner_text(), json.loads(newest.read_bytes())


def main() -> int:
    """Run the loop; 0 if the second model is better on what nobody has seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="a new folder for all of it  [default: none]")
    chosen = parser.parse_args()
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    sandbox = [] if os.getuid() else ["--no-sandbox"]
    with contextlib.ExitStack() as stack:
        home = chosen.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home = home.absolute()
        home.mkdir(parents=True, exist_ok=True)
        running = stack.enter_context(sync_playwright())
        browser = running.chromium.launch(executable_path=program, args=sandbox)
        stack.callback(browser.close)
        return go(Loop(home, browser))


def go(loop: Loop) -> int:
    """Run all steps, and print what came of them."""
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores", flush=True)
    with loop.step("draw the videos"):
        first, field, films, held = draw(loop.home)
    with loop.step("init"):
        words = [word for card in CARDS for word in ("--label", card)]
        source = str(loop.home / "first.mp4")
        loop.run("init", str(loop.root), *words, "--source", source)
        set_up(loop.project.file)
    with loop.step("collect"):
        print(f"          {dict(collect(loop, first))}")
    with loop.serve("studio") as url:
        page = loop.open(url)
        loop.look(page, "start")
        with loop.step("train"):
            train(loop, page, url, 1)
        with loop.step("convert"):
            convert(loop, page)
        with loop.step("try"):
            attempt(loop, page, sorted(find_pictures(held))[:8])
        with loop.step("live --keep"):
            print(f"          {dict(keep(loop, films))}")
        collected, kept = count(loop.project), len(picture_paths(loop.project.inbox))
        with loop.step("label"):
            done = label(loop, page, url, field)
            print(f"          {dict(done)}")
        photos = count(loop.project)
        print(f"          {dict(photos)}")
        placed = done["agreed"] + done["labelled"]
        if (photos - collected).total() != placed or placed + done["deleted"] != kept:
            loop.wrong.append(f"of {kept} pictures, {placed} were placed: {photos}")
        with loop.step("train again"):
            train(loop, page, url, 2)
        with loop.step("compare"):
            sentence, found = compare(loop, page, url, held)
        page.context.close()
    if found["verdict"] != BETTER or found["overall"]["flips"]["p"] >= ENOUGH_P:
        loop.wrong.append(f"the second model is not better: {sentence}")
    print(f"keys pressed: {loop.keys.total()}, {dict(loop.keys.most_common(12))}")
    print(f"{sum(loop.times.values()):6.1f} s  in all, load {os.getloadavg()[0]:.1f}")
    print(sentence)
    for line in loop.wrong:
        print(f"WRONG: {line}")
    return int(bool(loop.wrong))


if __name__ == "__main__":
    sys.exit(main())
