// The histogram of the values with the specification limits.

import * as echarts from "/web/vendor/echarts.esm.min.js";
import { SPEC_STRETCH } from "/web/charts/lines.js";
import { element } from "/web/element.js";
import { count, number, tick } from "/web/format.js";
import { colour, fontPx, onTheme } from "/web/theme.js";

export class Histogram {
  constructor(root) {
    this.root = root;
    this.chart = echarts.init(element("div", { class: "fill" }), null, { renderer: "canvas", width: 100, height: 100 });
    root.append(this.chart.getDom());
    this.shown = null;
    const again = () => { this.chart.resize({ width: root.clientWidth, height: root.clientHeight }); if (this.shown) this.draw(this.shown); };
    this.watch = new ResizeObserver(again);
    this.watch.observe(root);
    this.offTheme = onTheme(again);
  }

  close() {
    this.watch.disconnect();
    this.offTheme();
    this.chart.dispose();
  }

  /** `histogram`: edges, counts, below, above, n, mean, lsl, usl, target; null draws nothing. */
  draw(histogram) {
    this.shown = histogram;
    if (!histogram) return this.chart.clear();
    const { edges, counts, below, above } = histogram;
    const hidden = [below ? `${count(below)} far below` : "", above ? `${count(above)} far above` : ""].filter(Boolean).join(", ");
    const { low, high, lines, far } = this.lines(histogram);
    const margin = (high - low) * 0.05, size = fontPx(), font = `${size}px system-ui, sans-serif`;
    const outside = (k) => (histogram.usl !== null && edges[k] >= histogram.usl) || (histogram.lsl !== null && edges[k + 1] <= histogram.lsl);
    const label = { color: colour("ink"), fontSize: size };
    this.chart.setOption({
      animation: false, textStyle: { fontFamily: "system-ui, sans-serif", color: colour("ink") },
      grid: { left: size * 4, right: size * 1.5, top: size * 3.6, bottom: size * 3.2 },
      xAxis: {
        type: "value", min: low - margin, max: high + margin, splitLine: { show: false }, nameLocation: "middle", nameGap: size * 1.9, nameTextStyle: label,
        axisLabel: { ...label, formatter: (v) => tick(v, high - low), showMinLabel: false, showMaxLabel: false, hideOverlap: true }, name: `value · last ${count(histogram.n)} values${hidden ? ` · not shown: ${hidden}` : ""}`,
      },
      yAxis: { type: "value", minInterval: 1, axisLine: { onZero: false }, splitNumber: 3, axisLabel: label, splitLine: { lineStyle: { color: colour("grid") } } },
      series: [{
        type: "custom", data: counts.map((n, k) => [edges[k], edges[k + 1], n, outside(k) ? 1 : 0]), encode: { x: [0, 1], y: 2 },
        renderItem: (_, api) => {
          const [x0, y0] = api.coord([api.value(0), api.value(2)]), [x1, y1] = api.coord([api.value(1), 0]);
          const out = api.value(3); // bars outside have an edge too: not told by colour alone
          return { type: "rect", shape: { x: x0 + 0.5, y: y0, width: Math.max(1, x1 - x0 - 1), height: y1 - y0 }, style: { fill: colour(out ? "bar-out" : "bar"), stroke: out ? colour("ink") : null, lineWidth: out ? 1 : 0 } };
        },
        markLine: {
          symbol: "none", silent: true, animation: false, precision: -1, // as they are: ECharts rounds to 2 digits else
          data: [...lines.map(({ name, at, row }) => ({ xAxis: at, label: { formatter: `${name} ${number(at)}`, color: colour("spec"), fontSize: size, distance: 2 + (size + 2) * row }, lineStyle: { color: colour("spec"), type: name === "target" ? [2, 4] : [7, 4], width: 1.5 } })),
            { xAxis: histogram.mean, label: { show: false }, lineStyle: { color: colour("ink"), type: "solid", width: 1 } }],
        },
      }],
      graphic: far.map((words, i) => ({ type: "text", right: 16, top: 2 + (size + 3) * i, style: { text: `${words} off the scale`, fill: colour("spec"), font } })),
    }, { replaceMerge: ["series", "graphic"] });
    this.root.setAttribute("aria-label", `Histogram of the last ${histogram.n} values, mean ${number(histogram.mean)}${hidden ? `, not shown: ${hidden}` : ""}`);
  }

  /** Specification limits that fit, with the row that each name stands in, and those that do not. */
  lines(histogram) {
    let [low, high] = [histogram.edges[0], histogram.edges[histogram.edges.length - 1]];
    const width = high - low, far = [];
    const lines = [["LSL", histogram.lsl], ["target", histogram.target], ["USL", histogram.usl]].filter(([name, at]) => {
      if (at === null) return false;
      if (Math.max(high, at) - Math.min(low, at) > SPEC_STRETCH * width) { far.push(`${name} ${number(at)} ${at > high ? "→" : "←"}`); return false; }
      [low, high] = [Math.min(low, at), Math.max(high, at)];
      return true;
    });
    let row = -1, before = -Infinity;
    const rowOf = (at) => { row = (at - before) / (high - low) < 0.2 ? row + 1 : 0; before = at; return row; };
    return { low, high, far, lines: lines.sort((a, b) => a[1] - b[1]).map(([name, at]) => ({ name, at, row: rowOf(at) })) };
  }
}
