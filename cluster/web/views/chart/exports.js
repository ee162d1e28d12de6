// The chart as a picture, and its points as a table of comma-separated values.

import { titleOf } from "/web/charts/statistics.js";
import { colour, fontPx } from "/web/theme.js";
import { save } from "/web/widgets.js";

const RATIO = 2; // pixels of the picture for one of the page

const fileName = (words, ending) => `${words.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 100)}.${ending}`;

/** Save the chart with its title; everything is as it is shown. */
export async function savePng(control, { what, where, facts }) {
  const drawn = new Image();
  drawn.src = control.chart.getDataURL({ type: "png", pixelRatio: RATIO, backgroundColor: colour("paper") });
  await drawn.decode();
  const line = fontPx(1.6) * RATIO, canvas = document.createElement("canvas");
  canvas.width = drawn.width;
  canvas.height = drawn.height + 3 * line;
  const paint = canvas.getContext("2d");
  paint.fillStyle = colour("paper");
  paint.fillRect(0, 0, canvas.width, canvas.height);
  paint.fillStyle = colour("ink");
  paint.font = `bold ${fontPx(1.2) * RATIO}px system-ui, sans-serif`;
  paint.fillText(what, line / 2, line * 1.1);
  paint.font = `${fontPx(0.85) * RATIO}px system-ui, sans-serif`;
  paint.fillText(`${where} · ${facts}`, line / 2, line * 2.1);
  paint.drawImage(drawn, 0, 3 * line);
  const blob = await new Promise((done) => { canvas.toBlob(done, "image/png"); });
  save(fileName(what, "png"), blob);
}

/** One cell; a text that a spreadsheet would take for a formula begins with a quote (OWASP, CSV injection). */
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Points of all panels as CSV (RFC 4180), oldest first. */
export function csvOf(series, panels, notes) {
  const [first] = panels;
  const at = panels.map((panel) => new Map(panel.rows.map((row) => [`${row.offset}.${row.sample}`, row])));
  const head = ["series", "row", "offset", "sample", "event_time", "lot", "wafer", "value", "lsl", "target", "usl", "state", "excluded",
    ...panels.flatMap((panel) => { const name = titleOf(panel.statistic.name, panel.detector); return [name, `${name} LCL`, `${name} CL`, `${name} UCL`, `${name} signals`]; })];
  const lines = first.rows.map((row) => [series, row.sequence, row.offset, row.sample, new Date(row.time).toISOString(), row.lot, row.wafer, row.value, row.lsl, row.target, row.usl,
    row.value === null ? "missing" : row.learning ? "Phase I" : row.valid ? "judged" : "not judged", notes.excluded.get(row.offset) ?? "",
    ...panels.flatMap((panel, i) => {
      const one = at[i].get(`${row.offset}.${row.sample}`) ?? { signal: 0 };
      return [one.statistic, one.lcl, one.centre, one.ucl, panel.detector.rules.filter((_, k) => one.signal & (1 << k)).map((rule) => rule.name).join(" ")];
    })]);
  return [head, ...lines].map((line) => line.map(cell).join(",")).join("\r\n");
}

export function saveCsv(series, panels, notes) {
  save(fileName(series, "csv"), csvOf(series, panels, notes));
}
