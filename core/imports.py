"""Importing late, and saying which extra to install where what a command needs is missing."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from pocketlens.errors import MissingDependencyError
from pocketlens.quiet import quiet

_REPORT_MODULES = ("jinja2", "matplotlib")
_TRAIN_MODULES = ("tensorflow", "keras", "ai_edge_quantizer", "imagehash", *_REPORT_MODULES)
_WEB_MODULES = ("starlette", "uvicorn")
_STUDIO_MODULES = (*_WEB_MODULES, "jinja2")
_MQTT_MODULES = ("paho",)


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's `__getattr__` (PEP 562) that imports names from the package's modules.

    So the command line can import a package's commands without TensorFlow behind them. What
    libraries print while they are imported is suppressed.

    Args:
        package: `__name__` of the package.
        modules: for each name the module that has it, by its whole name.
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with quiet():
            module = importlib.import_module(modules[name])
        return getattr(module, name)

    return load


def require_train() -> None:
    """Raise MissingDependencyError where the packages of the `train` extra are not installed."""
    if os.path.expanduser("~") == "~":
        # Without a home Keras would make a folder of that name here. In this one it can make none.
        os.environ.setdefault("KERAS_HOME", os.path.join(os.devnull, "keras"))
    _require("train", _TRAIN_MODULES, "train and convert models")


def require_report() -> None:
    """Raise MissingDependencyError where the packages of the `report` extra are not installed."""
    _require("report", _REPORT_MODULES, "draw pages and charts")


def require_web() -> None:
    """Raise MissingDependencyError where the packages of the `web` extra are not installed."""
    _require("web", _WEB_MODULES, "serve a web page")


def require_studio() -> None:
    """Raise MissingDependencyError where the packages of the `studio` extra are not installed."""
    _require("studio", _STUDIO_MODULES, "serve pages for collecting and labelling")


def require_mqtt() -> None:
    """Raise MissingDependencyError where the packages of the `mqtt` extra are not installed."""
    _require("mqtt", _MQTT_MODULES, "talk to an MQTT broker")


def _require(extra: str, modules: tuple[str, ...], purpose: str) -> None:
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"Expected the packages that {purpose}. Received: no {', '.join(missing)}. "
            f"Install them: pip install 'pocketlens[{extra}]'"
        )
