"""The unit of a service: what systemd makes of it, what it hides, what it refuses."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pocketlens.cli.main import run
from pocketlens.errors import UsageError
from pocketlens.runtime.live import unit as service
from pocketlens.runtime.live.unit import ServiceRequest, quote, secrets_text, unit_text

SECRET = 'h%n"un$H`OME\\ter2'
# In a URL as people have to write it.
URL = "rtsp://me:h%25n%22un$HOME%5Cter2@camera/stream"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not there to ask"
)


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Let units of the user and of the system go below the test's folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(service, "SYSTEM_FOLDER", tmp_path / "etc")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def user_folder(tmp_path):
    return tmp_path / "config" / "systemd" / "user"


def install(*arguments):
    return run(["service", "install", *map(str, arguments)])


def need_extras(options):
    for option, module in (("--web", "uvicorn"), ("--mqtt", "paho")):
        if option in options:
            pytest.importorskip(module, reason=f"the extra that {option} needs is not installed")


def analyze(unit, *options, level="debug"):
    """Ask systemd what it makes of a unit; at level debug it shows all of it."""
    return subprocess.run(
        ["systemd-analyze", *options, "verify", str(unit)],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": level, "XDG_RUNTIME_DIR": str(unit.parent)},
    )


def a_unit(tmp_path, **changes):
    given = {
        "name": "barn",
        "arguments": (sys.executable, "-m", "pocketlens", "live", "m.tflite"),
        "working_folder": tmp_path,
    }
    path = tmp_path / "barn.service"
    path.write_text(unit_text(ServiceRequest(**{**given, **changes}), tmp_path / "barn.env"))
    return path


NASTY = [
    "a b",
    "$HOME",
    "${HOME}",
    "$$",
    "%n",
    "100%",
    "%%",
    'quo"te',
    "it's",
    "back\\slash",
    "end\\",
    "\\x41",
    "tab\there",
    "new\nline",
    ";",
    "#no comment",
    "",
    "\x01\x7f",
    "-",
    "--a=b c",
    "é 漢字",
    "no\u00a0break",
]


C_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a"}


def unescaped(match):
    code = match[1]
    return chr(int(code, 8)) if len(code) == 3 else C_ESCAPES.get(code, code)


def dumped_arguments(text):
    """Read the command line that systemd shows of a unit: words, with C's escapes in quotes."""
    (line,) = re.findall(r"Command Line: (.*)", text)
    words = re.findall(r'"((?:[^"\\]|\\.)*)"(?: |$)|([^ ]+)(?: |$)', line)
    return [plain or re.sub(r"\\([0-7]{3}|.)", unescaped, quoted) for quoted, plain in words]


@needs_systemd
def test_systemd_reads_every_argument_as_it_was_given(tmp_path):
    unit = a_unit(tmp_path, arguments=("/bin/true", *NASTY))
    done = analyze(unit)
    assert dumped_arguments(done.stdout) == ["/bin/true", *NASTY]


@needs_systemd
@pytest.mark.parametrize("user", [None, "root"], ids=["user", "system"])
@pytest.mark.parametrize("camera", [True, False], ids=["camera", "stream"])
def test_systemd_finds_nothing_wrong_with_it(tmp_path, user, camera):
    folder = tmp_path / '50 % of $HOME\'s "videos"'
    folder.mkdir()
    unit = a_unit(
        tmp_path,
        working_folder=folder,
        user=user,
        camera=camera,
        folders=(folder,),
        secrets={"POCKETLENS_SOURCE": URL},
        fps=0.01,
    )
    manager = ["--user"] if user is None else []
    # It passes over what it does not know and only says so.
    done = analyze(unit, *manager, level="info")
    assert (done.returncode, done.stderr) == (0, "")
    done = analyze(unit, *manager)
    assert f"WorkingDirectory: {folder}" in done.stdout
    assert f"EnvironmentFile: {tmp_path}/barn.env" in done.stdout
    if user:
        assert f"ReadWritePaths: {folder}" in done.stdout.replace("\\", "")


def test_quotes_are_left_out_where_nothing_needs_them():
    assert quote("--source=/dev/video0") == "--source=/dev/video0"
    assert quote("a%b") == '"a%%b"'


@pytest.mark.parametrize("text", ["line\nend", " before", "after ", "end\\"])
def test_folders_that_no_unit_can_name_are_refused(tmp_path, text):
    with pytest.raises(UsageError, match="Expected a path without control characters"):
        a_unit(tmp_path, working_folder=Path(text))


def test_what_systemd_and_a_shell_read_from_the_secrets_is_what_was_given(tmp_path):
    # Inside double quotes both know the same four escapes.
    path = tmp_path / "barn.env"
    path.write_text(secrets_text({"ONE": SECRET, "TWO": "é 漢字 ; # '"}))
    script = f'. {path} && printf "%s\\n%s" "$ONE" "$TWO"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{SECRET}\né 漢字 ; # '"
    with pytest.raises(UsageError, match="control characters"):
        secrets_text({"ONE": "a\nB=c"})


