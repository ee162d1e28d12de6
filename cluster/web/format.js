// Numbers, times and names, as words.

/** Significant digits that a reader can use: 5, without an exponent between 1e-4 and 1e7. */
export function number(value, digits = 5) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e7 || size < 1e-4) return value.toExponential(Math.max(0, digits - 2));
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return size >= 1e5 ? Math.round(value).toLocaleString("en") : String(Number(value.toFixed(Math.min(12, decimals))));
}

/** A label of an axis: as many decimals as its span needs, so that no two labels look the same. */
export function tick(value, span) {
  const decimals = Math.min(12, Math.max(0, 1 - Math.floor(Math.log10(span || 1))));
  if (Math.max(Math.abs(value), span) >= 1e7 || span < 1e-6) return value.toExponential(3);
  return String(Number(value.toFixed(decimals)));
}

/** A count, with separators; short from ten million on. */
export function count(value) {
  if (value === null || value === undefined) return "–";
  return value >= 1e7 ? `${(value / 1e6).toFixed(1)} M` : Math.round(value).toLocaleString("en");
}

/** A count with its noun: 1 row, 2 rows. */
export const counted = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : noun.endsWith("s") ? "" : "s"}`;

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 10_000 ? `${Math.round(value)} ms` : seconds(value / 1000);
}

/** A duration: 4.2 s, 3 min, 5.1 h, 2 days. */
export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 120) return `${value < 10 ? Number(value.toFixed(1)) : Math.round(value)} s`;
  if (value < 7_200) return `${Math.round(value / 60)} min`;
  return value < 172_800 ? `${Number((value / 3600).toFixed(1))} h` : `${Math.round(value / 86_400)} days`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const unit = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, value)) / 10)));
  return `${Number((value / 1024 ** unit).toFixed(unit ? 1 : 0))} ${UNITS[unit]}`;
}

/** An index like Cpk: two decimals. */
export function index(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 1000 ? "> 1000" : value.toFixed(2);
}

/** UTC, since fabs log in UTC: 2008-07-19 11:55:00. */
export function time(ms) {
  if (ms === null || ms === undefined) return "–";
  return new Date(ms).toISOString().slice(0, 19).replace("T", " ");
}

const unescape = (part) => part.replaceAll("%7C", "|").replaceAll("%25", "%");
const LABELS = ["tool", "chamber", "recipe", "step"];

/** The parts of a series key: what is measured, and where. `parts`: tool, chamber, recipe, step, characteristic; null if it has none. */
export function names(series) {
  const parts = series.split("|").map(unescape);
  if (parts.length !== 5) return { what: series || "(no series)", where: "", short: "", parts: null };
  const where = parts.slice(0, 4).map((part, i) => (part ? `${LABELS[i]} ${part}` : "")).filter(Boolean).join(" · ");
  return { what: parts[4] || series, where, short: parts.slice(0, 4).filter(Boolean).join(" · "), parts };
}

/** What a rule is called: nelson_5 → Nelson 5. */
export const ruleName = (name) => name.replace(/^nelson_/, "Nelson ").replace(/^western_electric_/, "Western Electric ").replace(/^mr_/, "MR ").replace(/^t2_/, "T² ").replace(/^q_/, "Q ").replaceAll("_", " ");

/** The name of a detector without the hash of its parameters: spc.individuals@1-abc → spc.individuals. */
export const detectorName = (identity) => identity.split("@")[0];
