// A wall of small charts over one stream: "#/wall?series=a&series=b", or the series that a search finds, alarms first.

import { ApiError, explain, get, path, seriesPath } from "/web/api.js";
import { drawSmall } from "/web/charts/small.js";
import { merge, rowsOf } from "/web/charts/series.js";
import { tabsOf, titleOf } from "/web/charts/statistics.js";
import { element, paced, text } from "/web/element.js";
import { counted, names, number } from "/web/format.js";
import { live } from "/web/live.js";
import { link, note } from "/web/router.js";
import { onTheme } from "/web/theme.js";
import { stateOf } from "/web/views/chart/picker.js";
import { form } from "/web/widgets.js";

export const CHARTS_MAX = 50; // as many as one stream carries (STREAM_SERIES_MAX of the API)
const POINTS = 100, ASKED_AT_ONCE = 4;

class Wall {
  constructor(root, query) {
    this.cards = new Map(); // series → { chart, canvas, … }
    this.stop = () => {};
    this.turn = 0;
    this.grid = element("ul", { id: "wall", class: "wall-grid" });
    this.words = element("p", { id: "wall-words", class: "quiet", role: "status" });
    this.at = element("div", {});
    root.append(element("h1", { tabindex: "-1" }, "Wall"), this.at, this.words, this.grid);
    this.drawSoon = paced(() => this.draw());
    this.watch = new ResizeObserver(() => this.all());
    this.watch.observe(this.grid);
    this.offTheme = onTheme(() => this.all());
    this.change(query);
  }

  close() {
    this.turn += 1;
    this.stop();
    this.drawSoon.cancel();
    this.watch.disconnect();
    this.offTheme();
  }

  change(query) {
    const search = query.get("search") ?? "", many = Math.min(CHARTS_MAX, Number(query.get("n")) || 12);
    this.at.replaceChildren(form([
      { name: "search", label: "Series with these words", kind: "search", value: search, max: 200 },
      { name: "n", label: "How many", kind: "select", value: String(many), options: [["6", "6"], ["12", "12"], ["24", "24"], ["50", "50"]] },
    ], "Show", async (values) => { location.hash = link("wall", values); }, { inline: true }));
    const series = query.getAll("series").filter(Boolean);
    if (series.length) this.show(series.slice(0, CHARTS_MAX), series.length > CHARTS_MAX ? `The first ${CHARTS_MAX} of ${series.length} series.` : "");
    else this.find(search, many);
  }

  /** Choose the series once; from then on they stand in the address and do not change by themselves. */
  async find(search, many) {
    try {
      const found = await get(path("/charts", { limit: many, search }));
      if (!found.items.length) {
        this.show([], search ? `No series has all of these words in its name: “${search}”.` : "There is no series yet: nothing has been measured.");
        return;
      }
      const series = found.items.map((item) => item.series);
      note("wall", { search, n: many, series });
      this.show(series, `${found.items.length} of ${counted(found.total, "series")}, alarms first.`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      text(this.words, explain(error));
    }
  }

  async show(series, words) {
    this.turn += 1;
    const turn = this.turn;
    text(this.words, words);
    this.cards = new Map(series.map((one) => [one, this.card(one)]));
    this.grid.replaceChildren(...[...this.cards.values()].map((card) => card.root));
    if (!series.length) return;
    let since;
    try {
      since = live.vector ?? (await get("/status")).vector; // before what is loaded: a point that comes twice is taken once
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (turn === this.turn) text(this.words, explain(error));
      return;
    }
    const waiting = [...series];
    const next = async () => {
      while (waiting.length && turn === this.turn) await this.load(waiting.shift());
    };
    await Promise.all(Array.from({ length: ASKED_AT_ONCE }, next));
    if (turn !== this.turn) return;
    this.stop = live.follow(series, since, (frame) => this.heard(frame));
  }

  card(series) {
    const { what, short } = names(series);
    const canvas = element("canvas", { role: "img", "aria-label": `Chart of ${what}` });
    const value = element("span", { class: "value" }), state = element("span", { class: "quiet" }, "loading");
    const root = element("li", { class: "small", "data-series": series }, element("a", { href: link("chart", { series }), title: series }, element("span", { class: "name" }, what), " ", element("span", { class: "quiet" }, short)), element("span", { class: "second" }, value, state), canvas);
    return { series, root, canvas, value, state, chart: null, stale: true };
  }

  async load(series) {
    const card = this.cards.get(series);
    try {
      card.chart = await get(path(seriesPath(series), { points: POINTS }));
      card.stale = true;
      this.drawSoon();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      text(card.state, explain(error));
    }
  }

  heard(frame) {
    if (frame.reset && !frame.series) { for (const series of this.cards.keys()) this.load(series); return; }
    const card = this.cards.get(frame.series);
    if (!card) return;
    if (!card.chart || frame.reset) { this.load(frame.series); return; }
    merge(card.chart, frame, POINTS);
    card.stale = true;
    this.drawSoon();
  }

  all() {
    for (const card of this.cards.values()) card.stale = true;
    this.drawSoon();
  }

  draw() {
    for (const card of this.cards.values()) {
      if (!card.stale || !card.chart) continue;
      card.stale = false;
      const [tab] = tabsOf(card.chart);
      if (!tab) continue;
      const rows = rowsOf(card.chart, tab.detector, tab.shown[0], POINTS);
      card.canvas.dataset.points = drawSmall(card.canvas, rows);
      card.canvas.dataset.draws = Number(card.canvas.dataset.draws ?? 0) + 1;
      const [style, words] = stateOf(card.chart);
      text(card.value, number(rows.findLast((row) => row.value !== null)?.value ?? null));
      card.state.className = style;
      text(card.state, words);
      card.canvas.setAttribute("aria-label", `${titleOf(tab.detector.statistics[tab.shown[0]].name, tab.detector)} of ${names(card.series).what}: ${words}, last ${card.value.textContent}`);
    }
  }
}

export function open(root, query) {
  const view = new Wall(root, query);
  return { close: () => view.close(), change: (next) => view.change(next) };
}
