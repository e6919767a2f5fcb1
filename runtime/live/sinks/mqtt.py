"""`pocketlens live --mqtt`: the answer as a retained topic, announced to Home Assistant."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from pocketlens import __version__
from pocketlens.choices import BINARY, MULTILABEL, SHIFT_KINDS
from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import UsageError
from pocketlens.imports import require_mqtt
from pocketlens.names import shown
from pocketlens.runtime.live.frames import (
    STALE,
    FrameResult,
    RunInfo,
    ShiftState,
    Sink,
    SourceState,
    wall_clock,
)
from pocketlens.runtime.live.sinks import SinkRequest
from pocketlens.runtime.live.sinks.outbox import Sender
from pocketlens.runtime.live.sources import redact
from pocketlens.runtime.pictures import Pixels

ONLINE = "online"
OFFLINE = "offline"

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_QUEUED = 200
_LOOP_S = 0.1
_CONNECT_S = 5.0
# A broker that vanished is noticed after one and a half times this.
_KEEP_ALIVE_S = 15
# All that ends with a run has five seconds together. A run of a few pictures may end before its
# first connection is there.
_GREETING_S = 1.0
_FAREWELL_S = 0.7

_PREFIX = "homeassistant"
# Home Assistant takes any number, but nobody wants hundreds of sensors of one camera.
_MOST_SENSORS = 50


@dataclass(frozen=True)
class Broker:
    """Where messages go. `name` is the address without passwords."""

    name: str
    secure: bool
    host: str
    port: int
    prefix: str
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)


def parse_broker(url: str) -> Broker:
    """Read what `--mqtt` takes: mqtt://user:password@host:1883/prefix, or mqtts:// for TLS.

    Without a prefix it is pocketlens/ and this machine's name.

    Raises:
        UsageError: it is not such an address.
    """
    broker = _read(url)
    if broker is None:
        raise UsageError(
            "Expected --mqtt as an address that starts with mqtt:// or mqtts://, with a topic of "
            f"letters, digits and signs but + # $ after it. Received: {redact(url)}. "
            "Write it like mqtt://user:password@192.168.1.20:1883/barn."
        )
    return broker


def make_sink(request: SinkRequest) -> Sink:
    """Return what sends to the broker of `--mqtt`."""
    require_mqtt()
    return Mqtt(parse_broker(request.mqtt or ""))


class Mqtt(Sender[tuple[str, str]]):
    """Keeps the decision at a broker, from a thread of its own.

    Topics, all retained: `prefix`/availability is "online" while fresh frames are classified, else
    "offline", also when this program vanishes. `prefix`/state is a JSON object with `label` and
    `score` of the decision (null without one, several labels joined by a comma), `labels`, `scores`
    by label, `at`, the time of the decision in UTC, `source`, `device` and, of a picture, `file`;
    where frames are compared with the model's photos, `shift` is how they differ, else null.
    When the broker comes back it gets all of this again, after the newest 100 states that it
    missed. Sensors that an earlier model announced and this one does not have are taken back.

    Args:
        broker: where to send.
        clock: what pauses and limits go by.
    """

    join_s = _GREETING_S + _FAREWELL_S + _LOOP_S

    def __init__(self, broker: Broker, clock: Clock = CLOCK) -> None:
        super().__init__(broker.name, clock)
        self._broker = broker
        self._configs: dict[str, str] = {}
        self._state_topic = f"{broker.prefix}/state"
        self._availability_topic = f"{broker.prefix}/availability"
        self._online = False
        self._result: FrameResult | None = None
        self._shift: str | None = None
        # What the retained topics should hold; only the sending thread writes them.
        self._current = {
            self._state_topic: self._state_json(None),
            self._availability_topic: OFFLINE,
        }
        self.connected = False
        self._refusal = ""

    def opened(self, run: RunInfo) -> None:
        """Begin to send."""
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        broker = self._broker
        sensors = discovery(
            broker.prefix,
            model=run.model,
            task=run.task,
            labels=run.labels,
            watches_shift=run.watches_shift,
        )
        self._configs = {topic: json.dumps(entry) for topic, entry in sensors.items()}
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.connect_timeout = _CONNECT_S
        self._client.max_queued_messages_set(_QUEUED)
        self._client.will_set(self._availability_topic, OFFLINE, qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.secure:
            self._client.tls_set()
        super().opened(run)

    def result(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result."""
        if result.decision.changed or not self._online:
            self._online = True
            self._result = result
            # Both in one entry, so that the newest entry is enough.
            self.outbox.put((ONLINE, self._state_json(result)))

    def state(self, state: SourceState) -> None:
        """Take a change of state: nothing is known of a stale source until the next answer."""
        if state.state == STALE:
            self._online = False
            self.outbox.put((OFFLINE, self._state_json(None, state.at_s)))

    def shift(self, shift: ShiftState) -> None:
        """Take a change of shift, which comes after a result: the decision stays the same."""
        self._shift = shift.kind
        self.outbox.put((ONLINE, self._state_json(self._result)))

    def run(self) -> None:
        """Connect again and again, and send."""
        while (reason := self._converse()) and not self.outbox.closed:
            self.outbox.pause(self.attempts.failed(redact(reason)))
            if self.outbox.closed:
                return

    def _converse(self) -> str:
        """Connect and send until the connection or the run ends; returns why, "" for the run."""
        from paho.mqtt.enums import MQTTErrorCode

        client = self._client
        self.connected, self._refusal = False, ""
        try:
            client.connect(self._broker.host, self._broker.port, _KEEP_ALIVE_S)
        except (OSError, ValueError) as error:
            return str(getattr(error, "strerror", None) or error) or type(error).__name__
        greeted, until_s = False, math.inf
        while not self.outbox.closed or not (greeted or self.clock.now_s() > until_s):
            if self.outbox.closed:
                until_s = min(until_s, self.clock.now_s() + _GREETING_S)
            code = client.loop(_LOOP_S)
            if self._refusal:
                with contextlib.suppress(OSError):
                    client.disconnect()
                return self._refusal
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return "the connection was lost"
            if self.connected:
                if not greeted:
                    self._greet()
                    greeted = True
                self._send_waiting()
        if greeted:
            self._say_farewell()
        return ""

    def _on_connect(self, client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if code.is_failure:
            self._refusal = str(code)
            return
        self.connected = True

    def _greet(self) -> None:
        self.attempts.worked(self.outbox.count_dropped())
        # By the name of earlier versions, too.
        for node in {_node(self._broker.prefix), _readable(self._broker.prefix)}:
            self._client.subscribe(f"{_PREFIX}/+/{node}/+/config", qos=1)
        for topic, text in {**self._configs, **self._current}.items():
            self._client.publish(topic, text, qos=1, retain=True)

    def _send_waiting(self) -> None:
        while (entry := self.outbox.take(0)) is not None:
            availability, state = entry
            said = {self._state_topic: state, self._availability_topic: availability}
            if availability == OFFLINE:
                said = dict(reversed(said.items()))
            for topic, text in said.items():
                if text == self._current[topic]:
                    continue
                if self._client.publish(topic, text, qos=1, retain=True).rc:
                    self.outbox.put_back(entry)
                    return
                self._current[topic] = text

    def _on_message(self, client: Any, _data: Any, message: Any) -> None:
        """Take back a retained sensor of ours that this model does not have."""
        if not (message.retain and message.payload) or message.topic in self._configs:
            return
        # Anybody may leave anything there.
        with contextlib.suppress(ValueError, AttributeError, RecursionError):
            if json.loads(message.payload).get("state_topic") == self._state_topic:
                client.publish(message.topic, b"", qos=1, retain=True)

    def _state_json(self, result: FrameResult | None, at_s: float | None = None) -> str:
        entries = result.decision.categories if result else ()
        scores = {entry.label: round(entry.score, 6) for entry in entries}
        at_s = result.at_s if result else at_s
        file = {} if result is None or result.file is None else {"file": shown(result.file)}
        state = {
            "label": ", ".join(scores) or None,
            "score": max(scores.values(), default=None),
            "labels": list(scores),
            "scores": scores,
            "at": wall_clock(self.clock.wall_s() if at_s is None else at_s),
            "source": self._run.source,
            "device": self._run.device,
            **file,
            **({"shift": self._shift} if self._run.watches_shift else {}),
        }
        return json.dumps(state)

    def _say_farewell(self) -> None:
        self._send_waiting()
        last = self._client.publish(self._availability_topic, OFFLINE, qos=1, retain=True)
        until_s = self.clock.now_s() + _FAREWELL_S
        while not last.is_published() and self.clock.now_s() < until_s:
            if self._client.loop(_LOOP_S):
                return
        self._client.disconnect()


def _read(url: str) -> Broker | None:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme.lower()]
    except (ValueError, KeyError):
        return None
    # urlsplit takes a `#` or `?` at the end for an empty fragment or query.
    if not parts.hostname or re.search("[#?]", url.rpartition("@")[2]) or parts.fragment:
        return None
    prefix = unquote(parts.path).strip("/")
    if not prefix:
        prefix = "pocketlens/" + (re.sub(r"[^\w.-]", "_", socket.gethostname()) or "device")
    if re.search(r"[+#$\x00-\x1f]|//", prefix) or len(prefix) > 200:
        return None
    user = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    secure = parts.scheme.lower() == "mqtts"
    return Broker(redact(url), secure, parts.hostname, port, prefix, user, password)


