// The control chart: one or two panels on one x axis; zoom by dragging, by the bar below, and by keyboard; a chosen point.

import * as echarts from "/web/vendor/echarts.esm.min.js";
import { drawnPanel, panelOf } from "/web/charts/panel.js";
import { Brush } from "/web/charts/brush.js";
import { titleOf } from "/web/charts/statistics.js";
import { element, paced } from "/web/element.js";
import { time } from "/web/format.js";
import { colour, fontPx, onTheme } from "/web/theme.js";

const NARROW_PX = 560;
const ZOOM_STEP = 0.7, ROWS_MIN = 5; // of a step of zoom; rows that are always seen
const NO_NOTES = { limits: [], excluded: new Map() };

export class ControlChart {
  /** `root`: its element. `tip(row, panel)` makes the words of a point; `chosen(row)` hears which point was chosen, null: none. */
  constructor(root, { tip, chosen }) {
    this.root = root;
    this.tip = tip;
    this.tell = chosen;
    this.chart = echarts.init(element("div", { class: "fill" }), null, { renderer: "canvas", width: 100, height: 100 });
    root.append(this.chart.getDom());
    this.given = null;
    this.window = null; // [from, to] on the x axis; null: everything
    this.chosen = null;
    this.panels = [];
    this.draws = 0;
    const again = paced(() => this.redraw());
    this.watch = new ResizeObserver(() => { this.chart.resize({ width: root.clientWidth, height: root.clientHeight }); again(); });
    this.watch.observe(root);
    this.offTheme = onTheme(again);
    this.chart.on("datazoom", (event) => { if (event.batch === undefined && event.start !== undefined) this.slid(event.start, event.end, again); });
    this.brush = new Brush(root, { inside: (px) => this.panels.some((panel) => px[0] >= panel.left && px[0] <= panel.left + panel.width), zoom: (from, to) => this.brushed(from, to), click: (px) => this.pick(px) });
    root.addEventListener("keydown", (event) => this.key(event));
  }

  close() {
    this.watch.disconnect();
    this.offTheme();
    this.chart.dispose();
  }

  clear() {
    this.given = null;
    this.panels = [];
    this.chart.clear();
    delete this.root.dataset.points;
  }

  /** `shown`: [{ rows, which }], one or two; `axis`: "sequence" or "time"; `near`: scale to the limits, points far off on the edge. */
  draw(detector, shown, axis, near, notes = NO_NOTES) {
    if (this.given && this.given.axis !== axis) this.window = null;
    this.given = { detector, shown, axis, near, notes };
    this.redraw();
  }

  x(row) {
    return this.given.axis === "time" ? row.time : row.sequence;
  }

  ends() {
    const rows = this.given.shown[0].rows;
    const [from, to] = rows.length ? [this.x(rows[0]), this.x(rows[rows.length - 1])] : [0, 1];
    return [from, to === from ? from + 1 : to];
  }

  /** What is seen of the x axis: the window, inside what there is. */
  seen() {
    const [first, last] = this.ends();
    if (!this.window || this.window[0] >= last) return [first, last];
    return [Math.max(first, this.window[0]), Math.min(last, this.window[1])];
  }

