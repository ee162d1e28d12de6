// Numbers, times and elements. Nothing here ever parses HTML: text from outside is only ever text.

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

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 10_000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;
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

/** Make an element: attributes and text only. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined) continue;
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

export const byId = (id) => document.getElementById(id);

export function text(id, value) {
  const at = byId(id);
  if (at.textContent !== String(value)) at.textContent = String(value);
}

/** The parts of a series key: what is measured, and where. */
export function names(series) {
  const parts = series.split("|").map((part) => part.replaceAll("%7C", "|").replaceAll("%25", "%"));
  if (parts.length !== 5) return { what: series || "(no series)", where: "", short: "" };
  const labels = ["tool", "chamber", "recipe", "step"];
  const where = parts.slice(0, 4).map((part, i) => (part ? `${labels[i]} ${part}` : "")).filter(Boolean).join(" · ");
  return { what: parts[4] || series, where, short: parts.slice(0, 4).filter(Boolean).join(" · ") };
}
