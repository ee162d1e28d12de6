"""The process in which a package is examined: it loads the code, tries it, says after each phase what it found.

It is started by actors/packages/examine.py, reads one job from stdin and writes messages to stdout, one JSON object a line:
`{"phase": name}` before each phase, `{name: …}` with what was found, `{"done": true}` at the end. What the code prints goes to
stderr. A phase that takes too long is ended by faulthandler, which writes to a file where every thread was: also where the code
holds the interpreter for ever.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from actors.engine.judge import Judge, assigned, checked
from actors.engine.state import series_bytes
from actors.packages.compiling import COMPILE_S, CompileWatch
from actors.packages.examined import Check, Cost, Example, Failure, Stretched
from actors.packages.limits import Limits, confine, peak_bytes, relieve
from actors.packages.loading import load
from actors.packages.packaged import Packaged
from actors.packages.recorded import Recorded, read_rows, recorded
from actors.packages.store import PackageStore
from models.checks import CHECKS, check_one
from models.detector import Description, Detector, SeriesBatch, dimension, new_params, new_state, series_batch

CHECK_STEPS = 3  # a check may take as long as so many steps
COST_ROWS = 2_000
COST_ROUNDS = 10
EXAMPLES_MAX = 3  # of each rule
OUTPUT_BYTES_MAX = 16 * 1024 * 1024  # of any file that the code writes, what it prints among them
LEAST_S = 0.1  # of a phase, after kernels were compiled
_SERIES = 8
_PR_SET_PDEATHSIG = 1  # of Linux: who is not waited for any more ends


@dataclass(frozen=True)
class Job:
    """What is to be examined."""

    store: str
    digest: str
    target: str
    given: dict[str, Any]
    limits: Limits
    cache: str
    hangs: str  # file for where a phase hangs
    stretch: str | None = None  # file with recorded rows

    def to_json(self) -> str:
        """Return it as a line."""
        return json.dumps({**asdict(self), "limits": self.limits.to_json()})

    @classmethod
    def of_json(cls, line: str) -> Job:
        """Read it."""
        said = json.loads(line)
        return cls(**{**said, "limits": Limits.of_json(said["limits"])})


def main() -> None:
    """Examine what stdin says."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = Job.of_json(sys.stdin.readline())
    rows = Path(job.stretch).read_bytes() if job.stretch else None
    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX))
    with Path(job.hangs).open("w", encoding="utf-8") as hangs:
        _Examination(job, out, hangs).run(rows)


class _Failed(Exception):  # noqa: N818 - it is said already
    """The failure is said; nothing more is to be done."""


class _Examination:
    def __init__(self, job: Job, out: IO[str], hangs: IO[str]) -> None:
        self._job = job
        self._out = out
        self._hangs = hangs
        self._phase = ""  # none: between two
        self._until = self._left_s = 0.0

    def run(self, rows: bytes | None) -> None:
        """Go through all phases; say what is found, the first failure too."""
        limits = self._job.limits
        before = peak_bytes()
        confine(limits)
        with CompileWatch(self._compiling):
            self._go(rows, before)

    def _go(self, rows: bytes | None, before: int) -> None:
        limits = self._job.limits
        try:
            detector, load_s = self._loaded()
            first_step_s = self._first_step(detector)
            failed = [name for name in CHECKS if not self._check(name, detector)]
            if failed:
                return
            with self.phase("cost", CHECK_STEPS * limits.step_s):
                us_per_row = _us_per_row(detector)
            size = series_bytes(detector.name, detector.state)
            self.say("cost", asdict(Cost(us_per_row, load_s, first_step_s, size, max(0, peak_bytes() - before))))
            if rows is not None:
                self._stretch(detector, rows)
        except _Failed:
            return
        self.say("done", found=True)

    def _loaded(self) -> tuple[Detector, float]:
        job = self._job
        began = time.monotonic()
        with self.phase("load", job.limits.load_s):
            store = PackageStore(job.store)
            detector = load(store, job.digest, job.target, job.given, Path(job.cache))
            assigned([detector])  # what a family cannot hold
            described = Description.of(detector)
            packaged = Packaged(store.url, job.digest, job.target, job.given, described)
            said = Packaged.of_json(packaged.to_json()).to_json()
        self.say("packaged", said)
        return detector, time.monotonic() - began

    def _first_step(self, detector: Detector) -> float:
        began = time.monotonic()
        with self.phase("first step", self._job.limits.load_s):
            batch = _made_up(detector, 4)
            checked(detector, detector.update(new_state(detector, _SERIES), batch), len(batch))
            Judge("examined", assigned([detector])[0])
        return time.monotonic() - began

    def _check(self, name: str, detector: Detector) -> bool:
        try:
            with self.phase(f"check {name}", CHECK_STEPS * self._job.limits.step_s):
                check_one(detector, name)
        except _Failed as failed:
            self.say("check", asdict(Check(name, passed=False, what=str(failed).removeprefix(f"{name}: "))))
            return False
        self.say("check", asdict(Check(name, passed=True)))
        return True

    def _stretch(self, detector: Detector, data: bytes) -> None:
        with self.phase("stretch", CHECK_STEPS * self._job.limits.step_s):
            rows = recorded(read_rows(data, "the stretch"), dimension(detector))
            state = new_state(detector, len(rows.keys))
        trial = _Trial(detector, rows)
        for start, batch in rows.steps():
            with self.phase("stretch", self._job.limits.step_s):
                trial.step(state, start, batch)
        self.say("stretch", asdict(trial.said()))

    @contextmanager
    def phase(self, name: str, limit_s: float) -> Iterator[None]:
        """Say what begins; end the process if it takes too long; say what it raises."""
        self._phase, self._until = name, time.monotonic() + limit_s
        self._watch(name, limit_s)
        try:
            yield
        except BaseException as error:
            faulthandler.cancel_dump_traceback_later()
            relieve()
            detail = getattr(error, "detail", "") or traceback.format_exc()
            reason = str(error) or type(error).__name__
            self.say("failure", asdict(Failure(name, reason, detail)))
            raise _Failed(reason) from error
        finally:
            self._phase = ""
            faulthandler.cancel_dump_traceback_later()

    def _watch(self, name: str, limit_s: float) -> None:
        self.say("phase", {"name": name, "limit_s": limit_s})
        faulthandler.dump_traceback_later(limit_s, exit=True, file=self._hangs)

    def _compiling(self, begins: bool) -> None:
        """Stop the clock of the phase while kernels are compiled."""
        if not self._phase:
            return
        if begins:
            self._left_s = self._until - time.monotonic()
            self._watch(f"{self._phase}, compiling", COMPILE_S)
        else:
            left_s = max(self._left_s, LEAST_S)
            self._until = time.monotonic() + left_s
            self._watch(self._phase, left_s)

    def say(self, name: str, found: Any) -> None:
        """Write a message."""
        self._out.write(json.dumps({name: found}) + "\n")
        self._out.flush()


