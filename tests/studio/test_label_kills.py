"""Labels that were confirmed survive a kill, and no photo is lost or there twice."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from http.client import HTTPException

import pytest

pytest.importorskip("starlette", reason="the studio extra is not installed")
pytest.importorskip("jinja2", reason="the studio extra is not installed")

from pocketlens.project import create_project
from pocketlens.runtime.inbox import FrameInfo, add, encode_jpeg, info_path, picture_paths
from pocketlens.runtime.labelling import recover
from pocketlens.runtime.pictures import decode
from pocketlens.studio.names import to_key

KILLS, PHOTOS = 6, 60
CLASSES = ("circle", "cross")


def start(project, cache):
    environment = {**os.environ, "POCKETLENS_CACHE": str(cache)}
    command = [sys.executable, "-m", "pocketlens", "studio", "--web", "0"]
    child = subprocess.Popen(
        command, cwd=project.root, env=environment, stderr=subprocess.PIPE, text=True
    )
    line = child.stderr.readline()
    return child, re.search(r"http://\S+", line)[0]


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_every_confirmed_label_survives_kills(client_class, tmp_path, tiny_photos):
    project = create_project(tmp_path / "shapes", CLASSES)
    frame = decode(sorted((tiny_photos / "circle").iterdir())[0])
    data = encode_jpeg(frame)
    everything = set()
    for number in range(PHOTOS):
        info = FrameInfo(float(number), "camera 0", frame.shape[1::-1], "unsure")
        jpeg = data + number.to_bytes(4, "big")
        everything.add((add(project.inbox, jpeg, info).path.name, jpeg))
    confirmed: dict[str, str] = {}
    for kill in range(KILLS):
        child, url = start(project, tmp_path / "cache")
        client = client_class(url)
        timer = threading.Timer(0.003 * kill, child.send_signal, [signal.SIGKILL])
        labels = iter(CLASSES * PHOTOS)
        answers = 0
        try:
            client.open()
            while paths := picture_paths(project.inbox):
                # Single ones and groups.
                label, some = next(labels), paths[: 1 + kill % 3]
                changes = json.dumps([[f"inbox.{to_key(path.name)}", label] for path in some])
                answer = client.post("/label/place", {"changes": changes})
                assert answer.status in (200, 409)
                for entry, path in zip(answer.json["changed"], some, strict=True):
                    confirmed[path.name] = entry["label"]
                answers += 1
                if answers == 1 + kill % 3:
                    timer.start()
        # There is none to ask any more, or its answer was cut off.
        except (OSError, HTTPException, ValueError):
            assert answers
        finally:
            timer.cancel()
            child.kill()
            child.wait()
            child.stderr.close()
    recover(project.photos, project.journal)
    assert len(confirmed) > KILLS
    for name, label in confirmed.items():
        assert (project.photos / label / name).is_file(), name
    now = [*picture_paths(project.inbox), *project.photos.glob("*/*.jpg")]
    assert {(path.name, path.read_bytes()) for path in now} == everything
    assert len(now) == PHOTOS
    assert all(info_path(path).is_file() for path in now)
