"""Saying which extra to install when a command needs more than the device has."""

from __future__ import annotations

from importlib.util import find_spec

from pocketlens.errors import MissingDependencyError

_TRAIN_MODULES = ("tensorflow", "keras", "ai_edge_quantizer", "sklearn", "matplotlib", "imagehash")


def require_train() -> None:
    """Raise MissingDependencyError where the packages of the `train` extra are not installed."""
    missing = [name for name in _TRAIN_MODULES if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"Expected the packages that train and convert models. Received: no "
            f"{', '.join(missing)}. Install them: pip install 'pocketlens[train]'"
        )
