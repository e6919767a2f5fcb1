"""The page that starts `check`, `train` and `convert` and shows what they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from pocketlens.choices import TASKS
from pocketlens.clock import CLOCK, Clock
from pocketlens.errors import PocketlensError, UsageError
from pocketlens.names import shown
from pocketlens.runtime.photos import scan
from pocketlens.runtime.runs import is_run
from pocketlens.studio.curves import can_resume, read_epochs
from pocketlens.studio.forms import Field, form_fields, shell_line
from pocketlens.studio.jobs import DONE, Job, Jobs
from pocketlens.studio.made import find, find_runs
from pocketlens.studio.names import from_key, is_plain, to_key
from pocketlens.studio.pages import Page, render, write_route
from pocketlens.studio.protection import fields

if TYPE_CHECKING:
    import click

    from pocketlens.project import Project

CHECK, TRAIN, CONVERT = COMMANDS = ("check", "train", "convert")

# The first settings of a command; the others are a click away, under the headings of `--help`.
_USUAL = {
    CHECK: ("strict",),
    TRAIN: (
        "arch",
        "alpha",
        "image-size",
        "weights",
        "augment",
        "no-flip",
        "head-epochs",
        "fine-tune-epochs",
        "batch-size",
    ),
    CONVERT: ("format", "max-drop", "overwrite"),
}
# What a page gives by itself, and what means nothing in a project.
_GIVEN = {
    CHECK: ("report", "json", "overwrite"),
    TRAIN: ("out", "json", "dataset", "task", "list-architectures"),
    CONVERT: ("out", "json", "name"),
}
_STRANGE = "Third-party model"
_NAME, _MODEL = "name", "model"
_MOST_LISTED = 20
_BUTTONS = {
    CHECK: "Check the photos",
    TRAIN: "Start the training",
    CONVERT: "Convert the run",
}


class TrainPage(Page):
    """Starts commands in a project and shows the log and the curves of the one that runs.

    Args:
        project: the project.
        commands: by name, those of the command line; fields of forms are made of their options.
        jobs: those of the project, shared by all pages.
        clock: what times are counted by.
    """

    path, title = "/train", "Train"

    def __init__(
        self,
        project: Project,
        commands: Mapping[str, click.Command],
        jobs: Jobs,
        *,
        clock: Clock = CLOCK,
    ) -> None:
        self._project = project
        self._commands = commands
        self._jobs = jobs
        self._clock = clock

    def routes(self) -> Sequence[BaseRoute]:
        """Return its routes."""
        return [
            Route("/train", self.show),
            Route("/train/line", self.line),
            Route("/train/job/{key}", self.job),
            write_route("/train/start", self.start),
            write_route("/train/cancel", self.cancel),
            write_route("/train/resume", self.resume),
        ]

    async def show(self, request: Request) -> Response:
        """Show the form of a command, and a job: the one that is named, or the newest."""
        command = request.query_params.get("command", TRAIN)
        if command not in COMMANDS:
            raise HTTPException(404)
        context = await run_in_threadpool(
            self._context,
            command,
            request.query_params.get(_MODEL, ""),
            request.query_params.get("job", ""),
        )
        return render(request, "train.html", **context)

    async def line(self, request: Request) -> Response:
        """Return the command line that a form means, to be copied."""
        words = await run_in_threadpool(self._words, dict(request.query_params))
        return PlainTextResponse(shell_line([shown(word) for word in words]))

    async def start(self, request: Request) -> Response:
        """Start what a form says."""
        values = await fields(request)
        words = await run_in_threadpool(self._words, values)
        job = await run_in_threadpool(self._jobs.start, words)
        return JSONResponse({"job": to_key(job.name), "url": _job_url(job)})

    async def cancel(self, request: Request) -> Response:
        """End a job: as Ctrl-C does, or at once."""
        values = await fields(request)
        job = await self._job(values.get("key", ""))
        job = await run_in_threadpool(self._jobs.cancel, job, at_once="at_once" in values)
        return JSONResponse({"state": job.state})

    async def resume(self, request: Request) -> Response:
        """Go on with a training that was interrupted."""
        job = await self._job((await fields(request)).get("key", ""))
        out = self._run_of(job)
        if out is None or not can_resume(out):
            raise UsageError("Expected an interrupted training. Received: none. Start a new one.")
        words = [word for word in job.command if word != "--overwrite"]
        words += [] if "--resume" in words else ["--resume"]
        job = await run_in_threadpool(self._jobs.start, words)
        return JSONResponse({"job": to_key(job.name), "url": _job_url(job)})

    async def job(self, request: Request) -> Response:
        """Return what has become of a job, and what came since the last look."""
        job = await self._job(request.path_params["key"])
        from_byte = _whole(request.query_params.get("from"))
        known = _whole(request.query_params.get("epochs"))
        return JSONResponse(await run_in_threadpool(self._progress, job, from_byte, known))

    async def _job(self, key: str) -> Job:
        name = from_key(key)
        try:
            return await run_in_threadpool(self._jobs.get, name)
        except UsageError as error:
            raise HTTPException(404, str(error)) from None

    def _context(self, command: str, model: str, job_key: str) -> dict[str, Any]:
        jobs = self._jobs.all()[:_MOST_LISTED]
        chosen = next((job for job in jobs if to_key(job.name) == job_key), None)
        chosen = chosen or next((job for job in jobs if job.is_running), None)
        chosen = chosen or (jobs[0] if jobs else None)
        found = self._fields(command)
        usual = [field for name in _USUAL[command] for field in found if field.name == name]
        groups: dict[str, list[Field]] = {}
        for field in found:
            if field not in usual:
                groups.setdefault(field.group, []).append(field)
        return {
            "command": command,
            "commands": COMMANDS,
            "button": _BUTTONS[command],
            "usual": usual,
            "groups": groups,
            "photos": self._photos() if command != CONVERT else "",
            "run_name": self._free_name(),
            "runs": find_runs(self._project.root, self._project.runs),
            "model": model,
            "root": shown(self._jobs.root),
            "job": chosen and _listed(chosen),
            "jobs": [_listed(job) for job in jobs],
        }

    def _fields(self, command: str) -> list[Field]:
        settings = self._project.settings.get(command, {})
        found = form_fields(self._commands[command], settings, without=_GIVEN[command])
        return [field for field in found if field.group != _STRANGE]

    def _words(self, values: Mapping[str, str]) -> list[str]:
        """Return the words of the command line that a form means."""
        command = values.get("command", "")
        if command not in COMMANDS:
            raise UsageError(
                f"Expected a command among {', '.join(COMMANDS)}. "
                f"Received: {shown(command) or 'none'}. Load the page again."
            )
        chosen = [word for field in self._fields(command) for word in field.arguments(values)]
        root = self._project.root
        if command == CONVERT:
            runs = find_runs(root, self._project.runs)
            if not values.get(_MODEL):
                raise UsageError("Expected a run to convert. Received: none. Train one first.")
            run = find(runs, values[_MODEL])
            out = f"{self._project.models.name}/{run.path.name}"
            return [command, run.word, "--out", out, *chosen]
        words = [command, self._project.photos.name]
        if command == TRAIN:
            name = values.get(_NAME, "").strip()
            if not is_plain(name) or name != shown(name):
                raise UsageError(
                    "Expected a name for the run that a folder can have. Received: "
                    f"{shown(name) or 'none'}. Choose another."
                )
            words += ["--out", f"{self._project.runs.name}/{name}"]
            if self._project.task != TASKS[0]:
                words += ["--task", self._project.task]
        return words + chosen

    def _photos(self) -> str:
        """Return what there is to train on, in a sentence."""
        try:
            found = scan(self._project.photos)
        except PocketlensError as error:
            return shown(error)
        counts = dict.fromkeys(found.labels, 0)
        for photo in found.photos:
            for index in photo.label_indices:
                counts[found.labels[index]] += 1
        listed = ", ".join(f"{shown(label)} {count}" for label, count in counts.items())
        return f"{len(found.photos)} photos: {listed}."

    def _free_name(self) -> str:
        """Return a name that no run has, as `train` would choose it."""
        name = self._jobs.root.name or "run"
        taken = {entry.removeprefix(".").removesuffix(".partial") for entry in self._run_names()}
        return next(new for n in count(1) if (new := f"{name}-{n}") not in taken)

    def _run_names(self) -> list[str]:
        try:
            return [entry.name for entry in self._project.runs.iterdir()]
        except OSError:
            return []

    def _run_of(self, job: Job) -> Path | None:
        """Return the run folder of a training."""
        if job.command[0] != TRAIN or "--out" not in job.command[:-1]:
            return None
        return self._jobs.root / job.command[job.command.index("--out") + 1]

    def _progress(self, job: Job, from_byte: int, known: int) -> dict[str, Any]:
        # What it printed last is read when it has ended: nothing comes after that.
        log = self._jobs.read_log(job, from_byte)
        out = self._run_of(job)
        epochs = read_epochs(out, job.asked_s) if out else []
        ended_s = self._clock.wall_s() if job.is_running else job.ended_s
        return {
            **_listed(job),
            "log": log.text,
            "next": log.next_byte,
            "skipped": log.skipped,
            "epochs": epochs if len(epochs) != known else None,
            "seconds": None if ended_s is None else max(0.0, ended_s - job.asked_s),
            "can_resume": bool(out and not job.is_running and can_resume(out)),
            "next_steps": self._next_steps(job, out),
        }

    def _next_steps(self, job: Job, out: Path | None) -> list[dict[str, str]]:
        if job.state != DONE:
            return []
        if job.command[0] == CHECK:
            return [{"text": "Train on these photos", "url": "/train"}]
        if job.command[0] == CONVERT:
            return [{"text": "Try the files", "url": "/try"}]
        if out is None or not is_run(out):
            return []
        key = to_key(f"{self._project.runs.name}/{out.name}")
        return [
            {"text": "Convert it to files", "url": f"/train?command={CONVERT}&model={key}"},
            {"text": "Compare it with others", "url": f"/runs?b={key}"},
        ]


def _listed(job: Job) -> dict[str, Any]:
    at = datetime.fromtimestamp(job.asked_s, timezone.utc).isoformat(timespec="seconds")
    return {
        "key": to_key(job.name),
        "at": at,
        "line": shell_line([shown(word) for word in job.command]),
        "command": shown(job.command[0]),
        "state": job.state,
        "running": job.is_running,
        "sentence": job.sentence,
        "url": _job_url(job),
    }


def _job_url(job: Job) -> str:
    command = job.command[0] if job.command[0] in COMMANDS else TRAIN
    return f"/train?{urlencode({'command': command, 'job': to_key(job.name)})}"


def _whole(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 16 else 0
