"""Finding an interpreter."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from pocketlens.choices import FORMATS
from pocketlens.errors import MissingDependencyError, UsageError
from pocketlens.runtime import interpreters
from pocketlens.runtime.classifier import Classifier
from pocketlens.runtime.interpreters import BACKENDS, find_backend
from pocketlens.runtime.operators import describe_operators


def only(available: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only some modules be imported; an exception as the value is raised."""

    def load(name: str) -> Any:
        found = available.get(name, ModuleNotFoundError(name, name=name.split(".")[0]))
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(interpreters.importlib, "import_module", load)


def test_first_that_is_installed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module
    only(
        {"tflite_runtime.interpreter": "small", "tensorflow.lite.python.interpreter": "large"},
        monkeypatch,
    )
    assert find_backend().name == "tflite-runtime"
    assert find_backend("tf.lite").module == "large"
    monkeypatch.setattr(interpreters.importlib, "import_module", real)


def test_none_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    only({}, monkeypatch)
    with pytest.raises(MissingDependencyError, match="pip install ai-edge-litert"):
        find_backend()


def test_broken_one_is_reported_and_the_next_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = ImportError("GLIBC_2.38 not found")
    only(
        {"ai_edge_litert.interpreter": broken, "tensorflow.lite.python.interpreter": "large"},
        monkeypatch,
    )
    assert find_backend().name == "tf.lite"
    assert "GLIBC_2.38" in caplog.text


def test_only_a_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    only({"ai_edge_litert.interpreter": OSError("wrong ELF class")}, monkeypatch)
    with pytest.raises(MissingDependencyError, match="wrong ELF class"):
        find_backend()


def test_module_that_lacks_a_part_is_broken_not_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = ModuleNotFoundError("No module named 'flatbuffers'", name="flatbuffers")
    only(
        {"ai_edge_litert.interpreter": lacking, "tensorflow.lite.python.interpreter": "large"},
        monkeypatch,
    )
    assert find_backend().name == "tf.lite"
    assert "flatbuffers" in caplog.text


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match="pytorch"):
        find_backend("pytorch")


@pytest.mark.parametrize("name", BACKENDS)
def test_named_one_that_is_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only({}, monkeypatch)
    with pytest.raises(MissingDependencyError, match=name):
        find_backend(name)


@pytest.mark.usefixtures("one_piece")
@pytest.mark.parametrize("entry", ["float32", "float16", "dynamic", "weights8", "int8"])
def test_every_file_is_one_partition(tiny_models: dict[str, Path], entry: str) -> None:
    with Classifier(tiny_models[entry]) as classifier:
        operators = describe_operators(classifier.interpreter)
    assert operators.partitions == 1
    assert operators.counts["CONV_2D"] >= 35
    assert "DELEGATE" not in operators.counts
    conversions = {"DEQUANTIZE": 1, "QUANTIZE": 1}
    assert (operators.float_counts == conversions) == (entry == "int8")


@pytest.mark.usefixtures("one_piece")
@pytest.mark.parametrize("entry", FORMATS)
def test_a_label_for_unknown_photos_keeps_it_one(
    unknown_models: dict[str, Path], entry: str
) -> None:
    with Classifier(unknown_models[entry]) as classifier:
        assert describe_operators(classifier.interpreter).partitions == 1
