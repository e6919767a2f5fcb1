"""Loading `.keras` files, the same way wherever one is needed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from pocketlens.errors import ModelFileError
from pocketlens.quiet import quiet


def load_keras_model(path: Path) -> Any:
    """Load a `.keras` file without running any code that it may hold.

    Keras is imported here and only here, since this module is also on the device.

    Raises:
        ModelFileError: it is not a model that can be loaded safely.
    """
    with quiet():
        keras = importlib.import_module("keras")
    try:
        with quiet():
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises everything from KeyError to zipfile's errors.
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"Expected a Keras model at {path}. Received: {reason}. Train it again."
        ) from error