  redraw() {
    if (!this.given || !this.root.clientWidth || this.brush.busy) return;
    const { detector, shown, axis, near, notes } = this.given;
    const [from, to] = this.seen();
    const x = (row) => this.x(row);
    const within = (row) => x(row) >= from && x(row) <= to;
    this.panels = shown.map(({ rows, which }) => panelOf(rows, detector, which, within, near));
    this.place();
    const parts = this.panels.map((panel) => drawnPanel(panel, x, notes, this.chosen));
    const size = fontPx();
    this.chart.setOption({
      animation: false,
      textStyle: { color: colour("ink"), fontFamily: "system-ui, sans-serif" },
      axisPointer: { link: [{ xAxisIndex: "all" }] },
      grid: parts.map((part) => part.grid),
      xAxis: this.panels.map((panel) => this.xAxis(panel, axis, size)),
      yAxis: parts.map((part) => part.yAxis),
      tooltip: {
        show: this.root.clientWidth > NARROW_PX, trigger: "axis", textStyle: { color: colour("ink"), fontSize: size }, transitionDuration: 0,
        backgroundColor: colour("paper"), borderColor: colour("line"), axisPointer: { type: "line", lineStyle: { color: colour("zone") } },
        // beside what is looked at, never over it: in the other half of the chart
        position: ([px], _, __, ___, { contentSize, viewSize }) => [px < viewSize[0] / 2 ? viewSize[0] - contentSize[0] - 4 : 4, 4],
        formatter: (hits) => {
          const hit = hits.find((one) => /^(points|missing)-/.test(one.seriesId));
          if (!hit) return "";
          const panel = this.panels[Number(hit.seriesId.split("-")[1])];
          return this.tip(panel.rows[hit.value[2]], panel, this.panels);
        },
      },
      dataZoom: [{
        type: "slider", xAxisIndex: this.panels.map((_, g) => g), filterMode: "none", startValue: from, endValue: to, height: 16, bottom: 4, left: this.panels[0].left, right: this.panels[0].right,
        brushSelect: false, showDetail: false, showDataShadow: false, borderColor: colour("line"), fillerColor: colour("phase"), handleStyle: { color: colour("paper"), borderColor: colour("edge") },
      }],
      series: parts.flatMap((part) => part.series),
      graphic: parts.flatMap((part) => part.graphic),
    }, { replaceMerge: ["series", "graphic", "xAxis", "yAxis", "grid", "dataZoom"] });
    this.describe(parts[0].said);
  }

  /** Put the panels one under the other. */
  place() {
    const { clientWidth: width, clientHeight: height } = this.root;
    const size = fontPx(), narrow = width < NARROW_PX;
    const [left, right] = narrow ? [size * 4.2, size * 7.6] : [size * 5.6, size * 10];
    const top = size * 2.4, bottom = size * 3.4 + 24, gap = size * 2.6;
    const room = height - top - bottom - (this.panels.length - 1) * gap;
    this.panels.forEach((panel, g) => {
      const share = this.panels.length === 1 ? 1 : g === 0 ? 0.7 : 0.3;
      Object.assign(panel, { g, left, right, width: width - left - right, top: g === 0 ? top : top + room * 0.7 + gap, height: Math.max(20, room * share) });
    });
  }

  xAxis(panel, axis, size) {
    const [min, max] = this.ends(), last = panel.g === this.panels.length - 1;
    const common = {
      gridIndex: panel.g, min, max, nameLocation: "middle", nameGap: size * 2, splitLine: { show: false }, axisLine: { onZero: false, lineStyle: { color: colour("edge") } },
      nameTextStyle: { color: colour("ink"), fontSize: size }, axisTick: { show: last },
    };
    const label = { show: last, color: colour("ink"), fontSize: size, hideOverlap: true };
    if (axis === "time") return { ...common, type: "time", name: last ? "event time (UTC)" : "", axisLabel: { ...label, formatter: (ms) => time(ms).slice(0, 16) } };
    return { ...common, type: "value", minInterval: 1, name: last ? "row of the series, in log order" : "", axisLabel: { ...label, showMinLabel: false, showMaxLabel: false } };
  }

  /** What a test or a screen reader can ask. */
  describe({ zones, changes, excluded }) {
    const [first] = this.panels;
    const points = first.rows.filter((row) => row.statistic !== null).length;
    const signals = new Set(this.panels.flatMap((panel) => panel.rows.filter((row) => row.signal).map((row) => `${row.offset}.${row.sample}`))).size;
    const [from, to] = this.seen();
    Object.assign(this.root.dataset, { points, signals, draws: (this.draws += 1), window: this.window ? `${from}..${to}` : "all", zones: zones.join(" "), changes: changes.join("; "), excluded });
    const titles = this.panels.map((panel) => titleOf(panel.statistic.name, panel.detector)).join(" and ");
    this.root.setAttribute("aria-label", `Control chart of ${titles}: ${points} points, ${signals} with a signal${excluded ? `, ${excluded} excluded` : ""}.${changes.length ? ` Limits were changed: ${changes.join("; ")}.` : ""} Arrow keys go from point to point, plus and minus zoom, 0 shows everything.`);
  }

