"""`pocketlens export` as it is called, and what it does not overwrite."""

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pocketlens.cli.main import run
from pocketlens.errors import ModelFileError
from pocketlens.export.browser import HEADERS
from pocketlens.export.folders import CHECKSUMS_NAME, export


def arguments(model: Path, out: Path, *more: str) -> list[str]:
    return ["export", str(model), "--target", "c", "--out", str(out), *more]


def test_checksums_and_json(
    tiny_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(arguments(tiny_tflite, out, "--json", "-")) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["target"] == "c"
    assert report["folder"] == str(out)
    lines = (out / CHECKSUMS_NAME).read_text("utf-8").splitlines()
    assert dict(reversed(line.split("  ", 1)) for line in lines) == report["sha256"]
    assert {path.name for path in out.iterdir()} == {*report["sha256"], CHECKSUMS_NAME}
    for name, digest in report["sha256"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(("target", "guide"), [("c", "{name}_model.h"), ("android", "README.md")])
def test_all_files_and_the_next_step_are_said(
    tiny_tflite: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    target: str,
    guide: str,
) -> None:
    out = tmp_path / "out"
    assert run(["export", str(tiny_tflite), "--target", target, "--out", str(out)]) == 0
    files, step = capsys.readouterr().out.splitlines()
    listed = files.removeprefix(f"{out}: ").split(", ")
    assert set(listed) == {path.name for path in out.iterdir()}
    assert step == f"Next: {out}/{guide.format(name=tiny_tflite.stem)} says how to use them."


def test_replaces_only_what_it_wrote_and_when_asked(
    tiny_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    assert run(arguments(tiny_tflite, out)) == 0
    (out / "mine.txt").write_text("added")
    assert run(arguments(tiny_tflite, out)) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert (out / "mine.txt").exists()
    assert run(arguments(tiny_tflite, out, "--overwrite")) == 0
    assert not (out / "mine.txt").exists()
    assert run(arguments(tiny_tflite, other, "--overwrite")) == 2
    assert [path.name for path in other.iterdir()] == ["letter.txt"]
    assert {path.name for path in tmp_path.iterdir()} == {"out", "other"}


def as_a_command(model: Path, out: Path) -> bool:
    return run(arguments(model, out, "--overwrite")) == 0


def as_a_function(model: Path, out: Path) -> bool:
    try:
        export([model], out, "c", overwrite=True)
    except ModelFileError:
        return False
    return True


@pytest.mark.parametrize("call", [as_a_command, as_a_function])
def test_a_call_that_failed_is_forgotten_by_the_next(
    tiny_tflite: Path, tmp_path: Path, call: Callable[[Path, Path], bool]
) -> None:
    out, damaged = tmp_path / "out", tmp_path / "damaged.tflite"
    damaged.write_bytes(b"no model")
    assert call(tiny_tflite, out)
    assert not call(damaged, out)
    # As another process does between the two.
    (out / "mine.txt").write_text("added")
    assert call(tiny_tflite, out)
    assert not (out / "mine.txt").exists()


def test_no_such_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments(tmp_path / "no.tflite", tmp_path / "out")) == 2
    assert "(nothing there)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_file_from_elsewhere(
    elsewhere_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow", reason="converting needs the train extra")
    two = tmp_path / "two.txt"
    two.write_text("a\nb\n")
    assert run(arguments(elsewhere_model, tmp_path / "out", "--labels", str(two))) == 2
    assert "Expected 1001 labels" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run(arguments(elsewhere_model, tmp_path / "out")) == 0
    assert (tmp_path / "out").is_dir()


def test_serve_is_for_the_web(
    tiny_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(tiny_tflite, tmp_path / "out", "--serve")) == 2
    assert "Expected --serve with --target web" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name_of_signal", ["SIGINT", "SIGTERM"])
def test_serve_gives_the_files_with_their_headers_until_stopped(
    tiny_tflite: Path, tmp_path: Path, name_of_signal: str
) -> None:
    out = tmp_path / "app"
    command = ["export", tiny_tflite, "--target", "web", "--out", out, "--serve", "--port", "0"]
    environment = {key: value for key, value in os.environ.items() if "DISPLAY" not in key}
    with subprocess.Popen(
        [sys.executable, "-m", "pocketlens", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        url = process.stderr.readline().split()[1]
        address = urlsplit(url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)

        def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            for name, value in HEADERS.items():
                assert response.headers[name] == value
            return response.status, response.headers["content-type"], response.read()

        name = "litert/litert_wasm_internal.wasm"
        page = (out / "index.html").read_bytes()
        assert ask("/") == (200, "text/html; charset=utf-8", page)
        assert ask("/?threads=1")[2] == page
        assert ask("/", "HEAD")[2] == b""
        assert ask(f"/{name}") == (200, "application/wasm", (out / name).read_bytes())
        for path in ("/no", "/../app/card.json", "/%2e%2e/app/card.json", f"/{CHECKSUMS_NAME}"):
            assert ask(path)[0] == 404
        assert ask("/", Host="evil.example:80")[0] == 421
        connection.close()
        process.send_signal(getattr(signal, name_of_signal))
        try:
            assert process.wait(30) == 0
        finally:
            process.kill()
        assert process.stderr.read() == ""


def test_serve_where_the_port_is_taken(
    tiny_tflite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        target = ["--target", "web", "--out", str(tmp_path / "app"), "--serve", "--port", port]
        assert run(["export", str(tiny_tflite), *target]) == 1
    assert "Choose another one with --port" in capsys.readouterr().err
    assert not (tmp_path / "app").exists()