class _Trial:
    """What a detector says of recorded rows."""

    def __init__(self, detector: Detector, rows: Recorded) -> None:
        self._detector = detector
        self._rows = rows
        self._judged = self._signals = 0
        self._by_rule = dict.fromkeys((rule.name for rule in detector.rules), 0)
        self._examples: list[Example] = []
        self._cpu_s = 0.0

    def step(self, state: dict[str, np.ndarray], start: int, batch: SeriesBatch) -> None:
        began = time.process_time()
        verdicts = checked(self._detector, self._detector.update(state, batch), len(batch))
        self._cpu_s += time.process_time() - began
        self._judged += int(verdicts.valid.sum())
        self._signals += int((verdicts.signal != 0).sum())
        for bit, rule in enumerate(self._by_rule):
            at = np.flatnonzero(verdicts.signal & np.uint32(1 << bit))
            wanted = max(0, EXAMPLES_MAX - self._by_rule[rule])
            self._examples += [self._example(rule, batch, start, int(i)) for i in at[:wanted]]
            self._by_rule[rule] += len(at)

    def _example(self, rule: str, batch: SeriesBatch, start: int, i: int) -> Example:
        key = self._rows.keys[int(batch.row[i])]
        partition = int(self._rows.partition[start + i])
        return Example(key, int(batch.offset[i]), partition, rule, int(batch.event_time_ms[i]))

    def said(self) -> Stretched:
        n = len(self._rows.batch)
        per_row = 1e6 * self._cpu_s / n if n else 0.0
        series, examples = len(self._rows.keys), tuple(self._examples)
        return Stretched(n, series, self._judged, self._signals, self._by_rule, per_row, examples)


def _made_up(detector: Detector, n: int, seed: int = 7) -> SeriesBatch:
    """Return rows about 10 with sigma 1, of _SERIES series in turn, with all that a row may carry."""
    random = np.random.default_rng(seed)
    p = dimension(detector)
    value = random.normal(10.0, 1.0, n if p is None else (n, p))
    carried = {"lsl": 4.0, "usl": 16.0, "target": 10.0, "sample_size": 50.0}
    columns = {name: np.full(n, number) for name, number in carried.items()}
    series = np.arange(n, dtype=np.int32) % _SERIES
    return series_batch(value, series=series, params=new_params(_SERIES), columns=columns)


def _us_per_row(detector: Detector) -> float:
    """Return processor time per row, the median of COST_ROUNDS batches."""
    state, batch = new_state(detector, _SERIES), _made_up(detector, COST_ROWS)
    taken = []
    for _ in range(COST_ROUNDS):
        began = time.process_time()
        detector.update(state, batch)
        taken.append(time.process_time() - began)
    return 1e6 * float(np.median(taken)) / COST_ROWS
