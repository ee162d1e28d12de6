// The worklist: alerts newest first, what became of each, and what to do next.

import { ApiError, explain, get, path } from "/web/api.js";
import { element, paced, say, text } from "/web/element.js";
import { counted, detectorName, names, ruleName, time } from "/web/format.js";
import { live } from "/web/live.js";
import { note } from "/web/router.js";
import { Life } from "/web/views/alerts/life.js";
import { statusOf } from "/web/views/alerts/status.js";
import { byTime, keepNewer } from "/web/views/chart/newest.js";
import { form, more, sign } from "/web/widgets.js";

const PAGE = 100, HELD_MAX = 2_000; // of the list at once, and further ones with each "Show more"; in the page
const STATES = [["", "open and closed"], ["OPEN", "open: the signal goes on"], ["CLOSED", "closed: the signal has ended"]];
const STATUSES = [["", "any"], ["open", "new"], ["acknowledged", "acknowledged"], ["caused", "cause found"], ["in_ocap", "in OCAP"], ["closed", "closed by somebody"]];
const SEVERITIES = [["", "any"], ["CRITICAL", "critical"], ["WARNING", "warning"]];

class Worklist {
  constructor(root, query) {
    this.alerts = new Map();
    this.filter = {};
    this.chosen = null;
    this.next = null;
    this.rows = PAGE;
    this.turn = 0;
    this.controls = element("div", {});
    this.words = element("p", { id: "alerts-words", class: "quiet", role: "status" });
    this.list = element("ol", { id: "worklist", class: "rows", "aria-label": "Alerts, newest first" });
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.more = element("div", {});
    this.detail = element("section", { id: "alert", class: "panel", "aria-label": "Alert" });
    this.life = new Life(this.detail, (alert) => { this.alerts.set(alert.alert_id, alert); this.draw(); });
    root.append(element("h1", { tabindex: "-1" }, "Alerts"), this.controls,
      element("div", { class: "worklist" }, element("section", { class: "panel list", "aria-label": "Worklist" }, this.words, this.list, this.more, element("p", { class: "quiet keys" }, "By keyboard: j and k, or the arrows, go through the list; Enter opens one.")), this.detail));
    this.drawSoon = paced(() => this.draw());
    this.end = live.listen((frame, first) => {
      if (frame.reset) this.alerts.clear();
      for (const alert of frame.alerts) this.hear(alert);
      if (frame.alerts.length) this.drawSoon();
      if (first || frame.reset) this.load(null);
    });
    this.change(query);
  }

  close() {
    this.turn += 1;
    this.end();
    this.drawSoon.cancel();
  }

  change(query) {
    const filter = Object.fromEntries(["state", "status", "severity", "words"].map((name) => [name, query.get(name) ?? ""]));
    const another = JSON.stringify(filter) !== JSON.stringify(this.filter);
    this.filter = filter;
    if (another) {
      this.controls.replaceChildren(form([
        { name: "state", label: "Signal", kind: "select", value: filter.state, options: STATES }, { name: "status", label: "Work", kind: "select", value: filter.status, options: STATUSES },
        { name: "severity", label: "Severity", kind: "select", value: filter.severity, options: SEVERITIES }, { name: "words", label: "Words", kind: "search", value: filter.words, max: 200 },
      ], "Filter", async (values) => { note("alerts", { ...values, id: this.chosen }); this.change(new URLSearchParams(values)); }, { inline: true }));
      this.alerts.clear();
      this.next = null;
      this.rows = PAGE;
      this.load(null);
    }
    this.open(query.get("id") || this.chosen);
  }

  /** What the server filters by; what it does not know is filtered here too. */
  parameters() {
    const { state, status, severity } = this.filter;
    return { limit: PAGE, state, status: this.plain ? "" : status, severity: this.plain ? "" : severity };
  }

