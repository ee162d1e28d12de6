"""Run seeds: `python -m tests.simulation --seeds 1000 --first-seed 0 [--processes 2] [--verbose] [--json]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.seeds import Outcome, report, run

CHUNK = 25  # seeds that a process takes at once


def main(arguments: list[str]) -> int:
    """Run what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--verbose", action="store_true", help="print all that happened in a seed that fails")
    parser.add_argument("--json", action="store_true", help="print one JSON object: what failed, what was met where")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    outcome = Outcome()
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        for part in pool.map(run, chunks):
            outcome += part
            for seed, wrong in part.failed.items() if not options.json else ():
                sys.stdout.write(report(seed, wrong, verbose=options.verbose) + "\n")
    spent_s = time.monotonic() - started
    as_json, as_text = outcome.to_json(options.first_seed, spent_s), outcome.text(options.first_seed, spent_s)
    sys.stdout.write((json.dumps(as_json) if options.json else as_text) + "\n")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
