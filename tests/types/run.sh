#!/bin/sh
# mypy on a plain copy of the package: an editable install hides the mapping of folders from it.
set -eu
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
root=$(cd "$(dirname "$0")/../.." && pwd)
rm -rf "$root/build/types"
mkdir -p "$root/build/types/pocketlens"
cp -R "$root"/core/. "$root/build/types/pocketlens"
for part in benchmarks cli convert demo evaluation export labels report runtime studio synthetic train; do
    cp -R "$root/$part" "$root/build/types/pocketlens/$part"
done
cd "$root/build/types"
"$python" -m mypy --config-file "$root/pyproject.toml" -p pocketlens
