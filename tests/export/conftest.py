"""Exported web apps, served as `--serve` does it, or as a plain host of files."""

import contextlib
import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pocketlens.export.browser import HEADERS
from pocketlens.export.serving import FolderServer


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """A host of files that knows nothing of the app."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve a folder, `serve(folder)`, and return its address; `plain` sends no headers.

    `serve.stop()` ends all servers.
    """
    with contextlib.ExitStack() as stack:

        def start(folder: Path, *, plain: bool = False) -> str:
            if plain:
                handler = functools.partial(QuietHandler, directory=str(folder))
                server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            else:
                server = FolderServer(folder, HEADERS, 0)
                files = (path for path in folder.rglob("*") if path.is_file())
                server.names = frozenset(path.relative_to(folder).as_posix() for path in files)
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            # Connections that are open already would still be answered.
            stack.callback(setattr, server, "names", frozenset())
            return f"http://127.0.0.1:{server.server_port}/"

        start.stop = stack.close
        yield start
