// The control chart: points, centre line, control limits as the verdicts have them, specification limits, signals by rule.

import * as echarts from "/web/vendor/echarts.esm.min.js";
import { element, number, tick, time } from "/web/format.js";

const INK = "#1b2530", QUIET = "#56636f", POINT = "#1f4e79", LIMIT = "#b35806", CENTRE = "#3d6b4f", SPEC = "#6a3d9a";
// Told apart by shape as well as by colour; the first rule is the one that everybody must see.
export const MARKS = [
  { colour: "#c0152f", symbol: "diamond", path: "M0 -6L6 0L0 6L-6 0Z" },
  { colour: "#c2185b", symbol: "triangle", path: "M0 -6L6 5L-6 5Z" },
  { colour: "#7b3294", symbol: "rect", path: "M-5 -5H5V5H-5Z" },
  { colour: "#00695c", symbol: "path://M-6 -5L6 -5L0 6Z", path: "M-6 -5L6 -5L0 6Z" },
  { colour: "#a04000", symbol: "path://M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z", path: "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z" },
  { colour: "#0b5fa5", symbol: "path://M0 -6L6 -1L4 6H-4L-6 -1Z", path: "M0 -6L6 -1L4 6H-4L-6 -1Z" },
  { colour: "#5d4037", symbol: "path://M-6 -6L6 6V-6L-6 6Z", path: "M-6 -6L6 6V-6L-6 6Z" },
  { colour: "#37474f", symbol: "path://M-6 6L6 -6H-6L6 6Z", path: "M-6 6L6 -6H-6L6 6Z" },
];
export const markOf = (rule) => MARKS[rule % MARKS.length];
const CROSS = "path://M-3 -4L0 -1L3 -4L4 -3L1 0L4 3L3 4L0 1L-3 4L-4 3L-1 0L-4 -3Z";
const LINES = [
  { name: "UCL", column: "ucl", colour: LIMIT, type: "solid", width: 1.5 },
  { name: "CL", column: "centre", colour: CENTRE, type: "solid", width: 1.2 },
  { name: "LCL", column: "lcl", colour: LIMIT, type: "solid", width: 1.5 },
];
const SPECS = [
  { name: "USL", column: "usl", colour: SPEC, type: [7, 4], width: 1.5 },
  { name: "target", column: "target", colour: SPEC, type: [2, 4], width: 1.2 },
  { name: "LSL", column: "lsl", colour: SPEC, type: [7, 4], width: 1.5 },
];
const GRID = { left: 62, right: 104, top: 26, bottom: 44 };
const LABEL_PX = 13, LABEL_FONT = "11px system-ui, sans-serif";
const SPEC_STRETCH = 2.5; // specification lines may widen the chart this much; beyond it they are named at the edge

const span = (values) => values.reduce(([low, high], v) => (v === null ? [low, high] : [Math.min(low, v), Math.max(high, v)]), [Infinity, -Infinity]);
const lastOf = (rows, column) => rows.findLast((row) => row[column] !== null)?.[column] ?? null;

/** Range of the y axis, and the specification lines that do not fit in it. `near`: around the limits, whatever lies far off. */
function range(rows, withSpecs, near) {
  const limits = rows.flatMap((row) => [row.lcl, row.centre, row.ucl]);
  let [low, high] = span(near && limits.some((v) => v !== null) ? limits : [...limits, ...rows.map((row) => row.statistic)]);
  if (near && low < high) [low, high] = [low - (high - low) / 4, high + (high - low) / 4];
  if (low > high) [low, high] = [0, 1];
  const height = high - low || Math.abs(high) * 0.02 || 1;
  const beyond = [];
  for (const spec of withSpecs ? SPECS : []) {
    const at = lastOf(rows, spec.column);
    if (at === null) continue;
    const stretched = Math.max(high, at) - Math.min(low, at);
    if (stretched <= SPEC_STRETCH * height) [low, high] = [Math.min(low, at), Math.max(high, at)];
    else beyond.push({ ...spec, at, above: at > high });
  }
  const margin = (high - low || height) * 0.07;
  return { low: low - margin, high: high + margin, beyond };
}

function tooltip(row, detector, statistic) {
  const fired = detector.rules.filter((_, i) => row.signal & (1 << i));
  const line = (name, value) => element("tr", {}, element("td", {}, name), element("td", {}, value));
  const state = row.value === null ? "missing: not judged" : row.learning ? "Phase I: not judged yet" : row.valid ? "judged" : "not judged";
  return element("div", { class: "tip" },
    element("table", {},
      line(statistic.name, row.value === null ? "missing" : number(row.statistic, 6)),
      statistic.name.toLowerCase() === "x" ? null : line(detector.family === "multivariate" ? "measured" : "value", number(row.value, 6)),
      line("LCL · CL · UCL", [row.lcl, row.centre, row.ucl].map((v) => number(v, 6)).join(" · ")),
      line("event time", `${time(row.time)} UTC`), line("lot · wafer", `${row.lot || "–"} · ${row.wafer || "–"}`),
      line("row · offset", `${row.sequence} · ${row.offset}${row.sample ? `, sample ${row.sample}` : ""}`), line("state", state)),
    ...fired.map((rule) => element("div", { class: "fired" }, `${rule.name}: ${rule.doc}`)));
}

