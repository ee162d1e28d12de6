// One series: its control chart, what was found in it, what people did to it, and how capable it is.

import { ApiError, explain, get, seriesPath } from "/web/api.js";
import { ControlChart } from "/web/charts/control.js";
import { legend } from "/web/charts/marks.js";
import { merge, phasesOf, rowsOf } from "/web/charts/series.js";
import { tabNamed, tabsOf, titleOf } from "/web/charts/statistics.js";
import { element, paced, say, text } from "/web/element.js";
import { count, counted, names, number, time } from "/web/format.js";
import { live } from "/web/live.js";
import { note, titled } from "/web/router.js";
import { Capability } from "/web/views/chart/capability.js";
import { History } from "/web/views/chart/history.js";
import { layout } from "/web/views/chart/layout.js";
import { Newest } from "/web/views/chart/newest.js";
import { Picker } from "/web/views/chart/picker.js";
import { Points, tip } from "/web/views/chart/points.js";
import { saveCsv, savePng } from "/web/views/chart/exports.js";

class ChartView {
  constructor(root, query) {
    this.series = null;
    this.tab = null;
    this.chart = null;
    this.panels = [];
    this.stop = () => {};
    this.ends = [];
    this.at = layout(root);
    this.control = new ControlChart(this.at.chart, { tip: (row, panel, panels) => tip(row, panel, panels, this.history.notes.excluded), chosen: (row, panels) => this.points.chosen(row, panels) });
    this.points = new Points(this.at.points, this.at.point, { choose: (row) => this.control.choose(row), history: () => this.history });
    this.history = new History(this.at.history, () => this.drawSoon());
    this.capability = new Capability(this.at.capability);
    this.picker = new Picker(this.at.picker, (series) => this.choose(series, this.tab));
    this.newest = new Newest(this.at.newest, (series, tab) => this.choose(series, this.tab?.startsWith(tab) ? this.tab : tab));
    this.drawSoon = paced(() => { if (this.chart) this.draw(); });
    for (const one of [this.at.axis, this.at.scale, this.at.rows]) one.addEventListener("change", () => this.drawSoon());
    const acts = {
      in: () => this.control.zoom(0.7), out: () => this.control.zoom(1 / 0.7), all: () => this.control.zoomTo(-Infinity, Infinity),
      png: () => savePng(this.control, this.titles()), csv: () => saveCsv(this.series, this.panels, this.history.notes),
    };
    this.at.actions.addEventListener("click", (event) => { if (this.chart) acts[event.target.dataset?.act]?.(); });
    this.change(query);
  }

  change(query) {
    const series = query.get("series"), search = query.get("search");
    if (search) this.picker.look(search);
    if (series) this.choose(series, query.get("tab") || null);
    else if (search || !this.series) this.picker.first((first) => this.choose(first, null));
  }

  close() {
    this.stop();
    this.drawSoon.cancel();
    for (const part of [this.control, this.capability, this.picker, this.newest, this.points, this.history]) part.close();
  }

