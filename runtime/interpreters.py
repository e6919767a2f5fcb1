"""The one place that knows which TFLite interpreter is installed."""

from __future__ import annotations

import importlib
import sys
from typing import Any, NamedTuple

from pocketlens.errors import MissingDependencyError, ModelFileError, UsageError
from pocketlens.quiet import quiet

# In the order in which they are tried: the maintained runtime, the older small one, TensorFlow's.
BACKENDS = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
    "tf.lite": "tensorflow.lite.python.interpreter",
}


class Backend(NamedTuple):
    """An interpreter that can be imported."""

    name: str
    module: Any

    @property
    def version(self) -> str:
        """The version of the package that brings it."""
        # Reading it where it was installed takes 20 ms, at each start.
        package = sys.modules.get(self.module.__name__.partition(".")[0])
        version = getattr(package, "__version__", None)
        if version:
            return str(version)
        metadata = importlib.import_module("importlib.metadata")
        try:
            return str(metadata.version("tensorflow" if self.name == "tf.lite" else self.name))
        except metadata.PackageNotFoundError:  # Other packages bring the same module.
            return "unknown"


def find_backend(name: str | None = None) -> Backend:
    """Import an interpreter: the one of that name, or the first that works.

    Raises:
        UsageError: there is no backend of that name.
        MissingDependencyError: it, or any, is not installed or does not import.
    """
    if name is not None and name not in BACKENDS:
        raise UsageError(
            f"Expected one of the interpreters {', '.join(BACKENDS)}. Received: {name!r}."
        )
    broken = []
    for candidate in [name] if name else BACKENDS:
        try:
            return Backend(candidate, importlib.import_module(BACKENDS[candidate]))
        except ModuleNotFoundError as error:
            if error.name and BACKENDS[candidate].startswith(error.name):
                continue  # Not installed, which is no fault.
            broken.append(f"{candidate} ({error})")
        except Exception as error:  # A broken binary can raise anything on import.
            broken.append(f"{candidate} ({error})")
        import logging  # It takes as long to import as all of this module.

        logging.getLogger("pocketlens").warning(
            "An installed interpreter does not import: %s", broken[-1]
        )
    came = f"{', '.join(broken)}, which does not import" if broken else "none installed"
    # tflite-runtime alone would leave a NumPy here that it does not work with.
    packages = {"tflite-runtime": "'pocketlens[tflite]'", "tf.lite": "'pocketlens[train]'"}
    raise MissingDependencyError(
        f"Expected a TFLite interpreter{f' ({name})' if name else ''}. Received: {came}. "
        f"Install one: pip install {packages.get(name or '', 'ai-edge-litert')}"
    )


def _reason(error: Exception) -> str:
    """Return what an interpreter says, each sentence once: it repeats some for every tensor."""
    import re

    sentences = re.split(r"(?<=\.)(?=[A-Za-z])|\n", str(error))
    kept = {re.sub(r"\d+", "", text): text.strip() for text in reversed(sentences)}
    return " ".join(" ".join(reversed(kept.values())).split()).rstrip(".")


def load_interpreter(flatbuffer: bytes, *, threads: int = 1, backend: str | None = None) -> Any:
    """Make an interpreter for a model and allocate its tensors.

    Args:
        flatbuffer: the whole model as bytes, so that the file may change or go afterwards.
        threads: how many threads an `invoke()` uses.
        backend: a name of `BACKENDS`; None takes the first that works.

    Raises:
        ModelFileError: the interpreter does not take the model.
    """
    module = find_backend(backend).module
    try:
        with quiet():
            interpreter = module.Interpreter(model_content=flatbuffer, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelFileError(
            f"Expected a model that the interpreter can run. Received: {_reason(error)}. "
            "The file is damaged or needs a newer interpreter."
        ) from error
    return interpreter
