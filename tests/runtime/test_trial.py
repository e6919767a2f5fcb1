"""Files are tried in a process of their own first, which may end as it likes."""

import contextlib
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketlens.card import unpack
from pocketlens.cli.main import run
from pocketlens.errors import ModelFileError
from pocketlens.runtime import Classifier, trial
from pocketlens.runtime.hints import ModelHints
from pocketlens.runtime.inspection import inspect
from pocketlens.runtime.interpreters import find_backend
from pocketlens.workers import start_child


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("POCKETLENS_CACHE", str(folder))
    monkeypatch.setattr(trial, "_passed", set())
    return folder


@pytest.fixture
def stray(tiny_tflite: Path, tmp_path: Path) -> Path:
    """A model without its card and metadata."""
    path = tmp_path / "stray.tflite"
    model = unpack(tiny_tflite.read_bytes()).flatbuffer
    path.write_bytes(model.replace(b"TFLITE_METADATA", b"UNKNOWN_RECORDS"))
    return path


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The commands of the processes that were started."""
    started: list[Any] = []

    def watched(*command: Any, **options: Any) -> Any:
        started.append(command)
        return start_child(*command, **options)

    monkeypatch.setattr("pocketlens.workers.start_child", watched)
    return started


def start_instead(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each child run this code and nothing of ours."""
    monkeypatch.setattr(
        "pocketlens.workers.start_child",
        lambda *_, **options: subprocess.Popen([sys.executable, "-c", code], **options),
    )


