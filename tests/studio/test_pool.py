"""What the labelling page knows: where pictures are, which model is the newest, small pictures."""

import os
import shutil

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="the studio extra is not installed")
pytest.importorskip("jinja2", reason="the studio extra is not installed")
from starlette.exceptions import HTTPException
from studio_project import COMMANDS
from timing import PATIENCE_S

from pocketlens.errors import DataError, PictureError
from pocketlens.files import write_bytes
from pocketlens.project import create_project
from pocketlens.runtime import labelling
from pocketlens.studio.catalogue import pages_of
from pocketlens.studio.facts import Facts, newest_model
from pocketlens.studio.pool import Pool
from pocketlens.studio.previews import LARGE, SMALL, Previews, state_key


@pytest.fixture
def project(tmp_path):
    return create_project(tmp_path / "shapes", ["circle", "cross"])


@pytest.fixture
def pool(project):
    facts = Facts(project, None)
    yield Pool(project, facts)
    facts.close()


def test_a_key_says_where_a_picture_is(project, pool):
    for name in ("inbox/a.jpg", "photos/circle/b c.jpg", "photos/circle/deep/d.jpg"):
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        key = pool.key(path)
        assert pool.path(key) == path
        assert pool.label(key) == ("circle" if "circle" in name else "")
    with pytest.raises(DataError, match="Expected a picture of the project"):
        pool.key(project.root / "runs" / "a.jpg")
    path.unlink()
    with pytest.raises(HTTPException):
        pool.path(key)
    assert pool.path(key, must_exist=False) == path


def test_labels_are_counted_in_the_project_s_order(project, pool, tiny_photos):
    assert pool.labels() == {"circle": 0, "cross": 0, "unknown": 0}
    shutil.copy(sorted((tiny_photos / "cross").iterdir())[0], project.photos / "cross" / "a.png")
    (project.photos / "aardvark").mkdir()
    assert list(pool.labels().items()) == [
        ("circle", 0),
        ("cross", 1),
        ("aardvark", 0),
        ("unknown", 0),
    ]
    # Also below a folder that does not change itself.
    deep = project.photos / "cross" / "deep"
    deep.mkdir()
    assert pool.labels()["cross"] == 1
    shutil.copy(project.photos / "cross" / "a.png", deep)
    assert pool.labels()["cross"] == 2


def test_a_view_is_kept_while_others_come(project, pool):
    (project.inbox / "a.jpg").write_bytes(b"x")
    first = pool.view("inbox")
    (project.inbox / "b.jpg").write_bytes(b"y")
    assert [item.path.name for item in pool.kept_view(first.name).items] == ["a.jpg"]
    for _ in range(20):
        pool.view("inbox")
    assert pool.kept_view(first.name) is None
    assert pool.kept_view("nothing") is None


def test_the_newest_model_is_the_most_exact_of_its_conversion(project):
    assert newest_model(project.models) is None
    for age, name in enumerate(["new/a_int8", "new/a_float32", "old/b_float16", "old/other"]):
        path = project.models / f"{name}.tflite"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        os.utime(path, (1000 - age, 1000 - age))
    assert newest_model(project.models) == project.models / "new/a_float32.tflite"
    os.utime(project.models / "old/other.tflite", (2000, 2000))
    assert newest_model(project.models) == project.models / "old/other.tflite"


def test_a_model_that_is_none_is_said_and_photos_are_compared_anyway(
    project, pool, tiny_photos, caplog
):
    write_bytes(project.models / "run" / "bad_int8.tflite", b"no model")
    shutil.copy(sorted((tiny_photos / "circle").iterdir())[0], project.inbox / "a.png")
    pool.look()
    assert pool.facts.wait(PATIENCE_S)
    assert "Expected a .tflite file" in pool.facts.progress.problem
    assert "Expected a .tflite file" in caplog.text
    fact = pool.facts.of(project.inbox / "a.png")
    assert fact.fingerprint is not None
    assert fact.scores == {}


def test_another_model_is_asked_anew(project, tiny_photos, tiny_models, tmp_path):
    facts = Facts(project, tmp_path / "cache")
    photo = project.inbox / "a.png"
    shutil.copy(sorted((tiny_photos / "circle").iterdir())[0], photo)
    answers = []
    try:
        for age, name in ((1000, ""), (2000, "float32"), (3000, "int8"), (4000, "float32")):
            if name:
                path = project.models / f"run{age}" / f"run_{name}.tflite"
                path.parent.mkdir()
                shutil.copy(tiny_models[name], path)
                os.utime(path, (age, age))
            facts.want(lambda: [photo])
            assert facts.wait(PATIENCE_S)
            answers.append(facts.of(photo).scores)
    finally:
        facts.close()
    assert answers[0] == {}
    assert answers[1] != answers[2]
    assert answers[3] == pytest.approx(answers[1], abs=1e-6)
    kept = [path.name for path in (tmp_path / "cache").glob("facts-*.json")]
    assert len(kept) == 3


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": [1]}', b"[" * 100000])
def test_a_damaged_cache_is_no_harm(project, tiny_photos, tmp_path, content):
    photo = project.inbox / "a.png"
    shutil.copy(sorted((tiny_photos / "circle").iterdir())[0], photo)
    for _ in range(2):
        facts = Facts(project, tmp_path)
        facts.want(lambda: [photo])
        assert facts.wait(PATIENCE_S)
        assert facts.of(photo).fingerprint is not None
        facts.close()
        (path,) = tmp_path.glob("facts-*.json")
        path.write_bytes(content)


def test_small_pictures_are_upright_and_made_once(shared, tmp_path):
    good = None
    previews = Previews(tmp_path / "cache")
    for orientation in (1, 6, 8):
        photo = shared / "data" / "awkward_images" / f"exif_{orientation}.jpg"
        if not photo.is_file():
            pytest.skip("the shared material has no such photo")
        data = previews.jpeg(photo, SMALL)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        good = pixels if good is None else good
        assert pixels.shape == good.shape
        assert np.abs(pixels.astype(int) - good).mean() < 8
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.jpg")}
    assert len(before) == 3
    previews.jpeg(photo, SMALL)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.jpg")}
    assert after == before
    previews.jpeg(photo, LARGE)
    assert len(list((tmp_path / "cache").rglob("*.jpg"))) == 4


def test_a_photo_that_gets_a_label_keeps_its_small_picture(project, tiny_photos):
    photo = project.inbox / "a.png"
    shutil.copy(sorted((tiny_photos / "circle").iterdir())[0], photo)
    before = state_key(photo)
    now = labelling.place(project.photos, photo, "circle", journal=project.journal, who="somebody")
    assert state_key(now) == before


def test_what_is_no_picture_has_no_small_one(tmp_path):
    previews = Previews(None)
    with pytest.raises(PictureError):
        previews.jpeg(tmp_path / "nothing.jpg")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(PictureError, match="not a picture"):
        previews.jpeg(tmp_path / "bad.jpg")


def test_the_pages_of_a_project_are_there_without_a_cache(project, monkeypatch, tmp_path):
    with pages_of(project, COMMANDS) as pages:
        assert [page.path for page in pages] == ["/label", "/train", "/runs", "/try"]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "file"))
    with pages_of(project, COMMANDS) as pages:
        assert [page.title for page in pages] == ["Label", "Train", "Runs", "Try"]
