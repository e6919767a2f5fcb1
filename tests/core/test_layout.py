"""The folders, their packages, and which may import which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "core": "pocketlens",
    "benchmarks": "pocketlens.benchmarks",
    "convert": "pocketlens.convert",
    "demo": "pocketlens.demo",
    "export": "pocketlens.export",
    "runtime": "pocketlens.runtime",
    "train": "pocketlens.train",
}
NESTED = {
    f"runtime/{part}": f"pocketlens.runtime.{part}"
    for part in ("capture", "doctor", "live", "remote", "service", "sources", "web")
}
# What each folder may import of the others. `benchmarks` and `export` may convert: `recommend` and
# `export` do where they are given a run.
ALLOWED = {
    "core": set(),
    "runtime": {"core"},
    "train": {"core", "runtime"},
    "convert": {"core", "runtime"},
    "benchmarks": {"core", "runtime", "convert"},
    "export": {"core", "runtime", "convert"},
    "demo": {"core", "runtime", "train", "convert", "benchmarks"},
}
HEAVY = {"tensorflow", "keras", "sklearn", "matplotlib", "ai_edge_quantizer"}


def folder_of(module: str) -> str | None:
    """Return the folder that a module of ours is in."""
    if not (module == "pocketlens" or module.startswith("pocketlens.")):
        return None
    part = module.split(".")[1] if "." in module else ""
    return part if part in FOLDERS else "core"


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_packages_are_the_folders() -> None:
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("not run from a checkout")
    tomllib = pytest.importorskip("tomllib", reason="TOML is read by Python 3.11 and newer")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    on_disk = {
        path.parent.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("__init__.py")
    }
    packages = {**FOLDERS, **NESTED}
    assert on_disk == set(packages)
    assert settings["package-dir"] == {package: folder for folder, package in packages.items()}
    assert sorted(settings["packages"]) == sorted(packages.values())


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder: str) -> None:
    if not (ROOT / folder).is_dir():
        pytest.skip("not run from a checkout")
    for path in (ROOT / folder).rglob("*.py"):
        # The command line knows the commands by name only and loads them when they are called.
        reached = {folder_of(name) for name in imports(path)} - {None, folder}
        assert reached <= ALLOWED[folder], f"{path} imports {reached - ALLOWED[folder]}"


@pytest.mark.parametrize(
    "statement",
    [
        "import pocketlens.runtime",
        "import pocketlens.benchmarks.comparison",
        "from pocketlens.cli import run; run(['--help'])",
        "from pocketlens.cli import run; run(['classify', '--help'])",
        "from pocketlens.cli import run; run(['inspect', '--help'])",
        "from pocketlens.cli import run; run(['live', '--help'])",
        "from pocketlens.cli import run; run(['service', 'install', '--help'])",
        "from pocketlens.cli import run; run(['doctor', '--help'])",
        "from pocketlens.cli import run; run(['benchmark', '--help'])",
        "from pocketlens.cli import run; run(['recommend', '--help'])",
        "from pocketlens.cli import run; run(['export', '--help'])",
        "from pocketlens.cli import run; run(['train', '--help'])",
        "from pocketlens.cli import run; run(['check', '--help'])",
    ],
)
def test_light_parts_import_nothing_heavy(statement: str) -> None:
    assert not HEAVY & loaded_by(statement)


def test_commands_on_the_device_import_nothing_heavy(
    tiny_tflite: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    photo = next((tiny_photos / "circle").iterdir())
    video = tmp_path / "video.mp4"
    write_video(video, tiny_photos)
    for arguments in (
        ["classify", str(tiny_tflite), str(photo)],
        ["inspect", str(tiny_tflite)],
        ["live", str(tiny_tflite), "--source", str(video), "--record", str(tmp_path / "out.mp4")],
        ["benchmark", str(tiny_tflite), "--data", str(tiny_photos), "--num-runs", "2"],
        ["recommend", str(tiny_tflite), "--data", str(tiny_photos), "--threads", "1"],
        ["export", str(tiny_tflite), "--target", "ios", "--out", str(tmp_path / "app")],
        ["export", str(tiny_tflite), "--target", "web", "--out", str(tmp_path / "web")],
        ["service", "install", str(tiny_tflite), "--source", "0", "--print"],
        ["doctor"],
    ):
        statement = f"from pocketlens.cli import run; assert run({arguments!r}) == 0"
        assert not HEAVY & loaded_by(statement), arguments


def test_help_needs_no_numpy() -> None:
    assert not {"numpy", "cv2", "PIL"} & loaded_by(
        "from pocketlens.cli import run; run(['--help'])"
    )


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("LOADED"))
    return {name.split(".")[0] for name in line.split()[1:]}


def write_video(path: Path, photos: Path) -> None:
    import cv2

    pictures = [cv2.imread(str(entry)) for entry in sorted(photos.rglob("*.png"))[:20]]
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (width, height))
    for picture in pictures:
        writer.write(picture)
    writer.release()
