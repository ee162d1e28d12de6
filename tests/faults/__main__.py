"""`python -m tests.faults`: run the fault matrix, print it, exit with 1 if a gate is missed."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from tests.faults.case import Case
from tests.faults.cases import CASES
from tests.faults.report import facts, missed, table
from tests.faults.run import Clusters, Options, Outcome, run_case

_KINDS = ("plain", "proxied", "small disk")


def main() -> int:
    """Run what was asked for."""
    asked = _arguments()
    if asked.list:
        for case in CASES.values():
            sys.stdout.write(f"{case.name:24} {case.row}: {case.target}\n")
        return 0
    names = asked.case or [name for name in CASES if name not in asked.without]
    unknown = [name for name in names if name not in CASES]
    if unknown:
        sys.stderr.write(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}\n")
        return 2
    logging.basicConfig(level=logging.ERROR)
    out = asked.out.resolve()
    options = Options(*((4_000, 1) if asked.quick else (asked.records, asked.repeat)), asked.minutes, out)
    options.out.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, list[Outcome]] = {}
    warm: set[str] = set()  # kinds of clusters that have run a case, which does not count
    results = options.out / "results.jsonl"
    names.sort(key=lambda name: _KINDS.index(CASES[name].kind))  # one Kafka cluster of a kind serves all its cases
    with Clusters(options.out / "clusters") as clusters, results.open("w") as lines:
        for name in names:
            if not asked.quick and CASES[name].kind not in warm:
                # brokers that have just been started compile for a minute
                warm.add(CASES[name].kind)
                _run(replace(CASES["calm"], kind=CASES[name].kind), 0, clusters, options)
            for repetition in range(1, options.repeat + 1):
                outcome = _run(CASES[name], repetition, clusters, options)
                outcomes.setdefault(name, []).append(outcome)
                lines.write(json.dumps(asdict(outcome), default=str) + "\n")
                lines.flush()
                if outcome.state == "not run":
                    break
    sys.stdout.write(table(CASES, outcomes) + "\n" + facts(CASES, outcomes))
    failed = {name: why for name, of in outcomes.items() if (why := missed(CASES[name], of))}
    sys.stdout.writelines(f"{name}: {why}\n" for name, why in failed.items())
    sys.stderr.write(f"results: {results}\n")
    return 1 if failed else 0


def _run(case: Case, repetition: int, clusters: Clusters, options: Options) -> Outcome:
    began = time.monotonic()

    def say(what: str) -> None:
        sys.stderr.write(f"  {case.name} {repetition}: {time.monotonic() - began:6.1f} s {what}\n")

    outcome = run_case(case, repetition, clusters, options, say)
    back = ", ".join(f"{recovery:.2f} s" for recovery in outcome.recoveries)
    told = "".join(f"; {fact}: {outcome.facts[fact]}" for fact in case.tells if fact in outcome.facts)
    say(f"{outcome.state} {outcome.why} back: {back or '-'}; longest gap {outcome.longest_gap_s:.2f} s{told}")
    return outcome


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("--case", action="append", help="run this case (may be given again); all without it")
    parser.add_argument("--without", action="append", default=[], help="leave this case out")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of each case (5)")
    parser.add_argument("--records", type=int, default=100_000, help="records of each repetition (100000)")
    parser.add_argument("--quick", action="store_true", help="one repetition of 4000 records: does it run at all?")
    parser.add_argument("--minutes", type=float, default=20.0, help="length of the soak (20)")
    parser.add_argument("--out", type=Path, default=Path(".chipquality/faults"), help="folder for results and logs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
