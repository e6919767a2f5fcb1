"""`pocketlens studio`."""

from __future__ import annotations

import click

from pocketlens.cli.options import called_in, command, options_of
from pocketlens.errors import UsageError
from pocketlens.stopping import stop_on_signals

page = options_of("Page")


@command("studio", example="pocketlens studio --project flowers/", project={})
@page(
    "--web",
    metavar="[HOST:]PORT",
    default="8080",
    show_default=True,
    help="Address of the pages. With a HOST other devices can reach, such as 0.0.0.0, they ask for "
    "a token.",
)
@page(
    "--web-token",
    metavar="TOKEN",
    envvar="POCKETLENS_WEB_TOKEN",
    show_envvar=True,
    help="Token that the pages ask for.  [default: one is made where other devices can reach them]",
)
def studio_command(web: str, web_token: str | None) -> None:
    """Work on a project in the browser: label photos, train, compare runs and try models.

    Photos in the project's inbox are sorted by how little its newest model can tell, similar ones
    are groups, and a digit key gives a label. What is confirmed is on the disk. A training goes on
    when the browser or this command is closed. Ctrl-C ends it.
    """
    from pocketlens.imports import require_studio
    from pocketlens.runtime.live.web.access import check_token, parse_address

    address = parse_address(web)
    token = None if web_token is None else check_token(web_token)
    project = called_in()
    if project is None:
        raise UsageError(
            "Expected a project: the current folder is in none. "
            "Name one with --project, or make one with: pocketlens init FOLDER"
        )
    require_studio()
    with stop_on_signals() as stop:
        from pocketlens.cli.main import group
        from pocketlens.studio.catalogue import NEEDED, pages_of
        from pocketlens.studio.server import Studio

        context = click.Context(group)
        found = ((name, group.get_command(context, name)) for name in NEEDED)
        commands = {name: needed for name, needed in found if needed is not None}
        with pages_of(project, commands) as pages, Studio(pages, address, token=token):
            stop.wait()
