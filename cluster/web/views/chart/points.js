// The points in words: of the one that is chosen, its facts and what contributed to it; of all, a table.

import { ApiError, all, get, path, seriesPath } from "/web/api.js";
import { wordsOf } from "/web/charts/marks.js";
import { titleOf } from "/web/charts/statistics.js";
import { element, every, say } from "/web/element.js";
import { detectorName, number, ruleName, time } from "/web/format.js";
import { facts, table } from "/web/widgets.js";

const TABLE_MS = 1_000, ALERT_PAGES_MAX = 2, ROWS_MAX = 500, COLUMNS_SHOWN = 10;
const SHARE = /^(.*) (\d+) %$/;

/** How a row was judged, in words. */
function stateOf(row) {
  if (row.value === null) return "missing: not judged";
  if (row.learning) return row.learning === "again" ? "Phase I again: not judged" : "Phase I: not judged yet";
  return row.valid ? "judged" : "not judged";
}

const firedOf = (row, panel) => panel.detector.rules.filter((_, i) => row.signal & (1 << i));
const sameRow = (panel, row) => panel.rows.find((one) => one.offset === row.offset && one.sample === row.sample);

function pairs(row, panels) {
  const vector = panels[0].detector.family === "multivariate", individual = panels[0].statistic.name.toLowerCase() === "x";
  return [
    ...panels.flatMap((panel) => {
      const one = sameRow(panel, row), name = titleOf(panel.statistic.name, panel.detector);
      if (!one) return [];
      return [[name, one.value === null ? "missing" : number(one.statistic, 6)], [`LCL · CL · UCL of ${name}`, [one.lcl, one.centre, one.ucl].map((v) => number(v, 6)).join(" · ")]];
    }),
    individual ? null : [vector ? "measured columns" : "value", number(row.value, 6)],
    ["event time", `${time(row.time)} UTC`], ["lot · wafer", `${row.lot || "–"} · ${row.wafer || "–"}`],
    ["row · offset", `${row.sequence} · ${row.offset}${row.sample ? `, sample ${row.sample}` : ""}`], ["state", stateOf(row)],
  ].filter(Boolean);
}

/** The words of a point beside the pointer. */
export function tip(row, panel, panels, excluded) {
  return element("div", { class: "tip" },
    element("table", {}, ...pairs(row, panels).map(([name, value]) => element("tr", {}, element("td", {}, name), element("td", {}, value)))),
    excluded.has(row.offset) ? element("div", {}, `⊘ excluded: ${excluded.get(row.offset)}`) : null,
    ...panels.flatMap((one) => { const at = sameRow(one, row); return at ? firedOf(at, one).map((rule) => element("div", { class: "fired" }, wordsOf(rule))) : []; }));
}

export class Points {
  /** `root`: where the table goes; `point`: where the chosen point goes; `choose(row)` chooses one; `history()`: of limits and exclusions. */
  constructor(root, point, { choose, history }) {
    this.point = point;
    this.choose = choose;
    this.history = history;
    this.panels = [];
    this.row = null;
    this.details = element("details", { id: "points" }, element("summary", {}, "The points of the chart as a table"), element("div", { class: "points-table" }));
    this.details.addEventListener("toggle", () => this.table());
    root.append(this.details);
    this.end = every(TABLE_MS, async () => { if (this.stale) this.table(); });
  }

  close() {
    this.end();
  }

  clear() {
    this.panels = [];
    this.chosen(null, []);
    this.details.lastElementChild.replaceChildren();
  }

  draw(panels) {
    this.panels = panels;
    this.stale = true;
  }

  table() {
    const aimedAt = this.details.contains(document.activeElement) && document.activeElement.tagName !== "SUMMARY";
    if (!this.details.open || !this.panels.length || aimedAt) return;
    this.stale = false;
    const [first] = this.panels;
    const rows = first.rows.filter((row) => row.statistic !== null || row.value === null).slice(-ROWS_MAX).reverse();
    const columns = [
      { head: "row", figure: true, cell: (row) => element("button", { type: "button", class: "link", onclick: () => this.choose(row) }, row.sequence) },
      { head: "event time (UTC)", cell: (row) => time(row.time) }, { head: "lot · wafer", cell: (row) => `${row.lot || "–"} · ${row.wafer || "–"}` },
      ...this.panels.flatMap((panel) => {
        const name = titleOf(panel.statistic.name, panel.detector), at = new Map(panel.rows.map((row) => [`${row.offset}.${row.sample}`, row]));
        const of = (row) => at.get(`${row.offset}.${row.sample}`) ?? {};
        return [{ head: name, figure: true, cell: (row) => (row.value === null ? "missing" : number(of(row).statistic)) },
          ...["lcl", "centre", "ucl"].map((column) => ({ head: `${{ lcl: "LCL", centre: "CL", ucl: "UCL" }[column]} of ${name}`, figure: true, cell: (row) => number(of(row)[column]) }))];
      }),
      { head: "signals", cell: (row) => this.panels.flatMap((panel) => firedOf(sameRow(panel, row) ?? { signal: 0 }, panel)).map((rule) => rule.name.replaceAll("_", " ")).join(", ") || "none" },
      { head: "state", cell: stateOf },
    ];
    this.details.lastElementChild.replaceChildren(table(`${rows.length} points of ${detectorName(first.detector.identity)}, newest first`, columns, rows));
  }

