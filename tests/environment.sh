# What the run.sh here share. Each reads it first, is called with PYTHON, that of this repository's
# environment, and works in $outside, a folder that is gone at the end.
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
root=$(cd "$(dirname "$0")/../.." && pwd)
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT
# Without extras many tests have nothing to run.
unset POCKETLENS_ALLOWED_SKIPS

# quietly COMMAND...: what it prints is shown only if it fails.
quietly() {
    "$@" > "$outside/log" 2>&1 || { cat "$outside/log"; exit 1; }
}

# uv_pip COMMAND...: what `uv pip` does, quietly.
uv_pip() {
    quietly "$python" -m uv pip "$@"
}

# new_environment PYTHON: an empty one in $outside/venv, of a version ("3.13") or of a path. Where uv
# neither finds nor gets that version there is nothing to run.
new_environment() {
    # Of pyenv's versions the shims of those that nobody chose fail, and uv looks no further.
    PYENV_VERSION=$(pyenv versions --bare 2> "$outside/log" | paste -sd : -) \
        "$python" -m uv venv --quiet --python "$1" "$outside/venv" > "$outside/log" 2>&1 || {
        cat "$outside/log"
        case $1 in */*) exit 1 ;; esac
        echo "skipped: uv neither finds nor gets Python $1"
        exit 0
    }
    "$outside/venv/bin/python" -VV
}

# run_tests ARGUMENT...: those of this repository that are named, in that environment and outside the
# repository. No test that holds real time against a bound: `make test` has run those.
run_tests() {
    cp -R "$root/tests" "$outside/tests"
    cd "$outside"
    venv/bin/python -m pytest --import-mode=importlib -q -rs -p no:cacheprovider -n 2 \
        --dist loadfile --timeout 600 -m 'not real_time' --durations 5 \
        -W ignore::pytest.PytestUnknownMarkWarning \
        -o filterwarnings=error::DeprecationWarning:pocketlens "$@"
}
