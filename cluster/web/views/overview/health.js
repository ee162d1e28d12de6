// Does the pipeline run? If not, which part is it and why: /events/health, /events/consumers, and whether rows come.

import { ApiError, explain, get } from "/web/api.js";
import { element, every, text } from "/web/element.js";
import { count, counted } from "/web/format.js";
import { link } from "/web/router.js";
import { panel, sign } from "/web/widgets.js";

const HEALTH_MS = 3_000;
const PARTS = { kafka: "Kafka", registry: "Schema registry", owners: "Pipeline (owners of partitions)", view: "View of charts and alerts" };
const UNWELL = new Set(["STALLED", "STOPPED", "REWIND"]);

export class Health {
  constructor() {
    this.headline = element("p", { id: "health", class: "headline", role: "status" }, "asking how the pipeline does …");
    this.parts = element("ul", { class: "plain parts" });
    this.lines = element("ul", { class: "plain" });
    this.flow = element("p", { class: "quiet" });
    this.root = panel("State", { class: "state-panel" }, this.headline, this.parts, this.lines, this.flow, element("p", {}, element("a", { href: link("operations", { part: "pipelines" }) }, "Pipelines and lag")));
    this.end = every(HEALTH_MS, () => this.load());
  }

  close() {
    this.end();
  }

  async load() {
    let said;
    try {
      said = await get("/events/health");
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      said = error.body.dependencies ? error.body : null;
      if (!said) return this.say("lost", explain(error), []);
    }
    const parts = Object.entries(said.dependencies);
    const broken = parts.filter(([, part]) => !part.ok);
    const words = said.ready ? `The pipeline ${said.pipeline} runs: all of its parts are ready.`
      : `The pipeline ${said.pipeline} is ${broken.some(([name]) => name === "owners") ? "stopped or not ready" : "not ready"}: ${broken.map(([name, part]) => `${PARTS[name] ?? name}: ${part.reason}`).join("; ")}`;
    this.say(said.ready ? "good" : "lost", words, parts);
  }

  say(style, words, parts) {
    if (this.headline.dataset.said !== words) {
      this.headline.dataset.said = words;
      this.headline.replaceChildren(sign(style, words));
    }
    this.parts.replaceChildren(...parts.map(([name, part]) => element("li", {}, sign(part.ok ? "good" : "lost", `${PARTS[name] ?? name}: ${part.ok ? "ready" : "not ready"}`), element("span", { class: "quiet" }, ` ${part.reason} · ${part.ms} ms`))));
  }

  /** What /events/consumers says: groups that do not go on, slots that are not live. */
  consumers(answer, error) {
    if (!answer) return this.lines.replaceChildren(...(error instanceof ApiError ? [element("li", { class: "problem" }, `Lag is not known: ${explain(error)}`)] : []));
    const slots = answer.owners.filter((owner) => owner.state !== "live").map((owner) => element("li", {}, sign("lost", `slot ${owner.slot} is ${owner.state}`), ` ${owner.last_error ?? ""}`));
    const groups = answer.items.filter((group) => UNWELL.has(group.status)).map((group) => element("li", {}, sign("lost", `${group.group}: ${group.status}`), ` ${group.why ?? ""}`));
    this.lines.replaceChildren(...slots, ...groups);
  }

  /** Whether rows come just now. */
  rate(summary) {
    text(this.flow, summary.rows_per_s > 0 ? `${count(summary.rows_per_s)} rows a second just now.` : `No rows came in the last ${counted(summary.window_s, "second")}.`);
  }
}
