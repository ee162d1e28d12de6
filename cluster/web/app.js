// The page: what is chosen, what is shown, and the stream that keeps it live.

import { Capability } from "/web/capability.js";
import { ControlChart, legend, titleOf } from "/web/control.js";
import { byId, count, element, milliseconds, names, number, text, time } from "/web/format.js";
import { merge, rowsOf } from "/web/series.js";

const LIST_MS = 2_000, CONSUMERS_MS = 3_000, SILENCE_MS = 4_000, SERIES_SHOWN = 200, ALERTS_SHOWN = 100;

const state = { series: null, tab: null, chart: null, stream: null, vector: null, heard: 0, alerts: new Map(), drawing: false };
const control = new ControlChart(byId("chart"));
const capability = new Capability(byId("histogram"));

async function get(path) {
  const response = await fetch(path);
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.detail ?? response.statusText), { vector: body.vector });
  return body;
}

const path = (series) => `/charts/${encodeURIComponent(series)}`;

// ---- what is chosen stands in the address, so that a link or a reload shows the same

function remember() {
  const chosen = new URLSearchParams({ series: state.series ?? "", tab: state.tab ?? "" });
  history.replaceState(null, "", `#${chosen}`);
}

async function choose(series, tab = state.tab) {
  state.series = series;
  state.tab = tab;
  remember();
  mark();
  try {
    const chart = await get(path(series));
    if (state.series !== series) return; // another was chosen meanwhile
    state.chart = chart;
    listen(chart.vector);
    showChart();
  } catch (error) {
    if (state.series === series) nothing(error.message, error.vector);
  }
}

function nothing(why, vector) {
  state.chart = null;
  const { what } = names(state.series);
  text("title", what);
  text("context", why);
  text("facts", "");
  byId("tabs").replaceChildren();
  byId("rules").replaceChildren();
  control.clear();
  capability.clear();
  listen(vector ?? state.vector); // it may come any moment: from then on it is shown
}

// ---- the chart

function tabsOf(chart) {
  return chart.detectors
    .filter((detector) => detector.family !== "capability")
    .flatMap((detector) => detector.statistics.map((statistic, which) => ({ id: `${detector.detector}/${statistic.name}`, detector, which, name: statistic.name })));
}

const ORDER = ["spc.individuals", "spc.xbar", "anomaly.robust_z", "drift.cusum"];
const rank = (tab) => (ORDER.indexOf(tab.detector.detector) + ORDER.length + 1) % (ORDER.length + 1);

function showChart() {
  const { chart } = state;
  const { what, where } = names(chart.series);
  text("title", what);
  byId("title").title = chart.series;
  const tabs = tabsOf(chart).sort((a, b) => rank(a) - rank(b) || a.which - b.which);
  const tab = tabs.find((one) => one.id === state.tab) ?? tabs.find((one) => state.tab && one.id.startsWith(state.tab)) ?? tabs[0];
  if (!tab) return;
  const buttons = tabs.map((one) => element("button", { type: "button", role: "tab", "data-tab": one.id, "aria-selected": one.id === tab.id, title: one.detector.identity, onclick: () => { state.tab = one.id; remember(); showChart(); } }, titleOf(one.name, one.detector)));
  const shown = [...byId("tabs").children].map((one) => `${one.dataset.tab} ${one.getAttribute("aria-selected")}`).join();
  if (shown !== buttons.map((one) => `${one.dataset.tab} ${one.getAttribute("aria-selected")}`).join()) byId("tabs").replaceChildren(...buttons);
  const rows = rowsOf(chart, tab.detector, tab.which, Number(byId("newest").value));
  control.draw(rows, tab.detector, tab.which, byId("axis").value, byId("scale").value === "limits");
  legend(byId("rules"), rows, tab.detector, tab.which);
  const isVector = chart.detectors.every((one) => one.family === "multivariate"); // its value is how many columns were measured
  document.querySelector(".capability").hidden = isVector;
  if (!isVector) capability.draw(chart);
  const missing = rows.filter((row) => row.value === null).length;
  const last = rows.findLast((row) => row.value !== null);
  const judged = rows.findLast((row) => row.ucl !== null && row.lcl !== null);
  text("context", where);
  text("facts", [
    last ? `last ${isVector ? `vector of ${count(last.value)} measured columns` : `value ${number(last.value)}`} at ${time(last.time)} UTC` : "", `${count(chart.rows)} rows`,
    missing ? `${missing} of the ${rows.length} shown missing` : "",
    judged && judged.lcl === judged.ucl ? "sigma is 0: any other value is beyond the limits" : "",
  ].filter(Boolean).join(" · "));
}

