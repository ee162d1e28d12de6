// Detectors that were deployed at run time: phase, mode, offsets, why one is off; promoted, rolled back and removed by plans.

import { ApiError, get } from "/web/api.js";
import { element } from "/web/element.js";
import { count, counted } from "/web/format.js";
import { link } from "/web/router.js";
import { placeOf, planButton } from "/web/views/operations/plan.js";
import { problem, sign, table } from "/web/widgets.js";

const PHASES = { live: "good", canary: "good", shadow: "learning", warming: "learning", checking: "learning", switching: "learning", stopped: "quiet", off: "alarm" };
const LOGGED = "At one offset of each partition, which is logged: nothing is judged twice, and nothing by nobody.";

const at = (name, what = "") => `/deployments/${encodeURIComponent(name)}${what}`;
const offsets = (said) => Object.entries(said ?? {}).map(([partition, offset]) => `${partition}:${count(offset)}`).join(", ");

function history(one) {
  const spells = one.history.map((spell) => element("li", {}, `${spell.mode}: from ${offsets(spell.from)}${spell.to ? ` to ${offsets(spell.to)}` : ""}, by ${spell.by}`));
  return spells.length ? element("details", {}, element("summary", {}, counted(spells.length, "mode")), element("ul", { class: "plain" }, ...spells)) : "–";
}

function why(one) {
  if (!one.reason) return "";
  return element("details", {}, element("summary", {}, one.reason), element("pre", {}, one.traceback ?? ""));
}

function actions(one) {
  const told = placeOf(`deployment ${one.name}`);
  const mode = () => [{ name: "mode", label: "Judges live", value: "live", required: true, hint: "live: every series; canary:10%: a tenth of them, always the same" }];
  return element("div", {}, element("span", { class: "buttons" },
    ["shadow", "canary", "stopped"].includes(one.phase) ? planButton("Promote", `Promote ${one.name}`, LOGGED, mode, (asked) => ({ path: at(one.name, "/promote"), body: asked }), told) : null,
    ["live", "canary", "off"].includes(one.phase) ? planButton("Roll back", `Roll back ${one.name}`, LOGGED, () => [], () => ({ path: at(one.name, "/rollback"), body: {} }), told) : null,
    ["shadow", "stopped", "off"].includes(one.phase) ? planButton("Remove", `Remove ${one.name}`, "Its own topics are deleted, with all that it said there. What it has judged live stays.", () => [], () => ({ method: "DELETE", path: at(one.name), body: {} }), told) : null,
    element("a", { href: link("operations", { part: "compare", name: one.name, against: one.replaces }) }, "Compare")), told);
}

/** What is deployed, as elements. */
export async function deployed() {
  let items;
  try {
    ({ items } = await get("/deployments"));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return [problem(error)];
  }
  if (!items.length) return [element("p", { class: "quiet" }, "No detector is deployed at run time.")];
  const columns = [
    { head: "deployment", cell: (one) => one.name }, { head: "phase", cell: (one) => sign(PHASES[one.phase] ?? "quiet", one.phase) }, { head: "mode", cell: (one) => one.mode ?? "–" }, { head: "detector", cell: (one) => one.detector ?? one.target },
    { head: "replaces", cell: (one) => one.replaces ?? "–" }, { head: "modes and offsets", cell: history }, { head: "judged up to", cell: (one) => offsets(one.now?.next_offset) || "–" }, { head: "why it is off", cell: why }, { head: "", cell: actions },
  ];
  return [table("Detectors deployed at run time", columns, items, { id: "deployments" }), element("p", {}, element("a", { href: link("operations", { part: "running" }) }, "Operations in progress"))];
}