/** A limit, row by row as the verdicts have it. Rows that were not judged have none, and do not break the line. */
function lineSeries(line, rows, x) {
  return {
    id: line.name, name: line.name, type: "line", step: "middle", symbol: "none", silent: true, z: 2, clip: true,
    lineStyle: { color: line.colour, width: line.width, type: line.type },
    data: rows.filter((row) => row.value !== null).map((row) => [x(row), row[line.column]]),
  };
}

/** Names and values of the lines at the right edge, moved apart where they would touch. */
function edgeLabels(lines, rows, low, high, root) {
  const height = root.clientHeight - GRID.top - GRID.bottom;
  const labels = lines
    .map((line) => ({ line, at: lastOf(rows, line.column) }))
    .filter(({ at }) => at !== null && at >= low && at <= high)
    .map(({ line, at }) => ({ line, at, y: GRID.top + ((high - at) / (high - low)) * height }))
    .sort((a, b) => a.y - b.y || LINES.indexOf(a.line) - LINES.indexOf(b.line));
  for (let i = 1; i < labels.length; i += 1) labels[i].y = Math.max(labels[i].y, labels[i - 1].y + LABEL_PX);
  const over = labels.length ? labels[labels.length - 1].y - (GRID.top + height) : 0;
  for (let i = labels.length - 1, floor = Infinity; over > 0 && i >= 0; i -= 1) {
    labels[i].y = Math.min(labels[i].y, floor === Infinity ? GRID.top + height : floor - LABEL_PX);
    floor = labels[i].y;
  }
  return labels.map(({ line, at, y }) => ({
    type: "text", left: root.clientWidth - GRID.right + 6, top: y - 6, silent: true, z: 10,
    style: { text: `${line.name} ${number(at)}`, fill: line.colour, font: LABEL_FONT, width: GRID.right - 8, overflow: "truncate" },
  }));
}

const TITLES = { xbar: "X̄", "C+": "CUSUM C+", "C-": "CUSUM C−", T2: "T²", Q: "Q (SPE)" };
const Z_OF = { anomaly: "robust z", spc: "EWMA z" };
/** What a statistic of a detector is called on the page. */
export const titleOf = (statistic, detector) => (statistic === "z" ? Z_OF[detector.family] : TITLES[statistic]) ?? statistic;

export class ControlChart {
  constructor(root) {
    this.root = root;
    this.chart = echarts.init(root, null, { renderer: "canvas" });
    this.rows = [];
    this.again = null;
    new ResizeObserver(() => { this.chart.resize(); this.again?.(); }).observe(root);
  }

  clear() {
    this.again = null;
    this.rows = [];
    this.chart.clear();
    delete this.root.dataset.points;
  }

  /** `axis`: "sequence" or "time"; `near`: scale to the limits, and put points far off on the edge, where an arrow says so. */
  draw(all, detector, which, axis, near) {
    this.again = () => this.draw(all, detector, which, axis, near); // labels stand at pixels
    const statistic = detector.statistics[which];
    const opens = all.some((row) => row.value !== null && row.statistic === null && !row.learning);
    // rows that close no subgroup have nothing to plot; missing values are gaps, unless the statistic skips rows anyway
    const rows = all.filter((row) => row.statistic !== null || (row.value === null && !opens));
    const withSpecs = statistic.name.toLowerCase() === "x"; // specification limits are for individual values
    const x = axis === "time" ? (row) => row.time : (row) => row.sequence;
    const { low, high, beyond } = range(rows, withSpecs, near);
    const y = (row) => (row.statistic === null ? null : Math.min(high, Math.max(low, row.statistic)));
    const off = rows.filter((row) => y(row) !== row.statistic).length;
    this.rows = rows;
    this.chart.setOption({
      animation: false,
      textStyle: { color: INK, fontFamily: "inherit" },
      grid: GRID,
      xAxis: this.xAxis(rows, x, axis),
      yAxis: {
        type: "value", min: low, max: high, name: titleOf(statistic.name, detector), nameGap: 8, nameTextStyle: { fontWeight: "bold", align: "right" },
        axisLabel: { formatter: (v) => tick(v, high - low), showMinLabel: false, showMaxLabel: false }, splitLine: { lineStyle: { color: "#eceff2" } },
      },
      tooltip: {
        trigger: "axis", confine: true, textStyle: { color: INK }, transitionDuration: 0, axisPointer: { type: "line", lineStyle: { color: "#9aa6b2" } },
        formatter: (hits) => {
          const hit = hits.find((one) => one.seriesId === "points" || one.seriesId === "missing");
          const row = hit && rows[hit.value[2]];
          return row ? tooltip(row, detector, statistic) : "";
        },
      },
      series: [
        this.points(rows, x, y), ...LINES.map((line) => lineSeries(line, rows, x)),
        ...(withSpecs ? SPECS.map((line) => lineSeries(line, rows, x)) : []),
        ...this.signals(rows, detector, x, y),
        {
          id: "missing", type: "scatter", symbol: CROSS, symbolSize: 8, itemStyle: { color: QUIET }, z: 3,
          data: rows.flatMap((row, i) => (row.value === null ? [[x(row), low + (high - low) * 0.02, i]] : [])),
        },
      ],
      graphic: [
        ...edgeLabels(withSpecs ? [...LINES, ...SPECS] : LINES, rows, low, high, this.root),
        ...(off ? [{ type: "text", right: GRID.right + 6, top: 4, silent: true, style: { text: `↕ ${off} point${off === 1 ? "" : "s"} off the scale, drawn on the edge`, fill: INK, font: LABEL_FONT } }] : []),
        ...beyond.map((spec, i) => ({
          type: "text", right: GRID.right + 6, ...(spec.above ? { top: GRID.top + 2 + 14 * i } : { bottom: GRID.bottom + 4 + 14 * i }), silent: true,
          style: { text: `${spec.name} ${number(spec.at)} ${spec.above ? "↑" : "↓"} off the scale`, fill: SPEC, font: LABEL_FONT },
        })),
      ],
    }, { replaceMerge: ["series", "graphic", "xAxis"] });
    this.root.dataset.points = rows.filter((row) => row.statistic !== null).length; // what a test or a screen reader can ask
    this.root.dataset.signals = rows.filter((row) => row.signal).length;
    this.root.setAttribute("aria-label", `Control chart of ${statistic.name}: ${this.root.dataset.points} points, ${this.root.dataset.signals} with a signal`);
  }

