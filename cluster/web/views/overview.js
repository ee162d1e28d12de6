// How everything does: the pipeline, the tools, the alerts, throughput, latency, lag.

import { ApiError, all, explain, get, path } from "/web/api.js";
import { Trend } from "/web/charts/trend.js";
import { element, every, paced, text } from "/web/element.js";
import { count, counted, detectorName, milliseconds, names, time } from "/web/format.js";
import { live } from "/web/live.js";
import { link } from "/web/router.js";
import { groupsOf } from "/web/views/overview/tools.js";
import { byTime } from "/web/views/chart/newest.js";
import { Health } from "/web/views/overview/health.js";
import { panel, problem, sign } from "/web/widgets.js";

const TOOLS_MS = 5_000, ALERTS_MS = 4_000, FIGURES_MS = 3_000, PAGE = 500, TOOL_PAGES_MAX = 10, ALERT_PAGES_MAX = 2;
const OWN_MAX = 900; // values that the page notes by itself, where the server keeps none: one a second
const WINDOW_S = 900, NEWEST_SHOWN = 6;
const SEVERITIES = [["CRITICAL", "critical", "alarm"], ["WARNING", "warning", "learning"], ["UNKNOWN", "of a severity that this page does not know", "quiet"]];

/** A canvas with a name under a heading. */
function figure(title, id) {
  const canvas = element("div", { id, class: "canvas trend", role: "img", "aria-label": title, "data-what": title });
  const note = element("p", { class: "quiet" });
  return { canvas, note, root: panel(title, {}, canvas, note) };
}

class Overview {
  constructor(root) {
    this.own = { at: [], rows: [], p95: [], lag: [] };
    this.tools = element("div", { id: "tools" });
    this.severities = element("ul", { id: "severities", class: "severities" });
    this.newest = element("ol", { id: "alerts", class: "plain" });
    this.toolsNote = element("p", { class: "quiet" });
    this.alertsNote = element("p", { class: "quiet" });
    this.health = new Health();
    const [rate, latency, lag] = [figure("Throughput", "throughput"), figure("Latency, end to end", "latency-chart"), figure("Lag", "lag-chart")];
    Object.assign(this, { rate, latency, lag });
    root.append(element("h1", { tabindex: "-1" }, "Overview"),
      element("div", { class: "overview-grid" },
        this.health.root,
        panel("Open alerts", { class: "alerts-panel" }, this.severities, this.alertsNote, this.newest, element("p", {}, element("a", { href: link("alerts") }, "All alerts"))),
        rate.root, latency.root, lag.root,
        panel("Lines and tools", { class: "tools-panel" }, this.tools, this.toolsNote)));
    this.trends = [new Trend(rate.canvas, (value) => (value === null ? "–" : `${count(value)}/s`)), new Trend(latency.canvas, milliseconds), new Trend(lag.canvas, (value) => count(value))];
    this.drawSoon = paced(() => this.drawFigures());
    this.served = { throughput: null, latency: null };
    this.ends = [
      live.listen((frame) => { this.summary = frame.summary; this.noteOwn(frame.summary); this.health.rate(frame.summary); this.drawSoon(); }),
      every(TOOLS_MS, () => this.loadTools()), every(ALERTS_MS, () => this.loadAlerts()), every(FIGURES_MS, () => this.loadFigures()),
    ];
  }

  close() {
    for (const end of this.ends) end();
    this.drawSoon.cancel();
    this.health.close();
    for (const trend of this.trends) trend.close();
  }

