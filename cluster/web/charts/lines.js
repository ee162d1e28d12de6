// Lines of a control chart: limits as the verdicts have them, zones, specification limits apart, and their names at the edge.

import { number } from "/web/format.js";
import { colour } from "/web/theme.js";

export const LINES = [
  { name: "UCL", column: "ucl", role: "limit", type: "solid", width: 1.5 },
  { name: "CL", column: "centre", role: "centre", type: "solid", width: 1.2 },
  { name: "LCL", column: "lcl", role: "limit", type: "solid", width: 1.5 },
];
export const SPECS = [
  { name: "USL", column: "usl", role: "spec", type: [7, 4], width: 1.5 },
  { name: "target", column: "target", role: "spec", type: [2, 4], width: 1.2 },
  { name: "LSL", column: "lsl", role: "spec", type: [7, 4], width: 1.5 },
];
export const SPEC_STRETCH = 2.5; // specification lines may widen the chart this much; beyond it they are named at the edge

const span = (values) => values.reduce(([low, high], v) => (v === null ? [low, high] : [Math.min(low, v), Math.max(high, v)]), [Infinity, -Infinity]);
const lastOf = (rows, column) => rows.findLast((row) => row[column] !== null)?.[column] ?? null;

/** Range of the y axis, and the specification lines that do not fit in it. `near`: around the limits, whatever lies far off. */
export function range(rows, withSpecs, near) {
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

const stepped = (id, panel, style, data) => ({
  id, type: "line", step: "middle", symbol: "none", silent: true, z: 2, clip: true, xAxisIndex: panel.g, yAxisIndex: panel.g,
  lineStyle: style, data, tooltip: { show: false },
});

/** A limit, row by row as the verdicts have it. Rows that were not judged have none, and do not break the line. */
export const lineSeries = (line, panel, x) => stepped(`${line.name}-${panel.g}`, panel, { color: colour(line.role), width: line.width, type: line.type },
  panel.rows.filter((row) => row.value !== null).map((row) => [x(row), row[line.column]]));

const sigmas = [[2, 1], [1, 1], [1, -1], [2, -1]];

/** The borders of zones A, B and C: one and two thirds of the way to either limit. */
export const zoneSeries = (panel, x) => sigmas.map(([k, side]) => stepped(`zone-${k * side}-${panel.g}`, panel, { color: colour("zone"), width: 1, type: [2, 4] },
  panel.rows.filter((row) => row.value !== null).map((row) => {
    const limit = side > 0 ? row.ucl : row.lcl;
    return [x(row), limit === null || row.centre === null ? null : row.centre + ((limit - row.centre) * k) / 3];
  })));

const text = (left, top, words, fill, font, rest = {}) => ({ type: "text", left, top, silent: true, z: 10, style: { text: words, fill, font, ...rest } });

const ZONES_PX = 14; // the column of the zones' names at the right edge

/** A, B, C at the right edge, where a zone is high enough for its name. */
export function zoneNames(panel, font, fontPx) {
  const [centre, lcl, ucl] = ["centre", "lcl", "ucl"].map((column) => lastOf(panel.rows, column));
  if (centre === null) return [];
  const y = (at) => panel.top + ((panel.high - at) / (panel.high - panel.low)) * panel.height;
  return [ucl, lcl].flatMap((limit) => (limit === null ? [] : ["C", "B", "A"].flatMap((name, i) => {
    const [from, to] = [i, i + 1].map((k) => y(centre + ((limit - centre) * k) / 3));
    const middle = (from + to) / 2;
    if (Math.abs(from - to) < fontPx || middle < panel.top || middle > panel.top + panel.height) return [];
    return [text(panel.left + panel.width + 4, middle - fontPx / 2, name, colour("quiet"), font)];
  })));
}

/** Names and values of the lines at the right edge, moved apart where they would touch. */
export function edgeLabels(panel, lines, font, fontPx) {
  const gap = fontPx + 2;
  const labels = lines
    .map((line) => ({ line, at: lastOf(panel.rows, line.column) }))
    .filter(({ at }) => at !== null && at >= panel.low && at <= panel.high)
    .map(({ line, at }) => ({ line, at, y: panel.top + ((panel.high - at) / (panel.high - panel.low)) * panel.height }))
    .sort((a, b) => a.y - b.y || LINES.indexOf(a.line) - LINES.indexOf(b.line));
  for (let i = 1; i < labels.length; i += 1) labels[i].y = Math.max(labels[i].y, labels[i - 1].y + gap);
  const over = labels.length ? labels[labels.length - 1].y - (panel.top + panel.height) : 0;
  for (let i = labels.length - 1, floor = Infinity; over > 0 && i >= 0; i -= 1) {
    labels[i].y = Math.min(labels[i].y, floor === Infinity ? panel.top + panel.height : floor - gap);
    floor = labels[i].y;
  }
  return labels.map(({ line, at, y }) => text(panel.left + panel.width + 4 + ZONES_PX, y - fontPx / 2, `${line.name} ${number(at)}`, colour(line.role), font, { width: panel.right - 4 - ZONES_PX, overflow: "truncate" }));
}

/** What lies beyond the scale, said at the edge that it lies beyond. */
export function beyondLabels(panel, beyond, off, font, fontPx) {
  const right = panel.right + 6;
  const said = beyond.map((spec, i) => ({
    type: "text", right, top: spec.above ? panel.top + 2 + (fontPx + 3) * i : panel.top + panel.height - (fontPx + 3) * (i + 1), silent: true, z: 10,
    style: { text: `${spec.name} ${number(spec.at)} ${spec.above ? "↑" : "↓"} off the scale`, fill: colour("spec"), font },
  }));
  if (off) said.push({ type: "text", right, top: panel.top - fontPx - 6, silent: true, z: 10, style: { text: `↕ ${off} point${off === 1 ? "" : "s"} off the scale, drawn on the edge`, fill: colour("ink"), font } });
  return said;
}
