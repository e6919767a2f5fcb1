#!/bin/sh
# Builds the wheel, installs it with tflite-runtime into a new environment, asks there and here for
# the same answers from the same files, photos and video, and runs the device's tests there.
# Usage: run.sh PYTHON, with the models of POCKETLENS_TEST_MODELS made by an earlier `pytest`; the
# photos are those that the models were made of, or flowers where POCKETLENS_SHARED has some.
set -eu
python=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

if ! "$python" -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then
    echo "skipped: tflite-runtime has no wheels for Python 3.12 and newer"
    exit 0
fi
# Without extras many tests have nothing to run.
unset POCKETLENS_ALLOWED_SKIPS
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT

"$python" -m build --wheel --outdir "$outside/dist" "$root" > "$outside/build.log" 2>&1 ||
    { cat "$outside/build.log"; exit 1; }
"$python" -m venv "$outside/venv"
"$outside/venv/bin/python" -m pip install --quiet -c "$here/constraints.txt" \
    "$(ls "$outside"/dist/*.whl)[tflite]" pytest pytest-timeout hypothesis
# The newer interpreter comes with every install that has a wheel of it, and goes first.
"$outside/venv/bin/python" -m pip uninstall --quiet --yes ai-edge-litert

models=$(cd "$POCKETLENS_TEST_MODELS" && pwd)
photos=$models/photos
if [ -n "${POCKETLENS_SHARED:-}" ]; then
    photos=$(cd "$POCKETLENS_SHARED" && pwd)/data/flowers
fi
cp "$here/same_answers.py" "$outside"
cp -R "$root/tests" "$outside/tests"
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$outside"
"$python" same_answers.py video clip.mp4 "$photos"
"$python" same_answers.py write here.npz "$photos" clip.mp4 "$models"/tiny_*.tflite
venv/bin/python same_answers.py write there.npz "$photos" clip.mp4 "$models"/tiny_*.tflite
"$python" same_answers.py compare here.npz there.npz

# Left out: what waits for sources that fail, in which no interpreter takes part; and damaged models,
# on one of which this interpreter hangs for the minute that it is given, and one that only the newer
# interpreter hangs on.
venv/bin/python -m pytest --import-mode=importlib -q -rs -p no:cacheprovider --timeout 600 \
    --ignore=tests/runtime/live/capture/test_process.py --ignore=tests/runtime/live/sources/test_mjpeg.py \
    --ignore=tests/runtime/live/sources/test_rtsp.py \
    --deselect=tests/runtime/test_trial.py::test_no_corruption_takes_this_process_down \
    --deselect='tests/runtime/test_trial.py::test_hostile_files_of_the_shared_material[hang_226_sealed]' \
    tests/core tests/runtime tests/cli/test_main.py tests/cli/test_bad_input.py \
    tests/cli/test_classify.py tests/cli/test_inspect.py tests/cli/test_live.py \
    tests/cli/test_live_network.py tests/cli/test_service.py
