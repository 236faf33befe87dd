#!/bin/sh
# mypy, strict, on the import package as it is installed: run from the root, mypy would pass over the mapped folders.
# Benchmarks and examples are checked for what they call; what libraries return there is taken as it comes.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cp -r "$root/nat" "$tree/nat"
for folder in datasets supernet pretrained; do cp -r "$root/$folder" "$tree/nat/$folder"; done
python=$root/.venv/bin/python
[ -x "$python" ] || python=python
cd "$tree"
cp -r "$root/benchmarks" "$root/examples" "$tree"
check() { "$python" -m mypy --config-file "$root/pyproject.toml" --cache-dir "$root/.mypy_cache" "$@"; }
check "$@" -p nat
check "$@" --allow-untyped-calls --no-warn-return-any --no-warn-unused-ignores benchmarks/*.py examples/*.py