def test_a_unit_is_installed_and_how_to_start_it_is_said(tiny_tflite, user_folder, capsys):
    assert install(tiny_tflite, "--source", "0", "--size", "640x480", "--jsonl", "-") == 0
    out = capsys.readouterr().out
    assert "systemctl --user daemon-reload && systemctl --user enable --now pocketlens" in out
    text = (user_folder / "pocketlens.service").read_text()
    command = f"-m pocketlens live {tiny_tflite} --source 0 --size 640x480 --jsonl -\n"
    assert f"ExecStart=:{quote(sys.executable)} {command}" in text
    for line in ("Type=notify", "WatchdogSec=600", "Restart=always", "NoNewPrivileges=yes"):
        assert line in text.splitlines()
    assert [path.name for path in user_folder.iterdir()] == ["pocketlens.service"]


def test_a_service_of_the_system_is_shut_in_and_keeps_its_camera(
    tiny_tflite, tmp_path, monkeypatch
):
    monkeypatch.setenv("SUDO_USER", "farmer")
    recording = tmp_path / "new folder" / "seen.mp4"
    options = ["--source", "0", "--record", recording, "--system", "--name", "barn", "--overwrite"]
    assert install(tiny_tflite, *options) == 0
    lines = (tmp_path / "etc" / "barn.service").read_text().splitlines()
    for line in (
        "User=farmer",
        "ProtectSystem=strict",
        "DevicePolicy=closed",
        "DeviceAllow=char-video4linux rw",
        "SupplementaryGroups=video",
        f'ReadWritePaths="{recording.parent}"',
    ):
        assert line in lines
    assert recording.parent.is_dir()
    assert any(line.endswith(f'--record "{recording}" --overwrite') for line in lines)


def test_a_stream_needs_no_device(tiny_tflite, capsys):
    assert install(tiny_tflite, "--source", "http://camera/", "--system", "--print") == 0
    text = capsys.readouterr().out
    assert "DeviceAllow" not in text
    assert "SupplementaryGroups" not in text


def test_a_password_is_in_a_file_of_its_own_that_nobody_else_reads(
    tiny_tflite, user_folder, capsys
):
    assert install(tiny_tflite, "--source", URL, "--fps", 5) == 0
    unit, secrets = (user_folder / f"pocketlens.{entry}" for entry in ("service", "env"))
    assert "ter2" not in unit.read_text() + "".join(capsys.readouterr())
    assert "--source" not in unit.read_text()
    assert f"EnvironmentFile={secrets}\n" in unit.read_text()
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    script = f'. {secrets} && printf "%s" "$POCKETLENS_SOURCE"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == URL


def test_tokens_and_addresses_of_receivers_are_secrets_too(tiny_tflite, user_folder):
    secrets = {
        "POCKETLENS_WEB_TOKEN": "0123456789abcdef",
        "POCKETLENS_WEBHOOK": "http://house/hook/4711",
        "POCKETLENS_MQTT": "mqtt://me:hunter2@house/barn",
    }
    options = ["--web-token", "--webhook", "--mqtt"]
    pairs = [entry for pair in zip(options, secrets.values(), strict=True) for entry in pair]
    need_extras(["--web", "--mqtt"])
    assert install(tiny_tflite, "--source", "0", "--web", *pairs) == 0
    unit, file = (user_folder / f"pocketlens.{entry}" for entry in ("service", "env"))
    assert "--source 0 --web\n" in unit.read_text()
    assert file.read_text() == secrets_text(secrets)


def test_options_that_are_repeated_or_need_no_value_stay_as_they_are(tiny_tflite, capsys):
    need_extras(["--web"])
    given = "--source 0 --web 8080 --allow circle --allow cross --confirm 3/5 --threads auto"
    assert install(tiny_tflite, *given.split(), "--print") == 0
    assert f"{tiny_tflite} {given}\n" in capsys.readouterr().out


def test_a_folder_for_events_is_made_and_may_be_written_to(tiny_tflite, tmp_path):
    events = tmp_path / "seen"
    assert install(tiny_tflite, "--source", "0", "--record-events", events, "--system") == 0
    unit = (tmp_path / "etc" / "pocketlens.service").read_text()
    assert f"ReadWritePaths={events}\n" in unit
    assert "--overwrite" not in unit
    assert events.is_dir()


