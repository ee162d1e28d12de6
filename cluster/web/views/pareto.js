// Pareto: what there is most of. Signals by rule, detector, tool, characteristic or lot; defects by type.

import { ApiError, get, path } from "/web/api.js";
import { element, say } from "/web/element.js";
import { count, ruleName } from "/web/format.js";
import { go } from "/web/router.js";
import { form, problem, table } from "/web/widgets.js";

const BY = [["rule", "signals by rule"], ["detector", "signals by detector"], ["tool", "signals by tool"], ["characteristic", "signals by characteristic"], ["lot", "signals by lot"], ["severity", "signals by severity"], ["cause", "signals by assignable cause"], ["status", "signals by how far the work on them is"],
  ["defect_type", "defects by type"], ["defect_severity", "defects by severity"], ["inspection_type", "defects by kind of inspection"]];
const WINDOWS = [["", "everything that is kept"], ["3600", "the last hour"], ["86400", "the last day"], ["604800", "the last week"]];
const BARS_MAX = 30;

/** Bars, the largest first, each with its share of `total` and the share of all up to it: { name, count, share, upTo }. */
export function barsOf(items, total) {
  let sum = 0;
  return [...items].sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1)).map((item) => {
    sum += item.count;
    return { ...item, share: total ? item.count / total : 0, upTo: total ? sum / total : 0 };
  });
}

const percent = (share) => `${Math.round(share * 100)} %`;

function chart(bars, by) {
  const most = bars[0].count;
  return element("ol", { class: "pareto", "aria-label": `Pareto of ${words(by)}` }, ...bars.slice(0, BARS_MAX).map((bar) => element("li", {},
    element("span", { class: "name" }, by === "rule" ? ruleName(bar.name) : bar.name || "(none)"),
    element("meter", { min: 0, max: most, value: bar.count, "aria-hidden": "true" }),
    element("span", { class: "count" }, count(bar.count)), element("span", { class: "quiet up-to", title: "share of all up to this one" }, `Σ ${percent(bar.upTo)}`))));
}

const words = (by) => BY.find(([value]) => value === by)?.[1] ?? by;

class Pareto {
  constructor(root, query) {
    this.controls = element("div", {});
    this.body = element("div", { id: "pareto" });
    root.append(element("h1", { tabindex: "-1" }, "Pareto"), element("p", { class: "quiet" }, "What there is most of, and which few make up most of it."), this.controls, element("section", { class: "panel", "aria-label": "Pareto" }, this.body));
    this.change(query);
  }

  change(query) {
    const by = query.get("by") || "rule", window = query.get("window") ?? "";
    this.controls.replaceChildren(form([
      { name: "by", label: "Count", kind: "select", value: by, options: BY }, { name: "window", label: "Of", kind: "select", value: window, options: WINDOWS },
    ], "Show", async (values) => go("pareto", values), { inline: true }));
    this.load(by, window);
  }

  async load(by, window) {
    try {
      const found = await get(path("/pareto", { by, window_s: window, limit: BARS_MAX }));
      const total = found.total ?? found.items.reduce((sum, item) => sum + item.count, 0);
      const bars = barsOf(found.items, total);
      if (!bars.length) return this.body.replaceChildren(element("p", {}, `There are no ${words(by)} in this time.`));
      const few = bars.findIndex((bar) => bar.upTo >= 0.8) + 1;
      const groups = found.groups ?? bars.length;
      const said = few ? `${count(few)} of ${count(groups)} make up 80 % of ${count(total)}.` : `The ${count(bars.length)} largest of ${count(groups)} make up ${percent(bars[bars.length - 1].upTo)} of ${count(total)}.`;
      this.body.replaceChildren(element("p", { class: "headline" }, said), chart(bars, by),
        element("details", {}, element("summary", {}, "As a table"), table(`Pareto of ${words(by)}`, [
          { head: by, cell: (bar) => bar.name || "(none)" }, { head: "count", figure: true, cell: (bar) => count(bar.count) }, { head: "share", figure: true, cell: (bar) => percent(bar.share) }, { head: "up to here", figure: true, cell: (bar) => percent(bar.upTo) },
        ], bars)));
      say(said);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.body.replaceChildren(problem(error));
    }
  }
}

export function open(root, query) {
  const view = new Pareto(root, query);
  return { change: (next) => view.change(next) };
}
