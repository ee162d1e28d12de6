// The newest alerts beside the chart: each leads to its series.

import { ApiError, explain, get, path } from "/web/api.js";
import { element, paced } from "/web/element.js";
import { count, detectorName, names, number, time } from "/web/format.js";
import { live } from "/web/live.js";
import { link } from "/web/router.js";

const SHOWN_MAX = 100;

/** Newest first: by the time of what was measured, then by when the alert was raised. */
export const byTime = (a, b) => (b.opened_time || b.raised_ms) - (a.opened_time || a.raised_ms) || b.raised_ms - a.raised_ms || (a.alert_id < b.alert_id ? 1 : -1);

/** Take an alert of the list in, unless a newer record of it is held. */
export function keepNewer(alerts, alert) {
  const held = alerts.get(alert.alert_id);
  if (!held || (held.state === "OPEN" && held.last_offset <= alert.last_offset)) alerts.set(alert.alert_id, alert);
}

export class Newest {
  constructor(root, choose) {
    this.choose = choose;
    this.alerts = new Map();
    this.list = element("ol", { id: "alerts", class: "rows" });
    root.append(this.list, element("p", { class: "quiet" }, element("a", { href: link("alerts") }, "All alerts")));
    this.drawSoon = paced(() => this.draw());
    this.end = live.listen((frame, first) => {
      if (frame.reset) this.alerts.clear();
      for (const alert of frame.alerts) this.alerts.set(alert.alert_id, alert);
      if (frame.alerts.length) this.drawSoon();
      if (first || frame.reset) this.load(); // what came before the stream began; what comes after, it sends
    });
    this.load();
  }

  close() {
    this.end();
    this.drawSoon.cancel();
  }

  async load() {
    try {
      for (const alert of (await get(path("/alerts", { limit: SHOWN_MAX }))).items) keepNewer(this.alerts, alert);
      this.draw();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.list.replaceChildren(element("li", { class: "quiet" }, explain(error)));
    }
  }

  draw() {
    const newest = [...this.alerts.values()].sort(byTime).slice(0, SHOWN_MAX);
    this.alerts = new Map(newest.map((alert) => [alert.alert_id, alert]));
    const aimedAt = this.list.matches(":hover") || this.list.contains(document.activeElement);
    if (aimedAt && this.list.childElementCount) return this.drawSoon(); // do not move what is aimed at
    this.list.replaceChildren(...(newest.length ? newest.map((alert) => this.row(alert)) : [element("li", { class: "quiet" }, "none yet")]));
  }

  row(alert) {
    const { what } = names(alert.series);
    const detector = detectorName(alert.detector);
    const open = alert.state === "OPEN";
    return element("li", {}, element("button", { type: "button", title: `${alert.series}\n${alert.detail ?? ""}`, "data-alert": alert.alert_id, onclick: () => this.choose(alert.series, `${detector}/`) },
      element("span", { class: "first" }, element("span", { class: "name" }, what), element("span", { class: `value ${open ? "alarm" : "quiet"}` }, open ? "▲ OPEN" : "closed")),
      element("span", { class: "rule" }, `${alert.severity === "CRITICAL" ? "critical · " : ""}${alert.rule_doc || alert.rule}`),
      alert.detail ? element("span", { class: "rule quiet" }, alert.detail.split("\n")[0]) : null,
      element("span", { class: "second" }, element("span", {}, detector.startsWith("multivariate.") ? detector : `${detector} · value ${number(alert.value)}`), element("span", { class: "value" }, `${count(alert.rows)} row${alert.rows === 1 ? "" : "s"}`)),
      element("span", { class: "second" }, `${time(alert.opened_time || alert.raised_ms)} UTC${alert.lot ? ` · lot ${alert.lot}` : ""}`)));
  }
}
