"""The pages that train, compare and try: what each of their routes refuses."""

from urllib.parse import quote

import pytest

pytest.importorskip("starlette", reason="the studio extra is not installed")
pytest.importorskip("jinja2", reason="the studio extra is not installed")
from starlette.routing import Route
from studio_project import COMMANDS, make_project, pages_of

from pocketlens.project import read_project
from pocketlens.runtime.live.web import guard
from pocketlens.studio.catalogue import work_pages
from pocketlens.studio.names import to_key
from pocketlens.studio.server import routes_of

TOKEN = "correct-horse-battery"
FOREIGN = "evil.example"
FORM = "application/x-www-form-urlencoded"
READING = {"GET", "HEAD"}
OUTSIDE = [
    "..",
    "../secret.tflite",
    "models/../../secret.tflite",
    "/etc/passwd",
    "models/.hidden.tflite",
    "models/link.tflite",
    "models/linked/secret.tflite",
    "models/labels.txt",
    "models",
    "runs/nothing",
    "photos/cross/00.png",
    "",
]


@pytest.fixture
def project(tmp_path, tiny_photos):
    found = make_project(tmp_path / "shapes", tiny_photos, each=1)
    secret = tmp_path / "secret.tflite"
    secret.write_bytes(b"a secret")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "secret.tflite").write_bytes(b"a secret")
    (found.models / "labels.txt").write_text("cross\n")
    (found.models / ".hidden.tflite").write_bytes(b"a secret")
    (found.models / "link.tflite").symlink_to(secret)
    (found.models / "linked").symlink_to(tmp_path / "beside")
    return found


def state(project):
    return sorted(str(path) for path in project.root.rglob("*"))


def examples(pages):
    found = []
    for route in routes_of(pages):
        assert isinstance(route, Route)
        path = route.path.replace("{key}", to_key("a")).replace("{name}", "studio.css")
        assert "{" not in path, "say here what stands for it"
        found += [(method, path) for method in sorted(route.methods)]
    return found


def test_who_has_no_token_or_comes_from_elsewhere_is_refused_everywhere(
    serve, project, monkeypatch
):
    # Guessing is slow on purpose.
    monkeypatch.setattr(guard, "_WRONG_TOKEN_S", 0.0)
    pages = pages_of(project)
    client = serve(*pages, token=TOKEN).open()
    before = state(project)
    tried = examples(pages)
    for write in ("start", "cancel", "resume"):
        assert ("POST", f"/train/{write}") in tried
    assert {("POST", "/try/classify"), ("GET", "/try/file/YQ"), ("GET", "/runs/report/YQ")} <= set(
        tried
    )
    for method, path in tried:
        right = {"x-csrf-token": client.csrf} if method not in READING else {}

        def status(method=method, path=path, right=right, **headers):
            return client.ask(method, path, headers={**right, **headers}).status

        assert status(authorization=None) == 401, (method, path)
        assert status(authorization="Bearer wrong-horse-battery") == 401
        assert status(host=FOREIGN) == 421
        assert status(**{"sec-fetch-site": "cross-site"}) == 403
    for method, path in tried:
        if method in READING:
            continue
        for headers in (
            {"x-csrf-token": None},
            {"x-csrf-token": "0" * 64},
            {"x-csrf-token": client.csrf, "cookie": "a=b"},
            {"x-csrf-token": client.csrf, "origin": f"http://{FOREIGN}"},
        ):
            answer = client.ask(method, path, "command=check", {"content-type": FORM, **headers})
            assert answer.status == 403, (method, path, headers)
    assert state(project) == before


def test_what_reads_writes_nothing_and_what_writes_has_no_get(serve, project):
    pages = pages_of(project)
    client = serve(*pages).open()
    before = state(project)
    for route in routes_of(pages):
        assert bool(route.methods & READING) != hasattr(route, "most_bytes"), route.path
    for method, path in examples(pages):
        if method in READING:
            assert client.ask(method, path).status in (200, 303, 400, 404), path
        else:
            assert client.get(path).status == 405
    assert state(project) == before


def test_every_name_leads_to_what_is_listed_or_nowhere(serve, project):
    client = serve(*pages_of(project)).open()
    before = state(project)
    for name in OUTSIDE:
        key = quote(to_key(name), safe="")
        for path in (f"/try/file/{key}", f"/runs/report/{key}", f"/train/job/{key}"):
            answer = client.get(path)
            assert answer.status == 404, (name, path)
            assert b"secret" not in answer.body
        assert client.post(f"/try/classify?model={key}").status == 404
        assert client.post("/try/source", {"model": to_key(name)}).status == 404
        assert client.get(f"/runs/compare?a={key}&b={key}").status == 404
        for path in ("cancel", "resume"):
            assert client.post(f"/train/{path}", {"key": to_key(name)}).status == 404
        convert = {"command": "convert", "model": to_key(name)}
        assert client.post("/train/start", convert).status in (400, 404)
    for raw in ("..", "%2e%2e", "..%2fsecret.tflite", "%00", "%ff", "Li4="):
        assert client.get(f"/try/file/{raw}").status in (404, 405), raw
    for name in ("", "..", "../run", ".hidden", "a/b", "a\nb", "/etc/run"):
        answer = client.post("/train/start", {"command": "train", "name": name})
        assert (answer.status, answer.text[:29]) == (400, "Expected a name for the run t"), name
    for command in ("", "live", "demo", "--help", "train; rm"):
        assert client.post("/train/start", {"command": command}).status == 400
    assert state(project) == before


def test_the_camera_of_the_project_is_what_models_are_tried_on(tmp_path, tiny_photos):
    camera = {"camera": {"source": "photos"}}
    root = make_project(tmp_path / "shapes", tiny_photos, each=1, **camera).root
    (train, runs, trying) = work_pages(read_project(root), COMMANDS)
    assert [page.title for page in (train, runs, trying)] == ["Train", "Runs", "Try"]
    # A path in the file counts from the project's folder.
    assert trying.source_name == str(root / "photos")
