// Detectors: which judge, in which version, by which rules, and what they have found.

import { ApiError, get, path } from "/web/api.js";
import { wordsOf } from "/web/charts/marks.js";
import { element } from "/web/element.js";
import { count, counted } from "/web/format.js";
import { deployed } from "/web/views/operations/deployments.js";
import { listed } from "/web/views/operations/listed.js";
import { problem, sign, table } from "/web/widgets.js";

const EVERY_MS = 5_000, WINDOW_S = 900;
const COLUMNS = [
  { head: "detector", cell: (one) => one.detector }, { head: "version", cell: (one) => element("code", {}, one.identity.split("@")[1] ?? "–") }, { head: "family", cell: (one) => one.family }, { head: "statistics", cell: (one) => one.statistics.join(", ") },
  { head: "series", figure: true, cell: (one) => count(one.series) }, { head: "rows with a signal", figure: true, cell: (one) => count(one.signals) },
  { head: "rules", cell: (one) => (one.rules.length ? element("details", {}, element("summary", {}, counted(one.rules.length, "rule")), element("ul", { class: "plain" }, ...one.rules.map((rule) => element("li", {}, wordsOf(rule), element("span", { class: "quiet" }, ` ${rule.severity}`))))) : "none: it computes only") },
];

/** Detectors that are switched off, and partitions in quarantine, where the server tells. */
async function troubles() {
  const found = await get(path("/events/errors", { window_s: WINDOW_S })).catch(() => null); // another part says why it does not answer
  if (!found) return [];
  const said = (words, one) => element("li", {}, sign("alarm", words), ` ${typeof one === "string" ? one : Object.entries(one).map(([name, value]) => `${name}: ${value}`).join(", ")}`);
  return [element("ul", { class: "plain" }, ...(found.detectors_off ?? []).map((one) => said("switched off", one)), ...(found.quarantined ?? []).map((one) => said("in quarantine", one)))];
}

export function open(root) {
  return listed(root, EVERY_MS, all);
}

/** Detectors whose verdicts are held; a view that does not answer hides nothing of the rest. */
async function held() {
  try {
    const { items } = await get("/detectors");
    return items.length ? table("Detectors whose verdicts are held, of all series", COLUMNS, items, { id: "detectors" }) : element("p", { class: "quiet" }, "No detector has judged anything yet.");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return problem(error);
  }
}

const all = async () => [...(await troubles()), ...(await deployed()), await held()];
