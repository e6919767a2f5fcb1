"""Whether the archives of a release have what they should, and nothing else.

Usage: contents.py CHECKOUT SDIST WHEEL OTHER_WHEEL, of which WHEEL was made of the sdist, and
OTHER_WHEEL of the checkout.
"""

import sys
import tarfile
import zipfile
from pathlib import Path

checkout, sdist, wheel, other_wheel = (Path(argument) for argument in sys.argv[1:])


def in_wheel(path: Path) -> dict[str, bytes]:
    """Return a wheel's files by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def differing(ours: dict[str, bytes], theirs: dict[str, bytes]) -> list[str]:
    """Return the names of which only one has a file, or the two have different ones."""
    return sorted(name for name in ours | theirs if ours.get(name) != theirs.get(name))


# What git has in the folders that are packages, under the names that these have in the wheel.
folders = [path.parent for path in checkout.glob("*/__init__.py") if path.parent.name != "tests"]
packages = {
    "/".join(("pocketlens", *path.relative_to(checkout).parts[folder.name == "core" :])): path
    for folder in folders
    for path in folder.rglob("*")
    if path.is_file()
}
sources = {name: path.read_bytes() for name, path in packages.items()}
with tarfile.open(sdist) as archive:
    files = [member for member in archive.getmembers() if member.isfile()]
    in_sdist = {
        member.name.partition("/")[2]: stream.read()
        for member in files
        if (stream := archive.extractfile(member))
    }
needed = [*packages.values(), *(checkout / name for name in ("LICENSE", "README.md"))]
expected = {path.relative_to(checkout).as_posix(): path.read_bytes() for path in needed}

made, direct = in_wheel(wheel), in_wheel(other_wheel)
about = {name.partition("/")[2]: data for name, data in made.items() if ".dist-info/" in name}
code = {name: data for name, data in made.items() if ".dist-info/" not in name}
faults = [
    *(f"wheels of the sdist and of the checkout: {name}" for name in differing(made, direct)),
    *(f"the wheel's packages: {name}" for name in differing(code, sources)),
    *(f"the sdist: {name}" for name in expected if in_sdist.get(name) != expected[name]),
]
if about.get("licenses/LICENSE") != expected["LICENSE"]:
    faults.append("the wheel's license")
if not about["METADATA"].endswith(expected["README.md"]):
    faults.append("the wheel's description, which is the README")
if faults:
    sys.exit("Not as they should be:\n" + "\n".join(faults))
print(f"{wheel.name}: {len(made)} files. {sdist.name}: {len(in_sdist)} files.")
