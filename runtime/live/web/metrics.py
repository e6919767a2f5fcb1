"""The figures of a run in Prometheus's text format."""

from __future__ import annotations

from dataclasses import asdict

from pocketlens import __version__
from pocketlens.runtime.live.frames import LIVE
from pocketlens.runtime.live.web.feed import Feed

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_COUNTS = {
    "dropped": "Frames that newer ones replaced unread.",
    "damaged": "Frames that could not be decoded.",
    "repeated": "Frames that came once more.",
    "stalls": "Times that frames stopped coming.",
    "reconnects": "Times that the source was opened again.",
}


def metrics(feed: Feed, viewers: int) -> str:
    """Return what holds now; the format is that of Prometheus's exposition format 0.0.4."""
    latest = feed.latest
    state, _ = feed.state()
    build = f'{{version="{_escape(__version__)}",model="{_escape(feed.model)}"}}'
    lines = [
        *_metric("info", "gauge", "What runs.", (build, 1)),
        *_metric("source_up", "gauge", "Whether fresh frames come.", ("", int(state == LIVE))),
        *_metric("frames_total", "counter", "Frames classified.", ("", feed.frames)),
    ]
    for name, count in asdict(feed.counts()).items():
        lines += _metric(f"{name}_total", "counter", _COUNTS[name], ("", count))
    lines += _metric("viewers", "gauge", "Pages that follow the events.", ("", viewers))
    if latest:
        seconds = (
            (f'{{stage="{stage}"}}', round(value / 1000, 9))
            for stage, value in latest.latency_ms.items()
        )
        age_s = round(feed.clock() - latest.at_s, 3)
        lines += [
            *_metric("fps", "gauge", "Answers per second.", ("", round(latest.fps, 3))),
            *_metric("latency_seconds", "gauge", "Averaged time of a stage.", *seconds),
            *_metric("answer_age_seconds", "gauge", "Age of the newest answer.", ("", age_s)),
        ]
    return "".join(f"{line}\n" for line in lines)


def _metric(name: str, kind: str, text: str, *values: tuple[str, float]) -> list[str]:
    full = f"pocketlens_{name}"
    return [
        f"# HELP {full} {text}",
        f"# TYPE {full} {kind}",
        *(f"{full}{labels} {value}" for labels, value in values),
    ]


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
