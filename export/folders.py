"""Writing the folder of a target: whole or not at all, with the checksums of all that is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pocketlens.errors import UsageError
from pocketlens.export.c_array import c_name, header_text, source_text
from pocketlens.export.candidates import Candidate, read_candidates
from pocketlens.files import refuse_folder, staged_folder, write_bytes

C = "c"
TARGETS = (C,)
CHECKSUMS_NAME = "pocketlens.sha256"
"""The file with the checksums, as `sha256sum --check` reads it; it marks a folder as ours."""


@dataclass(frozen=True)
class Exported:
    """A folder that was written. `sha256` has the checksum of each file in it, by its path."""

    target: str
    folder: Path
    sha256: Mapping[str, str]


def export(
    models: Sequence[str | Path], out: str | Path, target: str, *, overwrite: bool = False
) -> Exported:
    """Write what a target needs to run models.

    Args:
        models: `.tflite` files that pocketlens wrote.
        out: the folder to make.
        target: "c": each model as a C array, with a header that carries its card.
        overwrite: replace an earlier export at `out`; nothing else is ever replaced.

    Raises:
        UsageError: there is no such target or file, or two files would have the same name.
        ModelFileError: a file is damaged, no image classifier, or has no card.
        OutputExistsError: `out` exists, and is not to be or must not be replaced.
        OutputError: `out` cannot be written.
    """
    if target not in TARGETS or not models:
        raise UsageError(
            f"Expected models and one of the targets {', '.join(TARGETS)}. "
            f"Received: {len(models)} models and {target!r}."
        )
    out = Path(out)
    refuse_folder(out.absolute(), overwrite=overwrite, marker=CHECKSUMS_NAME)
    candidates = read_candidates([Path(model) for model in models])
    contents = _c_files(candidates)
    sha256 = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sha256.items())
    with staged_folder(out, overwrite=overwrite, marker=CHECKSUMS_NAME) as folder:
        for name, data in contents.items():
            write_bytes(folder / name, data)
        write_bytes(folder / CHECKSUMS_NAME, lines.encode("utf-8"))
    return Exported(target, out, sha256)


def _c_files(candidates: Sequence[Candidate]) -> dict[str, bytes]:
    by_name: dict[str, Candidate] = {}
    for candidate in candidates:
        name = c_name(candidate.path.stem)
        other = by_name.setdefault(name, candidate)
        if other is not candidate:
            raise UsageError(
                "Expected models whose files have different names in C. "
                f"Received: {other.path} and {candidate.path}, both {name}. Rename one."
            )
    texts = {}
    for name, candidate in by_name.items():
        texts[f"{name}_model.h"] = header_text(name, candidate)
        texts[f"{name}_model.c"] = source_text(name, candidate)
    return {name: text.encode("ascii") for name, text in texts.items()}
