// What people did to a series: versions of its limits with author and approver, excluded measurements; and how to do it.

import { ApiError, all, get, path, send } from "/web/api.js";
import { element } from "/web/element.js";
import { number, time } from "/web/format.js";
import { asks, problem, sign, table } from "/web/widgets.js";

const SHOWN_MAX = 50, EXCLUSIONS_PAGES = 25, PAGE = 200, AGAIN_MS = 2_000, AGAIN_MAX = 5; // asked again while the server still reads where changes were made
const NOTHING = () => ({ limits: [], excluded: new Map() });

export class History {
  /** `changed()` is called when what is drawn in the chart has changed. */
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.body = element("div", {});
    root.append(this.body);
    this.series = null;
    this.versions = [];
    this.exclusions = [];
    this.notes = NOTHING(); // as the chart draws it
    this.able = false; // this server knows exclusions
  }

  close() {
    clearTimeout(this.later);
  }

  async of(series) {
    this.series = series;
    this.versions = [];
    this.exclusions = [];
    this.able = false;
    this.notes = NOTHING();
    this.again = AGAIN_MAX;
    clearTimeout(this.later);
    this.body.replaceChildren(element("p", { class: "quiet" }, "asking …"));
    await this.load();
  }

  async load() {
    const series = this.series;
    const [limits, exclusions] = await Promise.allSettled([get(path("/limits", { series, limit: SHOWN_MAX })), all("/exclusions", { series, limit: PAGE }, EXCLUSIONS_PAGES)]);
    if (this.series !== series) return;
    for (const one of [limits, exclusions]) if (one.status === "rejected" && !(one.reason instanceof ApiError)) throw one.reason;
    this.versions = limits.value?.items ?? [];
    this.exclusions = exclusions.value?.items ?? [];
    this.able = exclusions.status === "fulfilled";
    this.notes = { ...NOTHING(), excluded: new Map(this.exclusions.map((one) => [one.offset, one.comment ?? one.reason ?? ""])) };
    this.body.replaceChildren(...this.limitsPart(limits), ...this.exclusionsPart(exclusions));
    this.changed();
    clearTimeout(this.later);
    if (limits.value?.made_known === false && (this.again -= 1) > 0) this.later = setTimeout(() => this.load(), AGAIN_MS);
  }

  /** What to draw into a chart of an input partition: from which offset which limits hold. */
  notesFor(partition) {
    const limits = this.versions.filter((one) => one.kind === "LIMITS" || one.kind === "RESET").flatMap((one) => (one.made ?? []).filter((made) => made.partition === partition).map((made) => ({ offset: made.offset, words: nameOf(one) })));
    return { ...this.notes, limits: limits.sort((a, b) => a.offset - b.offset) };
  }

  limitsPart(answer) {
    if (answer.status === "rejected") return [problem(answer.reason)];
    const columns = [
      { head: "version", cell: (one) => nameOf(one) },
      { head: "state", cell: (one) => stateOf(one) },
      { head: "mean · sigma", cell: (one) => `${number(one.mu)} · ${number(one.sigma)}`, figure: true },
      { head: "LSL · target · USL", cell: (one) => [one.lsl, one.target, one.usl].map((value) => number(value)).join(" · "), figure: true },
      { head: "who, when (UTC), why", cell: (one) => `${one.author}${one.approver ? `, approved by ${one.approver}` : ""}, ${time(one.approved_ms ?? one.created_ms)}: ${one.reason}` },
      { head: "", cell: (one) => (one.state === "PROPOSED" && one.kind === "LIMITS" ? this.approveButton(one) : "") },
    ];
    const shown = this.versions.filter((one) => one.kind === "LIMITS" || one.kind === "RESET"); // exclusions stand below
    return [
      shown.length ? table("Changes of limits, newest first", columns, shown, { id: "limits" }) : element("p", { class: "quiet" }, "Nobody has set limits for this series: each chart has learned its own in Phase I."),
      element("p", { class: "controls" }, this.proposeButton(), this.resetButton()),
    ];
  }

  exclusionsPart(answer) {
    if (answer.status === "rejected") return [problem(answer.reason)];
    const columns = [
      { head: "offset", figure: true, cell: (one) => String(one.offset) }, { head: "why", cell: (one) => one.comment ?? one.reason ?? "" },
      { head: "by", cell: (one) => one.author ?? one.by ?? "–" }, { head: "when (UTC)", cell: (one) => time(one.created_ms ?? one.at_ms) }, { head: "", cell: (one) => this.includeButton(one) },
    ];
    const shown = this.exclusions.slice(0, SHOWN_MAX), { more } = answer.value;
    const caption = `Excluded measurements: they do not count${shown.length < this.exclusions.length || more ? ` (the newest ${shown.length} of ${this.exclusions.length}${more ? " or more" : ""})` : ""}`;
    return [shown.length ? table(caption, columns, shown, { id: "exclusions" }) : element("p", { class: "quiet" }, "No measurement is excluded. To exclude one, choose its point in the chart.")];
  }

  // ---- what can be done

  proposeButton() {
    const given = (name, label) => ({ name, label, kind: "number" });
    return asks("Propose limits", "Propose limits", () => [
      { name: "how", label: "From", kind: "select", options: [["rows", "the newest rows"], ["given", "values that I give"]], value: "rows" },
      { name: "rows", label: "How many rows", kind: "number", value: 200, hint: "what they are computed from; excluded rows are left out" },
      given("mu", "Mean"), given("sigma", "Sigma"), given("lsl", "LSL"), given("target", "Target"), given("usl", "USL"),
      { name: "reason", label: "Why", kind: "area", required: true, max: 1000, hint: "values are asked for where you give them; empty = not given" },
    ], "Propose", async ({ how, rows, reason, ...values }) => {
      const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
      await send("POST", "/limits/proposals", { series: this.series, reason, ...(how === "rows" ? { rows } : { given }) });
    }, () => this.load());
  }

  approveButton(one) {
    return asks("Approve", `Approve ${nameOf(one)}`, () => [{ name: "from", label: "Effective from (UTC, event time)", kind: "datetime-local", hint: "empty = at once" }], "Approve", async ({ from }) => {
      await send("POST", `/limits/${encodeURIComponent(one.change_id)}/approve`, { series: one.series ?? this.series, ...(from ? { effective_from: new Date(`${from}Z`).toISOString() } : {}) });
    }, () => this.load());
  }

  resetButton() {
    return asks("Reset charts", "Let the charts of this series start anew", () => [{ name: "reason", label: "Why", kind: "area", required: true, max: 1000, hint: "all of its charts go back to Phase I" }], "Reset", async ({ reason }) => {
      await send("POST", `/series/${encodeURIComponent(this.series)}/reset`, { reason });
    }, () => this.load());
  }

  /** For the chosen point: exclude it, or let it count again. Nothing where this server does not know exclusions. */
  excludeButton(row) {
    if (!this.able) return null;
    const there = this.exclusions.find((one) => one.offset === row.offset);
    if (there) return this.includeButton(there);
    const partition = this.partition;
    return asks("Exclude", `Exclude row ${row.sequence}`, () => [{ name: "comment", label: "Why", kind: "area", required: true, max: 1000, hint: "limits that are computed from now on leave it out" }], "Exclude", async ({ comment }) => {
      await send("POST", "/exclusions", { series: this.series, partition, offset: row.offset, comment });
    }, () => this.load());
  }

  includeButton(one) {
    return asks("Include again", `Let offset ${one.offset} count again`, () => [{ name: "comment", label: "Why", kind: "area", required: true, max: 1000 }], "Include", async ({ comment }) => {
      await send("DELETE", path(`/exclusions/${encodeURIComponent(this.series)}/${one.partition}/${one.offset}`, { comment }));
    }, () => this.load());
  }
}

const KINDS = { LIMITS: "limits", RESET: "reset", EXCLUDE: "exclusion", INCLUDE: "inclusion" };
const nameOf = (one) => `${KINDS[one.kind] ?? one.kind ?? "limits"}${one.limits_version ? ` v${one.limits_version}` : ""} · ${one.author ?? "?"}`;

function stateOf(one) {
  if (one.state === "PROPOSED") return sign("learning", "proposed: waits for approval");
  const from = one.effective_from_ms ? `, from ${time(one.effective_from_ms)}` : "";
  return one.made?.length ? sign("good", `in effect${from}`) : sign("quiet", `approved, not yet in effect${from}`);
}
