#!/bin/sh
# Builds the wheel, installs it with the oldest version of each package that pyproject.toml allows
# (and that has a wheel for this Python) into a new environment, and runs the device's tests there.
# Usage: run.sh PYTHON, with the models of POCKETLENS_TEST_MODELS made by an earlier `pytest`.
set -eu
python=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
# Without the train extra many tests have nothing to run.
unset POCKETLENS_ALLOWED_SKIPS
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT

"$python" -m build --wheel --outdir "$outside/dist" "$root" > "$outside/build.log" 2>&1 ||
    { cat "$outside/build.log"; exit 1; }
"$python" -m uv pip compile --quiet --resolution lowest-direct --no-build --no-header \
    --no-annotate --no-emit-index-url --no-emit-find-links --python "$python" \
    --extra web --extra mqtt --extra heic --output-file "$outside/oldest.txt" \
    "$root/pyproject.toml"
cat "$outside/oldest.txt"
"$python" -m venv "$outside/venv"
"$outside/venv/bin/python" -m pip install --quiet -r "$outside/oldest.txt" \
    "$outside"/dist/*.whl pytest pytest-timeout hypothesis

cp -R "$root/tests" "$outside/tests"
cd "$outside"
# Left out: sources that fail and come back, which take long and do not depend on versions.
venv/bin/python -m pytest --import-mode=importlib -q -p no:cacheprovider -W ignore::pytest.PytestUnknownMarkWarning \
    --timeout 600 --ignore=tests/runtime/live/capture/test_process.py \
    --ignore=tests/runtime/live/sources/test_mjpeg.py \
    --ignore=tests/runtime/live/sources/test_rtsp.py \
    tests/core tests/evaluation tests/runtime tests/cli/test_main.py tests/cli/test_classify.py \
    tests/cli/test_inspect.py tests/cli/test_live.py tests/cli/test_live_network.py
