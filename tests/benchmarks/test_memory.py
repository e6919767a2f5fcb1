"""Loading in a process of its own."""

import subprocess
import sys

import pytest

from pocketlens.benchmarks.memory import measure_footprint
from pocketlens.errors import ModelFileError
from pocketlens.runtime.hints import ModelHints


def test_footprint(tiny_models):
    footprint = measure_footprint(tiny_models["float32"], loads=1)
    assert footprint.load_ms > 0
    assert footprint.first_ms > 0
    if footprint.loaded_bytes is None:
        pytest.skip("this system does not tell a process's memory")
    # The weights at least have to be somewhere; tiny models leave little else to rely on.
    assert footprint.peak_growth_bytes >= footprint.loaded_bytes
    assert footprint.peak_growth_bytes > tiny_models["float32"].stat().st_size / 2
    assert footprint.peak_bytes >= footprint.baseline_bytes + footprint.loaded_bytes
    assert footprint.baseline_bytes > 10_000_000


def test_model_from_elsewhere(elsewhere_model):
    footprint = measure_footprint(elsewhere_model, loads=1)
    assert footprint.load_ms > 0
    assert footprint.peak_growth_bytes is None or footprint.peak_growth_bytes > 500_000


def test_hints_reach_the_process(tiny_models):
    with pytest.raises(ModelFileError, match=r"--mean -1\.5"):
        measure_footprint(tiny_models["float32"], hints=ModelHints(mean=-1.5, std=2.0), loads=1)


def test_failure_is_one_sentence(tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\0\0\0\0TFL3" + b"\0" * 100)
    with pytest.raises(ModelFileError, match=r"in a separate process\. Received: ") as caught:
        measure_footprint(broken, loads=1)
    assert "\n" not in str(caught.value)


def test_backend_is_that_of_the_process_too(tiny_models):
    with pytest.raises(ModelFileError, match="one of the interpreters ai-edge-litert"):
        measure_footprint(tiny_models["float32"], hints=ModelHints(backend="another"), loads=1)


def test_process_ignores_modules_in_the_current_folder(tiny_models, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise RuntimeError('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    assert measure_footprint(tiny_models["float32"], loads=1).load_ms > 0


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, pocketlens.benchmarks, pocketlens.benchmarks.memory; "
        "print({'numpy', 'cv2', 'rich', 'matplotlib', 'tensorflow'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
