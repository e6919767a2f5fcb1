import pytest

from pocketlens.cli.main import run
from pocketlens.project import create_project


def test_it_wants_a_project(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["studio"]) == 2
    error = capsys.readouterr().err
    assert "the current folder is in none" in error
    assert "pocketlens init FOLDER" in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--web", "x"], "Expected --web as a port"),
        (["--web-token", "short"], "Expected a token of at least 8"),
        (["--project", "."], "Expected a project with pocketlens.toml"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_served(
    tmp_path, monkeypatch, capsys, options, words
):
    monkeypatch.chdir(tmp_path)
    assert run(["studio", *options]) == 2
    assert words in capsys.readouterr().err


def test_it_serves_the_project_until_it_is_stopped(tmp_path, monkeypatch, capsys):
    pytest.importorskip("uvicorn", reason="the studio extra is not installed")
    pytest.importorskip("jinja2", reason="the studio extra is not installed")
    import contextlib
    import threading
    from urllib.request import urlopen

    from pocketlens.cli import studio

    create_project(tmp_path / "shapes", ["circle", "cross"])
    monkeypatch.chdir(tmp_path / "shapes" / "inbox")
    pages = []

    class Stop(threading.Event):
        def wait(self, timeout=None):
            url = capsys.readouterr().err.split()[-1]
            with urlopen(url) as answer:
                pages.append(answer.read().decode())
            return True

    monkeypatch.setattr(studio, "stop_on_signals", lambda: contextlib.nullcontext(Stop()))
    assert run(["studio", "--web", "0"]) == 0
    assert "Nothing to label" in pages[0]
    assert "circle" in pages[0]