def discovery(
    prefix: str, *, model: str, task: str, labels: Sequence[str], watches_shift: bool = False
) -> dict[str, dict[str, Any]]:
    """Return a configuration for each topic that announces a sensor.

    They read the retained topics `prefix`/state and `prefix`/availability, see `Mqtt`.
    A multiclass model is one sensor whose state is the label; a binary one is one that is on for
    the positive label; a multilabel one has one that is on for each label, or, from 51 labels on,
    a single sensor with the labels as text. Without an answer the state is Home Assistant's own
    "unknown". The score is an attribute. With `watches_shift` there is a diagnostic sensor, whose
    state is "none" or a kind of shift. Source of the fields: the documentation of Home Assistant,
    integration "MQTT", pages "Sensor" and "Binary sensor".
    """
    node = _node(prefix)
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

    found: list[tuple[str, dict[str, Any]]] = []
    if watches_shift:
        found.append(
            entry(
                "sensor",
                "Shift",
                "shift",
                value_template="{{ value_json.shift or 'none' }}",
                device_class="enum",
                options=["none", *SHIFT_KINDS],
                entity_category="diagnostic",
            )
        )
    if task == MULTILABEL and len(labels) <= _MOST_SENSORS:
        for index, label in enumerate(labels):
            template = f"{{{{ 'ON' if {_text(label)} in value_json.labels else 'OFF' }}}}"
            found.append(entry("binary_sensor", label, f"label_{index}", value_template=template))
    elif task == BINARY:
        label = labels[1]
        template = f"'ON' if value_json.label == {_text(label)} else 'OFF'"
        template = f"{{{{ 'None' if value_json.label is none else {template} }}}}"
        found.append(entry("binary_sensor", label, "label", value_template=template))
    else:
        more: dict[str, Any] = {"value_template": "{{ value_json.label }}"}
        if task != MULTILABEL:
            more |= {"device_class": "enum", "options": list(dict.fromkeys(labels))}
        found.append(entry("sensor", "Label", "label", **more))
    return dict(found)


def _node(prefix: str) -> str:
    """Return a prefix as an identifier that no other prefix has."""
    readable = _readable(prefix)
    if re.fullmatch("[a-zA-Z0-9-]+(?:/[a-zA-Z0-9-]+)*", prefix):
        return readable
    return f"{readable}_{hashlib.sha256(prefix.encode()).hexdigest()[:8]}"


def _readable(prefix: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", prefix)


def _text(label: str) -> str:
    # A JSON string in ASCII is a string of Jinja's, too.
    return json.dumps(label)