function drawSoon() {
  if (state.drawing) return;
  state.drawing = true;
  requestAnimationFrame(() => { state.drawing = false; if (state.chart) showChart(); });
}

// ---- the stream

function listen(since) {
  state.stream?.close();
  const query = new URLSearchParams();
  if (state.series) query.set("series", state.series);
  if (since) query.set("since", since);
  const stream = new EventSource(`/stream?${query}`);
  state.stream = stream;
  let first = true;
  stream.addEventListener("update", (event) => {
    if (state.stream !== stream) return;
    update(JSON.parse(event.data));
    if (first) loadAlerts(); // what came before the stream began; what comes after, it sends
    first = false;
  });
  stream.addEventListener("unavailable", (event) => { state.heard = Date.now(); connection("lost", "view unavailable", JSON.parse(event.data).detail); });
  stream.addEventListener("error", () => {
    if (state.stream !== stream) return;
    connection("lost", "reconnecting");
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => { if (state.stream === stream) listen(state.vector); }, 1_000);
  });
}

function update(frame) {
  state.heard = Date.now();
  state.vector = frame.vector;
  connection("live", "live");
  showSummary(frame.summary, frame.notes);
  if (frame.alerts.length) {
    for (const alert of frame.alerts) state.alerts.set(alert.alert_id, alert);
    showAlerts();
  }
  if (frame.reset) {
    state.alerts.clear();
    loadAlerts();
    if (state.series) choose(state.series);
  } else if (frame.series === state.series && (frame.points || frame.detectors.length)) {
    if (state.chart) { merge(state.chart, frame); drawSoon(); } else choose(state.series);
  }
}

function connection(what, words, why = "") {
  const at = byId("connection");
  at.dataset.state = what;
  at.title = why;
  text("connection", words);
}

setInterval(() => { if (state.heard && Date.now() - state.heard > SILENCE_MS) connection("lost", "no data"); }, 1_000);

// ---- header

function showSummary(summary, notes) {
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
  byId("notes").hidden = !notes?.length;
  if (notes?.length && byId("notes").dataset.said !== notes.join()) {
    byId("notes").dataset.said = notes.join();
    byId("notes").replaceChildren(element("b", {}, "About this data: "), notes.join(" "));
  }
}

async function showLag() {
  try {
    text("lag", count((await get("/events/consumers")).lag));
  } catch {
    text("lag", "–");
  }
}

// ---- the list of series

function mark() {
  for (const button of byId("series").querySelectorAll("button")) button.setAttribute("aria-current", String(button.dataset.series === state.series));
}

const STATUS = { alarm: ["alarm", "▲"], learning: ["learning", "○"], "in control": ["good", "●"] };

function seriesRow(item) {
  const { what, short } = names(item.series);
  const [style, sign] = STATUS[item.status] ?? ["quiet", "·"];
  const words = item.status === "alarm" ? `${sign} ${item.open_alerts} open` : `${sign} ${item.status}`;
  return element("li", {}, element("button", { type: "button", "data-series": item.series, title: item.series, onclick: () => choose(item.series) },
    element("span", { class: "first" }, element("span", { class: "name" }, what), element("span", { class: "value" }, number(item.last_value))),
    element("span", { class: "second" }, element("span", {}, short), element("span", { class: `value ${style}` }, words))));
}

