"""The documentation: the site builds, and what its pages tell people to type works.

Behind the language of each block of commands stands what becomes of it here: `run` runs it, with
the other such blocks of the page, in order, in a folder that `desk` lays out, where the tiny run
and its files have the names of the pages' flowers. `needs=...` says why it does not run; then the
words and paths of its `pocketlens` commands are checked.
"""

import glob
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import cv2
import pytest

import pocketlens.benchmarks
import pocketlens.convert
import pocketlens.evaluation
import pocketlens.export
import pocketlens.runtime
import pocketlens.train
from pocketlens.benchmarks import Settings, benchmark
from pocketlens.benchmarks.payload import to_payload
from pocketlens.card import unpack
from pocketlens.cli.main import group
from pocketlens.files import write_json
from pocketlens.project import create_project

ROOT = Path(__file__).parents[2]
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
NEEDS = {
    "camera",
    "clone",  # make, a virtual environment and constraints.txt
    "docker",  # or Podman
    "device",  # a board, a phone, or systemd
    "ffmpeg",  # a program that pocketlens does not bring
    "minutes",  # training, converting and measuring; the demo does all three
    "network",  # another machine, or packages from an index
}
COMMANDS = ("sh", "python")
PUBLIC = (
    pocketlens,
    pocketlens.runtime,
    pocketlens.train,
    pocketlens.convert,
    pocketlens.evaluation,
    pocketlens.benchmarks,
    pocketlens.export,
)
# Options of other programs that the pages name.
OTHERS = {"--check", "--system-site-packages", "--upgrade", "--help", "--user"}
DOCKER = {"--build-arg", "--group-add", "--hostname", "--no-healthcheck", "--secret", "--tmpfs"}


class Block(NamedTuple):
    """A fenced block: its language, the words behind it, and its text."""

    language: str
    mark: str
    text: str


