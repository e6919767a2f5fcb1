"""Writing files so that each is there whole or not at all, and nothing is lost unasked."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pocketlens.errors import OutputError, OutputExistsError, PocketlensError

STANDARD_OUTPUT = "-"


def write_bytes(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file that appears whole or not at all, also when the power fails.

    Args:
        path: where it goes.
        data: what is in it.
        mode: who may do what with it, as far as the user's umask allows; from its first moment.

    Raises:
        OutputError: the file cannot be written.
    """
    with replacing(path, mode=mode) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str, *, mode: int = 0o666) -> None:
    r"""Write UTF-8 text the way `write_bytes` writes bytes.

    Bytes of a file's name that are no UTF-8 become like \udce9, which JSON reads as they were.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"), mode=mode)


def write_json(target: Path | str, payload: Any) -> None:
    """Write JSON to a file, or to standard output where `target` is "-"."""
    text = json.dumps(payload, indent=2, ensure_ascii=False) + "\n"
    if str(target) == STANDARD_OUTPUT:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_text(Path(target), text)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV (RFC 4180) the way `write_bytes` writes bytes."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Give a path beside `path` to write to; it takes `path`'s place when the block succeeds.

    The suffix is kept, since libraries choose a file's format by it.

    Raises:
        OutputError: the file cannot be written.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Now, since some libraries say nothing of a place where they may not write.
            partial.touch(mode)
            yield partial
            sync(partial)
            os.replace(partial, path)
            sync(path.parent)
    finally:
        if partial.exists():
            partial.unlink()


@contextlib.contextmanager
def staged_folder(out: Path, *, overwrite: bool, marker: str) -> Iterator[Path]:
    """Give a folder beside `out` to fill; it becomes `out` when the block succeeds.

    So `out` exists exactly when it is complete. When the block fails, what was there before is
    untouched and nothing else is left.

    Args:
        out: the folder to make.
        overwrite: replace an existing folder.
        marker: the name of a file by which a folder is known to be one of ours; any other
            folder with something in it is never replaced.

    Raises:
        OutputExistsError: `out` exists, and is not to be or must not be replaced.
        OutputError: the folder cannot be written.
    """
    out = out.absolute()
    refuse_folder(out, overwrite=overwrite, marker=marker)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
    try:
        yield partial
        with output_errors(out):
            exchange(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_folder(out: Path, *, overwrite: bool, marker: str) -> None:
    """Raise OutputExistsError if the folder `out` is taken; see `staged_folder`."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if out.is_dir() and (out / marker).is_file():
        if overwrite:
            return
        advice = "Choose another folder or add --overwrite."
    else:
        advice = f"It holds no {marker}, so it is not replaced: choose another folder."
    raise OutputExistsError(
        f"Expected a new folder for the results. Received: {out}, which exists. {advice}"
    )


def refuse_files(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Raise OutputExistsError if one of the files to be written is there already."""
    taken = [path for path in paths if path.exists()]
    if taken and (not overwrite or not all(path.is_file() for path in taken)):
        raise OutputExistsError(
            f"Expected new files for the results. Received: {', '.join(map(str, taken))}, "
            f"which {'exists' if len(taken) == 1 else 'exist'}. "
            "Choose another place or add --overwrite."
        )


def refuse_targets(*targets: str | None, overwrite: bool) -> None:
    """Do what `refuse_files` does for values of options: None and "-" are no files."""
    files = [Path(target) for target in targets if target and target != STANDARD_OUTPUT]
    refuse_files(files, overwrite=overwrite)


def cache_folder() -> Path:
    """Return where things are kept that can be made again.

    `POCKETLENS_CACHE` names it; otherwise it is `pocketlens` in the user's cache folder
    (XDG Base Directory Specification). It may be deleted at any time.

    Raises:
        RuntimeError: neither is named, and the user has no home.
    """
    chosen = os.environ.get("POCKETLENS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pocketlens"


def exchange(new: Path, out: Path) -> None:
    """Put a folder in the place of another, which goes when the new one is there."""
    if not out.exists():
        os.replace(new, out)
        sync(out.parent)
        return
    # A folder cannot be replaced in one step, so the old one steps aside first.
    old = set_aside(new)
    os.replace(out, old)
    try:
        os.replace(new, out)
    except OSError:
        os.replace(old, out)
        raise
    sync(out.parent)
    shutil.rmtree(old)


def set_aside(new: Path) -> Path:
    """Return where `exchange` keeps the old folder while `new` takes its place."""
    return new.with_suffix(".old")


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn any OSError of the block into an OutputError about `path`."""
    try:
        yield
    except PocketlensError:
        raise
    except OSError as error:
        raise OutputError(
            f"Expected to be able to write {path}. Received: {_reason(error)}. "
            "Choose a place with room where you may write."
        ) from error


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk.

    Some systems and file systems cannot do it for folders; there it is left to them.
    """
    try:
        number = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(number)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(number)


def _reason(error: OSError) -> str:
    # Some libraries put a paragraph of their own where the system's few words belong.
    return os.strerror(error.errno) if error.errno else str(error)