  async loadTools() {
    try {
      const found = await all("/charts", { limit: PAGE }, TOOL_PAGES_MAX);
      this.tools.replaceChildren(...(found.items.length ? groupsOf(found.items) : [element("p", { class: "quiet" }, "Nothing has been measured yet.")]));
      text(this.toolsNote, found.more ? `From the first ${count(found.items.length)} of ${count(found.total)} series, alarms first.` : `From ${counted(found.total, "series")}.`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      text(this.toolsNote, explain(error));
    }
  }

  async loadAlerts() {
    try {
      const { items, more } = await all("/alerts", { limit: PAGE, state: "OPEN" }, ALERT_PAGES_MAX);
      const most = Math.max(1, items.length);
      this.severities.replaceChildren(...SEVERITIES.flatMap(([severity, words, style]) => {
        const n = items.filter((alert) => alert.severity === severity).length;
        if (!n && severity === "UNKNOWN") return [];
        return [element("li", {}, sign(n ? style : "quiet", `${count(n)}${more ? "+" : ""} ${words}`), element("meter", { min: 0, max: most, value: n, "aria-label": `${words}: ${n} of ${items.length} open alerts` }))];
      }));
      this.newest.replaceChildren(...[...items].sort(byTime).slice(0, NEWEST_SHOWN).map((alert) => element("li", {},
        element("a", { href: link("chart", { series: alert.series, tab: `${detectorName(alert.detector)}/` }) }, names(alert.series).what), ` ${alert.rule_doc || alert.rule} `, element("span", { class: "quiet" }, `${names(alert.series).short} · ${time(alert.opened_time || alert.raised_ms)} UTC`))));
      const open = this.summary?.alerts.open ?? 0;
      text(this.alertsNote, open > items.length ? `Of the newest that are held: ${count(items.length)} of ${count(open)} that are open.` : "");
      if (!items.length) this.newest.replaceChildren(element("li", { class: "quiet" }, "No alert is open."));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.newest.replaceChildren(element("li", {}, problem(error)));
    }
  }

  /** What the server has kept of throughput and latency; where it keeps none, what this page has seen. */
  async loadFigures() {
    const [throughput, latency, consumers] = await Promise.allSettled([this.ask("throughput"), this.ask("latency"), get("/events/consumers")]);
    this.served = { throughput: throughput.value ?? null, latency: latency.value ?? null };
    this.health.consumers(consumers.value ?? null, consumers.reason);
    this.lagNow = consumers.value?.lag ?? null;
    this.drawSoon();
  }

  async ask(what) {
    if (this.absent?.has(what)) return null;
    try {
      return await get(path(`/events/${what}`, { window_s: WINDOW_S }));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.absent) (this.absent ??= new Set()).add(what);
      return null;
    }
  }

  noteOwn(summary) {
    const { own } = this, now = summary.now_ms;
    if (own.at.length && now - own.at[own.at.length - 1] < 1_000) return;
    for (const [name, value] of [["at", now], ["rows", summary.rows_per_s], ["p95", summary.latency_ms.p95], ["lag", this.lagNow ?? null]]) {
      own[name].push(value);
      if (own[name].length > OWN_MAX) own[name].shift();
    }
  }

  drawFigures() {
    const { own, served } = this, since = "since this page was opened: the server keeps none";
    const [rate, latency, lag] = this.trends, { throughput } = served;
    if (throughput?.at?.length) rate.draw(throughput.at, { "rows/s": throughput.rows_per_s });
    else rate.draw(own.at, { "rows/s": own.rows });
    text(this.rate.note, throughput?.at?.length ? `the last ${WINDOW_S / 60} minutes` : since);
    const series = served.latency?.series;
    if (series?.at?.length) latency.draw(series.at, { p95: series.p95 });
    else latency.draw(own.at, { p95: own.p95 });
    const end = served.latency?.end_to_end;
    text(this.latency.note, end ? `p50 ${milliseconds(end.p50)} · p95 ${milliseconds(end.p95)} · p99 ${milliseconds(end.p99)}${stages(served.latency.stages)}` : `from the producer's clock to a read_committed reader, ${since}`);
    lag.draw(own.at, { records: own.lag });
    text(this.lag.note, `now ${count(this.lagNow)} records behind the end of the input, since this page was opened`);
  }
}

/** "commit p95 4 ms" of each stage that the server tells. */
function stages(told) {
  const said = Object.entries(told ?? {}).map(([name, stage]) => [name, typeof stage === "number" ? stage : stage?.p95]).filter(([, p95]) => p95 !== null && p95 !== undefined);
  return said.length ? ` · p95 of stages: ${said.map(([name, p95]) => `${name.replaceAll("_", " ")} ${milliseconds(p95)}`).join(", ")}` : "";
}

export function open(root) {
  const view = new Overview(root);
  return { close: () => view.close(), change: () => {} };
}
