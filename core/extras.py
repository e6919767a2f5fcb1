"""Saying which extra to install when a command needs more than the device has."""

from __future__ import annotations

from importlib.util import find_spec

from pocketlens.errors import MissingDependencyError

_REPORT_MODULES = ("jinja2", "matplotlib")
_TRAIN_MODULES = (
    *("tensorflow", "keras", "ai_edge_quantizer", "sklearn", "imagehash"),
    *_REPORT_MODULES,
)
_WEB_MODULES = ("starlette", "uvicorn")
_MQTT_MODULES = ("paho",)


def require_train() -> None:
    """Raise MissingDependencyError where the packages of the `train` extra are not installed."""
    _require("train", _TRAIN_MODULES, "train and convert models")


def require_report() -> None:
    """Raise MissingDependencyError where the packages of the `report` extra are not installed."""
    _require("report", _REPORT_MODULES, "draw pages and charts")


def require_web() -> None:
    """Raise MissingDependencyError where the packages of the `web` extra are not installed."""
    _require("web", _WEB_MODULES, "serve a web page")


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
