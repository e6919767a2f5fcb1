"""What Home Assistant is told: sensors by task, and templates that give their states."""

import json

import pytest

from pocketlens.choices import SHIFT_KINDS
from pocketlens.runtime.live.sinks.mqtt import discovery

LABELS = ("cat", "dog")


def configs(task, labels=LABELS):
    return discovery("farm/barn", model="m.tflite", task=task, labels=labels)


def test_a_multiclass_model_is_one_sensor_with_its_labels():
    ((topic, config),) = configs("multiclass", ("cat", "crane", "crane")).items()
    assert topic == "homeassistant/sensor/farm_barn/label/config"
    assert config["device_class"] == "enum"
    # Home Assistant refuses a list that names an option twice.
    assert config["options"] == ["cat", "crane"]
    assert config["value_template"] == "{{ value_json.label }}"
    assert config["unique_id"] == "farm_barn_label"


def test_a_binary_model_is_on_for_the_positive_label():
    ((topic, config),) = configs("binary").items()
    assert topic == "homeassistant/binary_sensor/farm_barn/label/config"
    assert config["name"] == "dog"
    assert (
        config["value_template"] == "{{ 'None' if value_json.label is none else "
        "'ON' if value_json.label == \"dog\" else 'OFF' }}"
    )


def test_a_multilabel_model_is_a_sensor_a_label_until_there_are_too_many():
    entries = configs("multilabel")
    assert list(entries) == [
        f"homeassistant/binary_sensor/farm_barn/label_{number}/config" for number in (0, 1)
    ]
    many = configs("multilabel", tuple(map(str, range(51))))
    assert list(many) == ["homeassistant/sensor/farm_barn/label/config"]
    assert "options" not in next(iter(many.values()))


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
def test_where_shift_is_watched_there_is_a_diagnostic_sensor(task):
    entries = discovery("farm/barn", model="m", task=task, labels=LABELS, watches_shift=True)
    (topic,) = entries.keys() - configs(task).keys()
    assert topic == "homeassistant/sensor/farm_barn/shift/config"
    config = entries[topic]
    assert (config["name"], config["entity_category"]) == ("Shift", "diagnostic")
    assert config["options"] == ["none", *SHIFT_KINDS]
    assert render(config["value_template"], {"shift": "darker"}) == "darker"
    assert render(config["value_template"], {"shift": None}) == "none"


@pytest.mark.parametrize("task", ["multiclass", "binary", "multilabel"])
def test_every_sensor_has_what_home_assistant_needs(task):
    entries = discovery("farm/barn", model="m", task=task, labels=LABELS, watches_shift=True)
    for topic, config in entries.items():
        assert topic.startswith("homeassistant/")
        assert config["state_topic"] == config["json_attributes_topic"] == "farm/barn/state"
        assert config["availability_topic"] == "farm/barn/availability"
        assert config["device"]["identifiers"] == ["farm_barn"]
        assert config["device"]["name"] == "barn"
        assert config["name"]
        json.dumps(config)


def render(template, state):
    jinja2 = pytest.importorskip("jinja2", reason="jinja2, Home Assistant's templates, is missing")
    return jinja2.Environment(autoescape=False).from_string(template).render(value_json=state)


ODD = ['say "hi"', "it's {{ odd }}", "käfer\\n", "%} x", "日本"]


@pytest.mark.parametrize("label", ["dog", *ODD])
def test_templates_give_the_states(label):
    (binary,) = configs("binary", ("no", label)).values()
    for given, state in ((label, "ON"), ("no", "OFF"), (None, "None")):
        assert render(binary["value_template"], {"label": given}) == state
    config = configs("multilabel", ("no", label)).popitem()[1]
    for labels, state in (([label, "no"], "ON"), (["no"], "OFF"), ([], "OFF")):
        assert render(config["value_template"], {"labels": labels}) == state
    (sensor,) = configs("multiclass", (label,)).values()
    assert render(sensor["value_template"], {"label": label}) == label
    assert render(sensor["value_template"], {"label": None}) == "None"


def test_no_two_topics_are_one_device():
    prefixes = ["barn", "谷仓", "车库", "a/b", "a_b", "a b", "a.b", "a//b", "pocketlens/谷仓"]
    ids = [
        config["unique_id"]
        for prefix in prefixes
        for config in discovery(prefix, model="m", task="multiclass", labels=("cat",)).values()
    ]
    assert len(set(ids)) == len(prefixes)
    assert ids[0] == "barn_label"
    assert all(entry.isascii() for entry in ids)