  xAxis(rows, x, axis) {
    const ends = rows.length ? [x(rows[0]), x(rows[rows.length - 1])] : [0, 1];
    const common = { min: ends[0], max: ends[1] === ends[0] ? ends[0] + 1 : ends[1], nameLocation: "middle", nameGap: 26, splitLine: { show: false }, axisLine: { onZero: false } };
    if (axis === "time") return { ...common, type: "time", name: "event time (UTC)", axisLabel: { hideOverlap: true, formatter: (ms) => time(ms).slice(0, 16) } };
    return { ...common, type: "value", minInterval: 1, name: "row of the series, in log order", axisLabel: { showMinLabel: false, showMaxLabel: false } };
  }

  points(rows, x, y) {
    const learning = rows.filter((row) => row.learning);
    return {
      id: "points", type: "line", symbol: "circle", symbolSize: 4.5, showAllSymbol: true, connectNulls: false, z: 4,
      lineStyle: { color: POINT, width: 1, opacity: 0.55 }, itemStyle: { color: POINT },
      data: rows.map((row, i) => ({
        value: [x(row), y(row), i],
        ...(row.learning ? { itemStyle: { color: "#fff", borderColor: QUIET, borderWidth: 1 } } : {}),
      })),
      markArea: {
        silent: true, itemStyle: { color: "rgba(120,130,140,0.13)" },
        label: { position: "insideTopLeft", color: QUIET, fontSize: 11 },
        data: learning.length ? [[{ name: "Phase I: learning limits", xAxis: x(learning[0]) }, { xAxis: x(learning[learning.length - 1]) }]] : [],
      },
    };
  }

  /** A point is drawn once, with the mark of the first rule it broke; its tooltip names them all. */
  signals(rows, detector, x, y) {
    return detector.rules.map((rule, i) => ({
      id: `rule-${i}`, name: rule.name, type: "scatter", symbol: markOf(i).symbol, symbolSize: i === 0 ? 13 : 10, z: 6,
      itemStyle: { color: markOf(i).colour, borderColor: "#fff", borderWidth: 1 },
      data: rows.flatMap((row, k) => (row.signal && (row.signal & -row.signal) >>> 0 === (1 << i) >>> 0 && row.statistic !== null ? [[x(row), y(row), k]] : [])),
    }));
  }
}

/** The legend: every rule of this statistic with its mark, its words and how many of the rows shown broke it. */
export function legend(root, rows, detector, which) {
  const items = detector.rules.flatMap((rule, i) => {
    if (rule.statistic !== which) return [];
    const hits = rows.filter((row) => row.signal & (1 << i)).length;
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "-7 -7 14 14"); svg.setAttribute("width", "13"); svg.setAttribute("height", "13");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", markOf(i).path); path.setAttribute("fill", hits ? markOf(i).colour : "#b9c2ca");
    svg.append(path);
    const words = `${rule.name.replace(/^nelson_/, "Nelson ").replaceAll("_", " ")}: ${rule.doc}`;
    return [element("li", { class: hits ? "fired" : "", title: words }, svg, element("span", {}, words), element("span", { class: "count" }, hits || ""))];
  });
  root.classList.toggle("few", items.length <= 4);
  root.replaceChildren(...items);
}
