// Dead letters: records that could not be processed, why, what is in them; and how to send them in again.

import { ApiError, get, path } from "/web/api.js";
import { element } from "/web/element.js";
import { bytes, count, counted, time } from "/web/format.js";
import { link, note } from "/web/router.js";
import { planned, started } from "/web/views/operations/plan.js";
import { dialog, facts, form, more, problem, sign, table } from "/web/widgets.js";

const PAGE = 50, SELECTED_MAX = 500;
const FILTERS = ["topic", "reason", "since", "search"];

class DeadLetters {
  constructor(root, query) {
    this.items = [];
    this.next = null;
    this.selected = new Set(); // places
    this.summary = element("div", {});
    this.wrong = element("p", { class: "problem", role: "alert" });
    this.body = element("div", {});
    this.result = element("div", { id: "redrive", role: "status" });
    this.controls = element("div", {});
    root.append(this.summary, this.controls,
    element("p", { class: "controls" }, element("button", { type: "button", onclick: () => this.redrive("selected") }, "Re-drive selected"), element("button", { type: "button", onclick: () => this.redrive("filter") }, "Re-drive all like these")),
    this.wrong, this.result, this.body);
    this.change(query);
    this.count();
  }

  /** Show what an address asks for: the fields say so, and what was selected before is not hidden among what is not shown. */
  change(query) {
    this.filter = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
    this.selected.clear();
    this.controls.replaceChildren(form([
      { name: "topic", label: "Topic", value: this.filter.topic, max: 249 }, { name: "reason", label: "Reason", value: this.filter.reason, max: 100 },
      { name: "since", label: "Since (UTC)", kind: "datetime-local", value: this.filter.since }, { name: "search", label: "Words", kind: "search", value: this.filter.search, max: 200 },
    ], "Filter", async (values) => { this.filter = values; note("operations", { part: "dead-letters", ...values }); this.selected.clear(); await this.load(null); }, { inline: true }));
    return this.load(null);
  }

  asked() {
    const { since, ...rest } = this.filter;
    return { ...rest, since: since ? new Date(`${since}Z`).toISOString() : "" };
  }

  async count() {
    try {
      const found = await get("/dead-letters/summary");
      const rows = found.items ?? Object.entries(found.by_reason ?? {}).map(([reason, n]) => ({ reason, count: n }));
      this.summary.replaceChildren(element("p", { class: "headline" }, `${counted(found.total ?? rows.reduce((sum, row) => sum + row.count, 0), "dead letter")}, with those that were re-driven.`),
        rows.length ? element("ul", { class: "chips" }, ...rows.map((row) => element("li", {}, element("a", { href: link("operations", { part: "dead-letters", topic: row.topic, reason: row.reason }) }, [row.topic, row.reason].filter(Boolean).join(" · ")), ` ${count(row.count)}`))) : "");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!error.absent) this.summary.replaceChildren(problem(error)); // where it is absent, the list says so
    }
  }

  async load(cursor) {
    try {
      const found = await get(path("/dead-letters", { ...this.asked(), limit: PAGE, cursor }));
      this.items = cursor ? [...this.items, ...found.items] : found.items;
      this.next = found.next;
      this.draw();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.body.replaceChildren(problem(error));
    }
  }

  draw() {
    const box = (one) => element("input", { type: "checkbox", "aria-label": `select ${one.place}`, checked: this.selected.has(one.place), onchange: (event) => (event.target.checked ? this.selected.add(one.place) : this.selected.delete(one.place)) });
    const columns = [
      { head: "select", cell: box }, { head: "record", cell: (one) => element("button", { type: "button", class: "link", onclick: () => this.show(one) }, `${one.topic}:${one.partition}:${one.offset}`) },
      { head: "reason", cell: (one) => one.reason }, { head: "detail", cell: (one) => one.detail }, { head: "set aside (UTC)", cell: (one) => time(one.at_ms) }, { head: "by", cell: (one) => one.source }, { head: "attempts", figure: true, cell: (one) => count(one.attempts) },
      { head: "state", cell: (one) => (one.waits ? sign("learning", one.redriven ? `waits: failed again after ${counted(one.redriven, "re-drive")}` : "waits") : sign("good", "re-driven")) }, { head: "size", figure: true, cell: (one) => bytes(one.bytes) },
    ];
    this.body.replaceChildren(this.items.length ? table(`${counted(this.items.length, "dead letter")}, newest first`, columns, this.items, { id: "dead-letters" }) : element("p", { class: "quiet" }, "No dead letter is like this."), ...[more(this.next, () => this.load(this.next))].filter(Boolean));
  }

  /** Everything of one letter, with the record's key and value. */
  async show(one) {
    const body = element("div", {}, element("p", { class: "quiet" }, "asking …"));
    dialog(`Dead letter ${one.place}`, body);
    try {
      const full = await get(`/dead-letters/${one.place.split(":").map(encodeURIComponent).join("/")}`);
      const part = (name, value) => (value ? [element("h3", {}, name), element("pre", { class: "detail", tabindex: "0", role: "region", "aria-label": name }, value.text ?? value.hex ?? String(value)), value.text && value.hex ? element("details", {}, element("summary", {}, "as hexadecimal"), element("pre", { class: "detail", tabindex: "0", role: "region", "aria-label": `${name}, hexadecimal` }, value.hex)) : ""] : []);
      body.replaceChildren(facts([["reason", full.reason], ["detail", full.detail], ["record", `${full.topic}:${full.partition}:${full.offset}`], ["set aside", `${time(full.at_ms)} UTC`], ["attempts", count(full.attempts)], full.truncated ? ["value", "cut off: it was too long to keep"] : null]), ...part("Key", full.key), ...part("Value", full.value));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      body.replaceChildren(problem(error));
    }
  }

  // ---- re-drive: plan, look at it, apply exactly that

  async redrive(what) {
    this.wrong.textContent = "";
    if (what === "selected" && !this.selected.size) { this.wrong.textContent = "Select at least one dead letter."; return; }
    const filled = Object.fromEntries(Object.entries(this.asked()).filter(([, value]) => value !== ""));
    const body = what === "selected" ? { places: [...this.selected].slice(0, SELECTED_MAX) } : { filter: filled };
    try {
      await planned("Re-drive", "These records are sent to their topics again, as they are.", { path: "/dead-letters/redrive", body }, async (operation) => {
        this.selected.clear();
        this.result.replaceChildren(started(operation));
        await Promise.all([this.load(null), this.count()]);
      });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.wrong.replaceChildren(problem(error));
    }
  }
}

export function open(root, query) {
  const view = new DeadLetters(root, query);
  return { change: (next) => view.change(next) };
}
