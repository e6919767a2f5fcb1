"""`pocketlens live`: a camera or a video, frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketlens.cli.live_options import (
    check_fourcc,
    decision_options,
    parse_size,
    parse_threads,
)
from pocketlens.cli.network_options import remote_options
from pocketlens.cli.options import (
    json_option,
    labels_option,
    mean_option,
    overwrite_option,
    std_option,
)
from pocketlens.errors import DataError, ModelFileError, OutputError, UsageError
from pocketlens.files import STANDARD_OUTPUT, refuse_targets, write_json
from pocketlens.stopping import stop_on_signals

if TYPE_CHECKING:
    from pocketlens.runtime.model_files import ModelFile

_LOSSES = ("event_videos_lost", "lines_lost")
# A page has room for more than the answer.
_PAGE_LABELS = 5


@click.command(
    "live",
    short_help="Classify a camera or a video, frame by frame.",
    epilog="Example: pocketlens live flowers_int8.tflite --source 0 --record garden.mp4",
)
@click.argument("model", metavar="MODEL")
@click.option(
    "--source",
    default="0",
    show_default=True,
    metavar="N|FILE|URL",
    # Everybody sees a command line, and a URL may hold a password.
    envvar="POCKETLENS_SOURCE",
    show_envvar=True,
    help="Number of a camera, /dev/video*, a name in /dev/v4l/by-id, picamera2, an RTSP or HTTP "
    "MJPEG URL, a video file, pictures (a file, a folder or a pattern like 'photos/*.jpg'), or a "
    "scripted camera: fake:hang=300.",
)
@click.option(
    "--size",
    "size_wh",
    metavar="WxH",
    callback=lambda _ctx, _option, text: parse_size(text),
    help="Size of a camera's frames in pixels.",
)
@click.option(
    "--fps",
    type=click.FloatRange(min=0.01, max=1000),
    help="Frames per second: what a camera is asked for, what a stream that gives fewer than 1.5 "
    "is expected to give, what pictures count as.",
)
@click.option(
    "--fourcc",
    metavar="CODE",
    callback=lambda _ctx, _option, text: check_fourcc(text),
    help="A camera's pixel format; MJPG reaches large sizes over USB.",
)
@click.option(
    "--jsonl",
    "jsonl_target",
    metavar="FILE|-",
    help="Write one JSON object per frame, a line each; where the decision changed, its 'event' is "
    "true.",
)
@click.option("--record", metavar="OUT.mp4", help="Write the frames with their labels as a video.")
@click.option(
    "--record-events",
    metavar="DIR",
    help="Write a labelled video around each event: from 3 s before to 5 s after it.",
)
@click.option(
    "--keep-events",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    metavar="N",
    help="How many of these videos DIR may hold; the oldest are deleted.",
)
@click.option("--display", is_flag=True, help="Show the frames in a window; q or Esc ends.")
@click.option("--max-frames", type=click.IntRange(min=1), help="End after so many frames.")
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    help="Labels per frame, with at least those that are the answer.  [default: 1, with --web 5]",
)
@click.option(
    "--threads",
    default="1",
    show_default=True,
    metavar="N|auto",
    callback=lambda _ctx, _option, text: parse_threads(text),
    help="Threads of an inference; 'auto' measures at the start which number is best here.",
)
@decision_options
@remote_options
@labels_option
@mean_option
@std_option
@json_option
@overwrite_option
def live_command(
    model: str,
    source: str,
    size_wh: tuple[int, int] | None,
    fps: float | None,
    fourcc: str | None,
    top_k: int | None,
    threads: int | None,
    decision: dict[str, Any],
    remote: dict[str, Any],
    labels_file: str | None,
    mean: float | None,
    std: float | None,
    max_frames: int | None,
    json_target: str | None,
    jsonl_target: str | None,
    **outputs: Any,
) -> None:
    """Classify a camera or a video, frame by frame.

    A camera or stream runs until Ctrl-C, which ends it cleanly: recordings are finished, logs
    complete. Whatever happens to it on the way, it is opened again until frames come again, and
    no answer is given for an old one.

    The answers of single frames flicker. The decision is what holds: by default each frame's own
    answer; --smooth, --confirm and --hysteresis make it steady. When it changes, that is an event:
    a line on a terminal or in a pipe, marked in --jsonl, a video with --record-events.
    """
    with stop_on_signals() as stop:
        _check_outputs(json_target, jsonl_target, **outputs)
        from pocketlens.runtime.live.sources import SourceRequest, check_wishes

        request = SourceRequest(source, size_wh, fps, fourcc)
        check_wishes(request)
        from pocketlens.runtime.live.sinks import SinkRequest, make_sinks

        quiet = json_target == STANDARD_OUTPUT
        sinks = make_sinks(SinkRequest(quiet=quiet, jsonl=jsonl_target, **outputs, **remote))
        top_k = top_k or (_PAGE_LABELS if remote["web"] is not None else 1)
        from pocketlens.runtime.classifier import Classifier
        from pocketlens.runtime.live.decisions import DecisionSettings
        from pocketlens.runtime.live.run import run_live
        from pocketlens.runtime.model_files import read_model_file, with_labels

        settings = DecisionSettings(**decision)
        model_file = with_labels(read_model_file(model), Path(labels_file) if labels_file else None)
        chosen = threads or _choose_threads(model_file)
        with Classifier(model_file, threads=chosen, top_k=top_k, mean=mean, std=std) as classifier:
            outcome = run_live(classifier, request, settings, sinks, stop, max_frames=max_frames)
    if json_target:
        write_json(
            json_target, {"model": model, "source": request.name, "threads": chosen, **outcome}
        )
    lost = [f"{count} {name}" for name in _LOSSES if (count := outcome.get(name))]
    if lost:
        raise OutputError(
            "Expected room for everything that was to be written. Received: a full disk and "
            f"{', '.join(lost).replace('_', ' ')}. Make room on the disk."
        )
    if outcome["damaged"] and not outcome["frames"] and not request.live:
        raise DataError(
            f"Expected readable pictures in {request.name}. Received: {outcome['damaged']}, all of "
            "them damaged. Copy them again."
        )
    if outcome["unusable"] and not outcome["frames"]:
        raise ModelFileError(
            f"Expected finite scores from {model}. Received: NaN or infinite ones for all "
            f"{outcome['unusable']} frames. Convert the model again."
        )


def _choose_threads(model_file: ModelFile) -> int:
    from pocketlens.runtime.threads import choose_threads

    choice = choose_threads(model_file)
    click.echo(f"Threads: {choice}", err=True)
    return choice.threads


def _check_outputs(
    json_target: str | None,
    jsonl_target: str | None,
    record: str | None,
    record_events: str | None,
    overwrite: bool,
    **_: Any,
) -> None:
    """Refuse what cannot be before a model is loaded or a camera is opened."""
    targets = [target for target in (json_target, jsonl_target, record) if target is not None]
    places = [Path(target).absolute() for target in targets]
    if len(set(places)) < len(places):
        raise UsageError(
            "Expected different places for --json, --jsonl and --record. "
            f"Received: {', '.join(targets)}. Change one of them."
        )
    refuse_targets(*targets, overwrite=overwrite)
    if record_events is not None and Path(record_events).is_file():
        raise UsageError(
            f"Expected --record-events to name a folder. Received: {record_events}, a file. "
            "Name another one."
        )
