// Capability: the histogram of the values with the specification limits, and the indices with their meaning.

import * as echarts from "/web/vendor/echarts.esm.min.js";
import { byId, count, element, index, number, tick } from "/web/format.js";

const SPEC = "#6a3d9a", BAR = "#7d9cbb", OUT = "#c0152f";
const MEANING = {
  Cp: "potential, within", Cpk: "within", Pp: "potential, overall", Ppk: "overall",
  Cpl: "of the lower limit, within", Cpu: "of the upper limit, within", Cpm: "potential, about the target", Cpmk: "about the target",
  ppm_within: "expected outside, within", ppm_overall: "expected outside, overall", ppm_observed: "seen outside",
};
const ppm = (name) => name.startsWith("ppm_");
const SPEC_STRETCH = 2.5;

export class Capability {
  constructor(root) {
    this.root = root;
    this.chart = echarts.init(root, null, { renderer: "canvas" });
    new ResizeObserver(() => this.chart.resize()).observe(root);
  }

  clear() {
    this.chart.clear();
    byId("capability").replaceChildren();
    byId("capability-note").textContent = "";
  }

  draw(chart) {
    const { histogram, capability } = chart;
    this.table(histogram, capability);
    if (!histogram) return this.chart.clear();
    const { edges, counts, below, above } = histogram;
    const hidden = [below ? `${count(below)} far below` : "", above ? `${count(above)} far above` : ""].filter(Boolean).join(", ");
    let [low, high] = [edges[0], edges[edges.length - 1]];
    const width = high - low, far = [];
    const lines = [["LSL", histogram.lsl], ["target", histogram.target], ["USL", histogram.usl]].filter(([name, at]) => {
      if (at === null) return false;
      if (Math.max(high, at) - Math.min(low, at) > SPEC_STRETCH * width) { far.push(`${name} ${number(at)} ${at > high ? "→" : "←"}`); return false; }
      [low, high] = [Math.min(low, at), Math.max(high, at)];
      return true;
    });
    let row = -1, before = -Infinity;
    const rowOf = (at) => { row = (at - before) / (high - low) < 0.2 ? row + 1 : 0; before = at; return row; };
    lines.sort((a, b) => a[1] - b[1]);
    const margin = (high - low) * 0.05;
    const outside = (k) => (histogram.usl !== null && edges[k] >= histogram.usl) || (histogram.lsl !== null && edges[k + 1] <= histogram.lsl);
    this.chart.setOption({
      animation: false, textStyle: { fontFamily: "inherit" },
      grid: { left: 44, right: 14, top: 40, bottom: 34 },
      xAxis: { type: "value", min: low - margin, max: high + margin, splitLine: { show: false }, axisLabel: { formatter: (v) => tick(v, high - low), showMinLabel: false, showMaxLabel: false, hideOverlap: true }, name: `value · last ${count(histogram.n)} values${hidden ? ` · not shown: ${hidden}` : ""}`, nameLocation: "middle", nameGap: 20 },
      yAxis: { type: "value", minInterval: 1, axisLine: { onZero: false }, splitNumber: 3, splitLine: { lineStyle: { color: "#eceff2" } } },
      series: [{
        type: "custom", data: counts.map((n, k) => [edges[k], edges[k + 1], n, outside(k) ? 1 : 0]),
        renderItem: (_, api) => {
          const [x0, y0] = api.coord([api.value(0), api.value(2)]), [x1, y1] = api.coord([api.value(1), 0]);
          return { type: "rect", shape: { x: x0 + 0.5, y: y0, width: Math.max(1, x1 - x0 - 1), height: y1 - y0 }, style: { fill: api.value(3) ? OUT : BAR } };
        },
        encode: { x: [0, 1], y: 2 },
        markLine: {
          symbol: "none", silent: true, animation: false, precision: -1,  // as they are: ECharts rounds to 2 digits else
          data: [...lines.map(([name, at]) => ({ xAxis: at, label: { formatter: `${name} ${number(at)}`, color: SPEC, fontSize: 10.5, distance: 2 + 12 * rowOf(at) }, lineStyle: { color: SPEC, type: name === "target" ? [2, 4] : [7, 4], width: 1.5 } })),
            { xAxis: histogram.mean, label: { show: false }, lineStyle: { color: "#1b2530", type: "solid", width: 1 } }],
        },
      }],
      graphic: far.map((words, i) => ({ type: "text", right: 16, top: 2 + 13 * i, style: { text: `${words} off the scale`, fill: SPEC, font: "10.5px sans-serif" } })),
    }, { replaceMerge: ["series", "graphic"] });
    this.root.setAttribute("aria-label", `Histogram of the last ${histogram.n} values, mean ${number(histogram.mean)}`);
  }

  table(histogram, capability) {
    const rows = [];
    for (const [name, value] of Object.entries(capability ?? {})) {
      if (name === "offset") continue;
      const low = !ppm(name) && value !== null && value < 1;
      rows.push(element("tr", { title: `${MEANING[name] ?? name}${low ? ": below 1.00" : ""}` }, element("td", {}, name.replace("_", " ")), element("td", { class: low ? "alarm" : "" }, ppm(name) ? number(value, 4) : index(value))));
    }
    if (histogram) {
      const lately = { title: `of the last ${count(histogram.n)} values` };
      rows.push(element("tr", lately, element("td", {}, "mean"), element("td", {}, number(histogram.mean))));
      rows.push(element("tr", lately, element("td", {}, "s"), element("td", {}, number(histogram.sigma, 4))));
    }
    byId("capability").replaceChildren(...rows);
    const specs = histogram && (histogram.lsl !== null || histogram.usl !== null);
    byId("capability-note").textContent = !histogram ? "" : !specs ? "No specification limits are given: no indices." : histogram.sigma === 0 ? "The values do not vary: no indices." : capability ? "Indices are of the whole history of the series, mean and s of the last values shown." : "Indices need more rows.";
  }
}
