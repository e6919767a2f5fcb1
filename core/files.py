"""Writing files so that each is there whole or not at all, and nothing is lost unasked."""

from __future__ import annotations

import codecs
import contextlib
import csv
import errno
import io
import itertools
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pocketlens.errors import OutputError, OutputExistsError, PocketlensError

if TYPE_CHECKING:
    from io import FileIO

if sys.platform != "win32":
    import fcntl

STANDARD_OUTPUT = "-"

# Of partial files and folders.
_PARTIAL = re.compile(r"\..*\.[0-9a-f]{16}\.partial(\..*)?", re.DOTALL)

# Device, inode and time of the last change.
State = tuple[int, int, int]
_UNSEEN = (-1, -1, -1)
# What was at each target of a call when it was checked, see `one_call`.
_seen: ContextVar[dict[Path, State | None]] = ContextVar("seen")
_cleaned: set[Path] = set()

# See renameat2(2).
_CURRENT_FOLDER = -100
_NOREPLACE, _EXCHANGE = 1, 2


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


def write_new(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file the way `write_bytes` does, but only where nothing is.

    Raises:
        OutputError: the file cannot be written.
        OutputExistsError: something is there, also if it came in the meantime; it stays.
    """
    path = _real(path)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial, lock = _make_partial(path, path.suffix, mode)
    try:
        with output_errors(path):
            partial.write_bytes(data)
            sync(partial)
            try:
                rename_new(partial, path)
            except FileExistsError as error:
                raise OutputExistsError(
                    f"Expected a new file for the results. Received: {path}, which exists. "
                    "Choose another place."
                ) from error
            sync(path.parent)
    finally:
        _unlock(lock)
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str, *, mode: int = 0o666) -> None:
    r"""Write UTF-8 text the way `write_bytes` writes bytes.

    Bytes of a file's name that are no UTF-8 become like \udce9, which JSON reads as they were.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"), mode=mode)


def write_json(target: Path | str, payload: Any) -> None:
    """Write JSON to a file, or to standard output where `target` is "-"."""
    if str(target) == STANDARD_OUTPUT:
        stream = standard_output()
        stream.write(json_text(payload, stream.encoding, indent=2) + "\n")
        stream.flush()
    else:
        write_text(Path(target), json_text(payload, indent=2) + "\n")


# Also halves of characters, which stand for bytes of a name that are no UTF-8.
_UNSAFE = re.compile("[\x80-\x9f\ud800-\udfff]")


def json_text(payload: Any, encoding: str | None = None, *, indent: int | None = None) -> str:
    """Return values as JSON.

    It is escaped to ASCII where the encoding is another than UTF-8, which JSON is in, and where a
    character would steer a terminal (the C1 control characters; JSON itself escapes the others).
    """
    if codecs.lookup(encoding or "utf-8").name != "utf-8":
        return json.dumps(payload, indent=indent)
    text = json.dumps(payload, indent=indent, ensure_ascii=False)
    return json.dumps(payload, indent=indent) if _UNSAFE.search(text) else text


def standard_output() -> TextIO:
    """Return the stream for results; raises OutputError if it was closed from the start."""
    stream = sys.stdout
    if stream is None or (sys.__stdout__ is None and stream.name == os.devnull):
        raise OutputError("Standard output is closed. Give a file in place of '-'.")
    return stream


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV (RFC 4180) the way `write_bytes` writes bytes."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


@contextlib.contextmanager
def one_call() -> Iterator[None]:
    """Remember what is at the targets of a call from its first look to its end.

    Anything else that is there later belongs to somebody else, and is not replaced. A call inside
    another one is a part of it. Outside of any, `refuse_files` and `refuse_folder` only look.
    """
    if _seen.get(None) is not None:
        yield
        return
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o666, keep: bool = False) -> Iterator[Path]:
    """Give a path beside `path` to write to; it takes `path`'s place when the block succeeds.

    The suffix is kept, since libraries choose a file's format by it. A file that `refuse_files`
    has looked at in the same call is replaced only if it still is the same.

    Args:
        path: the file; of a symbolic link, what it points to.
        mode: as in `write_bytes`.
        keep: give the new file another name where this one is taken by now, and say which.

    Raises:
        OutputError: the file cannot be written.
        OutputExistsError: the place is taken by something that was not there before.
    """
    path = _real(path)
    # Now, since another thread may close what this one opens.
    seen = _seen.get({})
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Now, since some libraries say nothing of a place where they may not write.
        partial, lock = _make_partial(path, path.suffix, mode)
    try:
        with output_errors(path):
            yield partial
            sync(partial)
            if path not in seen:
                os.replace(partial, path)
            else:
                try:
                    exchange(partial, path, seen[path])
                except OutputExistsError as error:
                    if not keep:
                        raise
                    kept = _place_beside(partial, path)
                    raise OutputExistsError(f"{error} The new file is {kept}.") from None
            sync(path.parent)
    finally:
        _unlock(lock)
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def staged_folder(out: Path, *, overwrite: bool, marker: str) -> Iterator[Path]:
    """Give a folder beside `out` to fill; it becomes `out` when the block succeeds.

    So `out` exists exactly when it is complete. When the block fails, what was there before is
    untouched and nothing else is left.

    Args:
        out: the folder to make; of a symbolic link, what it points to.
        overwrite: replace an existing folder.
        marker: the name of a file by which a folder is known to be one of ours; any other
            folder with something in it is never replaced.

    Raises:
        OutputExistsError: `out` exists, and is not to be or must not be replaced; also at the end,
            if it is not what was there when the call looked first.
        OutputError: the folder cannot be written.
    """
    out = _real(out)
    found = refuse_folder(out, overwrite=overwrite, marker=marker)
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        partial, lock = _make_partial(out)
    try:
        yield partial
        with output_errors(out):
            exchange(partial, out, found)
    finally:
        _unlock(lock)
        shutil.rmtree(partial, ignore_errors=True)


