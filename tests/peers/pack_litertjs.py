"""Make export/web/litertjs.tar.xz anew of the npm package that `export/litertjs.py` names.

Needs `npm`: make litertjs. Prints the archive's checksum, which goes into ARCHIVE_SHA256.
"""

from __future__ import annotations

import base64
import hashlib
import io
import lzma
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from pocketlens.export.browser import ARCHIVE_NAME, BUILDS, INTEGRITY, NOTICE, PACKAGE, VERSION

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Fetch, compare, pack; 0 if the package is the one that is meant."""
    with tempfile.TemporaryDirectory() as home:
        subprocess.run(["npm", "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=home, check=True)
        (package,) = Path(home).glob("*.tgz")
        data = package.read_bytes()
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    if integrity != INTEGRITY:
        print(f"Expected {INTEGRITY}. Received: {integrity}.", file=sys.stderr)
        return 1
    contents = {"LICENSE": (ROOT / "LICENSE").read_bytes(), "NOTICE": NOTICE.encode()}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for name in (f"{build}.{kind}" for build in BUILDS for kind in ("js", "wasm")):
            contents[name] = archive.extractfile(f"package/wasm/{name}").read()
    packed = pack(contents)
    (ROOT / "export" / "web" / ARCHIVE_NAME).write_bytes(packed)
    print(f"{len(packed)} bytes, SHA-256 {hashlib.sha256(packed).hexdigest()}")
    return 0


def pack(contents: dict[str, bytes]) -> bytes:
    """Return files as a tar archive, the same bytes for the same files, compressed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME)


if __name__ == "__main__":
    sys.exit(main())
