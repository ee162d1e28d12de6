// Which statistics of a detector are drawn together, one under the other, and what they are called.

const PAIRS = [["x", "MR"], ["xbar", "R"], ["xbar", "S"], ["C+", "C-"], ["PH+", "PH-"], ["T2", "Q"], ["rise", "fall"]];
const TITLES = { xbar: "X̄", "C+": "CUSUM C+", "C-": "CUSUM C−", T2: "T²", Q: "Q (SPE)", "PH+": "Page-Hinkley +", "PH-": "Page-Hinkley −" };
const Z_OF = { anomaly: "robust z", spc: "EWMA z" };
const FIRST = ["spc.individuals", "spc.xbar", "spc.xbar_s", "anomaly.robust_z", "drift.cusum"];
const INDICES = /^C(p|pk|pl|pu|pm|pmk)$|^P(p|pk)$|^ppm_/;

/** What a statistic of a detector is called on the page. */
export const titleOf = (statistic, detector) => (statistic === "z" ? Z_OF[detector.family] : TITLES[statistic]) ?? statistic;

/** The tabs of a chart: each one or two statistics of a detector. `id` stands in the address: detector/first statistic. */
export function tabsOf(chart) {
  const rank = (detector) => (FIRST.indexOf(detector.detector) + FIRST.length + 1) % (FIRST.length + 1);
  return chart.detectors
    .filter((detector) => detector.family !== "capability")
    .sort((a, b) => rank(a) - rank(b) || (a.detector < b.detector ? -1 : 1))
    .flatMap((detector) => {
      const names = detector.statistics.map((one) => one.name), used = new Set(), tabs = [];
      names.forEach((name, which) => {
        if (used.has(which) || (INDICES.test(name) && names.length > 1)) return;
        const below = names.findIndex((other, i) => i > which && PAIRS.some(([a, b]) => a === name && b === other));
        const shown = below < 0 ? [which] : [which, below];
        for (const one of shown) used.add(one);
        tabs.push({ id: `${detector.detector}/${name}`, detector, shown, words: wordsOf(shown.map((one) => titleOf(names[one], detector))) });
      });
      return tabs;
    });
}

function wordsOf(titles) {
  const [first, second] = titles;
  if (!second) return first;
  const common = first.lastIndexOf(" ") + 1;
  return common && second.startsWith(first.slice(0, common)) ? `${first} · ${second.slice(common)}` : `${first} · ${second}`;
}

/** The tab that an address names, else one of the same detector, else the first. */
export const tabNamed = (tabs, id) => tabs.find((one) => one.id === id) ?? tabs.find((one) => id && one.detector.detector === id.split("/")[0]) ?? tabs[0];

/** Zones A, B and C are of charts that have run rules: thirds of the way from the centre line to the limits. */
export const hasZones = (detector, which) => detector.rules.some((rule) => rule.statistic === which && /^(nelson|western_electric)_/.test(rule.name));
