"""Pages on the user's own machine that may write: one server, its rules, and what pages share.

`pocketlens collect` and `pocketlens studio` serve with it. A page is a module with a subclass of
`pages.Page`, and that is all there is to adding one:

    class LabelPage(Page):
        path, title = "/label", "Label"            # where it is, and its name in the navigation

        def routes(self):
            return [
                Route("/label", self.show),                        # reads only
                Route("/label/photo/{key}", self.photo),
                write_route("/label/place", self.place),           # may change something
                write_route("/label/upload", self.upload, most_bytes=20 << 20),
            ]

        async def show(self, request):
            return render(request, "label.html", photos=...)       # templates/label.html

        async def photo(self, request):
            path = names.file_in(self.folder, request.path_params["key"])
            return FileResponse(path)

        async def place(self, request):
            form = await fields(request)                           # {"key": ..., "label": ...}

with `Studio([LabelPage(...)], address)`. Every path of a page begins with its `path`. What changes
something is a `write_route`: a method other than GET passes only with the session's CSRF token, in
the header `X-CSRF-Token` or, in a plain form, as the field `csrf`, and only from a page of this
server. `static/studio.js` sends it with every request of htmx and with `studio.post(url, values)`;
a form that works without JavaScript holds `{{ csrf_field() }}`. A GET that changes something is a
defect.

A template extends `base.html` and fills the blocks `title`, `head` (its own script and style:
`{{ asset("label.js") }}`), `status` (right in the header) and `content`. Scripts and styles are
files in `static/`: the `Content-Security-Policy` allows none within a page, nor `style="..."`.
Names of files and labels are never joined to a path: a picture's address has `names.to_key(name)`,
and `names.file_in(folder, key)` finds it or answers 404. An endpoint may raise any
`PocketlensError`: its sentence is the answer, with the status that fits (`protection.STATUS`).
What blocks (a disk, a decoder) is done by `run_in_threadpool`, since all pages share one loop.
`server.routes_of(pages)` lists all routes; `tests/studio/test_protection.py` tries each of every
page with what must be refused.
"""
