"""The folders, their packages, and which may import which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "core": "pocketlens",
    **{
        folder: f"pocketlens.{folder.replace('/', '.')}"
        for folder in (
            "benchmarks",
            "cli",
            "convert",
            "demo",
            "evaluation",
            "export",
            "report",
            "runtime",
            "runtime/doctor",
            "runtime/live",
            "runtime/live/capture",
            "runtime/live/sinks",
            "runtime/live/sources",
            "runtime/live/web",
            "studio",
            "synthetic",
            "train",
        )
    },
}
# Each folder may import itself and what is on a lower floor; `runtime/live` is a floor of its own.
FLOORS = {
    "core": 1,
    "synthetic": 1,
    "evaluation": 2,
    "runtime": 2,
    "runtime/live": 3,
    "report": 4,
    "runtime/doctor": 4,
    "train": 5,
    "convert": 6,
    "benchmarks": 7,
    "export": 7,
    "studio": 8,
    "cli": 9,
    "demo": 9,
}
# Evaluation runs files in the interpreter; the two share a floor, in this direction only.
NEIGHBOURS = {("evaluation", "runtime"), ("cli", "demo")}
HEAVY = {"tensorflow", "keras", "sklearn", "matplotlib", "jinja2", "ai_edge_quantizer"}


def modules() -> dict[str, Path]:
    """Return the file of each module of ours by the module's name."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in (ROOT / folder).glob("*.py"):
            name = package if path.stem == "__init__" else f"{package}.{path.stem}"
            found[name] = path
    return found


def floor_of(path: Path) -> str:
    """Return which folder of FLOORS a file is in."""
    inside = path.relative_to(ROOT).parent.as_posix()
    return max((folder for folder in FLOORS if f"{inside}/".startswith(f"{folder}/")), key=len)


def imports(path: Path, known: dict[str, Path], *, lazy: bool) -> set[str]:
    """Return the modules of ours that a file imports; with `lazy` also inside functions.

    What is imported for type checkers only is none.
    """
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if not lazy and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            inner = {f"{module}.{alias.name}" for alias in node.names} & set(known)
            # `from package import module` needs the package only as a name.
            names.update(inner if len(inner) == len(node.names) else {module, *inner})
        waiting.extend(ast.iter_child_nodes(node))
    return names & set(known)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that reach each other (Tarjan's components)."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting.extend(graph.get(name, ()))
        reach[start] = seen
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach.get(other, ())))
        for name in graph
        if name in reach[name]
    }
    return [list(group) for group in sorted(groups)]


@pytest.fixture(scope="module")
def known() -> dict[str, Path]:
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("not run from a checkout")
    return modules()


