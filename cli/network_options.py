"""The options of `pocketlens live` that say what goes over the network."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

_NAMES = ("web", "web_token", "mqtt", "webhook")

_OPTIONS = (
    click.option(
        "--web",
        is_flag=False,
        flag_value="8080",
        metavar="[[HOST:]PORT]",
        help="Show it in a browser, at port 8080 of this machine if nothing else is said. With an "
        "address that others can reach (0.0.0.0:8080 is all of them) the page needs a token.",
    ),
    click.option(
        "--web-token",
        metavar="TOKEN",
        envvar="POCKETLENS_WEB_TOKEN",
        show_envvar=True,
        help="The page's token; without one, each run that needs one makes a new one. Others on "
        "this machine can read a command line, but not its environment.",
    ),
    click.option(
        "--mqtt",
        metavar="URL",
        envvar="POCKETLENS_MQTT",
        show_envvar=True,
        help="Keep the decision at an MQTT broker, where Home Assistant finds it: "
        "mqtt://user:password@host:1883/topic, or mqtts://.",
    ),
    click.option(
        "--webhook",
        metavar="URL",
        envvar="POCKETLENS_WEBHOOK",
        show_envvar=True,
        help="Post every event to an HTTP address, as the JSON of its line in --jsonl.",
    ),
)


def remote_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command, which gets them together as `remote`."""

    @functools.wraps(command)
    def gather(**values: Any) -> Any:
        return command(remote={name: values.pop(name) for name in _NAMES}, **values)

    decorated: Callable[..., Any] = gather
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
