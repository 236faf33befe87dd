#!/bin/sh
# mypy, strict, on the import package as it is installed: run from the root, mypy would pass over the mapped folders.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cp -r "$root/nat" "$tree/nat"
for folder in datasets supernet pretrained; do cp -r "$root/$folder" "$tree/nat/$folder"; done
python=$root/.venv/bin/python
[ -x "$python" ] || python=python
cd "$tree"
"$python" -m mypy --config-file "$root/pyproject.toml" --cache-dir "$root/.mypy_cache" "$@" -p nat