def refuse_folder(out: Path, *, overwrite: bool, marker: str) -> State | None:
    """Raise OutputExistsError if the folder `out` is taken; see `staged_folder`.

    Returns what is there now, for `exchange`. A second look of the same call (`one_call`) refuses
    anything else.
    """
    out = _real(out)
    found = _state(out)
    with output_errors(out):
        refuse_unwritable(out)
        free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    is_ours = out.is_dir() and (out / marker).is_file()
    if free or (is_ours and overwrite):
        _remember({out: found})
        return found
    advice = "Choose another folder or add --overwrite."
    if not is_ours:
        advice = f"It holds no {marker}, so it is not replaced: choose another folder."
    raise OutputExistsError(
        f"Expected a new folder for the results. Received: {out}, which exists. {advice}"
    )


def refuse_files(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Raise OutputExistsError if one of the files to be written is there already.

    Only what is there now is replaced by the same call (`one_call`), and a second look of it
    refuses anything else.
    """
    states = {path: _state(path) for path in map(_real, paths)}
    for path in states:
        refuse_unwritable(path)
    taken = [path for path in states if path.exists()]
    odd = next((path for path in taken if not path.is_file()), None)
    if odd is not None:
        raise OutputExistsError(
            f"Expected new or regular files for the results. Received: {odd}, which is not a "
            "regular file. Choose another place."
        )
    if taken and not overwrite:
        raise OutputExistsError(
            f"Expected new files for the results. Received: {', '.join(map(str, taken))}, "
            f"which {'exists' if len(taken) == 1 else 'exist'}. "
            "Choose another place or add --overwrite."
        )
    _remember(states)


def refuse_targets(*targets: str | None, overwrite: bool) -> None:
    """Do what `refuse_files` does for values of options: None and "-" are no files."""
    files = [Path(target) for target in targets if target and target != STANDARD_OUTPUT]
    refuse_files(files, overwrite=overwrite)


def open_new(path: Path) -> FileIO:
    """Open an empty file that grows line by line; raises what `replacing` does."""
    path = _real(path)
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        seen = _seen.get({})
        if path not in seen:
            return path.open("wb", buffering=0)
        # Only a file that takes the name in one step empties nobody else's.
        partial, lock = _make_partial(path, path.suffix)
        try:
            exchange(partial, path, seen[path])
        except OSError:
            _unlock(lock)
            partial.unlink(missing_ok=True)
            raise
        # Where locks keep files from being renamed, there is none.
        return open(lock, "wb", buffering=0) if lock >= 0 else path.open("wb", buffering=0)


def exchange(new: Path, out: Path, expected: State | None) -> None:
    """Put a file or a folder in the place of the one that was checked, which goes then.

    Args:
        new: the file or folder.
        out: its place.
        expected: what `refuse_folder` has found there.

    Raises:
        OutputExistsError: something else is there by now. It stays, and `new` does too.
    """
    out = _real(out)
    # What the same call puts there next finds this one.
    _seen.get({}).pop(out, None)
    found = _state(out)
    try:
        if found is None:
            rename_new(new, out)
        elif found != expected:
            raise _taken(out)
        else:
            _swap(new, out, found)
    except FileExistsError as error:
        if isinstance(error, OutputExistsError):
            raise
        raise _taken(out) from error
    sync(out.parent)


def set_aside(new: Path) -> Path:
    """Return where `exchange` keeps the old folder while `new` takes its place.

    Only where the system cannot exchange the two in one step. Its name is no partial one's: nobody
    removes it when this process is killed in between.
    """
    return new.with_name(f"{new.name.replace('.partial', '')}.old")


def remove_abandoned(folder: Path) -> None:
    """Remove the partial files and folders of processes that have exited, once per process."""
    if folder in _cleaned or sys.platform == "win32":
        return
    _cleaned.add(folder)
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if not _PARTIAL.fullmatch(entry.name):
                continue
            # Who makes it holds a lock on it, which goes with the process, however it ends.
            with contextlib.suppress(OSError):
                number = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(Path(entry.path))
                finally:
                    os.close(number)


def _make_partial(path: Path, suffix: str | None = None, mode: int = 0o777) -> tuple[Path, int]:
    """Make a file with that suffix, or a folder, beside `path`, and lock it."""
    remove_abandoned(path.parent)
    # A name that nobody can guess; of a long one the beginning, since a name has 255 bytes.
    name = f".{path.stem[:40]}.{os.urandom(8).hex()}.partial{(suffix or '')[:20]}"
    partial = path.with_name(name)
    if suffix is None:
        partial.mkdir(mode)
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
    else:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    if sys.platform == "win32":
        # An open file cannot be replaced there.
        if suffix is not None:
            os.close(os.open(partial, flags, mode))
        return partial, -1
    number = os.open(partial, flags, mode)
    taken = False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        taken = True
    except OSError:
        # Some network file systems cannot lock; then nobody removes it either.
        pass
    if not taken and is_open_at(number, partial):
        return partial, number
    # Between making and locking it somebody took it for abandoned, who removes it.
    os.close(number)
    return _make_partial(path, suffix, mode)


def is_open_at(number: int, path: Path) -> bool:
    """Return whether what is open under a number is what is at a path now."""
    try:
        return os.path.samestat(os.fstat(number), path.lstat())
    except FileNotFoundError:
        return False


def _unlock(lock: int) -> None:
    if lock >= 0:
        os.close(lock)


def _real(path: Path) -> Path:
    """Return a path without links; raise OutputError for one in a circle or into no folder."""
    real = os.path.realpath(path)
    leads_nowhere = os.path.islink(path) and not os.path.isdir(os.path.dirname(real))
    if leads_nowhere or os.path.islink(real):
        raise OutputError(
            f"Expected a place for the results. Received: {path}, a symbolic link that leads "
            "nowhere. Remove it or choose another place."
        )
    return Path(real)


def _state(path: Path) -> State | None:
    """Return by what a file or folder is known to be the same, None where nothing is."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return _UNSEEN
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _remember(states: Mapping[Path, State | None]) -> None:
    """Note what is at targets; raise OutputExistsError where it was something else before.

    Between two looks of one call may lie minutes, in which somebody else has made it.
    """
    seen = _seen.get({})
    for path, state in states.items():
        if seen.setdefault(path, state) != state:
            raise _taken(path)


def _taken(path: Path) -> OutputExistsError:
    return OutputExistsError(
        f"{path} appeared or changed while this ran, so it was left as it is. "
        "Choose another place, or run it again with --overwrite."
    )


def rename_new(new: Path, out: Path) -> None:
    """Rename a file or a folder; FileExistsError where anything is at `out` already."""
    if _renameat2(new, out, _NOREPLACE):
        return
    # What is empty and made by us keeps others away until it is replaced.
    folder = new.is_dir()
    if folder:
        out.mkdir()
    else:
        os.close(os.open(out, os.O_CREAT | os.O_EXCL))
    try:
        if folder and sys.platform == "win32":
            out.rmdir()
        os.replace(new, out)
    except OSError:
        with contextlib.suppress(OSError):
            out.rmdir() if folder else out.unlink()
        raise


def _place_beside(new: Path, out: Path) -> Path:
    for number in itertools.count(2):
        kept = out.with_name(f"{out.stem}-{number}{out.suffix}")
        with contextlib.suppress(FileExistsError):
            rename_new(new, kept)
            return kept
    raise AssertionError


def _swap(new: Path, out: Path, expected: State) -> None:
    """Put `new` in the place of `out`, which is removed if it is what was expected."""
    if _renameat2(new, out, _EXCHANGE):
        # No time: some file systems change it when they move a folder.
        if (_state(new) or _UNSEEN)[:2] != expected[:2]:
            _renameat2(new, out, _EXCHANGE)
            raise _taken(out)
        _remove(new)
        return
    # Without that a folder cannot be replaced in one step, so the old one steps aside first.
    old = set_aside(new)
    os.replace(out, old)
    try:
        if (_state(old) or _UNSEEN)[:2] != expected[:2]:
            raise _taken(out)
        rename_new(new, out)
    except OSError:
        rename_new(old, out)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    """Remove a file or a folder, of which others may do the same as `remove_abandoned`."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            # Says why.
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _renameat2(old: Path, new: Path, flags: int) -> bool:
    """Rename by renameat2(2); False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    if call(_CURRENT_FOLDER, os.fsencode(old), _CURRENT_FOLDER, os.fsencode(new), flags) == 0:
        return True
    number = ctypes.get_errno()
    # Old sandboxes answer what they do not know with EPERM.
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM):
        return False
    raise OSError(number, os.strerror(number), str(new))


