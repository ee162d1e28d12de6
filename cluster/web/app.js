// The page: its header, its views, and the stream that keeps them live.

import { ApiError, get } from "/web/api.js";
import { byId, element, every, paced, say, text } from "/web/element.js";
import { count, milliseconds } from "/web/format.js";
import { live } from "/web/live.js";
import { link, route } from "/web/router.js";
import { themes } from "/web/theme.js";
import { showWho } from "/web/who.js";

const LAG_MS = 3_000, SAY_MS = 5_000;

const VIEWS = {
  overview: { title: "Overview", load: () => import("/web/views/overview.js") },
  chart: { title: "Chart", load: () => import("/web/views/chart.js") },
  wall: { title: "Wall", load: () => import("/web/views/wall.js") },
  alerts: { title: "Alerts", load: () => import("/web/views/alerts.js") },
  pareto: { title: "Pareto", load: () => import("/web/views/pareto.js") },
  wafer: { title: "Wafer map", load: () => import("/web/views/wafer.js") },
  operations: { title: "Operations", load: () => import("/web/views/operations.js") },
};

// ---- header

let summary = null, notes = [];

const showSummary = paced(() => {
  text("pipeline", `pipeline ${summary.pipeline}`);
  text("rate", count(summary.rows_per_s));
  text("judged", count(summary.judged));
  text("missing", count(summary.missing));
  text("dead", count(summary.dead_letters.total));
  text("open", count(summary.alerts.open));
  text("latency", milliseconds(summary.latency_ms.p95));
  const faults = [];
  if (summary.duplicated) faults.push(`${count(summary.duplicated)} rows came twice`);
  if (summary.unreadable) faults.push(`${count(summary.unreadable)} output records cannot be read`);
  if (summary.reader?.trouble) faults.push(`the view does not read: ${summary.reader.trouble}`);
  byId("faults").hidden = !faults.length;
  text("faults", faults.join(" · "));
  byId("notes").hidden = !notes.length;
  if (notes.length && byId("notes").dataset.said !== notes.join()) {
    byId("notes").dataset.said = notes.join();
    byId("notes").replaceChildren(element("b", {}, "About this data: "), notes.join(" "));
  }
});

let told = 0;

/** Tell who cannot see it that alerts were raised: how many, not one by one. */
function tellAlerts(alerts) {
  const fresh = alerts.filter((alert) => alert.state === "OPEN");
  if (!fresh.length || Date.now() - told < SAY_MS) return;
  told = Date.now();
  say(fresh.length === 1 ? `Alert: ${fresh[0].rule_doc || fresh[0].rule}` : `${fresh.length} alerts were raised`);
}

live.listen((frame, first) => {
  summary = frame.summary;
  notes = frame.notes ?? [];
  showSummary();
  if (!first) tellAlerts(frame.alerts);
});

live.watchers.add((state, words, why) => {
  const at = byId("connection");
  at.dataset.state = state;
  at.title = why;
  text(at, words);
});

async function showLag() {
  try {
    text("lag", count((await get("/events/consumers")).lag));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    text("lag", "–"); // the overview says why
  }
}

// ---- start

byId("views").append(...Object.entries(VIEWS).map(([name, view]) => element("li", {}, element("a", { href: link(name), "data-view": name }, view.title))));
byId("menu").addEventListener("click", () => {
  const opens = byId("menu").getAttribute("aria-expanded") !== "true";
  byId("menu").setAttribute("aria-expanded", String(opens));
});
addEventListener("hashchange", () => byId("menu").setAttribute("aria-expanded", "false"));
byId("skip").addEventListener("click", (event) => { event.preventDefault(); byId("view").focus(); });
themes();
live.open(null);
showWho();
every(LAG_MS, showLag);
route(VIEWS);
