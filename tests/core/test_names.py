"""What `import pocketlens` offers, and what it costs."""

import subprocess
import sys
from importlib import import_module

import pytest

import pocketlens

EXPORTED = {
    "Classifier": "pocketlens.runtime.classifier",
    "ModelCard": "pocketlens.card",
    "ModelHints": "pocketlens.runtime.hints",
    "PocketlensError": "pocketlens.errors",
    "Result": "pocketlens.runtime.classifier",
}


def test_exported_names() -> None:
    assert sorted(pocketlens.__all__) == sorted([*EXPORTED, "__version__"])


@pytest.mark.parametrize(("name", "module"), EXPORTED.items())
def test_each_is_the_one_of_its_module(name: str, module: str) -> None:
    assert getattr(pocketlens, name) is getattr(import_module(module), name)


def test_other_names_there_are_not() -> None:
    with pytest.raises(AttributeError, match="module 'pocketlens' has no attribute 'Clasifier'"):
        _ = pocketlens.Clasifier  # type: ignore[attr-defined]


def test_importing_it_brings_next_to_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import pocketlens; pocketlens.__version__; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"cv2", "json", "logging", "numpy", "pathlib", "subprocess", "tempfile", "zipfile"}
    assert not heavy & set(done.stdout.split())
