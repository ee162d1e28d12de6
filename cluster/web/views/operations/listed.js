// A part of operations that is a list which is asked for again and again.

import { ApiError } from "/web/api.js";
import { element, every } from "/web/element.js";
import { problem } from "/web/widgets.js";

/** Show what `load` makes (elements) in `root`, anew every `ms`; what is focused in it is not taken away. Returns { close, again }. */
export function listed(root, ms, load) {
  const body = element("div", { class: "listed" }, element("p", { class: "quiet" }, "asking …"));
  root.append(body);
  let over = false;
  const turn = async (forced) => {
    const used = body.contains(document.activeElement) || document.querySelector("dialog[open]");
    if (used && !forced && body.dataset.loaded) return;
    try {
      const made = await load();
      if (over) return;
      body.dataset.loaded = "yes";
      body.replaceChildren(...made);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!over) body.replaceChildren(problem(error));
    }
  };
  const end = every(ms, () => turn(false));
  return { close: () => { over = true; end(); }, again: () => turn(true) };
}
