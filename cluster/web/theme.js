// Light and dark: as the system has it, or as chosen here. Canvases take their colours from the same place as the style sheet.

import { byId } from "/web/element.js";

const KEY = "chipquality.theme";
const heard = new Set();
let kept = null;

/** Colour of a role: "ink", "point", "limit" … (style.css). */
export function colour(name) {
  kept ??= getComputedStyle(document.documentElement);
  return kept.getPropertyValue(`--${name}`).trim();
}

/** Size of text in a canvas, in px: it grows with the screen as all text does. */
export function fontPx(share = 0.8) {
  return Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * share * 10) / 10;
}

/** Call `again` when the colours change; returns the function that ends it. */
export function onTheme(again) {
  heard.add(again);
  return () => heard.delete(again);
}

const changed = () => { kept = null; for (const again of heard) again(); };

/** Wire the switch. */
export function themes() {
  const choice = byId("theme");
  choice.value = document.documentElement.dataset.theme ?? "auto";
  choice.addEventListener("change", () => {
    const chosen = choice.value;
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    try { localStorage.setItem(KEY, chosen); } catch { /* it holds until the page is closed */ }
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}
