// The marks of rules: told apart by shape as well as by colour. The first rule is the one that everybody must see.

import { element, svg } from "/web/element.js";
import { ruleName } from "/web/format.js";
import { colour } from "/web/theme.js";

const SHAPES = [
  ["diamond", "M0 -6L6 0L0 6L-6 0Z"],
  ["triangle", "M0 -6L6 5L-6 5Z"],
  ["rect", "M-5 -5H5V5H-5Z"],
  [null, "M-6 -5L6 -5L0 6Z"],
  [null, "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z"],
  [null, "M0 -6L6 -1L4 6H-4L-6 -1Z"],
  [null, "M-6 -6L6 6V-6L-6 6Z"],
  [null, "M-6 6L6 -6H-6L6 6Z"],
];
export const CROSS = "path://M-3 -4L0 -1L3 -4L4 -3L1 0L4 3L3 4L0 1L-3 4L-4 3L-1 0L-4 -3Z";
export const EXCLUDED = "path://M0 -7A7 7 0 1 0 0.01 -7ZM0 -5.6A5.6 5.6 0 1 1 -0.01 -5.6ZM-4.4 -3.4L-3.4 -4.4L4.4 3.4L3.4 4.4Z";

/** The mark of the i-th rule of a detector: symbol for a chart, SVG path, colour. */
export function markOf(i) {
  const [name, outline] = SHAPES[i % SHAPES.length];
  return { symbol: name ?? `path://${outline}`, path: outline, colour: colour(`rule-${i % SHAPES.length}`), role: `rule-${i % SHAPES.length}` };
}

/** The mark as a small picture, for a legend. */
export const drawn = (i, fired = true) => svg("svg", { viewBox: "-7 -7 14 14", class: `mark ${fired ? markOf(i).role : ""}`, "aria-hidden": "true" }, svg("path", { d: markOf(i).path }));

/** What a rule is called, and what it means, in full. */
export const wordsOf = (rule) => `${ruleName(rule.name)}: ${rule.doc}`;

/** Every rule of the statistics shown with its mark, its words in full, and how many of the rows shown broke it. */
export function legend(root, panels, detector) {
  const items = detector.rules.flatMap((rule, i) => {
    const panel = panels.find((one) => one.which === rule.statistic);
    if (!panel) return [];
    const hits = panel.rows.filter((row) => row.signal & (1 << i)).length;
    return [element("li", { class: hits ? "fired" : "" }, drawn(i, hits), element("span", {}, wordsOf(rule)), element("span", { class: "count" }, hits ? `${hits} ×` : ""))];
  });
  root.replaceChildren(...items);
}
