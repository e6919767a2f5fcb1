"""What the files that make containers copy, install and run is there. `make images` builds them."""

import http.server
import importlib.util
import re
import shlex
import threading
from pathlib import Path

import click
import pytest
import yaml

from pocketlens.cli.live import live_command
from pocketlens.cli.main import group

ROOT = Path(__file__).parents[2]
IMAGES = ("runtime", "train")


def text(name):
    return (ROOT / name).read_text()


def instructions(image):
    """Return a Dockerfile's instructions as pairs of a name and what follows."""
    lines = [line for line in text(f"docker/{image}.Dockerfile").splitlines() if line[:1] != "#"]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line]


def last(image, name):
    return [value for kind, value in instructions(image) if kind == name][-1]


def commands(image):
    """Return the arguments of the `docker run` in a Dockerfile's head, behind the image's name."""
    lines = re.findall("^#   (.*)$", text(f"docker/{image}.Dockerfile"), re.MULTILINE)
    calls = "\n".join(lines).replace("\\\n", " ").splitlines()
    found = [re.search(rf"\spocketlens-{image} ([a-z].*)", call) for call in calls]
    return [shlex.split(match[1]) for match in found if match]


def check_options(arguments):
    """Let click read arguments, without looking for the files that they name."""
    command = group.get_command(click.Context(group), arguments[0])
    assert command, arguments
    context = click.Context(command)
    command.make_parser(context).parse_args(list(arguments[1:]))


@pytest.mark.parametrize("image", IMAGES)
def test_it_runs_the_command_as_a_user_without_rights_and_ends_on_sigterm(image):
    assert last(image, "ENTRYPOINT") == '["pocketlens"]'
    assert last(image, "STOPSIGNAL") == "SIGTERM"
    user = last(image, "USER")
    assert any("useradd --uid 1000 " in value and user in value for _, value in instructions(image))


@pytest.mark.parametrize("image", IMAGES)
def test_each_package_is_pinned_by_a_hash_or_our_own(image):
    for _, value in instructions(image):
        for call in re.findall(r"pip (?:--python \S+ )?install [^&]*", value):
            assert "--require-hashes" in call or "--no-index" in call, call
            for name in re.findall(r"-r (\S+)", call):
                assert (ROOT / "docker" / Path(name).name).is_file()


@pytest.mark.parametrize("image", IMAGES)
def test_the_last_stage_installs_no_tools(image):
    kinds = [kind for kind, _ in instructions(image)]
    final = instructions(image)[len(kinds) - kinds[::-1].index("FROM") :]
    assert not [value for kind, value in final if kind == "RUN" and re.search("apt|pip", value)]
    base = [value for kind, value in instructions(image) if kind == "FROM"]
    assert base == ["${BASE} AS python", "python AS build", "python"]


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_copied_is_there_and_not_ignored(image):
    kept = re.findall("^!(.*)$", text(".dockerignore"), re.MULTILINE)
    for kind, value in instructions(image):
        if kind == "COPY" and not value.startswith("--from"):
            for source in value.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source == "." or source.partition("/")[0] in kept, source


def test_the_context_has_every_package_and_what_the_build_reads():
    kept = re.findall("^!(.*)$", text(".dockerignore"), re.MULTILINE)
    for name in kept:
        assert (ROOT / name).exists(), name
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages | {"docker", "pyproject.toml", "README.md", "LICENSE"} == set(kept)


def pins(name):
    return set(re.findall(r"^([\w.-]+==[^\s;]+)", text(name), re.MULTILINE))


@pytest.mark.parametrize("image", IMAGES)
def test_packages_have_the_versions_of_the_lock(image):
    found = pins(f"docker/{image}.txt")
    assert len(found) > 10
    # `make lock` renews these too, with `make image-lock`.
    assert found <= pins("constraints.txt")
    assert {"numpy", "pillow", "opencv-python-headless"} <= {pin.split("==")[0] for pin in found}


def test_the_device_has_no_tensorflow():
    names = {pin.split("==")[0] for pin in pins("docker/runtime.txt")}
    assert not names & {"tensorflow", "keras", "matplotlib", "scikit-learn", "setuptools"}
    assert {"uvicorn", "paho-mqtt"} <= names


@pytest.mark.parametrize("image", IMAGES)
def test_the_command_in_its_head_has_options_that_there_are(image):
    assert commands(image)
    for arguments in commands(image):
        check_options(arguments)


def test_an_option_that_does_not_exist_is_seen():
    with pytest.raises(click.NoSuchOption):
        check_options(["live", "model.tflite", "--web-port", "8080"])


def test_compose_runs_live_with_options_and_variables_that_there_are():
    compose = yaml.safe_load(text("compose.yaml"))
    live = compose["services"]["live"]
    check_options(live["command"])
    known = {parameter.envvar for parameter in live_command.params}
    assert set(live["environment"]) <= known
    assert (ROOT / live["build"]["dockerfile"]).is_file()
    assert live["read_only"]
    assert live["tmpfs"] == ["/tmp"]
    used = [
        volume.partition(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", ())
    ]
    assert {name for name in used if not name.startswith(".")} == set(compose["volumes"])
    # A volume is its user's only where the image has the folder.
    places = [volume.split(":")[1] for volume in live["volumes"] if volume[0] != "."]
    made = " ".join(value for kind, value in instructions("runtime") if kind == "RUN")
    assert re.search(rf"--mode 1777 {' '.join(places)}\b", made)


def health(port):
    spec = importlib.util.spec_from_file_location("healthz", ROOT / "docker" / "healthz.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.PORT = port
    return module.main()


@pytest.mark.parametrize(
    ("token", "status", "wrong"),
    [
        ("a-token", 200, None),
        ("a-token", 503, "503 is not healthy"),
        ("another", 200, "does not accept POCKETLENS_WEB_TOKEN"),
        (None, 200, "does not accept POCKETLENS_WEB_TOKEN"),
    ],
)
def test_health_is_what_the_page_says(token, status, wrong, monkeypatch, capsys):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            admitted = self.headers["Authorization"] == "Bearer a-token"
            self.send_response(status if admitted and self.path == "/healthz" else 401)
            self.end_headers()
            self.wfile.write(b'{"state": "stale"}')

        def log_message(self, *_):
            pass

    monkeypatch.delenv("POCKETLENS_WEB_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("POCKETLENS_WEB_TOKEN", token)
    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        answer = health(server.server_port)
    assert wrong is None if answer is None else wrong in answer
    assert ('{"state": "stale"}' in capsys.readouterr().out) == (wrong is None or status == 503)


def test_nothing_is_healthy_where_nothing_answers():
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        port = server.server_port
    assert "Nothing answers" in health(port)
