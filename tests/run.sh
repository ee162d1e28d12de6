#!/bin/sh
# The test suite in stages. `all`: everything, with coverage of the four packages. `fast`: pure tests, no broker, no Ray.
# Pure tests run on two processes; those with a broker, Ray or a browser one after the other.
# BIN is the virtual environment's bin folder; further arguments go to pytest.
set -eu
BIN=${BIN:-.venv/bin}
what=$1
shift
pure="not kafka and not ray and not browser and not processes"

stage() { printf '\n== %s\n' "$*" >&2; }

if [ "$what" = fast ]; then
    exec "$BIN/python" -m pytest -q -n 2 -m "$pure" "$@"
fi

stage "format, lint, types"
"$BIN/ruff" format --check .
"$BIN/ruff" check .
"$BIN/mypy"

rm -f .coverage .coverage.*
COVERAGE_PROCESS_START=$PWD/pyproject.toml
PYTHONPATH=$PWD/tests/site
export COVERAGE_PROCESS_START PYTHONPATH

stage "pure tests of what has kernels, interpreted: coverage sees their lines"
NUMBA_DISABLE_JIT=1 "$BIN/python" -m pytest -q -n 2 -m "$pure and not compiled_only" "$@" \
    tests/models tests/actors/engine models actors/engine

stage "pure tests, kernels compiled"
"$BIN/python" -m pytest -q -n 2 -m "$pure" "$@"

stage "tests on a real broker, real Ray and a real browser"
"$BIN/python" -m pytest -q -m "not ($pure)" "$@"

unset COVERAGE_PROCESS_START PYTHONPATH
stage "coverage of schemas, models, actors, cluster (each at least 95 %)"
"$BIN/coverage" combine -q
"$BIN/coverage" report
for package in schemas models actors cluster; do
    "$BIN/coverage" report --include="$package/*" --fail-under=95 --format=total >/dev/null ||
        { echo "coverage of $package is below 95 %" >&2; exit 1; }
done
