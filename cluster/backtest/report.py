"""From counts to measures: what a report says, as JSON. Pure.

With labels: an *incident* (an alert of one rule on one series) is true if a row on which its rule fires lies inside of a label,
else it is a false alarm; a label is *found* if a judged row of it signals.

    precision = true incidents / incidents                  recall = labels found / labels with a judged row
    delay     = from the begin of a label to its first signalling row, in event time and in judged rows of the label
    false alarms per day = false alarms / days between the first and the last judged row, in event time

The cost curve says what limits of another width would cost, in false alarms: a label that is missed costs `missed_cost` of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cluster.backtest.labels import BEGINNING, END, Label
from cluster.backtest.tally import DAY_MS, WIDTHS, Counts
from models.detector import Rule

MISSED_COSTS = (1.0, 10.0, 100.0)
LABELS_TOLD = 200  # one by one, those that were missed first


def measures(counts: Counts, rules: Sequence[Rule], labels: Sequence[Label], missed_cost: float) -> dict[str, Any]:
    """Return all measures; what needs labels is None where there are none, a ratio of nothing is None."""
    rules_opened, rules_false = counts.opened[: len(rules)], counts.false[: len(rules)]
    alerts = int(rules_opened.sum())
    span_days = max(0, counts.last_ms - counts.first_ms) / DAY_MS if counts.judged else 0.0
    return {
        "records": counts.records,
        "rows": counts.rows,
        "judged": counts.judged,
        "signalled": counts.signalled,
        "series": counts.series,
        "first_event_time_ms": counts.first_ms if counts.judged else None,
        "last_event_time_ms": counts.last_ms if counts.judged else None,
        "days": span_days,
        "alerts": alerts,
        "alerts_per_day": _ratio(alerts, span_days),
        "alerts_per_1000_judged": _ratio(1000 * alerts, counts.judged),
        "signals_per_1000_judged": _ratio(1000 * counts.signalled, counts.judged),
        "dead_letters": dict(sorted(counts.letters.items())),
        "set_aside": counts.aside,
        "rules": [
            {
                "rule": rule.name,
                "doc": rule.doc,
                "severity": rule.severity,
                "signals": int(counts.by_rule[r]),
                "alerts": int(rules_opened[r]),
                "false": int(rules_false[r]) if labels else None,
                "precision": _ratio(int(rules_opened[r] - rules_false[r]), int(rules_opened[r])) if labels else None,
            }
            for r, rule in enumerate(rules)
        ],
        "by_day": [
            {"day": day, "judged": rows, "alerts": opened} for day, (rows, opened) in sorted(counts.days.items())
        ],
        "series_with_most_alerts": [{"series": key, "alerts": n} for key, n in counts.alerts_of],
        "widths": _widths(counts, len(rules), span_days, bool(labels)),
        "labels": _of_labels(counts, rules_opened, rules_false, labels, missed_cost, span_days) if labels else None,
    }


def _of_labels(
    counts: Counts,
    opened: np.ndarray,
    false: np.ndarray,
    labels: Sequence[Label],
    missed_cost: float,
    span_days: float,
) -> dict[str, Any]:
    found = counts.found
    judged, hit = found.rows > 0, found.found_ms != END
    alerts, false_alarms = int(opened.sum()), int(false.sum())
    begins = np.array([label.from_ms for label in labels], np.int64)
    begins = np.where(begins == BEGINNING, found.begin_ms, begins)
    delay_ms, delay_rows = (found.found_ms - begins)[hit], found.before[hit]
    precision = _ratio(alerts - false_alarms, alerts)
    recall = _ratio(int(hit.sum()), int(judged.sum()))
    kinds = sorted({label.kind for label in labels})
    of_kind = {kind: np.array([label.kind == kind for label in labels]) for kind in kinds}
    return {
        "labels": len(labels),
        "judged": int(judged.sum()),
        "not_judged": int((~judged).sum()),
        "found": int(hit.sum()),
        "missed": int((judged & ~hit).sum()),
        "true_alerts": alerts - false_alarms,
        "false_alarms": false_alarms,
        "false_alarms_per_day": _ratio(false_alarms, span_days),
        "labelled_rows": counts.labelled,
        "precision": precision,
        "recall": recall,
        "f1": None if not precision or not recall else 2 * precision * recall / (precision + recall),
        "delay_ms": _spread(delay_ms),
        "delay_rows": _spread(delay_rows),
        "kinds": [
            {
                "kind": kind,
                "labels": int(which.sum()),
                "judged": int((which & judged).sum()),
                "found": int((which & hit).sum()),
                "recall": _ratio(int((which & hit).sum()), int((which & judged).sum())),
            }
            for kind, which in of_kind.items()
        ],
        "cost": _costs(counts, len(opened), judged, int(hit.sum()), false_alarms, missed_cost),
        "each": _each(labels, judged, hit, found.found_ms - begins, found.before),
    }


def _costs(
    counts: Counts, rules: int, judged: np.ndarray, found: int, false_alarms: int, missed_cost: float
) -> dict[str, Any]:
    """Return the cost curve: of each width, what is found, what is missed, false alarms, and the cost at each price of a miss."""
    prices = sorted({*MISSED_COSTS, missed_cost})
    wanted = int(judged.sum())

    def cost(missed: int, false: int) -> dict[str, float]:
        return {f"{price:g}": price * missed + false for price in prices}

    curve = []
    for at, width in enumerate(WIDTHS.tolist()):
        hit, false = int((counts.found.out[judged] > width).sum()), int(counts.false[rules + at])
        curve.append({"width": width, "found": hit, "missed": wanted - hit, "false_alarms": false,
                      "cost": cost(wanted - hit, false)})  # fmt: skip
    price = f"{missed_cost:g}"
    least = min(curve, key=lambda point: point["cost"][price])
    return {
        "missed_cost": missed_cost,
        "curve": curve,
        "least": {"width": least["width"], "cost": least["cost"][price]},
        "as_it_is": {"found": found, "missed": wanted - found, "false_alarms": false_alarms,
                     "cost": cost(wanted - found, false_alarms)},
    }  # fmt: skip


def _each(
    labels: Sequence[Label], judged: np.ndarray, hit: np.ndarray, delay_ms: np.ndarray, before: np.ndarray
) -> list[dict[str, Any]]:
    """Return labels one by one: missed ones, found ones, those without a judged row."""
    order = sorted(range(len(labels)), key=lambda n: (not judged[n], bool(hit[n]), n))
    told = []
    for n in order[:LABELS_TOLD]:
        label = labels[n]
        told.append(
            {
                "series": label.series,
                "lot": label.lot,
                "wafer": label.wafer,
                "from_ms": None if label.from_ms == BEGINNING else label.from_ms,
                "to_ms": None if label.to_ms == END else label.to_ms,
                "kind": label.kind,
                "result": "found" if hit[n] else "missed" if judged[n] else "not judged",
                "delay_ms": int(delay_ms[n]) if hit[n] else None,
                "delay_rows": int(before[n]) if hit[n] else None,
            }
        )
    return told


def _widths(counts: Counts, rules: int, span_days: float, labelled: bool) -> list[dict[str, Any]]:
    return [
        {
            "width": width,
            "alerts": int(counts.opened[rules + at]),
            "alerts_per_day": _ratio(int(counts.opened[rules + at]), span_days),
            "false_alarms": int(counts.false[rules + at]) if labelled else None,
        }
        for at, width in enumerate(WIDTHS.tolist())
    ]


def _spread(values: np.ndarray) -> Mapping[str, float] | None:
    if not len(values):
        return None
    median, p90 = np.quantile(values, [0.5, 0.9], method="inverted_cdf").tolist()
    return {"median": float(median), "p90": float(p90), "max": float(values.max())}


def _ratio(of: float, whole: float) -> float | None:
    return of / whole if whole else None