def test_once_for_each_file(
    stray: Path,
    cache: Path,
    children: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # However busy this machine is.
    monkeypatch.setattr(trial, "SLOW_S", 600.0)
    with caplog.at_level(logging.INFO, "pocketlens"):
        Classifier(stray)
        inspect(stray)
    assert len(children) == 1
    assert not caplog.records
    # Another process, and another name.
    monkeypatch.setattr(trial, "_passed", set())
    Classifier(stray.rename(stray.with_name("other.tflite")))
    assert len(children) == 1
    (mark,) = (cache / "tried").iterdir()
    assert "ai-edge-litert" in mark.name or "tflite-runtime" in mark.name


def test_other_content_is_tried_again(stray: Path, children: list[Any]) -> None:
    Classifier(stray)
    stray.write_bytes(stray.read_bytes() + b"\0")
    Classifier(stray)
    assert len(children) == 2


def test_sealed_files_are_tried_too(tiny_tflite: Path, children: list[Any]) -> None:
    """A seal tells of damage, not of who wrote the file."""
    Classifier(tiny_tflite)
    inspect(tiny_tflite)
    assert len(children) == 1


def test_another_processor_tries_again(
    stray: Path, children: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A home folder may lie on a server, for machines of all kinds."""
    for number, kind in enumerate(("cpu:type:x86", "cpu:type:aarch64", "cpu:type:x86"), 1):
        path = tmp_path / "modalias"
        path.write_text(kind)
        monkeypatch.setattr(trial, "CPU_PATH", str(path))
        monkeypatch.setattr(trial, "_passed", set())
        Classifier(stray)
        assert len(children) == min(number, 2)


def test_it_says_so_where_it_takes_long(
    stray: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trial, "SLOW_S", 0.0)
    with caplog.at_level(logging.INFO, "pocketlens"):
        Classifier(stray)
    (record,) = caplog.records
    assert f"Trying {stray} in a separate process" in record.getMessage()


@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("while True: pass", "gave no answer in 1 s"),
        ("bytearray(3 << 30); sys.exit(7)", r"crashed \(exit code 1\)|MemoryError"),
    ],
    ids=["time", "memory"],
)
def test_bounds(stray: Path, code: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model does stands in for the model."""
    program = (
        "import sys; from pocketlens.runtime import trial; trial.LIMIT_CPU_S = 1\n"
        "def work(*_):\n    " + code + "\n"
        "trial.list_operators = trial.read_signature = work\n"
        "trial.main('%s', 'stray.tflite')"
    )
    monkeypatch.setattr(trial, "LIMIT_CPU_S", 1)
    start_instead(program % find_backend().name, monkeypatch)
    with pytest.raises(ModelFileError, match=text):
        Classifier(stray)


COSTS = """
import resource, subprocess, sys
code = subprocess.call([sys.executable, "-m", "pocketlens", *sys.argv[1:]], stdout=sys.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(code)
"""


@pytest.mark.parametrize("name", ["zipbomb", "fbquad", "hang_226_sealed"])
def test_hostile_files_of_the_shared_material(
    name: str, shared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Small files that cost gigabytes, hours, or both."""
    pytest.importorskip("resource", reason="limits are not Windows's")
    path = shared / "cases" / "models" / f"{name}.tflite"
    # In a process of its own: what counts is the largest of its children, not of this one's.
    program = [sys.executable, "-c", COSTS, "inspect", str(path)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    seconds, kilobytes = map(float, done.stdout.split())
    assert seconds < 20
    assert kilobytes < 1 << 20


def test_file_of_the_shared_material(elsewhere_model: Path, children: list[Any]) -> None:
    Classifier(elsewhere_model)
    assert len(children) == 1


def test_without_a_place_to_remember(
    stray: Path, children: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("POCKETLENS_CACHE", str(tmp_path / "file" / "cache"))
    Classifier(stray)
    Classifier(stray)
    assert len(children) == 1
    # Where there is not even a home.
    monkeypatch.setattr(trial, "_passed", set())
    monkeypatch.delenv("POCKETLENS_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    Classifier(stray)
    assert len(children) == 2


# What is to happen in the child instead: first its own word that it began.
BEGIN = "import os, sys, time; print('ready', flush=True); "


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("os.abort()", r"crashed \(SIGABRT\)"),
        ("os.kill(os.getpid(), 11)", r"crashed \(SIGSEGV\)"),
        ("os._exit(3)", r"crashed \(exit code 3\)"),
        ("time.sleep(60)", "gave no answer"),
    ],
)
def test_bad_ends(
    stray: Path,
    cache: Path,
    code: str,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    start_instead(BEGIN + code, monkeypatch)
    # Only for what would never end: an emulator takes longer to start a Python.
    if "sleep" in code:
        monkeypatch.setattr(trial, "LIMIT_S", 0.5)
    with pytest.raises(ModelFileError, match=rf"Expected .* Received: .*stray.tflite.*{text}"):
        Classifier(stray)
    assert run(["inspect", str(stray)]) == 1
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("Error: Expected a model that the interpreter can run.")
    assert not cache.exists()


@pytest.mark.parametrize(
    "executable", ["/nowhere/python", "", sys.executable], ids=["missing", "none", "no packages"]
)
def test_where_no_process_can_be_started(
    stray: Path,
    cache: Path,
    executable: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    if executable and Path(executable).is_file():
        start_instead("import no_such_package", monkeypatch)
    Classifier(stray)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "this program may crash" in record.getMessage()
    assert not cache.exists()


def test_interpreter_that_crashes(stray: Path) -> None:
    """A model whose parts call each other endlessly: a whole flatbuffer, and a full stack."""
    pytest.importorskip("tensorflow", reason="makes the model")
    stray.write_bytes(endless(stray.read_bytes()))
    with pytest.raises(ModelFileError, match=r"crashed \(SIG"):
        Classifier(stray)


def endless(model: bytes) -> bytes:
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    whole = schema.ModelT.InitFromPackedBuf(model, 0)
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = schema.BuiltinOperator.CALL_ONCE, 1
    code.deprecatedBuiltinCode = 127
    whole.operatorCodes.append(code)
    for caller, called in ((0, 1), (1, 2), (2, 1)):
        if caller:
            part = schema.SubGraphT()
            part.tensors, part.operators, part.name = [], [], b"part"
            part.inputs = part.outputs = np.zeros(0, np.int32)
            whole.subgraphs.append(part)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(whole.operatorCodes) - 1
        operator.builtinOptionsType = schema.BuiltinOptions.CallOnceOptions
        operator.builtinOptions = schema.CallOnceOptionsT()
        operator.builtinOptions.initSubgraphIndex = called
        operator.inputs = operator.outputs = np.zeros(0, np.int32)
        whole.subgraphs[caller].operators.append(operator)
    builder = flatbuffers.Builder(len(model))
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_no_corruption_takes_this_process_down(stray: Path) -> None:
    model = np.frombuffer(stray.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for index in range(10):
        changed = model.copy()
        places = rng.integers(8, len(model), int(rng.choice([1, 8, 64])))
        changed[places] = rng.integers(0, 256, len(places))
        stray.write_bytes(changed[: int(rng.integers(8, len(model))) if index % 6 == 0 else None])
        with contextlib.suppress(ModelFileError), Classifier(stray) as classifier:
            classifier.classify(np.zeros((9, 9, 3), np.uint8))


Pixels = Any


def tflite(function: Callable[..., Any], *inputs: Any) -> bytes:
    tf = pytest.importorskip("tensorflow", reason="makes the model")
    concrete = tf.function(function).get_concrete_function(*inputs)
    data: bytes = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    return data


def spec(*shape: int | None, dtype: str = "float32") -> Any:
    tf = pytest.importorskip("tensorflow", reason="makes the model")
    return tf.TensorSpec(shape, dtype)


def row(pixels: Pixels) -> Any:
    """Return what sums up to one for each picture."""
    import tensorflow as tf

    return tf.nn.softmax(tf.reduce_mean(tf.cast(pixels, tf.float32), axis=(1, 2)))


MODELS: dict[str, tuple[Callable[[], bytes], str]] = {
    "two inputs": (
        lambda: tflite(
            lambda one, two: row(one) + row(two) * 0.0, spec(1, 8, 8, 3), spec(1, 8, 8, 3)
        ),
        r"2 inputs \(\[1, 8, 8, 3\] float32, \[1, 8, 8, 3\] float32\) and 1 output",
    ),
    "batch of 4": (lambda: tflite(row, spec(4, 8, 8, 3)), r"1 input \(\[4, 8, 8, 3\] float32\)"),
    "rgba": (lambda: tflite(row, spec(1, 8, 8, 4)), r"1 input \(\[1, 8, 8, 4\] float32\)"),
    "a vector": (
        lambda: tflite(lambda values: values * 0.5, spec(1, 12)),
        r"1 input \(\[1, 12\] float32\)",
    ),
    "32-bit pixels": (
        lambda: tflite(row, spec(1, 8, 8, 3, dtype="int32")),
        r"1 input \(\[1, 8, 8, 3\] int32\)",
    ),
    "a picture comes out": (
        lambda: tflite(lambda pixels: pixels * 0.5, spec(1, 8, 8, 3)),
        r"1 output \(\[1, 8, 8, 3\] float32\)",
    ),
    "an index comes out": (lambda: tflite(index_of_best, spec(1, 8, 8, 3)), r"\(\[1\] int64\)"),
    "no numbers": (
        lambda: tflite(lambda pixels: (-1.0 - row(pixels)) ** 0.5, spec(1, 8, 8, 3)),
        r"Expected finite scores .* Received: NaN or infinite",
    ),
}


def index_of_best(pixels: Pixels) -> Any:
    import tensorflow as tf

    return tf.argmax(row(pixels), axis=-1)


@pytest.mark.parametrize("name", MODELS)
def test_models_that_classify_no_picture(name: str, tmp_path: Path) -> None:
    make, text = MODELS[name]
    path = tmp_path / "model.tflite"
    path.write_bytes(make())
    with pytest.raises(ModelFileError, match=text):
        inspect(path)
    with pytest.raises(ModelFileError, match=text):
        Classifier(path, hints=ModelHints(mean=0, std=1))


def test_commands_say_so_in_one_line(
    tiny_photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, text = MODELS["batch of 4"]
    path = tmp_path / "model.tflite"
    path.write_bytes(make())
    options = ["--mean", "0", "--std", "1"]
    photo = str(tiny_photos / "cross" / "00.png")
    for arguments in (["inspect"], ["classify", photo, *options], ["benchmark", *options]):
        capfd.readouterr()
        assert run([arguments[0], str(path), *arguments[1:]]) == 1
        streams = capfd.readouterr()
        (line,) = streams.err.strip().splitlines()
        assert re.search(text, line)
        assert streams.out == ""


def test_a_plain_model_is_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite(row, spec(1, 8, 8, 3)))
    with Classifier(path, hints=ModelHints(mean=0, std=1)) as classifier:
        assert classifier.signature.classes == 3
