// Elements. Nothing here ever parses HTML: text from outside is only ever text.

const SVG = "http://www.w3.org/2000/svg";

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || (value === false && !name.startsWith("aria-"))) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false).map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

/** Make an element: attributes (`onclick` and the like are listeners) and text only. */
export const element = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);

/** The same, of SVG. */
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export const byId = (id) => document.getElementById(id);

/** Set the text of an element, or of the one with this id, if it is another. */
export function text(at, value) {
  const where = typeof at === "string" ? byId(at) : at;
  if (where.textContent !== String(value)) where.textContent = String(value);
}

/** Say something to whoever listens to a screen reader. */
export function say(words) {
  text("said", words);
}

const PACE_MS = 250; // at most four times a second, however fast the stream is

/** A function that does `work` soon: at once if it was not done lately, and never more often than every PACE_MS. */
export function paced(work) {
  let last = -Infinity, timer = null;
  const now = () => { timer = null; last = performance.now(); work(); };
  const soon = () => {
    if (timer !== null) return;
    timer = setTimeout(now, Math.max(0, last + PACE_MS - performance.now()));
  };
  soon.cancel = () => { clearTimeout(timer); timer = null; };
  return soon;
}

/** Do `work` now and every `ms` while the page is seen; returns the function that ends it. The next begins when one has ended. */
export function every(ms, work) {
  let over = false, timer = null;
  const turn = async () => {
    if (!document.hidden) await work();
    if (!over) timer = setTimeout(turn, ms);
  };
  turn();
  return () => { over = true; clearTimeout(timer); };
}
