"""LiteRT.js, which runs the model in the web app: what of it is shipped, and where it is from."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from importlib.resources import files

from pocketlens.errors import ModelFileError

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
