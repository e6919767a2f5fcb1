"""A project with few photos, and the pages that train, compare and try in it."""

import shutil
import subprocess
import time
from pathlib import Path

from pocketlens.cli.check import check_command
from pocketlens.cli.convert import convert_command
from pocketlens.cli.live import live_command
from pocketlens.cli.train import train_command
from pocketlens.project import create_project
from pocketlens.studio.catalogue import NEEDED, work_pages
from pocketlens.workers import start_child

COMMANDS = dict(
    zip(NEEDED, (check_command, train_command, convert_command, live_command), strict=True)
)

# Seconds, most of which TensorFlow takes to be imported.
QUICK_TRAINING = {
    "arch": "cnn_small",
    "image-size": 32,
    "fine-tune-epochs": 2,
    "grid-epochs": 0,
    "unknown": "off",
    "augment": "none",
}


# A training's process imports TensorFlow, beside whatever else the machine does.
JOB_MS = 300_000


def wait_long(condition):
    """Wait like `wait_for`, for what takes a training."""
    until_s = time.monotonic() + JOB_MS / 1000
    while not (value := condition()):
        assert time.monotonic() < until_s, "it did not happen"
        time.sleep(0.1)
    return value


def make_project(root, photos, each=10, **settings):
    """A project with the first photos of each class."""
    classes = sorted(folder.name for folder in photos.iterdir())
    project = create_project(root, classes, settings={"train": QUICK_TRAINING, **settings})
    for label in classes:
        for path in sorted((photos / label).iterdir())[:each]:
            shutil.copy(path, project.photos / label / path.name)
    return project


def pages_of(project, source=None):
    return work_pages(project, COMMANDS, source)


def start_server(root):
    """Start the pages in a process of its own, to be killed; returns it and their address."""
    process = start_child(__name__, str(root), stdout=subprocess.PIPE, start_new_session=True)
    return process, process.stdout.readline().decode().strip()


def main(root):
    """What that process does."""
    from pocketlens.project import read_project
    from pocketlens.runtime.live.web.access import WebAddress
    from pocketlens.studio.server import Studio

    pages = pages_of(read_project(Path(root)))
    with Studio(pages, WebAddress("127.0.0.1", 0), announce=lambda line: None) as studio:
        print(studio.url, flush=True)
        while True:
            time.sleep(1)
