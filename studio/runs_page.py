"""The page with all runs side by side, and the comparison of two of them or of their files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from pocketlens.errors import PocketlensError, UsageError
from pocketlens.evaluation.run_table import RunRow, RunTable, list_runs
from pocketlens.names import shown
from pocketlens.report.comparison import JSON_NAME, comparison_context, read_comparison
from pocketlens.report.records import DamagedError
from pocketlens.runtime.runs import REPORT_NAME
from pocketlens.studio.jobs import STATE_FOLDER, Jobs
from pocketlens.studio.made import Made, find, find_files, find_photo_folders, find_runs
from pocketlens.studio.names import to_key
from pocketlens.studio.pages import Page, render, write_route
from pocketlens.studio.protection import fields

if TYPE_CHECKING:
    from pocketlens.project import Project

COMPARE = "compare"

# A report is one file with its own style and pictures in it. It runs no script, whatever it holds,
# and is of no origin, so that it reaches nothing of the studio.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
)
"""The `Content-Security-Policy` of a run's report."""

_PAGE_NAME = "index.html"
_NEITHER = "Expected two different models. Received: the same twice. Choose another."


class RunsPage(Page):
    """Lists the runs of a project with what differed, and compares two models.

    Args:
        project: the project.
        jobs: those of the project, shared by all pages: a comparison is one.
    """

    path, title = "/runs", "Runs"

    def __init__(self, project: Project, jobs: Jobs) -> None:
        self._project = project
        self._jobs = jobs
        self._compared = jobs.root / STATE_FOLDER / "compared"

    def routes(self) -> Sequence[BaseRoute]:
        """Return its routes."""
        return [
            Route("/runs", self.show),
            Route("/runs/report/{key}", self.report),
            Route("/runs/compare", self.compare),
            write_route("/runs/compare/start", self.start),
        ]

    async def show(self, request: Request) -> Response:
        """Show all runs."""
        chosen = {name: request.query_params.get(name, "") for name in ("a", "b", "data")}
        return render(request, "runs.html", **await run_in_threadpool(self._context, chosen))

    async def report(self, request: Request) -> Response:
        """Show the report that `train` wrote into a run."""
        run = find(await run_in_threadpool(self._runs), request.path_params["key"])
        try:
            text = (run.path / REPORT_NAME / _PAGE_NAME).read_text("utf-8")
        except (OSError, ValueError):
            raise HTTPException(404, "This run has no report.") from None
        return HTMLResponse(text, headers={"content-security-policy": REPORT_POLICY})

    async def compare(self, request: Request) -> Response:
        """Show the comparison of two models, or offer to make it."""
        values = dict(request.query_params)
        a, b = await self._pair(values)
        data = await self._data(values)
        context = await run_in_threadpool(self._comparison, a, b, data)
        return render(request, "compare.html", **context)

    async def start(self, request: Request) -> Response:
        """Compare two models."""
        values = await fields(request)
        a, b = await self._pair(values)
        data = await self._data(values)
        folder = self._folder(a, b, data).relative_to(self._jobs.root).as_posix()
        words = [*_words(a, b, data), "--report", folder, "--overwrite"]
        job = await run_in_threadpool(self._jobs.start, words)
        url = f"/runs/compare?a={a.key}&b={b.key}" + (f"&data={data.key}" if data else "")
        return JSONResponse({"job": to_key(job.name), "url": url})

    async def _pair(self, values: dict[str, str]) -> tuple[Made, Made]:
        models = await run_in_threadpool(self._models)
        a, b = (find(models, values.get(name, "")) for name in "ab")
        if a.key == b.key:
            raise UsageError(_NEITHER)
        return a, b

    async def _data(self, values: dict[str, str]) -> Made | None:
        """Return the photos to compare on, None for the test photos of both."""
        key = values.get("data", "")
        return find(await run_in_threadpool(self._photo_folders), key) if key else None

    def _photo_folders(self) -> list[Made]:
        own = self._project
        return find_photo_folders(own.root, (own.inbox, own.runs, own.models, own.exports))

    def _runs(self) -> list[Made]:
        return find_runs(self._project.root, self._project.runs)

    def _files(self) -> list[Made]:
        return find_files(self._project.root, self._project.models)

    def _models(self) -> list[Made]:
        return self._runs() + self._files()

    def _context(self, chosen: dict[str, str]) -> dict[str, Any]:
        runs, files = self._runs(), self._files()
        table: RunTable | None = None
        problem = ""
        try:
            table = list_runs(self._project.runs) if runs else None
        except PocketlensError as error:
            problem = shown(error)
        reports = {run.path.name: run for run in runs}
        # What there is against what is new, where nothing is chosen.
        defaults = dict(zip("ba", [run.key for run in runs[:2]], strict=False))
        return {
            "runs": runs,
            "files": files,
            "photo_folders": self._photo_folders(),
            "chosen": {name: chosen[name] or defaults.get(name, "") for name in chosen},
            "rows": [_row(row, table, reports) for row in table.runs] if table else [],
            "differing": table.differing if table else (),
            "warnings": [*(table.warnings if table else ()), *([problem] if problem else [])],
            "only_validated": table is not None
            and any(row.measured_on == "val" for row in table.runs),
        }

    def _folder(self, a: Made, b: Made, data: Made | None) -> Path:
        keys = " ".join(one.key for one in (a, b, data) if one)
        pair = hashlib.sha256(keys.encode()).hexdigest()
        return self._compared / pair[:16]

    def _comparison(self, a: Made, b: Made, data: Made | None) -> dict[str, Any]:
        words = [*_words(a, b, data), "--report"]
        jobs = self._jobs.all()
        job = next((job for job in jobs if list(job.command[: len(words)]) == words), None)
        found, older, problem = None, False, ""
        path = self._folder(a, b, data) / JSON_NAME
        try:
            older = path.stat().st_mtime < max(a.made_s, b.made_s)
            found = comparison_context(read_comparison(json.loads(path.read_bytes())))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, DamagedError, RecursionError):
            problem = "The comparison cannot be read. Make it again."
        showing_job = job is not None and (job.is_running or job.state != "done")
        return {
            "a_made": a,
            "b_made": b,
            "data": data,
            "found": found,
            "older": older,
            "problem": problem,
            "job_key": to_key(job.name) if job and showing_job else "",
        }


def _words(a: Made, b: Made, data: Made | None) -> list[str]:
    return [COMPARE, a.word, b.word, *(("--data", data.word) if data else ())]


def _row(row: RunRow, table: RunTable, runs: dict[str, Made]) -> dict[str, Any]:
    run = runs.get(row.name)
    has_report = run is not None and (run.path / REPORT_NAME / _PAGE_NAME).is_file()
    return {
        "row": row,
        "name": shown(row.name),
        "key": run.key if run else "",
        "report": f"/runs/report/{run.key}" if run and has_report else "",
        "settings": [_setting(row.settings.get(name)) for name in table.differing],
    }


def _setting(value: object) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else shown(value)
