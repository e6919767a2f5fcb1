"""What tells Home Assistant which sensors there are: MQTT discovery."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pocketlens import __version__
from pocketlens.card import BINARY, MULTILABEL

_PREFIX = "homeassistant"
# Home Assistant takes any number, but nobody wants hundreds of sensors of one camera.
_MOST_SENSORS = 50


def discovery(
    prefix: str, *, model: str, task: str, labels: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return a configuration for each topic that announces a sensor.

    They read the retained topics `prefix`/state and `prefix`/availability, see `remote/mqtt.py`.
    A multiclass model is one sensor whose state is the label; a binary one is one that is on for
    the positive label; a multilabel one has one that is on for each label, or, from 51 labels on,
    a single sensor with the labels as text. Without an answer the state is Home Assistant's own
    "unknown". The score is an attribute. Source of the fields: the documentation of Home Assistant,
    integration "MQTT", pages "Sensor" and "Binary sensor".
    """
    node = re.sub(r"[^a-zA-Z0-9_-]+", "_", prefix)
    shared = {
        "state_topic": f"{prefix}/state",
        "availability_topic": f"{prefix}/availability",
        "json_attributes_topic": f"{prefix}/state",
        "device": {
            "identifiers": [node],
            "name": prefix.rpartition("/")[2],
            "model": model,
            "manufacturer": "pocketlens",
            "sw_version": __version__,
        },
        "origin": {"name": "pocketlens", "sw_version": __version__},
    }

    def entry(kind: str, name: str, number: str, **more: Any) -> tuple[str, dict[str, Any]]:
        unique = f"{node}_{number}"
        topic = f"{_PREFIX}/{kind}/{node}/{number}/config"
        return topic, {"name": name, "unique_id": unique, **shared, **more}

    if task == MULTILABEL and len(labels) <= _MOST_SENSORS:
        return dict(
            entry(
                "binary_sensor",
                label,
                f"label_{index}",
                value_template=f"{{{{ 'ON' if {_text(label)} in value_json.labels else 'OFF' }}}}",
            )
            for index, label in enumerate(labels)
        )
    if task == BINARY:
        label = labels[1]
        template = f"'ON' if value_json.label == {_text(label)} else 'OFF'"
        template = f"{{{{ 'None' if value_json.label is none else {template} }}}}"
        return dict([entry("binary_sensor", label, "label", value_template=template)])
    more: dict[str, Any] = {"value_template": "{{ value_json.label }}"}
    if task != MULTILABEL:
        more |= {"device_class": "enum", "options": list(dict.fromkeys(labels))}
    return dict([entry("sensor", "Label", "label", **more)])


def _text(label: str) -> str:
    # A JSON string in ASCII is a string of Jinja's, too.
    return json.dumps(label)
