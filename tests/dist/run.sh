#!/bin/sh
# Builds the sdist and the wheel into dist/, of the files that git knows, looks at what is in them
# and at what a package index would say, and runs the device's tests with each of the two.
# Usage: run.sh PYTHON, with the models of POCKETLENS_TEST_MODELS made by an earlier `pytest`.
set -eu
. "$(dirname "$0")/../environment.sh"
here=$root/tests/dist

if [ -n "$(git -C "$root" status --porcelain)" ]; then
    echo "Not all of this is committed: these archives are for trying, not for releasing." >&2
fi
mkdir "$outside/checkout"
(cd "$root" && git ls-files -z | tar --null -T - -cf -) | tar -xf - -C "$outside/checkout"
rm -rf "$root/dist"
# Of the checkout the sdist, of that the wheel; then a wheel of the checkout.
quietly "$python" -m build --outdir "$root/dist" "$outside/checkout"
quietly "$python" -m build --wheel --outdir "$outside/direct" "$outside/checkout"
"$python" "$here/contents.py" "$outside/checkout" "$root"/dist/*.tar.gz "$root"/dist/*.whl \
    "$outside"/direct/*.whl
"$python" -m twine check --strict "$root"/dist/*
for archive in "$root"/dist/*; do
    sh "$root/tests/wheel/run.sh" "$python" newest "$python" "$archive"
done
ls -l "$root"/dist/*
