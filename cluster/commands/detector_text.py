"""What an examination found, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator

from actors.packages.examined import Cost, Examined, Failure, Stretched
from actors.packages.packaged import Packaged
from cluster.commands.telling import table

_MIB = 1024 * 1024


def examined_lines(examined: Examined) -> list[str]:
    """Return the lines: what it is, the suite, cost, what it says of recorded rows, and whether it can be deployed."""
    lines = [f"package    {examined.digest}", f"detector   {examined.target}"]
    if examined.packaged is not None:
        lines += _described(examined.packaged)
    lines += [
        f"{'ok' if check.passed else 'NO':<4} {check.name}{': ' + check.what if check.what else ''}"
        for check in examined.checks
    ]
    if examined.cost is not None:
        lines += _costs(examined.cost, examined.batch_cuts)
    if examined.stretch is not None:
        lines += _stretch(examined.stretch)
    return [*lines, *(_failed(examined.failure) if examined.failure is not None else ["it can be deployed"])]


def _described(packaged: Packaged) -> Iterator[str]:
    described = packaged.described
    yield f"identity   {described.identity}"
    yield f"statistics {', '.join(described.statistics) or 'none'}"
    yield f"rules      {', '.join(rule.name for rule in described.rules) or 'none'}"
    if described.dimension is not None:
        yield f"judges     vectors of {described.dimension}"


def _costs(cost: Cost, cuts: str) -> Iterator[str]:
    yield f"cost       {cost.us_per_row:.3g} µs of processor a row"
    yield f"state      {cost.state_bytes_per_series} bytes a series"
    yield f"memory     {cost.memory_bytes / _MIB:.0f} MiB more than without it"
    yield f"start      {cost.load_s:.2f} s to load, {cost.first_step_s:.2f} s for the first step, in which kernels are compiled"
    yield f"batch cuts {cuts}: how a log is cut into batches changes {'nothing' if cuts == 'exact' else 'the last bits'}"


def _stretch(said: Stretched) -> Iterator[str]:
    yield f"recorded   {said.rows} rows of {said.series} series: {said.judged} judged, {said.signals} with a signal"
    rates = [(rule, count, f"{said.rate(rule):.3g}") for rule, count in said.by_rule.items()]
    yield from ("  " + line for line in table(["rule", "rows", "in 1,000 judged"], rates))
    for example in said.examples:
        yield f"  e.g. {example.rule}: {example.series} at {example.partition}:{example.offset}"


def _failed(failure: Failure) -> Iterator[str]:
    yield from failure.traceback.splitlines()
    yield f"it cannot be deployed: {failure.phase}: {failure.reason}"
