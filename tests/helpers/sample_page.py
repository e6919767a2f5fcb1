"""A page as somebody would add one: reads, writes, has files, fails in every way."""

from starlette.responses import FileResponse, PlainTextResponse
from starlette.routing import Route

from pocketlens.errors import (
    ConflictError,
    DataError,
    ModelFileError,
    OutputError,
    OutputExistsError,
    UsageError,
)
from pocketlens.studio.names import file_in
from pocketlens.studio.pages import Page, render, write_route
from pocketlens.studio.protection import fields

ERRORS = {
    "usage": UsageError,
    "data": DataError,
    "exists": OutputExistsError,
    "conflict": ConflictError,
    "disk": OutputError,
    "other": ModelFileError,
}


class SamplePage(Page):
    def __init__(self, folder, path="/sample", title="Sample"):
        self.folder = folder
        self.path, self.title = path, title
        self.changes = []

    def routes(self):
        return [
            Route(self.path, self.show),
            Route(f"{self.path}/photo/{{key}}", self.photo),
            write_route(f"{self.path}/photo", self.change_photo),
            write_route(f"{self.path}/rename", self.rename, methods=("POST", "PUT")),
            write_route(f"{self.path}/upload", self.upload, most_bytes=1 << 20),
            write_route(f"{self.path}/fail", self.fail),
        ]

    async def show(self, request):
        return render(request, "base.html")

    async def photo(self, request):
        return FileResponse(file_in(self.folder, request.path_params["key"]))

    async def change_photo(self, request):
        self.changes.append(file_in(self.folder, (await fields(request))["key"]))
        return PlainTextResponse("changed")

    async def rename(self, request):
        self.changes.append((await fields(request))["to"])
        return PlainTextResponse(self.changes[-1])

    async def upload(self, request):
        return PlainTextResponse(str(len(await request.body())))

    async def fail(self, request):
        raise ERRORS[(await fields(request))["error"]]("Expected this. Received: that\n.")
