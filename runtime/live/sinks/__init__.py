"""What `pocketlens live` shows and sends over the network: a web page, MQTT, a webhook."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pocketlens.extras import require_mqtt, require_web

# Whoever asks for none of them does not wait for their modules.
if TYPE_CHECKING:
    from pocketlens.runtime.classifier import Classifier
    from pocketlens.runtime.live.frames import CaptureCounts, FrameResult, SourceState
    from pocketlens.runtime.live.sinks.mqtt import Broker
    from pocketlens.runtime.live.sinks.webhook import Hook
    from pocketlens.runtime.live.web.access import WebAddress
    from pocketlens.runtime.pictures import Pixels


class Output(Protocol):
    """Takes every result and every change of the source's state, without waiting."""

    def __call__(self, frame_bgr: Pixels, result: FrameResult) -> None:
        """Take a result; the frame is uint8 (height, width, 3) BGR."""

    def watch(self, state: SourceState) -> None:
        """Take a change of state."""


@dataclass(frozen=True)
class Remote:
    """What is asked for; None is not."""

    web: WebAddress | None = None
    web_token: str | None = field(default=None, repr=False)
    mqtt: Broker | None = None
    webhook: Hook | None = None


def parse_remote(
    web: str | None, web_token: str | None, mqtt: str | None, webhook: str | None
) -> Remote:
    """Read the options, before anything is opened.

    Raises:
        UsageError: one of them cannot be.
        MissingDependencyError: an extra is not installed.
    """
    address = token = broker = hook = None
    if web is not None:
        from pocketlens.runtime.live.web.access import check_token, parse_address

        require_web()
        address = parse_address(web)
        token = None if web_token is None else check_token(web_token)
    if mqtt is not None:
        from pocketlens.runtime.live.sinks.mqtt import parse_broker

        require_mqtt()
        broker = parse_broker(mqtt)
    if webhook is not None:
        from pocketlens.runtime.live.sinks.webhook import parse_hook

        hook = parse_hook(webhook)
    return Remote(address, token, broker, hook)


@contextlib.contextmanager
def open_remote(
    remote: Remote,
    classifier: Classifier,
    *,
    source: str,
    counts: Callable[[], CaptureCounts],
    announce: Callable[[str], None],
) -> Iterator[list[Output]]:
    """Give what shall take every result, and end it afterwards, which takes a few seconds at most.

    Args:
        remote: what is asked for.
        classifier: what classifies.
        source: the source's name, without passwords.
        counts: says what happened while capturing.
        announce: gets a line that says where the page is.

    Raises:
        MissingDependencyError: an extra is not installed.
        OutputError: the page cannot be served at its address.
    """
    outputs: list[Output] = []
    model = os.path.basename(classifier.model.path)
    with contextlib.ExitStack() as stack:
        if remote.mqtt:
            from pocketlens.runtime.live.sinks.mqtt import MqttOutput

            broker = MqttOutput(
                remote.mqtt, model=model, task=classifier.task, labels=classifier.labels
            )
            outputs.append(stack.enter_context(closing(broker)))
        if remote.webhook:
            from pocketlens.runtime.live.sinks.webhook import Webhook

            outputs.append(stack.enter_context(closing(Webhook(remote.webhook))))
        if remote.web:
            from pocketlens.runtime.live.web import open_web

            page = open_web(
                remote.web,
                token=remote.web_token,
                model=model,
                source=source,
                counts=counts,
                announce=announce,
            )
            outputs.append(stack.enter_context(page))
        yield outputs
