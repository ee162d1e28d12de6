// Tools by state: what the series' keys say of where they are measured, the worst state of each tool, and counts.

import { element } from "/web/element.js";
import { counted, names } from "/web/format.js";
import { link } from "/web/router.js";
import { sign } from "/web/widgets.js";

const WORST = ["alarm", "learning", "in control"];
const STYLE = { alarm: "alarm", learning: "learning", "in control": "good" };
const TILES_MAX = 400;

/** The kind of a tool is its name up to its number: ETCH-07 → ETCH. */
const kindOf = (tool) => tool.split(/[-_ ]?\d/)[0] || tool;

/** Group series by tool: { tool, kind, counts: { state: n }, state, open }, worst first. */
export function toolsOf(items) {
  const tools = new Map();
  for (const item of items) {
    const tool = names(item.series).parts?.[0] || "without a tool";
    const held = tools.get(tool) ?? { tool, kind: kindOf(tool), counts: {}, open: 0 };
    held.counts[item.status] = (held.counts[item.status] ?? 0) + 1;
    held.open += item.open_alerts ?? 0;
    tools.set(tool, held);
  }
  for (const tool of tools.values()) tool.state = WORST.find((state) => tool.counts[state]) ?? "in control";
  return [...tools.values()].sort((a, b) => WORST.indexOf(a.state) - WORST.indexOf(b.state) || (a.tool < b.tool ? -1 : 1));
}

function tile(tool) {
  const counts = WORST.filter((state) => tool.counts[state]).map((state) => `${tool.counts[state]} ${state}`).join(" · ");
  const search = tool.tool === "without a tool" ? "" : tool.tool;
  return element("li", { class: `tile ${STYLE[tool.state]}-edge`, "data-tool": tool.tool, "data-state": tool.state },
    element("a", { href: link("chart", { search }) }, tool.tool), sign(STYLE[tool.state], tool.state === "alarm" ? `alarm: ${counted(tool.open, "open alert")}` : tool.state), element("span", { class: "quiet" }, counts));
}

/** One list of tiles for each kind of tool, with how many of them are in which state. */
export function groupsOf(items) {
  const kinds = new Map();
  for (const tool of toolsOf(items).slice(0, TILES_MAX)) kinds.set(tool.kind, [...(kinds.get(tool.kind) ?? []), tool]);
  return [...kinds].map(([kind, tools]) => {
    const states = WORST.map((state) => [state, tools.filter((tool) => tool.state === state).length]).filter(([, n]) => n);
    return element("section", { class: "kind", "aria-label": kind },
      element("h3", {}, kind, element("span", { class: "quiet" }, ` ${counted(tools.length, "tool")}: ${states.map(([state, n]) => `${n} ${state}`).join(", ")}`)),
      element("ul", { class: "tiles" }, ...tools.map(tile)));
  });
}
