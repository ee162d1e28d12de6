#!/bin/sh
# The test suite. `all`: everything, with coverage of the four packages. `fast`: pure tests that take less than seconds, no broker, no Ray.
# With `all`, the pure tests run beside those with a broker, Ray or a browser, which mostly wait; each prints when it is done.
# BIN is the virtual environment's bin folder; further arguments go to pytest.
set -eu
BIN=${BIN:-.venv/bin}
what=$1
shift
pure="not kafka and not ray and not browser and not processes"

stage() { printf '\n== %s\n' "$*" >&2; }

if [ "$what" = fast ]; then
    exec "$BIN/python" -m pytest -q -n 2 -m "$pure and not slow" "$@"
fi

stage "format, lint, types"
"$BIN/ruff" format --check .
"$BIN/ruff" check .
"$BIN/mypy"

rm -f .coverage .coverage.*
COVERAGE_PROCESS_START=$PWD/pyproject.toml
PYTHONPATH=$PWD/tests/site
export COVERAGE_PROCESS_START PYTHONPATH

said=$(mktemp)
trap 'kill $beside 2>/dev/null || true; rm -f "$said"' EXIT
(
    set -e
    stage "pure tests of what has kernels, interpreted: coverage sees their lines"
    NUMBA_DISABLE_JIT=1 nice -n 5 "$BIN/python" -m pytest -q -m "$pure and not compiled_only" "$@" \
        tests/models tests/actors/engine models actors/engine
    stage "pure tests, kernels compiled"
    nice -n 5 "$BIN/python" -m pytest -q -m "$pure" "$@"
) >"$said" 2>&1 &
beside=$!

stage "tests on a real broker, real Ray and a real browser; pure tests beside them"
failed=0
"$BIN/python" -m pytest -q -m "not ($pure)" "$@" || failed=1
wait $beside || failed=1
cat "$said"
[ $failed = 0 ] || { echo "tests failed: see above" >&2; exit 1; }

unset COVERAGE_PROCESS_START PYTHONPATH
stage "coverage of schemas, models, actors, cluster (each at least 95 %)"
"$BIN/coverage" combine -q
"$BIN/coverage" report
for package in schemas models actors cluster; do
    "$BIN/coverage" report --include="$package/*" --fail-under=95 --format=total >/dev/null ||
        { echo "coverage of $package is below 95 %" >&2; exit 1; }
done