def test_kept_frames_have_a_folder_and_their_receiver_is_a_secret(
    tiny_tflite, tmp_path, user_folder
):
    folder = tmp_path / "keep"
    secrets = {
        "POCKETLENS_KEEP_TO": "https://nas.example/secret-place",
        "POCKETLENS_KEEP_TOKEN": "s3cret-token",
    }
    options = ["--keep-to", "--keep-token"]
    pairs = [entry for pair in zip(options, secrets.values(), strict=True) for entry in pair]
    keep = ["--keep", folder, "--keep-mb", "20", "--keep-random", "0"]
    assert install(tiny_tflite, "--source", "0", *keep, *pairs) == 0
    unit, file = (user_folder / f"pocketlens.{entry}" for entry in ("service", "env"))
    text = unit.read_text()
    assert f"--keep {folder} --keep-mb 20 --keep-random 0\n" in text
    assert "secret" not in text
    assert "s3cret" not in text
    assert file.read_text() == secrets_text(secrets)
    assert folder.is_dir()
    assert install(tiny_tflite, "--source", "0", *keep, "--system", "--name", "other") == 0
    system = (tmp_path / "etc" / "other.service").read_text()
    assert f"ReadWritePaths={folder}\n" in system


def test_a_secret_that_is_needed_no_more_goes(tiny_tflite, user_folder):
    assert install(tiny_tflite, "--source", URL) == 0
    assert install(tiny_tflite, "--source", "0", "--overwrite") == 0
    assert [path.name for path in user_folder.iterdir()] == ["pocketlens.service"]


def test_live_takes_its_source_from_the_environment(tiny_tflite, monkeypatch, capfd):
    monkeypatch.setenv("POCKETLENS_SOURCE", "nowhere-by-variable.mp4")
    assert run(["live", str(tiny_tflite)]) == 2
    assert "nowhere-by-variable.mp4" in capfd.readouterr().err


def test_print_writes_nothing(tiny_tflite, tmp_path, capsys):
    assert install(tiny_tflite, "--source", URL, "--print") == 0
    streams = capsys.readouterr()
    assert streams.out.startswith("[Unit]\n")
    assert "mode 0600" in streams.err
    assert "ter2" not in streams.out + streams.err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unasked(tiny_tflite, user_folder, capsys):
    user_folder.mkdir(parents=True)
    unit = user_folder / "pocketlens.service"
    unit.write_text("mine")
    assert install(tiny_tflite, "--source", "0") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert unit.read_text() == "mine"
    assert install(tiny_tflite, "--source", "0", "--overwrite") == 0
    assert unit.read_text().startswith("[Unit]")
    # It is the unit's, and not live's where live has no file to replace.
    assert "--overwrite" not in unit.read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(["--source", "nowhere.mp4"], "a camera or a stream", id="file"),
        pytest.param(["--source", "0", "--display"], "--display", id="window"),
        pytest.param(["--source", "0", "--max-frames", "3"], "--max-frames", id="an-end"),
        pytest.param(["--source", "0", "--record", "a.mp4"], "starts again", id="recording"),
        pytest.param(["--source", "0", "--jsonl", "a.jsonl"], "starts again", id="log"),
        pytest.param(["--source", "0", "--name", "a/b"], "a service's name", id="name"),
        pytest.param(["--source", "0", "--size", "big"], "1280x720", id="live's-size"),
        pytest.param(["--source", "0", "--nonsense"], "--nonsense", id="option"),
        pytest.param(["--source", "rtsp://a/", "--size", "64x48"], "Leave --size", id="wish"),
        pytest.param(["--threshold", "2"], "Expected --threshold in 0 to 1", id="threshold"),
        pytest.param(["--confirm", "6/5"], "N from 1 to M", id="confirm"),
        pytest.param(["--smooth", "-1"], "Expected --smooth", id="smooth"),
        pytest.param(["--allow", "zebra"], "--allow to name labels of the model", id="allow"),
        pytest.param(["--deny", "zebra"], "--deny to name labels of the model", id="deny"),
        pytest.param(["--hysteresis", "0.5", "--threshold", "0.4"], "dropped", id="hysteresis"),
        pytest.param(["--mqtt", "foo"], "Received: foo", id="mqtt"),
        pytest.param(["--webhook", "foo"], "Expected --webhook", id="webhook"),
        pytest.param(["--web", "99999999"], "99999999", id="web"),
    ],
)
def test_wrong_calls_are_one_sentence(tiny_tflite, tmp_path, capsys, options, words):
    need_extras(options)
    assert install(tiny_tflite, *options) == 2
    streams = capsys.readouterr()
    assert words in streams.err
    assert "Traceback" not in streams.err
    assert streams.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_none_is_found_out_now(tmp_path, capsys):
    assert install(tmp_path / "nowhere.tflite", "--source", "0") == 2
    assert "Check the path" in capsys.readouterr().err


def test_a_slow_source_gets_more_time(tmp_path):
    assert "WatchdogSec=1000\n" in a_unit(tmp_path, fps=0.005).read_text()
    assert "WatchdogSec=600\n" in a_unit(tmp_path, fps=25.0).read_text()