  async choose(series, tab) {
    const another = series !== this.series;
    this.series = series;
    this.tab = tab;
    this.at.middle.classList.remove("empty");
    note("chart", { series, tab });
    titled(names(series).what, "Chart");
    this.picker.mark(series);
    if (another) {
      this.control.window = null;
      this.control.chosen = null;
      this.points.chosen(null, []);
      this.history.of(series);
      this.capability.of(series);
    }
    try {
      const chart = await get(seriesPath(series));
      if (this.series !== series) return; // another was chosen meanwhile
      this.chart = chart;
      this.listen(chart.vector);
      this.draw();
      if (another) say(`Chart of ${names(series).what}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this.series === series) this.nothing(error);
    }
  }

  nothing(error) {
    this.chart = null;
    this.panels = [];
    text(this.at.title, names(this.series).what);
    text(this.at.context, error.status === 404 ? error.message : explain(error));
    text(this.at.facts, "");
    text(this.at.phase, "");
    this.at.tabs.replaceChildren();
    this.at.rules.replaceChildren();
    this.control.clear();
    this.capability.clear();
    this.points.clear();
    this.listen(error.body.vector); // it may come any moment: from then on it is shown
  }

  listen(since) {
    const series = this.series;
    this.stop = live.follow([series], since, (frame) => {
      if (this.series !== series) return;
      if (frame.reset || !this.chart) this.choose(series, this.tab);
      else if (frame.series === series) { merge(this.chart, frame); this.drawSoon(); }
    });
  }

  titles() {
    const { what, where } = names(this.series);
    return { what, where, facts: this.at.facts.textContent };
  }

  draw() {
    const { chart, at } = this;
    const { what, where } = names(chart.series);
    text(at.title, what);
    at.title.title = chart.series;
    text(at.context, where);
    const tabs = tabsOf(chart), tab = tabNamed(tabs, this.tab);
    if (!tab) return;
    this.history.partition = chart.partition;
    this.drawTabs(tabs, tab);
    const newest = Number(at.rows.value);
    const shown = tab.shown.map((which) => ({ which, rows: rowsOf(chart, tab.detector, which, newest) }));
    this.control.draw(tab.detector, shown, at.axis.value, at.scale.value === "limits", this.history.notesFor(chart.partition));
    this.panels = this.control.panels.map((panel) => ({ ...panel, rows: shown.find((one) => one.which === panel.which).rows }));
    legend(at.rules, this.panels, tab.detector);
    this.drawFacts(chart, shown[0].rows, tab);
    const isVector = chart.detectors.every((one) => one.family === "multivariate"); // its value is how many columns were measured
    at.capability.hidden = isVector;
    if (!isVector) this.capability.draw(chart);
    this.points.draw(this.panels);
  }

  drawTabs(tabs, tab) {
    const said = tabs.map((one) => `${one.id} ${one.words} ${one === tab}`).join();
    if (this.at.tabs.dataset.said === said) return;
    const focused = this.at.tabs.contains(document.activeElement);
    this.at.tabs.dataset.said = said;
    this.at.tabs.replaceChildren(...tabs.map((one) => element("button", {
      type: "button", role: "tab", "data-tab": one.id, "aria-selected": one === tab, "aria-controls": "chart", tabindex: one === tab ? 0 : -1, title: one.detector.identity,
      onclick: () => this.openTab(one.id),
      onkeydown: (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (by) this.openTab(tabs[(tabs.indexOf(one) + by + tabs.length) % tabs.length].id);
      },
    }, one.words)));
    if (focused) this.at.tabs.querySelector("[aria-selected=true]").focus();
  }

  openTab(id) {
    this.tab = id;
    note("chart", { series: this.series, tab: id });
    this.draw();
  }

  drawFacts(chart, rows, tab) {
    const isVector = tab.detector.family === "multivariate";
    const missing = rows.filter((row) => row.value === null).length;
    const last = rows.findLast((row) => row.value !== null);
    const judged = rows.findLast((row) => row.ucl !== null && row.lcl !== null);
    text(this.at.facts, [
      last ? `last ${isVector ? `vector of ${count(last.value)} measured columns` : `value ${number(last.value)}`} at ${time(last.time)} UTC` : "", counted(chart.rows, "row"),
      missing ? `${missing} of the ${rows.length} shown missing` : "",
      judged && judged.lcl === judged.ucl ? "sigma is 0: any other value is beyond the limits" : "",
    ].filter(Boolean).join(" · "));
    text(this.at.phase, phaseWords(rows, tab));
    const excluded = rows.filter((row) => this.history.notes.excluded.has(row.offset)).length;
    text(this.at.excluded, excluded ? `⊘ ${counted(excluded, "row")} shown excluded: they do not count` : "");
  }
}

/** What a detector that judges nothing just now is doing. */
function phaseWords(rows, tab) {
  const phases = phasesOf(rows), phase = phases[phases.length - 1];
  const title = titleOf(tab.detector.statistics[tab.shown[0]].name, tab.detector);
  if (phase?.open) {
    const held = rows.slice(rows.indexOf(phase.from)).filter((row) => row.value !== null).length;
    return phase.kind === "first"
      ? `${title} is in Phase I: it learns its limits, from ${counted(held, "row")} so far, and judges nothing yet.`
      : `${title} learns anew (Phase I again, since row ${count(phase.from.sequence)}; ${counted(held, "row")} so far) and judges nothing until it has enough.`;
  }
  const again = phases.findLast((one) => one.kind === "again");
  return again ? `${title} learned anew from row ${count(again.from.sequence)} to ${count(again.to.sequence)}.` : "";
}

export function open(root, query) {
  const view = new ChartView(root, query);
  return { close: () => view.close(), change: (next) => view.change(next) };
}
