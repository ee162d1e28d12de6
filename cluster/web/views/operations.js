// What runs underneath: topics, pipelines, schemas, dead letters, operations, detectors. One part at a time.

import { explain } from "/web/api.js";
import { element } from "/web/element.js";
import { link } from "/web/router.js";

const PARTS = {
  pipelines: ["Pipelines and lag", () => import("/web/views/operations/pipelines.js")],
  topics: ["Topics", () => import("/web/views/operations/topics.js")],
  schemas: ["Schemas", () => import("/web/views/operations/schemas.js")],
  "dead-letters": ["Dead letters", () => import("/web/views/operations/dead_letters.js")],
  running: ["Operations in progress", () => import("/web/views/operations/running.js")],
  jobs: ["Jobs", () => import("/web/views/operations/jobs.js")],
  detectors: ["Detectors", () => import("/web/views/operations/detectors.js")],
  compare: ["Two detectors compared", () => import("/web/views/operations/compare.js"), "detectors"], // that part leads to it
};
const FIRST = "pipelines";

class Operations {
  constructor(root, query) {
    this.shown = {};
    this.turn = 0;
    this.tabs = element("ul", { class: "tabs" }, ...Object.entries(PARTS).filter(([, [, , under]]) => !under).map(([name, [title]]) => element("li", {}, element("a", { href: link("operations", { part: name }), "data-part": name }, title))));
    this.body = element("div", { id: "part" });
    root.append(element("h1", { tabindex: "-1" }, "Operations"), element("nav", { "aria-label": "Parts of operations" }, this.tabs), this.body);
    this.change(query);
  }

  close() {
    this.turn += 1;
    this.shown.close?.();
  }

  async change(query) {
    const name = query.get("part") in PARTS ? query.get("part") : FIRST;
    const [title, load, under = name] = PARTS[name];
    for (const a of this.tabs.querySelectorAll("a")) a.dataset.part === under ? a.setAttribute("aria-current", "page") : a.removeAttribute("aria-current");
    if (this.name === name && this.shown.change) return this.shown.change(query);
    this.turn += 1;
    const turn = this.turn;
    this.shown.close?.();
    this.shown = {};
    this.name = name;
    const root = element("section", { class: "panel", "aria-labelledby": "part-title" }, element("h2", { id: "part-title" }, title));
    this.body.replaceChildren(root);
    try {
      const module = await load();
      if (turn === this.turn) this.shown = module.open(root, query) ?? {};
    } catch (error) {
      root.append(element("p", { class: "problem", role: "alert" }, explain(error)));
      throw error;
    }
  }
}

export function open(root, query) {
  const view = new Operations(root, query);
  return { close: () => view.close(), change: (next) => view.change(next) };
}
