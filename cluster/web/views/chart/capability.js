// Capability: the histogram of the values, and the indices with their number of rows and their confidence intervals.

import { ApiError, get, path } from "/web/api.js";
import { Histogram } from "/web/charts/histogram.js";
import { element } from "/web/element.js";
import { count, index, number } from "/web/format.js";

const MEANING = {
  Cp: "potential, within", Cpk: "within", Pp: "potential, overall", Ppk: "overall",
  Cpl: "of the lower limit, within", Cpu: "of the upper limit, within", Cpm: "potential, about the target", Cpmk: "about the target",
  ppm_within: "expected outside, within", ppm_overall: "expected outside, overall", ppm_observed: "seen outside",
};
const FIRST = ["Cp", "Cpk", "Pp", "Ppk"];
const LATELY_MS = 10_000; // a report is asked for anew at most this often

export class Capability {
  constructor(root) {
    this.canvas = element("div", { id: "histogram", class: "canvas", role: "img", "aria-label": "Histogram of the values" });
    this.body = element("tbody", { id: "capability" });
    this.note = element("p", { id: "capability-note", class: "quiet" });
    this.link = element("a", { download: "", hidden: true }, "The report as CSV");
    root.append(element("div", { class: "capability-parts" }, this.canvas, element("div", {},
      element("table", {}, element("caption", { class: "unseen" }, "Capability indices"), element("thead", {}, element("tr", {}, ...["index", "value", "95 % interval"].map((head) => element("th", { scope: "col", class: head === "index" ? "" : "figure" }, head)))), this.body), this.note, this.link)));
    this.histogram = new Histogram(this.canvas);
    this.series = null;
    this.report = null; // of GET /capability/{series}, where this server has it
    this.asked = 0;
    this.absent = false;
  }

  close() {
    this.histogram.close();
  }

  clear() {
    this.histogram.draw(null);
    this.body.replaceChildren();
    this.note.textContent = "";
  }

  of(series) {
    this.series = series;
    this.report = null;
    this.asked = 0;
  }

  draw(chart) {
    this.histogram.draw(chart.histogram);
    this.table(chart);
    if (!this.absent && Date.now() - this.asked > LATELY_MS) this.ask(chart);
  }

  async ask(chart) {
    this.asked = Date.now();
    const series = chart.series;
    try {
      const report = await get(`/capability/${encodeURIComponent(series)}`);
      if (this.series !== series) return;
      this.report = report;
      this.table(chart);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.absent = error.absent; // then the indices of the stream are all that there is
      if (this.series === series && error.status === 422) this.note.textContent = error.message;
    }
  }

  table({ histogram, capability, judged }) {
    const { report } = this;
    const indices = { ...(capability ?? {}) };
    for (const name of [...FIRST, "Cpl", "Cpu", "Cpm", "Cpmk"]) if (report && valueOf(report, name) !== null) indices[name] = valueOf(report, name);
    const row = (name, value, interval, attributes = {}) => element("tr", attributes, element("th", { scope: "row" }, name), element("td", { class: "figure" }, value), element("td", { class: "figure quiet" }, interval));
    const rows = Object.entries(indices).filter(([name]) => name !== "offset").sort(([a], [b]) => rank(a) - rank(b)).map(([name, value]) => {
      const ppm = name.startsWith("ppm_"), low = !ppm && value !== null && value < 1;
      const shown = ppm ? number(value, 4) : `${low ? "▲ " : ""}${index(value)}`;
      return row(name.replace("_", " "), element("span", { class: low ? "alarm" : "" }, shown), interval(report, name), { title: `${MEANING[name] ?? name}${low ? ": below 1.00" : ""}` });
    });
    const n = report?.n ?? judged;
    if (histogram) {
      rows.push(row("n", count(n), "rows judged"), row("mean", number(report?.mean ?? histogram.mean), report ? "" : `last ${count(histogram.n)}`), row("s", number(report?.sigma_overall ?? histogram.sigma, 4), report ? "overall" : `last ${count(histogram.n)}`));
    }
    this.body.replaceChildren(...rows);
    this.link.hidden = !report;
    this.link.href = path(`/capability/${encodeURIComponent(this.series)}`, { format: "csv" });
    this.note.textContent = noteOf(histogram, capability, report);
  }
}

const rank = (name) => (FIRST.indexOf(name) + FIRST.length + 1) % (FIRST.length + 1);

/** The value of an index of a report; null where it has none. */
const valueOf = (report, name) => report.indices[name]?.value ?? null;

function interval(report, name) {
  const { low, high } = report?.indices[name] ?? {};
  return (low ?? null) === null && (high ?? null) === null ? "" : `${index(low)} to ${index(high)}`;
}

function noteOf(histogram, capability, report) {
  if (!histogram) return "";
  if (histogram.lsl === null && histogram.usl === null) return "No specification limits are given: no indices.";
  if (histogram.sigma === 0) return "The values do not vary: no indices.";
  if (report) return [report.method_text, report.within_text, report.excluded?.length ? "excluded measurements are left out" : "", ...(report.notes ?? [])].filter((words) => typeof words === "string" && words).join(" · ");
  return capability ? "Indices are of the whole history of the series, mean and s of the last values shown." : "Indices need more rows.";
}