  /** Say what is known of the chosen point. */
  chosen(row, panels) {
    this.row = row;
    this.point.hidden = !row;
    if (!row) return this.point.replaceChildren();
    const shown = panels.map((panel) => [panel, sameRow(panel, row)]).filter(([, one]) => one);
    const fired = shown.flatMap(([panel, one]) => firedOf(one, panel));
    const { notes, series } = this.history();
    say([`Row ${row.sequence}`, ...shown.map(([panel, one]) => `${titleOf(panel.statistic.name, panel.detector)} ${one.value === null ? "missing" : number(one.statistic)}`), ...fired.map((rule) => ruleName(rule.name))].join(", "));
    this.point.replaceChildren(
      element("h2", {}, `Row ${row.sequence}`), facts(pairs(row, panels)),
      element("ul", { class: "fired" }, ...fired.map((rule) => element("li", {}, wordsOf(rule)))),
      notes.excluded.has(row.offset) ? element("p", {}, `⊘ Excluded: ${notes.excluded.get(row.offset)}`) : "",
      element("p", { class: "controls" }, this.history().excludeButton(row), element("button", { type: "button", onclick: () => this.choose(null) }, "Close")));
    if (panels[0].detector.family === "multivariate" && fired.length) this.contributions(row, series, panels[0].detector);
  }

  /** Which columns contributed: by the model's own decomposition, else as the detector said when the alert opened. */
  async contributions(row, series, detector) {
    const at = element("div", { class: "contributions" }, element("p", { class: "quiet" }, "asking which columns contributed …"));
    this.point.append(at);
    try {
      const parts = await decomposed(row, series, detector);
      if (this.row !== row) return;
      if (parts) return at.replaceChildren(...parts);
      const { items } = await all("/alerts", { series, limit: 500 }, ALERT_PAGES_MAX);
      if (this.row !== row) return;
      const said = items.filter((alert) => alert.detail && alert.detector === detector.identity && alert.opened_offset <= row.offset && row.offset <= alert.last_offset)
        .sort((a, b) => b.opened_offset - a.opened_offset)[0];
      at.replaceChildren(...(said ? drawnShares(said, row) : [element("p", { class: "quiet" }, "Contributions are told of the point that opened an alert; of this one none is kept.")]));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      at.replaceChildren(element("p", { class: "quiet" }, error.message));
    }
  }
}

/** A list of columns with a bar each: [name, percent, what else is said of it]. */
const bars = (shares) => element("ul", { class: "bars" }, ...shares.map(([column, percent, words]) => element("li", {}, element("span", { class: "name" }, column), element("meter", { min: 0, max: 100, value: Math.max(0, percent), "aria-label": `${column} ${percent} %` }), element("span", { class: "count" }, `${percent} %${words ?? ""}`))));

/** What each column adds to the statistics of a point; null where the server cannot say (404 says why: then the alert may). */
async function decomposed(row, series, detector) {
  let found;
  try {
    found = await get(path(`${seriesPath(series)}/contributions`, { offset: row.offset, limit: COLUMNS_SHOWN }));
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    return null;
  }
  const said = found.detectors.find((one) => one.identity === detector.identity && one.statistics);
  return said?.statistics.flatMap((one) => [
    element("h3", {}, `Contributions to ${titleOf(one.name, detector)} of this point, ${number(one.value)}${one.ucl === null ? "" : ` (limit ${number(one.ucl)})`}`),
    bars(one.contributions.filter((part) => part.fraction !== null).map((part) => [part.name, Math.round(100 * part.fraction), ` · value ${number(part.value)}`])),
  ]) ?? null;
}

/** "T2: a 60 %, b 30 %; Q: c 50 %" as bars. */
function drawnShares(alert, row) {
  const when = alert.opened_offset === row.offset ? "of this point" : `of the point that opened its alert (offset ${alert.opened_offset})`;
  return alert.detail.split("; ").flatMap((part) => {
    const [name, rest] = part.includes(": ") ? part.split(/: (.*)/s) : ["", part];
    const shares = rest.split(", ").map((one) => SHARE.exec(one)).filter(Boolean).map(([, column, percent]) => [column, Number(percent)]);
    if (!shares.length) return [element("p", {}, part)];
    return [element("h3", {}, `Contributions to ${titleOf(name, {})} ${when}`),
      bars(shares)];
  });
}
