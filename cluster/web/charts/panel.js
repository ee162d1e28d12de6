// One panel of a control chart: the points of a statistic, what was found in them, and what people have noted.

import { CROSS, EXCLUDED, markOf } from "/web/charts/marks.js";
import { LINES, SPECS, beyondLabels, edgeLabels, lineSeries, range, zoneNames, zoneSeries } from "/web/charts/lines.js";
import { phasesOf } from "/web/charts/series.js";
import { hasZones, titleOf } from "/web/charts/statistics.js";
import { tick } from "/web/format.js";
import { colour, fontPx } from "/web/theme.js";

const PHASE = { first: "Phase I: learning limits", again: "Phase I again: learning anew" };
const NOTES_MAX = 8; // changes of limits that are named in a chart

/** Prepare a panel: `all` rows of statistic `which`; `seen`: whether a row is in the window that is looked at. */
export function panelOf(all, detector, which, seen, near) {
  const statistic = detector.statistics[which];
  const opens = all.some((row) => row.value !== null && row.statistic === null && !row.learning);
  // rows that close no subgroup have nothing to plot; missing values are gaps, unless the statistic skips rows anyway
  const rows = all.filter((row) => row.statistic !== null || row.learning || (row.value === null && !opens));
  const withSpecs = statistic.name.toLowerCase() === "x"; // specification limits are for individual values
  const visible = rows.filter(seen);
  const { low, high, beyond } = range(visible.length ? visible : rows, withSpecs, near);
  const y = (row) => (row.statistic === null ? null : Math.min(high, Math.max(low, row.statistic)));
  const off = visible.filter((row) => y(row) !== row.statistic).length;
  return { which, statistic, detector, rows, low, high, beyond, off, y, withSpecs, zones: hasZones(detector, which) };
}

function points(panel, x) {
  const phases = phasesOf(panel.rows);
  return {
    id: `points-${panel.g}`, type: "line", symbol: "circle", symbolSize: panel.g ? 3.5 : 4.5, showAllSymbol: true, connectNulls: false, z: 4,
    xAxisIndex: panel.g, yAxisIndex: panel.g,
    lineStyle: { color: colour("point"), width: 1, opacity: 0.55 }, itemStyle: { color: colour("point") },
    data: panel.rows.map((row, i) => ({
      value: [x(row), panel.y(row), i],
      ...(row.learning ? { itemStyle: { color: colour("paper"), borderColor: colour("quiet"), borderWidth: 1 } } : {}),
    })),
    markArea: {
      silent: true, itemStyle: { color: colour("phase") },
      label: { position: "insideTopLeft", color: colour("quiet"), fontSize: fontPx(), show: panel.g === 0 },
      data: phases.map((phase) => [{ name: PHASE[phase.kind], xAxis: x(phase.from) }, { xAxis: x(phase.to) }]),
    },
  };
}

/** A point is drawn once, with the mark of the first rule it broke; its tooltip names them all. */
function signals(panel, x) {
  return panel.detector.rules.flatMap((rule, i) => (rule.statistic === panel.which ? [{
    id: `rule-${panel.g}-${i}`, name: rule.name, type: "scatter", symbol: markOf(i).symbol, symbolSize: i === 0 ? 13 : 10, z: 6,
    xAxisIndex: panel.g, yAxisIndex: panel.g,
    itemStyle: { color: markOf(i).colour, borderColor: colour("paper"), borderWidth: 1 },
    data: panel.rows.flatMap((row, k) => (row.signal && (row.signal & -row.signal) >>> 0 === (1 << i) >>> 0 && row.statistic !== null ? [[x(row), panel.y(row), k]] : [])),
  }] : []));
}

/** What people did: limits that were changed, by whom, and measurements that do not count. */
function annotations(panel, x, notes) {
  const changes = notes.limits.flatMap((change) => {
    const from = panel.rows.find((row) => row.offset >= change.offset);
    return from && change.offset > panel.rows[0].offset ? [{ xAxis: x(from), label: { formatter: panel.g ? "" : change.words } }] : [];
  }).slice(-NOTES_MAX);
  const out = panel.rows.flatMap((row, i) => (notes.excluded.has(row.offset) && row.statistic !== null ? [[x(row), panel.y(row), i]] : []));
  return {
    id: `notes-${panel.g}`, type: "scatter", symbol: EXCLUDED, symbolSize: 15, z: 7, xAxisIndex: panel.g, yAxisIndex: panel.g,
    itemStyle: { color: colour("ink") }, data: out, silent: true,
    markLine: {
      symbol: "none", silent: true, animation: false, precision: -1, lineStyle: { color: colour("limit"), type: [5, 3], width: 1 },
      label: { position: "end", distance: 3, color: colour("limit"), fontSize: fontPx() }, data: changes,
    },
  };
}

/** Everything that ECharts draws of a panel, at its place (`g`, `left`, `top`, `width`, `height`, `right`). */
export function drawnPanel(panel, x, notes, chosen) {
  const lines = panel.withSpecs ? [...LINES, ...SPECS] : LINES;
  const people = annotations(panel, x, notes);
  const size = fontPx(), font = `${size}px system-ui, sans-serif`;
  const at = panel.rows.findIndex((row) => chosen && row.offset === chosen.offset && row.sample === chosen.sample);
  const names = panel.zones ? zoneNames(panel, font, size) : [];
  return {
    said: { zones: names.map((name) => name.style.text), changes: people.markLine.data.map((change) => change.label.formatter), excluded: people.data.length },
    grid: { left: panel.left, top: panel.top, width: panel.width, height: panel.height },
    yAxis: {
      type: "value", gridIndex: panel.g, min: panel.low, max: panel.high, name: titleOf(panel.statistic.name, panel.detector), nameGap: 8,
      nameTextStyle: { fontWeight: "bold", align: "right", color: colour("ink"), fontSize: size }, splitNumber: panel.g ? 3 : 5,
      axisLabel: { formatter: (v) => tick(v, panel.high - panel.low), showMinLabel: false, showMaxLabel: false, color: colour("ink"), fontSize: size },
      splitLine: { lineStyle: { color: colour("grid") } },
    },
    series: [
      points(panel, x), ...(panel.zones ? zoneSeries(panel, x) : []), ...lines.map((line) => lineSeries(line, panel, x)), ...signals(panel, x), people,
      {
        id: `missing-${panel.g}`, type: "scatter", symbol: CROSS, symbolSize: 8, itemStyle: { color: colour("quiet") }, z: 3, xAxisIndex: panel.g, yAxisIndex: panel.g,
        data: panel.rows.flatMap((row, i) => (row.value === null ? [[x(row), panel.low + (panel.high - panel.low) * 0.03, i]] : [])),
      },
      {
        id: `chosen-${panel.g}`, type: "scatter", symbol: "circle", symbolSize: 18, silent: true, z: 9, xAxisIndex: panel.g, yAxisIndex: panel.g,
        itemStyle: { color: "transparent", borderColor: colour("ink"), borderWidth: 2 }, data: at >= 0 && panel.rows[at].statistic !== null ? [[x(panel.rows[at]), panel.y(panel.rows[at]), at]] : [],
      },
    ],
    graphic: [...edgeLabels(panel, lines, font, size), ...names, ...beyondLabels(panel, panel.beyond, panel.off, font, size)],
  };
}
