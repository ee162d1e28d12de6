// Detectors that were deployed at run time: phase, mode, offsets, why one is off; promoted and rolled back by plans.

import { ApiError, explain, get, onceKey, path, send } from "/web/api.js";
import { element, say } from "/web/element.js";
import { count, counted } from "/web/format.js";
import { link } from "/web/router.js";
import { dialog, facts, form, problem, sign, table } from "/web/widgets.js";

const PHASES = { live: "good", canary: "good", shadow: "learning", warming: "learning", checking: "learning", switching: "learning", stopped: "quiet", off: "alarm" };
const EXAMPLES_SHOWN = 5;

const at = (name, what = "") => `/deployments/${encodeURIComponent(name)}${what}`;
const offsets = (said) => Object.entries(said ?? {}).map(([partition, offset]) => `${partition}:${count(offset)}`).join(", ");

/** Show the plan, and apply exactly that. */
async function planned(one, what, body) {
  const { plan, plan_hash: hash } = await send("POST", at(one.name, `/${what}`), { ...body, dry_run: true });
  const once = onceKey(); // a second click is the same operation
  const turns = element("ul", {}, ...plan.turns.map((turn) => element("li", {}, `${turn.deployment} → ${turn.to}`)));
  const open = dialog(`${what} ${one.name}: this is what would be done`, element("p", {}, "At one offset of each partition, which is logged:"), turns,
    form([], "Apply this plan", async () => {
      await send("POST", at(one.name, `/${what}`), { ...body, plan_hash: hash }, { once });
      open.close();
      say(`${what} ${one.name}: started; see Operations in progress`);
    }, { cancel: () => open.close() }));
}

function compared(found) {
  const both = ([name, said]) => element("li", {}, `${name}: ${count(said.equal)} equal, ${count(said.different)} different, ${said.max_abs_difference.toPrecision(4)} apart at most`);
  const only = (which, words) => found.alert_examples[which].slice(0, EXAMPLES_SHOWN).map((one) => element("li", {}, `${words} only: ${one.series} at ${one.partition}:${count(one.offset)} (${one.rule})`));
  return [
    facts([["rows that both were asked about", count(found.rows)], ["signals", `${count(found.signals.both)} of both, ${count(found.signals.only_a)} of ${found.a.name} only, ${count(found.signals.only_b)} of ${found.b.name} only`], ["alerts", `${count(found.alerts.both)} of both, ${count(found.alerts.only_a)} of ${found.a.name} only, ${count(found.alerts.only_b)} of ${found.b.name} only`]]),
    element("ul", {}, ...Object.entries(found.statistics).map(both), ...only("only_a", found.a.name), ...only("only_b", found.b.name)),
  ];
}

async function compare(one) {
  const body = element("div", {}, element("p", { class: "quiet" }, "comparing …"));
  dialog(`${one.name} and ${one.replaces}`, body);
  try {
    body.replaceChildren(...compared(await get(path(at(one.name, "/compare"), { against: one.replaces }))));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    body.replaceChildren(problem(error));
  }
}

function history(one) {
  const spells = one.history.map((spell) => element("li", {}, `${spell.mode}: from ${offsets(spell.from)}${spell.to ? ` to ${offsets(spell.to)}` : ""}, by ${spell.by}`));
  return spells.length ? element("details", {}, element("summary", {}, counted(spells.length, "mode")), element("ul", { class: "plain" }, ...spells)) : "–";
}

function why(one) {
  if (!one.reason) return "";
  return element("details", {}, element("summary", {}, one.reason), element("pre", {}, one.traceback ?? ""));
}

/** What is deployed, as elements. */
export async function deployed(wrong) {
  let items;
  try {
    ({ items } = await get("/deployments"));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return [problem(error)];
  }
  if (!items.length) return [element("p", { class: "quiet" }, "No detector is deployed at run time.")];
  const button = (words, ask) => element("button", { type: "button", onclick: () => ask().catch((error) => {
    if (!(error instanceof ApiError)) throw error;
    wrong.textContent = explain(error);
  }) }, words);
  const buttons = (one) => element("span", { class: "buttons" },
    ["shadow", "canary", "stopped"].includes(one.phase) ? button("Promote", () => planned(one, "promote", { mode: "live" })) : null,
    ["live", "canary", "off"].includes(one.phase) ? button("Roll back", () => planned(one, "rollback", {})) : null,
    one.replaces ? button("Compare", () => compare(one)) : null);
  const columns = [
    { head: "deployment", cell: (one) => one.name }, { head: "phase", cell: (one) => sign(PHASES[one.phase] ?? "quiet", one.phase) }, { head: "mode", cell: (one) => one.mode ?? "–" }, { head: "detector", cell: (one) => one.detector ?? one.target },
    { head: "replaces", cell: (one) => one.replaces ?? "–" }, { head: "modes and offsets", cell: history }, { head: "judged up to", cell: (one) => offsets(one.now?.next_offset) || "–" }, { head: "why it is off", cell: why }, { head: "", cell: buttons },
  ];
  return [table("Detectors deployed at run time", columns, items, { id: "deployments" }), element("p", {}, element("a", { href: link("operations", { part: "running" }) }, "Operations in progress"))];
}
