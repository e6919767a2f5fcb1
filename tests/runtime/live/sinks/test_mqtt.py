"""MQTT against a real mosquitto: what it holds, also after it or the program was gone."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from timing import PATIENCE_S, wait_for

from pocketlens.clock import CLOCK
from pocketlens.errors import UsageError
from pocketlens.runtime.classifier import Category
from pocketlens.runtime.live.frames import (
    STALE,
    Decision,
    FrameResult,
    RunInfo,
    ShiftState,
    SourceState,
)
from pocketlens.runtime.live.sinks import outbox
from pocketlens.runtime.live.sinks.mqtt import Mqtt, parse_broker

FRAME = np.zeros((4, 4, 3), np.uint8)
SECRET = "hunter2"
LABELS = ("cat", "käfer")
STATE, AVAILABILITY = "farm/barn/state", "farm/barn/availability"
CONFIG = "homeassistant/sensor/farm_barn/label/config"


def result(number, *labels, changed=True):
    best = tuple(Category(label, 0.75, LABELS.index(label)) for label in labels)
    return FrameResult(number, float(number), best, best, Decision(best, changed), 4.0, 2.0)


def stale():
    return SourceState(STALE, 1.0, "the cable is loose", 0)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Broker:
    """A mosquitto that forgets everything when it is stopped."""

    def __init__(self, folder, *, secured=False, certificate=None):
        # Debian has it where only root's PATH leads.
        paths = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
        self._program = shutil.which("mosquitto", path=paths)
        if not self._program:
            pytest.skip("mosquitto is not installed")
        self.port = free_port()
        self._process = None
        lines = [f"listener {self.port} 127.0.0.1", "persistence false"]
        if secured:
            passwords = folder / "passwords"
            maker = shutil.which("mosquitto_passwd", path=paths)
            subprocess.run([maker, "-c", "-b", str(passwords), "me", SECRET], check=True)
            passwords.chmod(0o644)
            lines += [f"password_file {passwords}", "allow_anonymous false"]
        else:
            lines += ["allow_anonymous true"]
        if certificate:
            lines += [f"certfile {certificate}.pem", f"keyfile {certificate}.key"]
        if os.getuid() == 0:
            # Else it would become a user that cannot read the files here.
            lines += ["user root"]
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(lines) + "\n")
        self.start()

    def start(self):
        self._process = subprocess.Popen(
            [self._program, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def answers():
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return True
            return False

        wait_for(answers)

    def stop(self):
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


class Listener:
    """Somebody else at the broker: what is retained, and all that came."""

    def __init__(self, port, *, user=None, password=None):
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.topics = {}
        self.came = []
        self.ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        if user:
            self._client.username_pw_set(user, password)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self.ready.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self.ready.wait(PATIENCE_S)

    def _take(self, _client, _data, message):
        text = message.payload.decode()
        self.topics[message.topic] = text
        self.came.append((message.topic, text))

    def publish(self, topic, text):
        self._client.publish(topic, text, retain=True)

    @property
    def label(self):
        return json.loads(self.topics[STATE])["label"] if STATE in self.topics else "nothing"

    @property
    def labels(self):
        return [json.loads(text)["label"] for topic, text in self.came if topic == STATE]

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(autouse=True)
def _paho():
    pytest.importorskip("paho.mqtt", reason="the mqtt extra is not installed")


@pytest.fixture
def _short_pauses(monkeypatch):
    monkeypatch.setattr(outbox, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(outbox, "LONGEST_PAUSE_S", 0.2)


@pytest.fixture
def open_broker(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(**options):
            broker = Broker(tmp_path, **options)
            stack.callback(broker.stop)
            return broker

        yield start


@pytest.fixture
def listen():
    with contextlib.ExitStack() as stack:

        def start(broker, **options):
            listener = Listener(broker.port, **options)
            stack.callback(listener.close)
            return listener

        yield start


def url_of(broker, credentials="", scheme="mqtt", host="127.0.0.1"):
    return f"{scheme}://{credentials}{host}:{broker.port}/farm/barn"


@contextlib.contextmanager
def open_output(url, task="multiclass", clock=CLOCK, **more):
    output = Mqtt(parse_broker(url), clock)
    output.opened(
        RunInfo(model="m.tflite", task=task, labels=LABELS, source="barn.mp4", device="pi", **more)
    )
    try:
        yield output
    finally:
        output.closed()


def test_what_holds_is_kept_for_those_who_come_later(open_broker, listen):
    broker = open_broker()
    early = listen(broker)
    with open_output(url_of(broker)) as output:
        wait_for(lambda: {CONFIG, STATE, AVAILABILITY} <= set(early.topics))
        assert (early.topics[AVAILABILITY], early.label) == ("offline", None)
        output.result(FRAME, result(0, "cat"))
        output.result(FRAME, result(1, "cat", changed=False))
        output.result(FRAME, result(2, "käfer"))
        wait_for(lambda: early.labels == [None, "cat", "käfer"])
        late = listen(broker)
        wait_for(lambda: len(late.topics) == 3)
        state = json.loads(late.topics[STATE])
        assert (state["label"], state["score"], state["labels"]) == ("käfer", 0.75, ["käfer"])
        assert state["scores"] == {"käfer": 0.75}
        assert late.topics[AVAILABILITY] == "online"
        assert json.loads(late.topics[CONFIG])["options"] == list(LABELS)
        output.state(stale())
        wait_for(lambda: early.topics[AVAILABILITY] == "offline" and early.label is None)
        # Frames are there again, but what is seen is still what was: online with the first answer.
        output.result(FRAME, result(3, "cat"))
        wait_for(lambda: early.topics[AVAILABILITY] == "online" and early.label == "cat")
    wait_for(lambda: early.topics[AVAILABILITY] == "offline")


def test_a_shift_is_said_with_the_decision_that_holds(open_broker, listen):
    broker = open_broker()
    listener = listen(broker)

    def held():
        state = json.loads(listener.topics.get(STATE, "{}"))
        return state.get("label"), state.get("shift", "nothing")

    with open_output(url_of(broker), watches_shift=True) as output:
        output.result(FRAME, result(0, "cat"))
        wait_for(lambda: held() == ("cat", None))
        output.shift(ShiftState("darker", 60.0, 50))
        wait_for(lambda: held() == ("cat", "darker"))
        output.result(FRAME, result(1, "käfer"))
        wait_for(lambda: held() == ("käfer", "darker"))
        output.shift(ShiftState(None, 120.0, 50))
        wait_for(lambda: held() == ("käfer", None))
        assert sum("/shift/config" in topic for topic in listener.topics) == 1


def test_several_labels_and_none(open_broker, listen):
    broker = open_broker()
    listener = listen(broker)
    with open_output(url_of(broker), task="multilabel") as output:
        output.result(FRAME, result(0, "cat", "käfer"))
        wait_for(lambda: listener.label == "cat, käfer")
        assert json.loads(listener.topics[STATE])["labels"] == ["cat", "käfer"]
        output.result(FRAME, result(1))
        wait_for(lambda: listener.label is None)
        assert sum("binary_sensor" in topic for topic in listener.topics) == 2


@pytest.mark.real_time
@pytest.mark.usefixtures("_short_pauses")
def test_a_broker_that_was_gone_holds_everything_again(open_broker, listen, caplog):
    caplog.set_level("INFO", "pocketlens")
    broker = open_broker()
    first = listen(broker)
    with open_output(url_of(broker)) as output:
        output.result(FRAME, result(0, "cat"))
        wait_for(lambda: first.label == "cat")
        first.close()
        broker.stop()
        wait_for(lambda: "does not take what is sent" in caplog.text)
        # Nothing new is said meanwhile; the broker comes back without a memory.
        broker.start()
        second = listen(broker)
        wait_for(lambda: second.topics.get(AVAILABILITY) == "online" and second.label == "cat")
        wait_for(lambda: CONFIG in second.topics)
        second.close()
        broker.stop()
        for number in range(1, 4):
            output.result(FRAME, result(number, LABELS[number % 2]))
        wait_for(lambda: caplog.text.count("does not take what is sent") == 2)
        broker.start()
        third = listen(broker)
        wait_for(lambda: third.label == "käfer" and CONFIG in third.topics)
        wait_for(lambda: third.topics.get(AVAILABILITY) == "online")
        third.close()


def test_a_broker_that_is_not_there_yet_blocks_nothing(open_broker, listen, clock, caplog):
    broker = open_broker()
    broker.stop()
    with open_output(url_of(broker), clock=clock) as output:
        # Time stands still, and whoever waited for the broker would wait forever.
        for number in range(1000):
            output.result(FRAME, result(number, LABELS[number % 2]))
        assert [clock.end_wait() for _ in range(6)] == [0.5, 1, 2, 4, 5, 5]
        clock.waiting()
        broker.start()
        clock.end_wait()
        listener = listen(broker)
        wait_for(lambda: listener.label == "käfer")
        wait_for(lambda: listener.topics.get(AVAILABILITY) == "online")
        # Once it was there pauses begin anew.
        listener.close()
        broker.stop()
        assert [clock.end_wait() for _ in range(2)] == [0.5, 1]
    assert caplog.text.count("Connection refused") == 2


def test_a_run_that_is_over_at_once_is_published_all_the_same(open_broker, listen, clock, caplog):
    broker = open_broker()
    listener = listen(broker)
    for number in range(5):
        with open_output(url_of(broker), clock=clock) as output:
            output.result(FRAME, result(number, LABELS[number % 2]))
        wait_for(lambda label=LABELS[number % 2]: listener.label == label)
        wait_for(lambda: listener.topics[AVAILABILITY] == "offline")
    assert "did not get" not in caplog.text


def test_the_end_does_not_wait_for_a_broker_that_says_nothing():
    pytest.importorskip("paho.mqtt", reason="the mqtt extra is not installed")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}/farm/barn"
        with open_output(url) as output:
            output.result(FRAME, result(0, "cat"))
            connection, _ = silent.accept()
        # By itself: the broker still says nothing.
        wait_for(lambda: "Mqtt" not in [thread.name for thread in threading.enumerate()])
        connection.close()


def test_a_wrong_password_is_said_once_and_never_shown(open_broker, listen, clock, caplog):
    caplog.set_level("DEBUG")
    broker = open_broker(secured=True)
    with open_output(url_of(broker, f"me:wrong-{SECRET}@"), clock=clock):
        assert [clock.end_wait() for _ in range(4)] == [0.5, 1, 2, 4]
    assert caplog.text.count("Not authorized") == 1
    with open_output(url_of(broker, f"me:{SECRET}@")) as output:
        listener = listen(broker, user="me", password=SECRET)
        output.result(FRAME, result(0, "cat"))
        wait_for(lambda: listener.label == "cat")
    assert SECRET not in caplog.text


KILLED = """
import sys, time
import numpy as np
from pocketlens.runtime.classifier import Category
from pocketlens.runtime.live.frames import Decision, FrameResult, RunInfo
from pocketlens.runtime.live.sinks.mqtt import Mqtt, parse_broker
output = Mqtt(parse_broker(sys.argv[1]))
output.opened(RunInfo(model="m", labels=("cat",)))
best = (Category("cat", 0.75, 0),)
result = FrameResult(0, 0.0, best, best, Decision(best, True), 1, 1)
output.result(np.zeros((4, 4, 3), np.uint8), result)
time.sleep(600)
"""


@pytest.mark.real_time
def test_a_program_that_is_killed_is_offline(open_broker, listen):
    broker = open_broker()
    listener = listen(broker)
    program = subprocess.Popen([sys.executable, "-c", KILLED, url_of(broker)])
    try:
        wait_for(lambda: listener.topics.get(AVAILABILITY) == "online")
    finally:
        program.send_signal(signal.SIGKILL)
        program.wait()
    wait_for(lambda: listener.topics[AVAILABILITY] == "offline")


def test_tls_with_a_certificate_that_is_trusted_and_one_that_is_not(
    open_broker, certificate, monkeypatch, caplog
):
    broker = open_broker(certificate=certificate)
    caplog.set_level("INFO", "pocketlens")
    url = url_of(broker, scheme="mqtts", host="localhost")
    with open_output(url):
        wait_for(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text or "certificate" in caplog.text)
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.pem")
    with open_output(url) as output:
        wait_for(lambda: output.connected)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker",
        "http://broker/",
        "mqtt://",
        "mqtt:///prefix",
        "mqtt://broker:99999/",
        "mqtt://broker/a/+/b",
        "mqtt://broker/a%23",
        "mqtt://broker/$SYS",
        "mqtt://broker/a//b",
        "mqtt://broker/a?b=c",
        "mqtt://broker/a#",
        "mqtt://broker/a?",
        "mqtt://broker/a/+",
        "mqtt://broker/+",
        f"mqtt://me:{SECRET}@broker:port/",
        f"mqtt://me:{SECRET}@[::1/",
    ],
)
def test_what_is_no_address_is_one_sentence_without_the_password(url):
    with pytest.raises(UsageError, match="Expected --mqtt as an address") as caught:
        parse_broker(url)
    assert SECRET not in str(caught.value)


def test_addresses():
    broker = parse_broker(f"mqtts://me%40home:p%2Fw{SECRET}@broker/farm/barn/")
    assert (broker.host, broker.port, broker.secure, broker.prefix) == (
        "broker",
        8883,
        True,
        "farm/barn",
    )
    assert (broker.user, broker.password) == ("me@home", f"p/w{SECRET}")
    assert SECRET not in repr(broker)
    plain = parse_broker("mqtt://[::1]")
    assert (plain.host, plain.port, plain.user, plain.secure) == ("::1", 1883, None, False)
    assert plain.prefix.startswith("pocketlens/")


def test_sensors_of_a_model_that_is_no_more_are_taken_back(open_broker, listen):
    broker = open_broker()
    listener = listen(broker)
    kept = "homeassistant/sensor/farm_barn/other/config"
    listener.publish(kept, '{"state_topic": "other/state"}')
    with open_output(url_of(broker), "multilabel"):
        wait_for(lambda: sum("binary_sensor" in topic for topic in listener.topics) == 2)
    with open_output(url_of(broker)):
        wait_for(lambda: CONFIG in listener.topics)
        wait_for(lambda: not any(v for t, v in listener.topics.items() if "binary_sensor" in t))
    wait_for(lambda: listener.topics.get(kept))
    assert listener.topics[CONFIG]


@pytest.mark.parametrize("text", ["[" * 100_000, "no JSON", "[]", '{"state_topic": 1}'])
def test_what_others_leave_at_the_topics_of_sensors_ends_nothing(open_broker, listen, text):
    broker = open_broker()
    listener = listen(broker)
    listener.publish("homeassistant/sensor/farm_barn/odd/config", text)
    wait_for(lambda: listener.topics)
    with open_output(url_of(broker)) as output:
        output.result(FRAME, result(0, "cat"))
        wait_for(lambda: listener.label == "cat")
        output.result(FRAME, result(1, "käfer"))
        wait_for(lambda: listener.label == "käfer")


def test_the_state_says_when_and_where_from(open_broker, listen):
    broker = open_broker()
    listener = listen(broker)
    with open_output(url_of(broker)) as output:
        output.result(FRAME, dataclasses.replace(result(0, "cat"), at_s=1.5, file="a.jpg"))
        wait_for(lambda: listener.label == "cat")
    came = [json.loads(text) for topic, text in listener.came if topic == STATE]
    state = next(entry for entry in came if entry["label"] == "cat")
    assert state["at"] == "1970-01-01T00:00:01.500+00:00"
    assert (state["source"], state["device"], state["file"]) == ("barn.mp4", "pi", "a.jpg")
