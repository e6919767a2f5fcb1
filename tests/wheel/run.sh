#!/bin/sh
# Installs the wheel, or another archive, into a new environment and runs the device's tests there,
# outside the repository and without TensorFlow.
# Usage: run.sh PYTHON newest|oldest [VERSION [ARCHIVE]], with the models of POCKETLENS_TEST_MODELS
# made by an earlier `pytest`. VERSION is that of Python in the new environment, as uv knows it.
# newest: the versions of constraints.txt and no extra. oldest: all of the device's extras, and the
# oldest version of each package that pyproject.toml allows and that has a wheel for that Python.
set -eu
. "$(dirname "$0")/../environment.sh"

new_environment "${3:-$python}"
if [ -n "${4:-}" ]; then
    archive=$(cd "$(dirname "$4")" && pwd)/$(basename "$4")
else
    quietly "$python" -m build --wheel --outdir "$outside/dist" "$root"
    archive=$(ls "$outside"/dist/*.whl)
fi
case $2 in
newest)
    versions=$root/constraints.txt
    extras=
    tests="tests/core tests/cli tests/evaluation tests/runtime tests/benchmarks tests/export"
    ;;
oldest)
    versions=$outside/oldest.txt
    extras='[web,mqtt,heic]'
    # Where packages of others are called; not sources that fail and come back, which take long.
    live=tests/runtime/live
    tests="--ignore=$live/capture/test_process.py --ignore=$live/sources/test_mjpeg.py
        --ignore=$live/sources/test_rtsp.py
        tests/core tests/evaluation tests/runtime tests/cli/test_main.py tests/cli/test_classify.py
        tests/cli/test_inspect.py tests/cli/test_live.py tests/cli/test_live_network.py"
    uv_pip compile --resolution lowest-direct --no-build --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --python "$outside/venv/bin/python" \
        --extra web --extra mqtt --extra heic --output-file "$versions" "$root/pyproject.toml"
    cat "$versions"
    ;;
esac
uv_pip install --python "$outside/venv/bin/python" --constraint "$versions" "$archive$extras" \
    pytest pytest-timeout pytest-xdist hypothesis
for heavy in tensorflow keras sklearn matplotlib; do
    if "$outside/venv/bin/python" -c "import $heavy" 2> "$outside/log"; then
        echo "$heavy is installed: this environment proves nothing" >&2
        exit 1
    fi
done
# shellcheck disable=SC2086 # One word a path.
run_tests $tests
