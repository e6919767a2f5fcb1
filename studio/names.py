"""Files in addresses: a key in place of a name, so that none leads out of its folder."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path

from starlette.exceptions import HTTPException

_NOT_FOUND = "There is no such file. It may have been moved or removed: load the page again."


def to_key(name: str) -> str:
    """Return what stands for a file's name in an address: any name has one, also one of no UTF-8.

    It is the name's bytes in URL-safe base64 without padding.
    """
    return base64.urlsafe_b64encode(os.fsencode(name)).decode().rstrip("=")


def from_key(key: str) -> str:
    """Return the name that a key stands for.

    Raises:
        HTTPException: 404, it is no key, or that of what is no plain name of a file in a folder.
    """
    try:
        data = base64.b64decode(key + "=" * (-len(key) % 4), altchars=b"-_", validate=True)
        name = os.fsdecode(data)
    except (binascii.Error, ValueError):
        raise HTTPException(404, _NOT_FOUND) from None
    # One name has one key.
    if to_key(name) != key or not is_plain(name):
        raise HTTPException(404, _NOT_FOUND)
    return name


def is_plain(name: str) -> bool:
    """Return whether a name is one of a file or folder in a folder: no path, nothing hidden."""
    parts = Path(name).parts
    return (
        len(parts) == 1
        and parts[0] == name
        and not os.path.splitdrive(name)[0]
        and not name.startswith(".")
        and not set(name) & {"\0", "/", "\\"}
    )


def file_in(folder: Path, key: str) -> Path:
    """Return the file in a folder that a key stands for.

    Raises:
        HTTPException: 404, there is none, or what is there is a link, a folder or a device.
    """
    path = folder / from_key(key)
    try:
        regular = stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        regular = False
    if not regular:
        raise HTTPException(404, _NOT_FOUND)
    return path