  // ---- zoom

  zoomTo(from, to) {
    const [first, last] = this.ends();
    const everything = from <= first && to >= last;
    this.window = everything ? null : [Math.max(first, from), Math.min(last, to)];
    this.redraw();
  }

  /** Zoom about the middle, or the chosen point; `factor` below 1 looks closer. */
  zoom(factor) {
    const [from, to] = this.seen(), [first, last] = this.ends();
    const rows = this.given.shown[0].rows.length || 1;
    const least = ((last - first) * ROWS_MIN) / rows;
    const width = Math.max(least, (to - from) * factor);
    const about = this.chosen && this.x(this.chosen) >= from && this.x(this.chosen) <= to ? this.x(this.chosen) : (from + to) / 2;
    const share = (about - from) / (to - from || 1);
    this.zoomTo(about - width * share, about + width * (1 - share));
  }

  pan(share) {
    const [from, to] = this.seen(), [first, last] = this.ends();
    const by = Math.max(first - from, Math.min(last - to, (to - from) * share));
    this.zoomTo(from + by, to + by);
  }

  slid(start, end, again) {
    const [first, last] = this.ends();
    this.window = start <= 0 && end >= 100 ? null : [start, end].map((share) => first + ((last - first) * share) / 100);
    again();
  }

  brushed(fromPx, toPx) {
    const [from, to] = [fromPx, toPx].map((px) => this.chart.convertFromPixel({ xAxisIndex: 0 }, px));
    this.zoomTo(Math.min(from, to), Math.max(from, to));
  }

  // ---- a chosen point

  choose(row) {
    this.chosen = row;
    if (row) {
      const [from, to] = this.seen();
      if (this.x(row) < from || this.x(row) > to) this.window = [this.x(row) - (to - from) / 2, this.x(row) + (to - from) / 2];
    }
    this.redraw();
    this.tell(row, this.panels);
  }

  pick([px]) {
    const at = this.chart.convertFromPixel({ xAxisIndex: 0 }, px);
    const near = this.panels[0].rows.reduce((best, row) => (best === null || Math.abs(this.x(row) - at) < Math.abs(this.x(best) - at) ? row : best), null);
    if (near) this.choose(near);
  }

  step(by) {
    const rows = this.panels[0].rows;
    if (!rows.length) return;
    const at = this.chosen ? rows.findIndex((row) => row.offset === this.chosen.offset && row.sample === this.chosen.sample) : -1;
    this.choose(rows[Math.max(0, Math.min(rows.length - 1, at < 0 ? rows.length - 1 : at + by))]);
  }

  key(event) {
    if (!this.given || event.ctrlKey || event.altKey || event.metaKey) return;
    const rows = this.panels[0]?.rows ?? [];
    const does = {
      ArrowLeft: () => (event.shiftKey ? this.pan(-0.2) : this.step(-1)), ArrowRight: () => (event.shiftKey ? this.pan(0.2) : this.step(1)),
      PageUp: () => this.step(-10), PageDown: () => this.step(10), Home: () => this.choose(rows[0] ?? null), End: () => this.choose(rows[rows.length - 1] ?? null),
      "+": () => this.zoom(ZOOM_STEP), "=": () => this.zoom(ZOOM_STEP), "-": () => this.zoom(1 / ZOOM_STEP), 0: () => this.zoomTo(-Infinity, Infinity),
      Escape: () => this.choose(null),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }
}