def test_packages_are_the_folders(known: dict[str, Path]) -> None:
    tomllib = pytest.importorskip("tomllib", reason="TOML is read by Python 3.11 and newer")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    on_disk = {
        path.parent.relative_to(ROOT).as_posix()
        for folder in FLOORS
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert on_disk == set(PACKAGES)
    assert settings["package-dir"] == {package: folder for folder, package in PACKAGES.items()}
    assert sorted(settings["packages"]) == sorted(PACKAGES.values())


def test_imports_point_down(known: dict[str, Path]) -> None:
    wrong = []
    for path in known.values():
        if path == ROOT / "core" / "__main__.py":  # The way in, from the outside.
            continue
        own = floor_of(path)
        for name in imports(path, known, lazy=True):
            other = floor_of(known[name])
            below = FLOORS[other] < FLOORS[own]
            if other != own and not below and (own, other) not in NEIGHBOURS:
                wrong.append(f"{path.relative_to(ROOT)} -> {name}")
    assert not wrong


def test_no_module_imports_itself_over_others(known: dict[str, Path]) -> None:
    graph = {name: imports(path, known, lazy=False) for name, path in known.items()}
    assert not circles(graph)


def test_tests_import_no_private_names() -> None:
    private = []
    for path in Path(__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pocketlens"):
                private += [f"{path.name}: {a.name}" for a in node.names if a.name[0] == "_"]
    assert [entry for entry in private if not entry.endswith(("__version__", "__all__"))] == []


@pytest.mark.parametrize(
    "statement",
    [
        "import pocketlens.runtime",
        "import pocketlens.benchmarks.benchmarking",
        "from pocketlens.cli.main import run; run(['--help'])",
        "from pocketlens.cli.main import run; run(['classify', '--help'])",
        "from pocketlens.cli.main import run; run(['inspect', '--help'])",
        "from pocketlens.cli.main import run; run(['live', '--help'])",
        "from pocketlens.cli.main import run; run(['service', 'install', '--help'])",
        "from pocketlens.cli.main import run; run(['doctor', '--help'])",
        "from pocketlens.cli.main import run; run(['benchmark', '--help'])",
        "from pocketlens.cli.main import run; run(['recommend', '--help'])",
        "from pocketlens.cli.main import run; run(['report', '--help'])",
        "from pocketlens.cli.main import run; run(['evaluate', '--help'])",
        "from pocketlens.cli.main import run; run(['export', '--help'])",
        "from pocketlens.cli.main import run; run(['train', '--help'])",
        "from pocketlens.cli.main import run; run(['check', '--help'])",
        "from pocketlens.cli.main import run; run(['convert', '--help'])",
        "from pocketlens.cli.main import run; run(['demo', '--help'])",
        "from pocketlens.cli.main import run; run(['collect', '--help'])",
        "import pocketlens.runtime.live.key_collecting",
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
        ["benchmark", str(tiny_tflite), "--photos", str(tiny_photos), "--num-runs", "2"],
        ["evaluate", str(tiny_tflite), str(tiny_photos)],
        ["recommend", str(tiny_tflite), "--photos", str(tiny_photos), "--threads", "1"],
        ["export", str(tiny_tflite), "--target", "ios", "--out", str(tmp_path / "app")],
        ["export", str(tiny_tflite), "--target", "web", "--out", str(tmp_path / "web")],
        ["service", "install", str(tiny_tflite), "--source", "0", "--print"],
        ["doctor"],
    ):
        statement = f"from pocketlens.cli.main import run; assert run({arguments!r}) == 0"
        if arguments[0] == "recommend":
            # It has no options for fewer runs; more load nothing else.
            few = "import functools, pocketlens.benchmarks.benchmarking as b\n"
            few += "b.Settings = functools.partial(b.Settings, num_runs=2, min_secs=0)\n"
            statement = few + statement
        assert not HEAVY & loaded_by(statement), arguments


def test_what_answers_about_photos_starts_with_little(tiny_tflite: Path, tiny_photos: Path) -> None:
    photos = str(tiny_photos / "circle")
    for arguments in (
        ["--help"],
        ["classify", "--help"],
        ["classify", str(tiny_tflite), photos],
        ["live", str(tiny_tflite), "--source", photos, "--max-frames", "2"],
    ):
        statement = f"from pocketlens.cli.main import run; assert run({arguments!r}) == 0"
        tables_and_servers = {"rich", "multiprocessing", "asyncio", "email", "starlette", "paho"}
        assert not (HEAVY | tables_and_servers) & loaded_by(statement), arguments


def test_wrong_calls_do_not_wait_for_tensorflow(
    tiny_run: Path, tiny_photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / f"{tiny_run.name}_int8.tflite").write_text("")
    run, photos, empty, out = map(str, (tiny_run, tiny_photos, tmp_path / "empty", tmp_path / "o"))
    below_file = str(tmp_path / "file" / "below")
    calls = [
        ["train", photos, "--out", out, "--batch-size", "0"],
        ["train", photos, "--out", out, "--alpha", "0.1"],
        ["train", photos, "--out", out, "--weights", "nothing-there"],
        ["train", photos, "--out", out, "--task", "binary"],
        ["train", photos, "--out", below_file],
        ["train", empty, "--out", out],
        ["convert", run, "--out", out, "--samples", "0"],
        ["convert", run, "--out", out, "--name", "a/b"],
        ["convert", run, "--out", out, "--mean", "1", "--std", "1"],
        ["convert", run, "--out", out, "--photos", empty],
        ["convert", run, "--out", out, "--calibration-photos", empty],
        ["convert", run, "--out", str(tmp_path / "taken")],
        ["convert", run, "--out", below_file],
        ["convert", photos, "--out", out],
        ["evaluate", run, empty],
        ["evaluate", run, photos, "--report", below_file],
        ["evaluate", run, str(tiny_photos.parent), "--json", below_file],
    ]
    statement = "from pocketlens.cli.main import run\n" + "\n".join(
        f"assert run({call!r}) in (1, 2), {call!r}" for call in calls
    )
    assert not {"tensorflow", "keras"} & loaded_by(statement)
    assert not (tmp_path / "o").exists()


def test_help_needs_no_numpy() -> None:
    assert not {"numpy", "cv2", "PIL"} & loaded_by(
        "from pocketlens.cli.main import run; run(['--help'])"
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