  async load(cursor) {
    this.turn += 1;
    const turn = this.turn;
    try {
      const found = await get(path("/alerts", { ...this.parameters(), cursor }));
      if (turn !== this.turn) return;
      for (const alert of found.items) keepNewer(this.alerts, alert);
      if (cursor || this.next === null || !this.alerts.size) this.next = found.next;
      this.draw();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 422 && !this.plain && (this.filter.status || this.filter.severity)) { // an older server does not filter by these
        this.plain = true;
        return this.load(cursor);
      }
      if (turn === this.turn) text(this.words, explain(error));
    }
  }

  /** Where a record of the stream says nothing of what people did, that stays as it is known. */
  hear(alert) {
    const held = this.alerts.get(alert.alert_id);
    this.alerts.set(alert.alert_id, held?.life && !alert.life ? { ...alert, life: held.life } : alert);
    if (alert.alert_id === this.chosen) this.life.changed();
  }

  matches(alert) {
    const { state, status, severity, words } = this.filter;
    const said = `${alert.series} ${alert.rule} ${alert.rule_doc} ${alert.detector} ${alert.lot} ${alert.wafer}`.toLowerCase();
    return (!state || alert.state === state) && (!severity || alert.severity === severity) && (!status || statusOf(alert).status === status) && words.toLowerCase().split(/\s+/).every((word) => said.includes(word));
  }

  draw() {
    const newest = [...this.alerts.values()].sort(byTime);
    if (newest.length > HELD_MAX) this.alerts = new Map(newest.slice(0, HELD_MAX).map((alert) => [alert.alert_id, alert]));
    const all = newest.filter((alert) => this.matches(alert)), shown = all.slice(0, this.rows);
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.alert : null;
    if (this.list.matches(":hover") && this.list.childElementCount && focused === null && this.drawnFor === JSON.stringify(this.filter)) return this.drawSoon(); // do not move what is aimed at
    this.drawnFor = JSON.stringify(this.filter);
    this.list.replaceChildren(...shown.map((alert) => this.row(alert)));
    text(this.words, shown.length ? `${counted(shown.length, "alert")}, newest first by the time of the measurement${all.length > shown.length || this.next ? "; there are older ones" : ""}` : "No alert is like this.");
    this.more.replaceChildren(...[more(all.length > shown.length || this.next, () => this.showMore(all.length))].filter(Boolean));
    if (focused) this.list.querySelector(`[data-alert="${CSS.escape(focused)}"]`)?.focus();
  }

  showMore(held) {
    this.rows += PAGE;
    if (held < this.rows && this.next) this.load(this.next);
    else this.draw();
  }

  row(alert) {
    const { what, short } = names(alert.series), open = alert.state === "OPEN", { style, words } = statusOf(alert);
    return element("li", {}, element("button", { type: "button", "data-alert": alert.alert_id, "aria-current": String(alert.alert_id === this.chosen), onclick: () => this.open(alert.alert_id, true) },
      element("span", { class: "first" }, element("span", { class: "name" }, what), element("span", { class: `value ${open ? "alarm" : "quiet"}` }, open ? "▲ OPEN" : "closed")),
      element("span", { class: "rule" }, `${alert.severity === "CRITICAL" ? "critical · " : ""}${ruleName(alert.rule)}: ${alert.rule_doc || alert.rule}`),
      element("span", { class: "second" }, element("span", {}, `${short || detectorName(alert.detector)}`), words ? element("span", { class: "value" }, sign(style, words)) : null),
      element("span", { class: "second" }, element("span", {}, `${time(alert.opened_time || alert.raised_ms)} UTC${alert.lot ? ` · lot ${alert.lot}` : ""}`), element("span", { class: "value" }, counted(alert.rows, "row")))));
  }

  open(id, byHand = false) {
    this.chosen = id;
    for (const button of this.list.querySelectorAll("button")) button.setAttribute("aria-current", String(button.dataset.alert === id));
    if (byHand) note("alerts", { ...this.filter, id });
    this.life.show(id, id ? this.alerts.get(id) : null);
    if (byHand) {
      say("The alert is shown beside the list");
      if (innerWidth < 900) this.detail.scrollIntoView({ block: "start" });
    }
  }

  key(event) {
    const by = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by || event.ctrlKey || event.altKey || event.metaKey) return;
    const buttons = [...this.list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    event.preventDefault();
    buttons[Math.max(0, Math.min(buttons.length - 1, at + by))]?.focus();
  }
}

export function open(root, query) {
  const view = new Worklist(root, query);
  return { close: () => view.close(), change: (next) => view.change(next) };
}
