"""What a container has to do, done inside one and outside alike, and compared.

inside.py run PYTHON HEALTHZ.py MEDIA OUT    with clip.mp4 and *.tflite in MEDIA
inside.py compare HERE THERE                 two such folders: exit code 1 where they differ
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TOKEN = "a-token-of-the-test"
END_S = 5.0
START_S = 120.0

# What differs from run to run.
TIMES = ("at", "latency_ms", "source", "device")


def run(python: str, healthz: str, media: str, out: str) -> int:
    """Classify a video with each model, then watch a camera over its page, and end it."""
    live = [python, "-m", "pocketlens", "live"]
    for model in sorted(Path(media).glob("*.tflite")):
        lines = Path(out, f"{model.stem}.jsonl")
        options = ["--source", f"{media}/clip.mp4", "--top-k", "3", "--jsonl", str(lines)]
        subprocess.run([*live, str(model), *options], check=True, stdout=subprocess.DEVNULL)

    model = min(Path(media).glob("*.tflite"))
    watched = [*live, str(model), "--source", "fake:", "--web", "0.0.0.0:8080"]

    def health(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, healthz],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )

    facts: dict[str, Any] = {"health without live": health().returncode}
    with subprocess.Popen(
        watched,
        env={**os.environ, "POCKETLENS_WEB_TOKEN": TOKEN},
        stdout=subprocess.DEVNULL,
    ) as process:
        until_s = time.monotonic() + START_S
        while (asked := health(POCKETLENS_WEB_TOKEN=TOKEN)).returncode:
            assert time.monotonic() < until_s, asked
            assert process.poll() is None, process.returncode
            time.sleep(0.2)
        facts["health"] = json.loads(asked.stdout)
        facts["health without token"] = health().returncode
        began_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        facts["exit code"] = process.wait(60)
        seconds = time.monotonic() - began_s
    assert seconds <= END_S, f"SIGTERM took {seconds:.1f} s"
    Path(out, "facts.json").write_text(json.dumps(facts, indent=1))
    print(f"{facts}; ended after {seconds:.2f} s")
    return 0


def compare(here: str, there: str) -> int:
    """Return 1 where labels, scores or facts are not the same."""
    differ = False
    for one in sorted(Path(here).iterdir()):
        first, second = (read(Path(folder, one.name)) for folder in (here, there))
        print(f"{one.name}: {'the same' if first == second else 'DIFFERENT'}, {len(first)} entries")
        differ |= first != second
        # A model that says one thing of every picture would show nothing.
        if one.suffix == ".jsonl":
            assert len({entry["categories"][0]["label"] for entry in first}) > 1, one
    return int(differ)


def read(path: Path) -> list[Any]:
    """Read a file's JSON lines without what differs from run to run."""
    if path.suffix == ".json":
        return list(json.loads(path.read_text()).items())
    entries = map(json.loads, path.read_text().splitlines())
    return [{key: entry[key] for key in entry if key not in TIMES} for entry in entries]


if __name__ == "__main__":
    sys.exit({"run": run, "compare": compare}[sys.argv[1]](*sys.argv[2:]))
