#!/bin/sh
# Builds the wheel and the sdist, installs the wheel alone into a new environment and runs the
# device's tests there, outside the repository and without TensorFlow.
# Usage: run.sh PYTHON, with the models of POCKETLENS_TEST_MODELS made by an earlier `pytest`.
set -eu
python=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
# Without extras many tests have nothing to run.
unset POCKETLENS_ALLOWED_SKIPS
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT

"$python" -m build --outdir "$outside/dist" "$root" > "$outside/build.log" 2>&1 ||
    { cat "$outside/build.log"; exit 1; }
ls "$outside"/dist/*.whl "$outside"/dist/*.tar.gz

"$python" -m venv "$outside/venv"
"$outside/venv/bin/python" -m pip install --quiet -c "$root/constraints.txt" \
    "$outside"/dist/*.whl pytest pytest-timeout hypothesis
for heavy in tensorflow keras sklearn matplotlib; do
    if "$outside/venv/bin/python" -c "import $heavy" 2> /dev/null; then
        echo "$heavy is installed: this environment proves nothing" >&2
        exit 1
    fi
done

cp -R "$root/tests" "$outside/tests"
cd "$outside"
venv/bin/python -m pytest --import-mode=importlib -q -rs -p no:cacheprovider -W ignore::pytest.PytestUnknownMarkWarning --timeout 600 \
    tests/core tests/cli tests/evaluation tests/runtime tests/benchmarks tests/export
