"""A finished web app: the model, the engine that runs it in a browser, and the page around them."""

from __future__ import annotations

import hashlib
import html
import io
import json
import lzma
import tarfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pocketlens import __version__
from pocketlens.card import CARD_NAME, LABELS_NAME, labels_text
from pocketlens.errors import ModelFileError
from pocketlens.export.golden import golden_files, golden_pictures
from pocketlens.export.models import Candidate, Target, require_one_model
from pocketlens.export.readme import README_NAME, filled, readme_values

PACKAGE = "@litertjs/core"
VERSION = "2.5.3"
INTEGRITY = (
    "sha512-PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0"
    "FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ=="
)
"""The npm package's checksum, as the registry and package-lock files write it."""

FOLDER = "litert"
ARCHIVE_NAME = "litertjs.tar.xz"
BUILDS = ("litert_wasm_internal", "litert_wasm_compat_internal", "litert_wasm_threaded_internal")
"""Its builds for processors: relaxed SIMD, plain SIMD, threads with relaxed SIMD."""

ARCHIVE_SHA256 = "ca3191ede7ec99f68c8f3756cb6c41b766007637712dafff39cb50aa9f44dc42"

NOTICE = f"""\
The files in this folder are those of the folder wasm/ of the npm package {PACKAGE} {VERSION},
unchanged. Copyright Google LLC, licensed under the Apache License, Version 2.0: see LICENSE.
Source: https://github.com/google-ai-edge/LiteRT, litert/js/packages/core
"""


def engine_files() -> dict[str, bytes]:
    """Return the engine's files with its licence, by their names in an app's folder."""
    data = (files("pocketlens.export") / "web" / ARCHIVE_NAME).read_bytes()
    if hashlib.sha256(data).hexdigest() != ARCHIVE_SHA256:
        raise ModelFileError(
            f"Expected {ARCHIVE_NAME} of pocketlens as it was made. Received: a changed file. "
            "Install pocketlens again."
        )
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(data))) as archive:
        for entry in archive:
            stream = archive.extractfile(entry)
            if stream is not None:
                contents[f"{FOLDER}/{entry.name}"] = stream.read()
    return contents


APP_NAME = "app.json"
WORKER_NAME = "service-worker.js"

_POLICY = (
    "default-src 'none'",
    # Compiling WebAssembly is what the engine needs beyond scripts of this host.
    "script-src 'self' 'wasm-unsafe-eval'",
    "style-src 'self'",
    # A chosen photo is shown from memory.
    "img-src 'self' blob:",
    "connect-src 'self'",
    "worker-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": "; ".join((*_POLICY, "frame-ancestors 'none'")),
    # Both isolate the page from others, without which browsers give it no threads.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self)",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""What a server should send with every file of the folder."""

# What the page needs before it knows which model and which engine are wanted.
_FIRST = (
    "./",
    "app.css",
    "app.js",
    APP_NAME,
    "icon.png",
    "icon.svg",
    "manifest.webmanifest",
    "pixels.js",
    "worker.js",
)


def web_files(models: Sequence[Candidate], images: Path | None) -> dict[str, bytes]:
    """Return the files of a web app by their paths in its folder.

    Args:
        models: files of one model in different formats; the first is the one that opens.
        images: a folder with photos to make the test pictures of; None draws some.

    Raises:
        UsageError: the models are of different kinds.
        DataError: a photo cannot be read.
    """
    require_one_model(models)
    card = models[0].card
    pictures = golden_pictures(images, models[0].signature.size_wh, card.resize_mode)
    contents = {
        "index.html": _page(card.name),
        "app.css": _style(),
        **{name: _read(name) for name in ("app.js", "icon.png", "icon.svg", "pixels.js")},
        "worker.js": _read("worker.js"),
        "manifest.webmanifest": _json(_manifest(card.name)),
        APP_NAME: _json(_app(models)),
        CARD_NAME: card.to_json().encode(),
        LABELS_NAME: labels_text(card.score_labels).encode(),
        **{f"{model.name}.tflite": model.data for model in models},
        **golden_files(models, pictures),
        **engine_files(),
    }
    contents[WORKER_NAME] = _worker(contents)
    values = readme_values(models, len(pictures), photos=images is not None)
    values |= {"ENGINE": VERSION, "HEADERS": "\n".join(f"{k}: {v}" for k, v in HEADERS.items())}
    return contents | {README_NAME: filled(_text("web.md"), values).encode()}


def _app(models: Sequence[Candidate]) -> dict[str, Any]:
    """Return what the page has to know of the card and the files."""
    card = models[0].card
    return {
        "name": card.name,
        "task": card.task,
        "threshold": card.threshold,
        "labels": card.labels,
        "size": models[0].signature.size_wh,
        "resize_mode": card.resize_mode,
        "models": [
            {
                "file": f"{model.name}.tflite",
                "format": model.card.format,
                "bytes": len(model.data),
                "sha256": model.sha256,
                "input": model.signature.input.dtype.name,
                "output": model.signature.output.dtype.name,
                "scale": model.signature.output.scale,
                "zero_point": model.signature.output.zero_point,
            }
            for model in models
        ],
    }


def _manifest(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#f4f6f8",
        "theme_color": "#1f6f54",
        "icons": [
            {"src": "icon.svg", "sizes": "any", "type": "image/svg+xml"},
            {"src": "icon.png", "sizes": "512x512", "type": "image/png"},
        ],
    }


def _page(name: str) -> bytes:
    # In the page itself, since a plain host of files sends no headers.
    values = {"POLICY": "; ".join(_POLICY), "NAME": html.escape(name)}
    return filled(_text("index.html"), values).encode()


def _style() -> bytes:
    # The live page's, which is of the same parts.
    live = (files("pocketlens.runtime.live.web") / "page.css").read_bytes()
    return live + _read("app.css")


def _worker(contents: Mapping[str, bytes]) -> bytes:
    """Return the service worker, which is another one as soon as any file is."""
    together = hashlib.sha256()
    for name, data in contents.items():
        together.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    values = {
        "FILES": json.dumps(_FIRST),
        "HEADERS": json.dumps(dict(HEADERS)),
        "VERSION": f"{__version__} {together.hexdigest()[:16]}",
    }
    return filled(_text(WORKER_NAME), values).encode()


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _text(name: str) -> str:
    return _read(name).decode("utf-8")


def _read(name: str) -> bytes:
    return (files("pocketlens.export") / "web" / name).read_bytes()


WEB = Target(
    "web", "a complete app for a browser", ("int8", "weights8"), web_files, serving=HEADERS
)
