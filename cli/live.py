"""`pocketlens live`: a camera or a video, frame by frame."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketlens.cli.camera_options import camera_options, read_with, refuse_missing, source
from pocketlens.cli.options import (
    EXISTING,
    TARGET,
    command,
    json_option,
    model_hints_options,
    options_of,
    output,
    overwrite_option,
)
from pocketlens.errors import DataError, ModelFileError, OutputError, UsageError
from pocketlens.files import STANDARD_OUTPUT, refuse_targets, refuse_unwritable, write_json
from pocketlens.runtime.live.sinks import SINK_OPTIONS, SinkRequest, flag, make_sinks, targets
from pocketlens.stopping import stop_on_signals

if TYPE_CHECKING:
    from pocketlens.runtime.hints import ModelHints
    from pocketlens.runtime.model_files import ModelFile

_DECISION = ("smooth_s", "confirm", "hysteresis", "threshold", "allow", "deny")
_LOSSES = ("event_videos_lost", "kept_frames_lost", "lines_lost")
# A page has room for more than the answer.
_PAGE_LABELS = 5

decision = options_of("Decision")


def _parse_threads(text: str) -> int | None:
    """Return a number of threads, or None to measure which is best."""
    if text == "auto":
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise UsageError(
            f"Expected --threads as a number of 1 or more, or auto. Received: {text}. "
            "Leave it out for one thread."
        )
    return int(text)


def _parse_confirm(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None:
        raise UsageError(f"Expected --confirm as N/M. Received: {text}. Write it like 3/5.")
    return int(match[1]), int(match[2])


def _sink_options(*groups: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options of these groups that sinks declare."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name, option in reversed(SINK_OPTIONS.items()):
            if option.group not in groups:
                continue
            settings: dict[str, Any] = {"type": TARGET} if option.writes else {}
            if isinstance(option.default, bool):
                settings = {"is_flag": True}
            elif isinstance(option.default, int):
                settings = {
                    "type": click.IntRange(min=option.least, max=option.most),
                    "default": option.default,
                    "show_default": True,
                }
            if option.bare:
                settings |= {"is_flag": False, "flag_value": option.bare}
            if option.variable:
                settings |= {"envvar": option.variable, "show_envvar": True}
            add = options_of(option.group)
            function = add(flag(name), name, metavar=option.metavar, help=option.help, **settings)(
                function
            )
        return function

    return decorate


@command(
    "live",
    example="pocketlens live flowers_int8.tflite --source 0 --record garden.mp4",
    project={"model": "model file"},
)
@click.argument("model", metavar="MODEL", type=EXISTING)
@camera_options
@source("--max-frames", type=click.IntRange(min=1), metavar="N", help="Stop after N frames.")
@decision(
    "--threshold",
    type=float,
    help="Lowest score of an answer; below it the answer is 'unknown' (binary: the negative "
    "label).  [default: the model's; multiclass: none]",
)
@decision(
    "--sets",
    type=float,
    metavar="LEVEL",
    help="Also show a label set, which has the right label for this share of frames, if they are "
    "like the validation photos. LEVEL: 0.8, 0.9, 0.95 or 0.99.",
)
@decision(
    "--smooth",
    "smooth_s",
    type=float,
    default=0.0,
    metavar="SECONDS",
    help="Time constant of an exponential moving average of the scores: after SECONDS it has "
    "followed 63 % of a step, at any frame rate.",
)
@decision(
    "--confirm",
    metavar="N/M",
    callback=read_with(_parse_confirm),
    default="1/1",
    show_default=True,
    help="An answer becomes the decision when N of the last M frames gave it.",
)
@decision(
    "--hysteresis",
    type=float,
    default=0.0,
    metavar="MARGIN",
    help="Keep the decision until its score is MARGIN below the threshold, or another label's "
    "score is MARGIN above its own.",
)
@decision(
    "--allow",
    multiple=True,
    metavar="LABEL",
    help="Decide only for this label; may be repeated. If the answer is another label, the "
    "decision is 'unknown'.",
)
@decision(
    "--deny", multiple=True, metavar="LABEL", help="Never decide for this label; may be repeated."
)
@decision(
    "--watch-shift",
    "watch_shift_s",
    type=float,
    metavar="SECONDS",
    help="Compare a frame every SECONDS with the validation photos and say when frames differ: "
    "darker, brighter, blurred, grey or other. 0 for never.  [default: 60, if the model can]",
)
@decision(
    "--threads",
    default="1",
    show_default=True,
    metavar="N|auto",
    callback=read_with(_parse_threads),
    help="Threads per inference; 'auto' measures at the start which number is best.",
)
@_sink_options("Recording", "Labelling", "Network")
# `--threshold` is among the decisions' options; without it the model's own counts.
@model_hints_options(without=("threshold",))
@_sink_options("Output")
@output(
    "--top-k",
    type=click.IntRange(min=1),
    metavar="N",
    help="Labels per frame; all labels of the answer are included.  [default: 1, with --web 5]",
)
@json_option
@overwrite_option
def live_command(
    model: Path,
    source: str,
    size_wh: tuple[int, int] | None,
    fps: float | None,
    fourcc: str | None,
    sets: float | None,
    watch_shift_s: float | None,
    top_k: int | None,
    threads: int | None,
    hints: ModelHints,
    max_frames: int | None,
    json_target: str | None,
    **outputs: Any,
) -> None:
    """Classify a camera, a stream or a video frame by frame.

    A camera or stream runs until Ctrl-C, which ends it cleanly: recordings and logs are complete.
    If it fails, it is opened again until frames arrive. An old frame never gets an answer.

    Answers of single frames flicker. The decision is steady: by default it is each frame's answer;
    --smooth, --confirm and --hysteresis hold it. A change of the decision is an event: a line on
    the terminal or in a pipe, marked in --jsonl, and a video with --record-events.
    """
    settings_given = {name: outputs.pop(name) for name in _DECISION}
    with stop_on_signals() as stop:
        _check_outputs(json_target, outputs)
        from pocketlens.runtime.live.sources import SourceRequest, check_wishes

        request = SourceRequest(source, size_wh, fps, fourcc)
        check_wishes(request)
        refuse_missing(request)
        quiet = json_target == STANDARD_OUTPUT
        sinks = make_sinks(SinkRequest(quiet=quiet, **outputs))
        top_k = top_k or (_PAGE_LABELS if outputs["web"] is not None else 1)
        from pocketlens.runtime.classifier import Classifier
        from pocketlens.runtime.live.decisions import DecisionSettings
        from pocketlens.runtime.live.run import run_live
        from pocketlens.runtime.model_files import read_model_file

        settings = DecisionSettings(**settings_given)
        model_file = read_model_file(model)
        if model_file.card is None:
            from pocketlens.runtime.third_party import complete

            model_file = complete(model_file, hints)
        chosen = threads or _choose_threads(model_file, hints.backend)
        with Classifier(
            model_file, threads=chosen, top_k=top_k, hints=hints, sets=sets
        ) as classifier:
            if settings.threshold is not None:
                # A frame's answers follow it like the decision, whatever the file says.
                classifier.threshold = settings.threshold
            outcome = run_live(
                classifier,
                request,
                settings,
                sinks,
                stop,
                max_frames=max_frames,
                watch_shift_s=watch_shift_s,
            )
    if json_target:
        write_json(
            json_target, {"model": str(model), "source": request.name, "threads": chosen, **outcome}
        )
    from pocketlens.runtime.live.measures import counted

    lost = [counted(n, name.replace("_", " ")) for name in _LOSSES if (n := outcome.get(name))]
    if lost:
        raise OutputError(f"{', '.join(lost)}. The warnings above say why: make room on the disk.")
    if outcome["damaged"] and not outcome["frames"] and not request.live:
        raise DataError(
            f"Expected readable pictures in {request.name}. Received: {outcome['damaged']}, all of "
            "them damaged. Copy them again."
        )
    if outcome["unusable"] and not outcome["frames"]:
        raise ModelFileError(
            f"Expected scores from {model}. Received: NaN or infinite scores for all "
            f"{outcome['unusable']} frames. Convert the model again."
        )


def _is_full(error: OutputError) -> bool:
    """Return whether a disk or a quota is full."""
    import errno

    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)


def _choose_threads(model_file: ModelFile, backend: str | None) -> int:
    from pocketlens.runtime.threads import choose_threads

    choice = choose_threads(model_file, backend=backend)
    click.echo(f"Threads: {choice}", err=True)
    return choice.threads


def _check_outputs(json_target: str | None, outputs: dict[str, Any]) -> None:
    """Refuse what cannot be before a model is loaded or a camera is opened."""
    files = {"json": json_target} if json_target is not None else {}
    files |= targets(outputs, "file")
    refuse_targets(*files.values(), overwrite=outputs["overwrite"])
    for name, target in targets(outputs, "folder").items():
        if Path(target).is_file():
            raise UsageError(
                f"Expected {flag(name)} to name a folder. Received: {target}, a file. "
                "Name another one."
            )
        try:
            refuse_unwritable(Path(target))
        except OutputError as error:
            # A service has to start again on a full disk, too; it says what that costs.
            if not Path(target).is_dir() or not _is_full(error):
                raise
