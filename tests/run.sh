#!/bin/sh
# The test suite. `all`: everything, with coverage of the four packages. `fast`: pure tests that take less than half a second, no broker, no Ray.
# `all`: tests on a shared broker, Ray and browser, in two processes with a broker and a Ray each; then tests that start whole products,
# one after the other; beside both pure tests, which get what they leave. Tests that measure a time that was promised, or want the
# machine, run last, alone.
# BIN is the virtual environment's bin folder; further arguments go to pytest.
set -eu
BIN=${BIN:-.venv/bin}
what=$1
shift
pure="not kafka and not ray and not browser and not processes"

# what is compiled once need not be compiled by every process of the run, even where the environment says so
unset PYTHONDONTWRITEBYTECODE

stage() { printf '\n== %s\n' "$*" >&2; }
tests() { "$BIN/python" -m pytest -q -m "$@"; }

case $what in
fast)
    tests "$pure and not slow" -n 2 --ignore=tests/integration "$@" # none of those is pure
    exit
    ;;
processes)
    stage "tests that start processes of their own"
    tests processes "$@"
    exit
    ;;
pure)
    kernels="tests/schemas tests/models tests/actors/engine schemas models actors/engine"
    stage "pure tests of what has kernels, interpreted: coverage sees their lines"
    # shellcheck disable=SC2086
    NUMBA_DISABLE_JIT=1 tests "$pure and twice" "$@" $kernels
    stage "the same, kernels compiled, without coverage, which takes as long as the tests"
    # shellcheck disable=SC2086
    TESTS_COVERAGE='' tests "$pure and twice" -n 2 "$@" $kernels
    stage "other pure tests"
    tests "$pure and not twice" -n 2 "$@"
    exit
    ;;
esac

stage "format, lint"
"$BIN/ruff" format --check .
"$BIN/ruff" check .

stage "kernels compiled once, for all processes"
"$BIN/python" -m tests.compiled

rm -f .coverage .coverage.*
said=$(mktemp -d)
types='' pures=''
# Each of the two is a session, and the leader of its processes: none outlives a run that is broken off. Linux shares processor
# time out among sessions first (sched_autogroup): as a session that is as nice as can be, they have what the others leave.
trap 'for one in $types $pures; do kill -- "-$one" 2>/dev/null || true; done; rm -rf "$said"' EXIT
trap 'exit 130' INT TERM HUP

idle="nice -n 19"
if command -v chrt >/dev/null 2>&1; then idle="chrt --idle 0"; fi
# shellcheck disable=SC2086 # two words
beside() { exec setsid sh -c 'echo 19 2>/dev/null >/proc/self/autogroup || true; exec "$@"' sh $idle "$@"; }

beside "$BIN/mypy" </dev/null >"$said/types" 2>&1 &
types=$!

TESTS_COVERAGE=$PWD/pyproject.toml
PYTHONPATH=$PWD/tests/site
COVERAGE_FILE=$PWD/.coverage # also of processes that have another working directory
export TESTS_COVERAGE PYTHONPATH COVERAGE_FILE

beside sh "$0" pure "$@" </dev/null >"$said/pure" 2>&1 &
pures=$!

failed=''
stage "tests on a real broker, real Ray and a real browser; beside them, with the time that is left, pure tests and types"
tests "not ($pure) and not processes and not quiet" -n 2 --dist loadfile "$@" || failed="$failed broker-and-Ray"
sh "$0" processes "$@" || failed="$failed processes"
wait $pures || failed="$failed pure"
cat "$said/pure"
stage "types"
wait $types || failed="$failed types"
cat "$said/types"
types='' pures=''
stage "tests that measure a promised time, or run much at once: alone"
tests quiet "$@" || failed="$failed quiet"
[ -z "$failed" ] || { echo "failed, see above:$failed" >&2; exit 1; }

unset TESTS_COVERAGE PYTHONPATH
stage "coverage of schemas, models, actors, cluster (each at least 95 %)"
"$BIN/coverage" combine -q
"$BIN/coverage" report
for package in schemas models actors cluster; do
    "$BIN/coverage" report --include="$package/*" --fail-under=95 --format=total >/dev/null ||
        { echo "coverage of $package is below 95 %" >&2; exit 1; }
done
