// Where the pieces of the chart view stand.

import { element } from "/web/element.js";
import { freshId, panel } from "/web/widgets.js";

function choice(label, id, options, chosen) {
  return element("label", {}, `${label} `, element("select", { id }, ...options.map(([value, words]) => element("option", { value, selected: value === chosen }, words ?? value))));
}

const act = (name, words, title) => element("button", { type: "button", "data-act": name, title }, words);

/** Put the pieces into `root` and return them by name. */
export function layout(root) {
  const at = {
    title: element("h1", { id: "title", tabindex: "-1" }, "Pick a series"), context: element("p", { id: "context", class: "quiet" }, "from the list, or search for one by words of its name"), facts: element("p", { id: "facts", class: "quiet" }),
    phase: element("p", { id: "phase", class: "learning", role: "status" }), excluded: element("p", { id: "excluded", class: "quiet" }),
    tabs: element("div", { id: "tabs", class: "tabs", role: "tablist", "aria-label": "Statistic" }),
    chart: element("div", { id: "chart", class: "canvas", role: "application", tabindex: "0", "aria-roledescription": "control chart", "aria-label": "Control chart" }),
    rules: element("ul", { id: "rules", class: "rules", "aria-label": "Rules, and how many of the rows shown broke each" }),
    point: element("div", { id: "point", class: "point" }),
  };
  const axis = choice("x axis", "axis", [["sequence"], ["time"]]), scale = choice("scale", "scale", [["all"], ["limits"]]), rows = choice("newest", "newest", [["100"], ["200"], ["500"]], "200");
  Object.assign(at, { axis: axis.querySelector("select"), scale: scale.querySelector("select"), rows: rows.querySelector("select") });
  at.actions = element("div", { class: "controls actions", role: "group", "aria-label": "Zoom and export" },
    act("in", "Zoom in", "or drag over the chart, or press +"), act("out", "Zoom out", "or press −"), act("all", "All", "show everything: 0"), act("png", "PNG", "save the picture"), act("csv", "CSV", "save the points"));
  at.picker = element("section", { class: "panel list", "aria-label": "Series" });
  at.newest = panel("Newest alerts", { class: "newest" });
  at.capability = panel("Capability", { class: "capability" });
  at.history = panel("Limits and exclusions", { class: "history" });
  at.points = panel("Points", { class: "points" });
  const keys = freshId("keys");
  at.chart.setAttribute("aria-describedby", keys);
  root.append(
    at.picker,
    at.middle = element("div", { class: "middle empty" },
      element("section", { class: "panel chart-panel", "aria-labelledby": "title" },
        element("div", { class: "title" }, at.title, at.context), at.facts, at.phase,
        element("div", { class: "bar" }, at.tabs, element("div", { class: "controls" }, axis, scale, rows), at.actions),
        at.chart, element("p", { id: keys, class: "quiet keys" }, "Drag to zoom, click a point for its facts. By keyboard: arrows go from point to point, + and − zoom, Shift with arrows moves, 0 shows everything."),
        at.point, at.rules, at.excluded),
      at.capability, at.history, at.points),
    at.newest);
  return at;
}