def refuse_unwritable(path: Path) -> None:
    """Raise OutputError where nothing can be made at `path`, before work is done for it."""
    folder = _nearest_folder(_real(path))
    # Only trying tells: rights say nothing of /proc, of a full disk and of some network drives.
    probe = folder / f".probe.{os.urandom(8).hex()}.partial"
    with output_errors(path):
        status = folder.stat()
        probe.mkdir()
        # Another process may have taken it for abandoned.
        with contextlib.suppress(FileNotFoundError):
            probe.rmdir()
    # By its time a folder is known to be the one that was checked.
    with contextlib.suppress(OSError):
        os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))


def _nearest_folder(path: Path) -> Path:
    """Return the first folder above a path that is there, as far as one may look."""
    # A drive of Windows may not be there at all. `Path.exists` raises where nobody may look.
    return next((parent for parent in path.parents if os.path.exists(parent)), path.parent)


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn any OSError of the block into an OutputError about `path`."""
    try:
        yield
    except PocketlensError:
        raise
    except OSError as error:
        raise OutputError(
            f"Cannot write {path}: {_reason(error, path)}. "
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


def _reason(error: OSError, path: Path) -> str:
    # Some libraries put a paragraph of their own where the system's few words belong.
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno not in (errno.EACCES, errno.EPERM):
        return reason
    folder = _nearest_folder(path.absolute())
    if os.access(folder, os.W_OK):
        folder = path
    try:
        return f"{reason}: {folder} belongs to {folder.owner()}"
    except KeyError:  # No passwd entry.
        return f"{reason}: {folder} belongs to user {folder.stat().st_uid}"
    except (OSError, NotImplementedError):
        return reason
