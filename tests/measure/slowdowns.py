"""How much slower a file has to become for `benchmark --compare` to find it.

Run by hand (`make slowdowns`). MobileNetV2 1.0/224 as a plain int8 file, and the same with an extra
block before its pooling, narrow to wide; the weights do not matter for time. Each time the earlier
benchmark and the later one are processes of their own, as they are in life. Ends with 1 where the
same file is ever called anything but the same, or a slowdown of over twice the limit is missed.
"""

import argparse
import contextlib
import io
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
from plain import convert_plainly

CHANNELS = (0, 48, 96, 144, 192, 288)
SIZE = 224
# Whose name tells the files from each other would not be compared.
NAME = "model.tflite"


def main() -> int:
    """Print a line for each width; 0 if nothing was said that is not so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=10, help="of each file")
    parser.add_argument("--percent", type=float, default=5, help="--fail-on-regression")
    chosen = parser.parse_args()
    print("channels  times as slow  slower  faster  the same  fails  ratios said")
    right = True
    with tempfile.TemporaryDirectory() as home:
        files = {channels: write(Path(home), channels) for channels in CHANNELS}
        for channels, file in files.items():
            record = Path(home) / "old.json"
            truth = true_ratio(files[0], file)
            words, fails, ratios = [], 0, []
            for _ in range(chosen.tries):
                benchmark(files[0], "--json", str(record), "--overwrite")
                limit = ("--fail-on-regression", f"{chosen.percent:g}")
                done = benchmark(file, "--compare", str(record), *limit)
                said = " ".join(done.stdout.split())
                found = re.search(r"thread: ([a-z ]+), ([\d.]+) times the earlier", said)
                assert found, done.stderr
                words.append(found[1])
                ratios.append(float(found[2]))
                fails += done.returncode
            counts = [words.count(word) for word in ("slower", "faster", "the same")]
            print(
                f"{channels:8}  {truth:13.3f}  {counts[0]:6}  {counts[1]:6}  {counts[2]:8}  "
                f"{fails:5}  {min(ratios):.2f} to {max(ratios):.2f}",
                flush=True,
            )
            if not channels:
                right &= counts[2] == chosen.tries and not fails
            if truth > 1 + chosen.percent / 50:
                right &= fails == chosen.tries
    return int(not right)


def network(channels: int) -> keras.Model:
    """Return MobileNetV2 with an extra block so wide, none for 0."""
    pixels = keras.Input((SIZE, SIZE, 3), batch_size=1)
    base = keras.applications.MobileNetV2(include_top=False, weights=None, input_tensor=pixels)
    x = base.output
    if channels:
        y = keras.layers.Conv2D(channels, 1, activation="relu6")(x)
        y = keras.layers.DepthwiseConv2D(3, padding="same", activation="relu6")(y)
        x = keras.layers.Add()([x, keras.layers.Conv2D(x.shape[-1], 1)(y)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(5, activation="softmax")(x))


def write(home: Path, channels: int) -> Path:
    """Convert a network to int8."""
    photos = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    path = home / str(channels) / NAME
    path.parent.mkdir()
    # What the converter prints is not for the table.
    with contextlib.redirect_stdout(io.StringIO()):
        path.write_bytes(convert_plainly(network(channels), "int8", photos))
    return path


def true_ratio(one: Path, other: Path) -> float:
    """Return a file's time over another's, both timed in turn in one run."""
    if one == other:
        return 1.0
    done = benchmark(one, str(other), "--num-runs", "300", "--json", "-")
    ratios = [
        entry["latencies"][0]["invoke"]["ratio"] for entry in json.loads(done.stdout)["files"]
    ]
    return statistics.fmean(ratios[1:])


def benchmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "pocketlens", "benchmark", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # 1 is what a regression ends with; what went wrong otherwise is to be seen.
    assert done.returncode in (0, 1), done.stderr
    return done


if __name__ == "__main__":
    sys.exit(main())