async function showSeries() {
  const list = byId("series");
  if (list.matches(":hover") && list.childElementCount && showSeries.search === byId("search").value) return; // do not move what is aimed at
  const search = byId("search").value;
  try {
    const found = await get(`/charts?${new URLSearchParams({ limit: SERIES_SHOWN, search })}`);
    if (search !== byId("search").value) return;
    showSeries.search = search;
    list.replaceChildren(...found.items.map(seriesRow));
    text("series-count", found.total > found.items.length ? `${found.items.length} of ${count(found.total)} shown, alarms first: search for more` : `${count(found.total)} series, alarms first`);
    mark();
    if (state.series === null && found.items.length) choose(found.items[0].series);
  } catch (error) {
    text("series-count", error.message);
  }
}

// ---- alerts

function alertRow(alert) {
  const { what } = names(alert.series);
  const detector = alert.detector.split("@")[0];
  const open = alert.state === "OPEN";
  return element("li", {}, element("button", { type: "button", title: `${alert.series}\n${alert.rule_doc}\n${alert.detail ?? ""}`, "data-alert": alert.alert_id, onclick: () => choose(alert.series, tabOfAlert(alert)) },
    element("span", { class: "first" }, element("span", { class: "name" }, what), element("span", { class: `value ${open ? "alarm" : "quiet"}` }, open ? "▲ OPEN" : "closed")),
    element("span", { class: "rule" }, `${alert.severity === "CRITICAL" ? "critical · " : ""}${alert.rule_doc || alert.rule}`),
    alert.detail ? element("span", { class: "rule quiet" }, alert.detail.split("\n")[0]) : null,
    element("span", { class: "second" }, element("span", {}, detector.startsWith("multivariate.") ? detector : `${detector} · value ${number(alert.value)}`), element("span", { class: "value" }, `${count(alert.rows)} row${alert.rows === 1 ? "" : "s"}`)),
    element("span", { class: "second" }, `${time(alert.opened_time)} UTC${alert.lot ? ` · lot ${alert.lot}` : ""}`)));
}

function tabOfAlert(alert) {
  const prefix = `${alert.detector.split("@")[0]}/`;
  return state.tab?.startsWith(prefix) ? state.tab : prefix;
}

function showAlerts() {
  const newest = [...state.alerts.values()].sort((a, b) => b.raised_ms - a.raised_ms || (a.alert_id < b.alert_id ? 1 : -1)).slice(0, ALERTS_SHOWN);
  state.alerts = new Map(newest.map((alert) => [alert.alert_id, alert]));
  byId("alerts").replaceChildren(...(newest.length ? newest.map(alertRow) : [element("li", { class: "quiet" }, "none yet")]));
}

async function loadAlerts() {
  try {
    const found = await get(`/alerts?limit=${ALERTS_SHOWN}`);
    for (const alert of found.items) {
      const held = state.alerts.get(alert.alert_id);
      if (!held || (held.state === "OPEN" && held.last_offset <= alert.last_offset)) state.alerts.set(alert.alert_id, alert);
    }
    showAlerts();
  } catch (error) {
    byId("alerts").replaceChildren(element("li", { class: "quiet" }, error.message));
  }
}

// ---- start

byId("search").addEventListener("input", showSeries);
byId("axis").addEventListener("change", drawSoon);
byId("scale").addEventListener("change", drawSoon);
byId("newest").addEventListener("change", drawSoon);
const asked = new URLSearchParams(location.hash.slice(1));
state.tab = asked.get("tab") || null;
loadAlerts();
showSeries();
showLag();
setInterval(showSeries, LIST_MS);
setInterval(showLag, CONSUMERS_MS);
if (asked.get("series")) choose(asked.get("series"));
else listen(null);
