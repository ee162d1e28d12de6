"""report.html: one file, which fetches nothing and runs nothing. Pure: from what report.json says to text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from typing import Any

from cluster.backtest.svg import Line, bars, chart, curve
from cluster.backtest.tally import DAY_MS

DAYS_TOLD = 400
SERIES_TOLD = 15
LABELS_TOLD = 60


def page(report: dict[str, Any]) -> str:
    """Return the page of a report."""
    what = report["backtest"]
    style = (files("cluster.backtest") / "report.css").read_text()
    title = f"Backtest of {what['label']} on {what['topic']}"
    parts = [
        f"<header><h1>{escape(title)}</h1><p class=quiet>{escape(_stretch(report))}</p></header>",
        *(f'<p class="note">{escape(note)}</p>' for note in report["notes"]),
        _figures(report),
        *([_labels(report["labels"])] if report["labels"] else []),
        _rules(report),
        _rates(report),
        _examples(report["examples"]),
        _made(report),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _stretch(report: dict[str, Any]) -> str:
    first, last = report["first_event_time_ms"], report["last_event_time_ms"]
    offsets = ", ".join(f"{p['partition']}: {p['from']} to {p['to']}" for p in report["backtest"]["partitions"][:12])
    more = len(report["backtest"]["partitions"]) - 12
    where = f"offsets by partition {offsets}{f' and {more} more' if more > 0 else ''}"
    return f"{_when(first)} to {_when(last)} (event time, UTC); {where}" if first is not None else where


def _figures(report: dict[str, Any]) -> str:
    said: list[tuple[str, str, str]] = [
        ("rows judged", _int(report["judged"]), f"of {_int(report['rows'])} of {_int(report['series'])} series"),
        ("alerts", _int(report["alerts"]), f"{_short(report['alerts_per_day'])} a day"),
        ("alerts per 1,000 judged rows", _short(report["alerts_per_1000_judged"]), ""),
    ]
    labels = report["labels"]
    if labels:
        said += [
            ("precision", _percent(labels["precision"]), f"{_int(labels['true_alerts'])} of {_int(report['alerts'])} alerts"),
            ("recall", _percent(labels["recall"]), f"{_int(labels['found'])} of {_int(labels['judged'])} labels"),
            ("false alarms a day", _short(labels["false_alarms_per_day"]), f"{_int(labels['false_alarms'])} in all"),
            ("delay, median", _duration((labels["delay_ms"] or {}).get("median")), _rows_of(labels["delay_rows"])),
        ]  # fmt: skip
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd><dd class=quiet>{escape(more)}</dd></div>"
        for name, value, more in said
    )
    return f'<dl class="figures">{cells}</dl>'


def _rows_of(spread: dict[str, float] | None) -> str:
    return f"{_int(spread['median'])} rows; at most {_int(spread['max'])}" if spread else ""


def _labels(labels: dict[str, Any]) -> str:
    kinds = _table(
        ["kind", "labels", "judged", "found", "recall"],
        [[k["kind"] or "–", _int(k["labels"]), _int(k["judged"]), _int(k["found"]), _percent(k["recall"])]
         for k in labels["kinds"]],
    )  # fmt: skip
    each = _table(
        ["label", "kind", "result", "delay", "rows before"],
        [[_named(x), x["kind"] or "–", x["result"], _duration(x["delay_ms"]), _int(x["delay_rows"])]
         for x in labels["each"][:LABELS_TOLD]],
    )  # fmt: skip
    cost = labels["cost"]
    price = f"{cost['missed_cost']:g}"
    widths = [point["width"] for point in cost["curve"]]
    as_it_is = cost["as_it_is"]["cost"][price]
    lines = [
        Line("cost", [point["cost"][price] for point in cost["curve"]], "line-a"),
        Line("false alarms", [point["false_alarms"] for point in cost["curve"]], "line-b"),
        Line("missed labels, at their price", [cost["missed_cost"] * p["missed"] for p in cost["curve"]], "line-c"),
        Line("as it is, run rules and all", [as_it_is] * len(widths), "line-d"),
    ]
    least = cost["least"]
    said = (
        f"A missed label costs as much as {price} false alarms. Limits {least['width']:g} times as wide would cost least, "
        f"{least['cost']:g}; the detector as it is costs {as_it_is:g}. The curve is of the limits alone; run rules are in the "
        "dashed line only."
    )
    drawn = curve(widths, lines, 1.0, "width of the limits, times as they are", "cost, in false alarms")
    more = len(labels["each"]) - LABELS_TOLD
    return (
        f"<section><h2>Against the labels</h2>{kinds}</section>"
        f"<section><h2>Cost curve</h2><p>{escape(said)}</p><figure>{drawn}{_legend(lines)}</figure></section>"
        f"<section><details><summary>Labels one by one</summary>{each}"
        f"{f'<p class=quiet>and {more} more in report.json</p>' if more > 0 else ''}</details></section>"
    )


def _rules(report: dict[str, Any]) -> str:
    head, labelled = ["rule", "fires when", "signals", "alerts"], report["labels"] is not None
    rows = []
    for rule in report["rules"]:
        row = [rule["rule"], rule["doc"], _int(rule["signals"]), _int(rule["alerts"])]
        rows.append([*row, _int(rule["false"]), _percent(rule["precision"])] if labelled else row)
    return (
        f"<section><h2>Rules</h2>{_table([*head, 'false alarms', 'precision'] if labelled else head, rows)}</section>"
    )


def _rates(report: dict[str, Any]) -> str:
    days = report["by_day"][-DAYS_TOLD:]
    names = [_day(day["day"]) for day in days]
    drawn = bars([day["alerts"] for day in days], names, "day of event time", "alerts")
    most = report["series_with_most_alerts"][:SERIES_TOLD]
    table = _table(["series", "alerts"], [[x["series"], _int(x["alerts"])] for x in most])
    parts = f"<section><h2>Alerts by day</h2><figure>{drawn}</figure></section>" if days else ""
    if report["labels"] is None and report["widths"]:
        widths = report["widths"]
        line = Line("alerts", [x["alerts"] for x in widths], "line-a")
        drawn = curve([x["width"] for x in widths], [line], 1.0, "width of the limits, times as they are", "alerts")
        said = "What limits of another width would raise, without run rules."
        parts += f"<section><h2>Alerts by width of the limits</h2><p>{said}</p><figure>{drawn}</figure></section>"
    return parts + (f"<section><h2>Series with the most alerts</h2>{table}</section>" if most else "")


def _examples(examples: Sequence[dict[str, Any]]) -> str:
    if not examples:
        return ""
    shown = []
    for x in examples:
        lines = [
            Line("centre", x["centre"], "centre", steps=True),
            Line("lcl", x["lcl"], "limit", steps=True),
            Line("ucl", x["ucl"], "limit", steps=True),
        ]
        text = f"{x['rule']} on {x['series']}"
        where = f"{_when(x['event_time_ms'])}, partition {x['partition']}, offset {x['offset']}; {x['doc']}"
        drawn = chart(x["points"], lines, x["fired"], x["at"], x["statistic"])
        shown.append(
            f"<figure><figcaption><b>{escape(text)}</b> <span class=quiet>{escape(where)}</span></figcaption>{drawn}</figure>"
        )
    said = "<h2>Examples</h2><p>The alerts that were farthest out, of each rule.</p>"
    return f'<section>{said}<div class="examples">{"".join(shown)}</div></section>'


def _made(report: dict[str, Any]) -> str:
    what = report["backtest"]
    rows = [
        ["detector", what["detector"]],
        ["parameters", ", ".join(f"{name} = {value}" for name, value in what["parameters"].items()) or "as they are by default"],
        ["series", ", ".join(what["series"])],
        ["labels", what["labels"] or "none"],
        ["dead letters", ", ".join(f"{n} {reason}" for reason, n in report["dead_letters"].items()) or "none"],
        ["set aside", _int(report["set_aside"])],
        ["took", f"{report['seconds']:g} s"],
        ["engine", f"chipquality {what['code_version']}"],
    ]  # fmt: skip
    failures = "".join(
        f"<h3>Partition {x['partition']}, offset {x['offset']}</h3><pre>{escape(x['detail'])}</pre>"
        for x in report["failures"]
    )
    return f"<section><h2>How it was made</h2>{_table(['', ''], rows)}{failures}</section>"


def _named(label: dict[str, Any]) -> str:
    words = [label["series"] if label["series"] != "*" else ""]
    words += [f"{what} {label[what]}" for what in ("lot", "wafer") if label[what]]
    if label["from_ms"] is not None or label["to_ms"] is not None:
        words.append(f"{_when(label['from_ms'])} to {_when(label['to_ms'])}")
    return ", ".join(filter(None, words))


def _legend(lines: Sequence[Line]) -> str:
    items = "".join(
        f'<li><svg viewBox="0 0 24 8"><path class="{line.css}" d="M0 4H24"/></svg>{escape(line.name)}</li>'
        for line in lines
    )
    return f'<ul class="legend">{items}</ul>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p class=quiet>none</p>"
    heads = f"<thead><tr>{''.join(f'<th scope=col>{escape(x)}</th>' for x in head)}</tr></thead>" if any(head) else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table>{heads}<tbody>{body}</tbody></table></div>'


def _int(n: float | None) -> str:
    return "–" if n is None else f"{round(n):,}"


def _short(x: float | None) -> str:
    return "–" if x is None else f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def _percent(x: float | None) -> str:
    return "–" if x is None else f"{100 * x:.1f} %"


def _when(ms: int | None) -> str:
    if ms is None:
        return "…"
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def _day(day: int) -> str:
    return _when(day * DAY_MS)[:10]


def _duration(ms: float | None) -> str:
    if ms is None:
        return "–"
    for unit, size in (("d", DAY_MS), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= size:
            return f"{ms / size:.3g} {unit}"
    return f"{ms:g} ms"
