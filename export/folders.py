"""Writing the folder of a target: whole or not at all, with the checksums of all that is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import UsageError
from pocketlens.export.browser import WEB
from pocketlens.export.c_array import C
from pocketlens.export.models import as_files, check_formats, read_candidates
from pocketlens.export.phones import PHONES
from pocketlens.files import one_call, refuse_folder, staged_folder, write_bytes
from pocketlens.runtime.hints import ModelHints

TARGETS = {target.name: target for target in (*PHONES, WEB, C)}
"""What models can be exported for, by name. A new target is a module and an entry here."""

CHECKSUMS_NAME = "pocketlens.sha256"
"""The file with the checksums, as `sha256sum --check` reads it; it marks a folder as ours."""


@dataclass(frozen=True)
class Exported:
    """A folder that was written. `sha256` has the checksum of each file in it, by its path."""

    target: str
    folder: Path
    sha256: Mapping[str, str]


@one_call()
def export(
    models: Sequence[str | Path],
    out: str | Path,
    target: str,
    *,
    formats: Sequence[str] = (),
    images: str | Path | None = None,
    hints: ModelHints | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write what a target needs to run models.

    Args:
        models: `.tflite` files, or runs, which are converted. A third-party file is written again
            with a card, taking raw pixels and giving scores.
        out: the folder to make.
        target: "android" or "ios": one model's files with source code, test pictures and their
            scores; "web": the same with a finished page that runs it in a browser; "c": each model
            as a C array, with a header that carries its card.
        formats: what runs are converted to; the target's own where there are none.
        images: a folder with photos for the test pictures, which all but "c" have; None draws some.
        hints: what third-party files do not say of themselves.
        overwrite: replace an earlier export at `out`; nothing else is ever replaced.

    Raises:
        UsageError: there is no such target, file or folder, files would have the same name, or
            they do not belong together on a phone.
        DataError: a photo of `images` cannot be read.
        ModelFileError: a file is damaged or no image classifier.
        MissingDependencyError: a run or a third-party file is to be converted, and the packages
            for it are missing.
        ConversionError: no format keeps a run's accuracy.
        OutputExistsError: `out` exists, and is not to be or must not be replaced.
        OutputError: `out` cannot be written.
    """
    if target not in TARGETS or not models:
        raise UsageError(
            f"Expected models and one of the targets {', '.join(TARGETS)}. "
            f"Received: {len(models)} models and {target!r}."
        )
    wanted = TARGETS[target]
    if images is not None and not wanted.has_pictures:
        raise UsageError(
            f"Expected --photos with a target that gets test pictures. "
            f"Received: {images} with {target}. Leave it out."
        )
    out = Path(out)
    refuse_folder(out.absolute(), overwrite=overwrite, marker=CHECKSUMS_NAME)
    paths = [Path(model) for model in models]
    check_formats(formats, paths)
    with as_files(paths, formats or wanted.formats, hints) as ready:
        candidates = read_candidates(ready)
    contents = wanted.files(candidates, Path(images) if images is not None else None)
    sha256 = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sha256.items())
    with staged_folder(out, overwrite=overwrite, marker=CHECKSUMS_NAME) as folder:
        for name, data in contents.items():
            write_bytes(folder / name, data)
        write_bytes(folder / CHECKSUMS_NAME, lines.encode("utf-8"))
    return Exported(target, out, sha256)
