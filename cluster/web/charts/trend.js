// A small chart of a few lines over time, with its newest values in words: throughput, latency, lag.

import * as echarts from "/web/vendor/echarts.esm.min.js";
import { element } from "/web/element.js";
import { time } from "/web/format.js";
import { colour, fontPx, onTheme } from "/web/theme.js";

const STYLES = [["point", "solid"], ["limit", [6, 3]], ["spec", [2, 3]]]; // told apart by dashes as well as by colour

const SECONDS_MS = 5 * 60_000; // a shorter stretch is told by the second

export class Trend {
  /** `words(value)`: a value with its unit. */
  constructor(root, words) {
    this.root = root;
    this.words = words;
    this.chart = echarts.init(element("div", { class: "fill" }), null, { renderer: "canvas", width: 100, height: 100 });
    root.append(this.chart.getDom());
    this.shown = null;
    const again = () => { this.chart.resize({ width: root.clientWidth, height: root.clientHeight }); if (this.shown) this.draw(...this.shown); };
    this.watch = new ResizeObserver(again);
    this.watch.observe(root);
    this.offTheme = onTheme(again);
  }

  close() {
    this.watch.disconnect();
    this.offTheme();
    this.chart.dispose();
  }

  /** `at`: (n,) ms; `lines`: { name: (n,) values, null where there is none }. */
  draw(at, lines) {
    this.shown = [at, lines];
    const size = fontPx(0.78), label = { color: colour("ink"), fontSize: size, hideOverlap: true };
    const names = Object.keys(lines);
    this.chart.setOption({
      animation: false, textStyle: { fontFamily: "system-ui, sans-serif", color: colour("ink") },
      grid: { left: size * 5.2, right: size * 1.2, top: names.length > 1 ? size * 2.2 : size, bottom: size * 2 },
      legend: { show: names.length > 1, top: 0, right: 0, itemWidth: size * 2, itemHeight: 2, textStyle: { color: colour("ink"), fontSize: size }, icon: "rect" },
      tooltip: { trigger: "axis", transitionDuration: 0, backgroundColor: colour("paper"), borderColor: colour("line"), textStyle: { color: colour("ink"), fontSize: size }, valueFormatter: this.words, confine: true },
      xAxis: { type: "time", axisLabel: { ...label, formatter: (ms) => time(ms).slice(11, at.at(-1) - at[0] < SECONDS_MS ? 19 : 16), showMinLabel: false, showMaxLabel: false }, splitNumber: 3, axisLine: { lineStyle: { color: colour("edge") } } },
      yAxis: { type: "value", min: 0, splitNumber: 2, axisLabel: { ...label, formatter: this.words }, splitLine: { lineStyle: { color: colour("grid") } } },
      series: names.map((name, i) => ({
        id: name, name, type: "line", symbol: "none", connectNulls: false, lineStyle: { color: colour(STYLES[i % 3][0]), type: STYLES[i % 3][1], width: 1.8 }, itemStyle: { color: colour(STYLES[i % 3][0]) },
        areaStyle: names.length === 1 ? { color: colour("phase") } : undefined, data: at.map((ms, k) => [ms, lines[name][k]]),
      })),
    }, { replaceMerge: ["series"] });
    const newest = names.map((name) => `${name} ${this.words(lines[name].findLast((value) => value !== null) ?? null)}`).join(", ");
    this.root.setAttribute("aria-label", `${this.root.dataset.what}: now ${newest}`);
  }
}
