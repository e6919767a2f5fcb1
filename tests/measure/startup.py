"""How long the first answer takes in a fresh process, and how much memory, beside a bare script.

Run by hand (`make startup MODELS='models/*.tflite'`). The bare script does with ai-edge-litert and
OpenCV alone what `Classifier` does: import, load, resize a 720p frame, answer. Both start in turn,
so that noise hits both alike; what counts is the time from the start of the process to its end.
The processor's time is printed too: a busy machine does not lengthen it, but it counts all threads.
Ends with 1 where a limit is passed. Linux only, since it reads /proc.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

MOST_TIME = 1.15
MOST_MB = 10.0

PEAK = """
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""
FRAME = """
import sys
import numpy as np
frame_bgr = np.full((720, 1280, 3), 127, np.uint8)
"""
SCRIPTS = {
    "bare": FRAME
    + """
import cv2
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
(taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
height, width = taken["shape"][1:3]
pixels = cv2.cvtColor(cv2.resize(frame_bgr, (int(width), int(height))), cv2.COLOR_BGR2RGB)
interpreter.set_tensor(taken["index"], pixels[None].astype(taken["dtype"]))
interpreter.invoke()
assert interpreter.get_tensor(given["index"])[0].argmax() >= 0
"""
    + PEAK,
    "pocketlens": FRAME
    + """
from pocketlens.runtime import Classifier
with Classifier(sys.argv[1]) as classifier:
    assert classifier.classify(frame_bgr).top.label
"""
    + PEAK,
}


def main() -> int:
    """Print the figures; 0 if they are within the limits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+", help=".tflite files")
    parser.add_argument("--runs", type=int, default=25, help="of each")
    parser.add_argument("--python", default=sys.executable, help="of another environment")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        within = [measure(model.absolute(), chosen, folder) for model in chosen.models]
    return int(not all(within))


def measure(model: Path, chosen: argparse.Namespace, folder: str) -> bool:
    """Print one model's figures and return whether they are within the limits."""
    measured: dict[str, list[tuple[float, float, float]]] = {name: [] for name in SCRIPTS}
    before = os.getloadavg()[0]
    for run in range(chosen.runs + 1):
        for name in sorted(SCRIPTS, reverse=bool(run % 2)):
            figures = start(chosen.python, SCRIPTS[name], model, folder)
            # The first run writes bytecode and fetches the files from the disk.
            if run:
                measured[name].append(figures)
    print(f"{model.name}; load average {before:.2f} before, {os.getloadavg()[0]:.2f} after")
    print("            median s    min s    CPU s   peak MB")
    table = {}
    for name, entries in measured.items():
        took_s, cpu_s, peak_mb = zip(*entries, strict=True)
        row = (median(took_s), min(took_s), median(cpu_s), median(peak_mb))
        table[name] = row
        print(f"{name:10}  {row[0]:8.3f} {row[1]:8.3f} {row[2]:8.3f}  {row[3]:8.1f}")
    ours, bare = table["pocketlens"], table["bare"]
    ratios = [one / other for one, other in zip(ours[:3], bare[:3], strict=True)]
    more_mb = ours[3] - bare[3]
    print(f"÷ bare      {ratios[0]:8.3f} {ratios[1]:8.3f} {ratios[2]:8.3f}  {more_mb:+8.1f}")
    print(f"at most     {MOST_TIME:8.3f}                    {MOST_MB:+8.1f}")
    return ratios[0] <= MOST_TIME and more_mb <= MOST_MB


def start(python: str, script: str, model: Path, folder: str) -> tuple[float, float, float]:
    """Run a script in a fresh process and return its seconds, CPU seconds and peak memory in MB."""
    # Without bytecode the modules of an editable install would be compiled each time.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    before_s = time.perf_counter()
    done = subprocess.run(
        [python, "-c", script, str(model)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    took_s = time.perf_counter() - before_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took_s, cpu_s, int(done.stdout.split()[-1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
