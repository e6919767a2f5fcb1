#!/bin/sh
# Builds the wheel, installs it with tflite-runtime into a new environment and asks there and here
# for the same answers from the same files and photos.
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
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT

"$python" -m build --wheel --outdir "$outside/dist" "$root" > "$outside/build.log" 2>&1 ||
    { cat "$outside/build.log"; exit 1; }
"$python" -m venv "$outside/venv"
"$outside/venv/bin/python" -m pip install --quiet -c "$here/constraints.txt" \
    "$(ls "$outside"/dist/*.whl)[tflite]"
# The newer interpreter comes with every install that has a wheel of it, and goes first.
"$outside/venv/bin/python" -m pip uninstall --quiet --yes ai-edge-litert

models=$(cd "$POCKETLENS_TEST_MODELS" && pwd)
photos=$models/photos
if [ -n "${POCKETLENS_SHARED:-}" ]; then
    photos=$(cd "$POCKETLENS_SHARED" && pwd)/data/flowers
fi
cp "$here/same_answers.py" "$outside"
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$outside"
"$python" same_answers.py write here.npz "$photos" "$models"/tiny_*.tflite
venv/bin/python same_answers.py write there.npz "$photos" "$models"/tiny_*.tflite
"$python" same_answers.py compare here.npz there.npz
