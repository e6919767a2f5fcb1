"""`pocketlens collect`: photos for training, from the camera that will be used."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pocketlens.cli.camera_options import camera_options, refuse_missing
from pocketlens.cli.options import (
    LocalPath,
    called_in,
    command,
    deliver,
    json_option,
    options_of,
    overwrite_option,
)
from pocketlens.errors import UsageError
from pocketlens.names import shown
from pocketlens.stopping import stop_on_signals

if TYPE_CHECKING:
    import threading

    from pocketlens.project import Project
    from pocketlens.runtime.live.collecting import Collector, Store
    from pocketlens.runtime.live.watching import Watcher

photos = options_of("Photos")
page = options_of("Page")


@command(
    "collect",
    example="pocketlens collect --source 0 --out photos/ --label mug --label plate",
    project={},
)
@photos(
    "--out",
    metavar="DIR",
    type=LocalPath(),
    help="Put photos into DIR/LABEL.  [default: the project's photos]",
)
@photos(
    "--label",
    "labels",
    multiple=True,
    metavar="LABEL",
    help="A label to record; may be repeated. Those of the project, and of folders that exist, "
    "are added.",
)
@photos(
    "--rate",
    type=click.FloatRange(min=0.1, max=30),
    default=5.0,
    show_default=True,
    metavar="N",
    help="Most photos per second while a label is held.",
)
@photos(
    "--keep-copies",
    is_flag=True,
    help="Keep near copies of a label's last photos, too, as where only something small changes.",
)
@camera_options
@page(
    "--web",
    metavar="[HOST:]PORT",
    default="8080",
    show_default=True,
    help="Address of the page. With a HOST other devices can reach, such as 0.0.0.0, it asks for a "
    "token.",
)
@page(
    "--web-token",
    metavar="TOKEN",
    envvar="POCKETLENS_WEB_TOKEN",
    show_envvar=True,
    help="Token that the page asks for.  [default: one is made where other devices can reach it]",
)
@page("--no-browser", is_flag=True, help="Do not open the page in this machine's browser.")
@page(
    "--terminal",
    is_flag=True,
    help="No page: record by the digit keys in the terminal.",
)
@json_option
@overwrite_option
def collect_command(
    out: Path | None,
    labels: tuple[str, ...],
    rate: float,
    keep_copies: bool,
    source: str,
    size_wh: tuple[int, int] | None,
    fps: float | None,
    fourcc: str | None,
    web: str,
    web_token: str | None,
    no_browser: bool,
    terminal: bool,
    json_target: str | None,
    overwrite: bool,
) -> None:
    """Take training photos with a camera: hold a label, and its frames are kept.

    A page shows the live picture with a button per label. Hold a button, or its digit key, to
    record; z takes the last recording back. Near copies of the last photos of a label are left
    out. Photos are JPEGs of quality 95 in the camera's size, each with a .json beside it that says
    when and from where it came. The page says when a label has enough photos to begin, and warns
    of one background, the same light, or blur. Ctrl-C ends it.
    """
    from pocketlens.files import refuse_targets
    from pocketlens.imports import require_studio
    from pocketlens.runtime.live.sources import SourceRequest, check_wishes

    refuse_targets(json_target, overwrite=overwrite)
    request = SourceRequest(source, size_wh, fps, fourcc)
    check_wishes(request)
    refuse_missing(request)
    if not terminal:
        require_studio()
    with stop_on_signals() as stop:
        store, known = _store(called_in(), out)
        from pocketlens.runtime.live.collecting import Collector
        from pocketlens.runtime.live.watching import Watcher

        with contextlib.ExitStack() as stack:
            collector = Collector(
                store,
                (*known, *labels),
                source=request.name,
                rate=rate,
                keep_copies=keep_copies,
            )
            stack.callback(collector.close)
            record: Callable[[Watcher], None]
            if terminal:
                record = stack.enter_context(_keys(collector, stop))
            else:
                record = _page(collector, web, web_token, browser=not no_browser, stop=stop)
            watcher = Watcher(request, collector.take, stop=stop)
            stack.callback(watcher.close)
            if not stop.is_set():
                record(watcher)
        result = {"source": request.name, "photos": str(store.photos), **_kept(collector)}
    deliver(json_target, lambda: result, lambda: click.echo(_summary(result), err=True))


def _store(project: Project | None, out: Path | None) -> tuple[Store, tuple[str, ...]]:
    """Return where photos go, and the labels that the project has."""
    from pocketlens.choices import MULTICLASS, UNKNOWN
    from pocketlens.files import refuse_unwritable
    from pocketlens.runtime.live.collecting import FolderStore, ProjectStore

    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(
            f"Expected --out to name a folder. Received: {shown(out)}, a file. Name another one."
        )
    labels: tuple[str, ...] = ()
    if project is not None:
        labels = (*project.classes, *((UNKNOWN,) if project.task == MULTICLASS else ()))
    if project is not None and (out is None or _same(out, project.photos)):
        refuse_unwritable(project.photos / "label")
        return ProjectStore(project), labels
    if out is None:
        raise UsageError(
            "Expected a project, or --out with a folder for the photos. Received: neither. "
            "Write it like --out photos/, or make a project with: pocketlens init FOLDER"
        )
    refuse_unwritable(out / "label")
    return FolderStore(out), labels


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


@contextlib.contextmanager
def _keys(collector: Collector, stop: threading.Event) -> Iterator[Callable[[Watcher], None]]:
    """Take the terminal's keys, before a camera is opened, and give it back however this ends."""
    from rich.live import Live

    from pocketlens.runtime.live.key_collecting import collect_by_keys
    from pocketlens.runtime.live.keys import Keys

    with Keys() as keys, Live(auto_refresh=False) as live:
        yield lambda watcher: collect_by_keys(
            collector,
            watcher.state,
            keys,
            lambda panel: live.update(panel, refresh=True),
            stop,
        )


def _page(
    collector: Collector,
    web: str,
    web_token: str | None,
    *,
    browser: bool,
    stop: threading.Event,
) -> Callable[[Watcher], None]:
    """Return what serves the page until it is to stop; the address is read at once."""
    from pocketlens.runtime.live.web.access import check_token, parse_address

    address = parse_address(web)
    token = None if web_token is None else check_token(web_token)

    def serve(watcher: Watcher) -> None:
        from pocketlens.studio.collect import CollectPage
        from pocketlens.studio.server import Studio

        with Studio([CollectPage(watcher, collector)], address, token=token) as studio:
            # An address with a token in it would be seen in the list of processes.
            if browser and _has_screen() and "token=" not in studio.url:
                click.launch(studio.url)
            stop.wait()

    return serve


def _has_screen() -> bool:
    """Tell whether a browser would open beside the terminal, and not in it."""
    if not sys.stderr.isatty():
        return False
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in screens)


def _kept(collector: Collector) -> dict[str, Any]:
    state = collector.to_dict()
    return {
        "labels": [
            {key: entry[key] for key in ("label", "count", "kept", "copies", "enough")}
            for entry in state["labels"]
        ],
        "late": state["late"],
        "problem": state["problem"],
    }


def _summary(result: dict[str, Any]) -> str:
    kept = [entry for entry in result["labels"] if entry["kept"]]
    count = sum(entry["kept"] for entry in kept)
    if not count:
        return "No photos kept."
    each = ", ".join(f"{shown(entry['label'])} {entry['kept']}" for entry in kept)
    photos = "1 photo" if count == 1 else f"{count} photos"
    return f"{photos} kept in {shown(result['photos'])}: {each}"
