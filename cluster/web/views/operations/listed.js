// A part of operations that is a list which is asked for again and again.

import { ApiError } from "/web/api.js";
import { element, every } from "/web/element.js";
import { problem } from "/web/widgets.js";

/** Where an element stands in a root: the number of the child at each step. */
function wayTo(root, node) {
  const way = [];
  for (let at = node; at !== root; at = at.parentNode) way.unshift([...at.parentNode.children].indexOf(at));
  return way;
}

/** Put new elements in a root. What is open, and the button or link that is focused, is so again if it stands where it did. */
function renew(root, made) {
  const at = (way) => way.reduce((node, i) => node?.children[i], root);
  const opened = [...root.querySelectorAll("details[open]")].map((one) => wayTo(root, one));
  const before = root.contains(document.activeElement) ? document.activeElement : null;
  const way = before ? wayTo(root, before) : [];
  root.replaceChildren(...made);
  for (const one of opened.map(at)) if (one?.matches("details")) one.open = true;
  const after = before && at(way);
  if (after?.textContent === before?.textContent) after?.focus();
}

/** Show what `load` makes (elements) in `root`, anew every `ms`; not while somebody types or opens something. Returns { close, again }. */
export function listed(root, ms, load) {
  const body = element("div", { class: "listed" }, element("p", { class: "quiet" }, "asking …"));
  root.append(body);
  let over = false;
  const turn = async (forced) => {
    const used = body.contains(document.activeElement) && document.activeElement.matches("input, select, textarea, summary") || document.querySelector("dialog[open]");
    if (used && !forced && body.dataset.loaded) return;
    try {
      const made = await load();
      if (over) return;
      body.dataset.loaded = "yes";
      renew(body, made);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!over) body.replaceChildren(problem(error));
    }
  };
  const end = every(ms, () => turn(false));
  return { close: () => { over = true; end(); }, again: () => turn(true) };
}