def blocks(page: str) -> list[Block]:
    found = re.findall(
        r"^```(\w*)[ ]?(.*?)\n(.*?)^```$", PAGES[page].read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [Block(*entry) for entry in found]


def marked(mark: str) -> list[str]:
    return [page for page in PAGES if any(block.mark.startswith(mark) for block in blocks(page))]


@pytest.fixture(scope="module")
def flowers(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_photos: Path,
    tiny_run: Path,
    tiny_models: dict[str, Path],
) -> Path:
    """A folder as somebody has it who followed the tutorial; the flowers are the tiny drawings."""
    desk = tmp_path_factory.mktemp("desk")
    shutil.copytree(tiny_photos, desk / "photos")
    for label in ("circle", "cross", "stripes"):
        (desk / "new_photos" / label).mkdir(parents=True)
        for path in sorted((tiny_photos / label).iterdir())[:4]:
            shutil.copy(path, desk / "new_photos" / label)
    shutil.copy(desk / "photos/circle/00.png", desk / "photo.jpg")
    for name in ("flowers", "flowers2"):
        shutil.copytree(tiny_run, desk / "runs" / name)
    # A run names its photos from where it lies.
    (desk / "runs/photos").symlink_to("../photos")
    (desk / "models").mkdir()
    for entry, path in tiny_models.items():
        shutil.copy(path, desk / "models" / f"flowers_{entry}.tflite")
    for target in ("flowers_int8", "models/flowers2_int8", "demo-out/models/cards_int8"):
        (desk / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_models["int8"], desk / f"{target}.tflite")
    (desk / "other.tflite").write_bytes(unpack(tiny_models["float32"].read_bytes()).flatbuffer)
    with zipfile.ZipFile(desk / "other.tflite", "a") as archive:
        archive.write(tiny_run / "labels.txt", "labels.txt")
    shutil.copy(tiny_run / "model.keras", desk / "other.keras")
    shutil.copy(tiny_run / "labels.txt", desk)
    video = cv2.VideoWriter(
        str(desk / "garden.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 15, (160, 120)
    )
    for path in sorted((desk / "new_photos").rglob("*.png")):
        for _ in range(5):
            video.write(cv2.imread(str(path)))
    video.release()
    shutil.copy(desk / "garden.mp4", desk / "demo-out/video.mp4")
    project = create_project(desk / "garden", ("daisy", "tulips"))
    (project.runs / "garden-1").symlink_to(desk / "runs" / "flowers")
    (project.models / "garden-1").mkdir()
    shutil.copy(tiny_models["int8"], project.models / "garden-1" / "garden-1_int8.tflite")
    write_json(
        desk / "board.json",
        to_payload(benchmark([tiny_models["int8"]], settings=Settings(1, 0, 1, 0))),
    )
    shutil.copy(desk / "board.json", desk / "earlier.json")
    return desk


@pytest.fixture
def desk(flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a copy of that folder."""
    shutil.copytree(flowers, tmp_path / "desk", symlinks=True)
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path / "desk")
        yield
    shutil.rmtree(tmp_path / "desk")


@pytest.mark.parametrize("page", PAGES)
def test_blocks_say_what_becomes_of_them(page):
    for block in blocks(page):
        assert block.language, f"a block without a language: {block.text}"
        if block.language in COMMANDS:
            kind, _, need = block.mark.partition("=")
            assert (kind, need) == ("run", "") or (kind == "needs" and need in NEEDS), block
        else:
            assert not block.mark, block


@pytest.mark.parametrize("page", marked("run"))
@pytest.mark.usefixtures("desk")
def test_blocks_run(page):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for block in blocks(page):
        if block.mark == "run":
            shell = ["bash", "-euo", "pipefail", "-c"]
            program = shell if block.language == "sh" else [sys.executable, "-c"]
            done = subprocess.run(
                [*program, block.text],
                env=os.environ | {"PATH": path},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"


def calls(text: str) -> Iterator[list[str]]:
    """The words of each `pocketlens` command in a block, patterns replaced by what they find.

    What follows `cd` into the project is called in it.
    """
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            command, words = words[:end], words[end + 1 :]
            if command == ["cd", "garden"]:
                os.chdir("garden")
            if command and Path(command[0]).name == "pocketlens":
                yield [name for word in command[1:] for name in sorted(glob.glob(word)) or [word]]


@pytest.mark.parametrize("page", marked("needs"))
def test_other_commands_can_be_called(page, flowers, monkeypatch):
    for block in blocks(page):
        monkeypatch.chdir(flowers)
        if block.language == "sh" and block.mark != "run":
            for words in calls(block.text):
                command, context, rest = group, click.Context(group), words
                while isinstance(command, click.Group):
                    command = command.get_command(context, rest[0])
                    assert command is not None, words
                    context = click.Context(command, parent=context)
                    rest = rest[1:]
                command.make_context(words[0], rest)


def options_of(command: click.Command) -> set[str]:
    names = {name for entry in command.params for name in (*entry.opts, *entry.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            names |= options_of(command.get_command(context, name))
    return names


@pytest.mark.parametrize("page", PAGES)
def test_options_exist(page):
    whole = PAGES[page].read_text("utf-8")
    text = re.sub(r"^```.*?^```$", "", whole, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    assert named <= options_of(group) | OTHERS | (DOCKER if "sh needs=docker" in whole else set())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("MkDocs is not installed: pip install '.[docs]'")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


def test_site_loads_nothing_from_other_hosts(site):
    for path in site.rglob("*.html"):
        text = path.read_text("utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]* src=\"([^\"]+)", text)
        loaded += re.findall(r"<link[^>]* rel=\"(?:stylesheet|icon|preconnect)\"[^>]*>", text)
        assert not [name for name in loaded if "//" in name], path


def test_site_has_every_public_name(site):
    text = (site / "reference" / "python.html").read_text("utf-8")
    documented = set(re.findall(r'id="pocketlens[\w.]*\.(\w+)"', text))
    for module in PUBLIC:
        names = {name for name in module.__all__ if not name.isupper()}
        assert names - {"__version__"} <= documented


def test_site_has_every_option(site):
    text = (site / "reference" / "commands.html").read_text("utf-8")
    documented = {
        name
        for entry in re.findall(r"<dt><code>(.+?)</code></dt>", text)
        for name in re.findall(r"--[a-z-]+", entry)
    }
    known = {name for name in options_of(group) if name.startswith("--")}
    assert known - {"--version", "--verbose", "--help"} == documented


def test_search_finds_options_in_pages_from_the_disk(site, chromium):
    page = chromium.new_page()
    page.goto((site / "how-to" / "record.html").as_uri())
    page.locator(".md-search__input").press_sequentially("--hysteresis")
    page.locator(".md-search-result__link[href*='decisions.html']").first.wait_for(state="attached")
    page.close()


def test_code_on_a_phone_breaks_in_no_option(site, chromium):
    page = chromium.new_page(viewport={"width": 390, "height": 900})
    for name in ("reference/commands", "how-to/convert", "how-to/container"):
        page.goto((site / f"{name}.html").as_uri())
        lines = page.locator(".md-content code > span.whole").evaluate_all(
            "all => all.map(one => one.getClientRects().length)"
        )
        assert set(lines) == {1}, name
        whole = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert whole, f"{name} is wider than the phone"
    page.close()
